"""Job backends: what runs the jobs of the node, behind the :class:`~pulsar.jobs.ports.Manager` port."""
