"""The job machine: pure decisions about jobs, and the ports through which they act. Opens no file, socket or process."""
