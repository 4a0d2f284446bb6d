"""What the node keeps: the ledger of its jobs, their directories, and uploaded inputs."""
