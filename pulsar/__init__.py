"""Pulsar: a remote job server for Galaxy.

``__version__`` is this package's own version. What the node tells Galaxy is the wire version, see
:data:`pulsar.protocol.WIRE_VERSION`.
"""

__version__ = "0.1.0"
