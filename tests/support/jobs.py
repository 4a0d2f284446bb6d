"""Jobs for tests that end when they are told to."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.node import RunningNode, wait_until

__all__ = ["BlockedJob"]


class BlockedJob:
    """A job that runs until :meth:`release`; it runs when this is made."""

    def __init__(self, node: RunningNode, job_id: str) -> None:
        directory = Path(node.set_up_job(job_id)["working_directory"])
        self._gate = directory / "gate"
        self._marker = directory / "started"
        os.mkfifo(self._gate)
        # Opening a pipe for reading waits, without any polling, until somebody opens it for writing.
        command = f"echo $$ > {self._marker}.new; mv {self._marker}.new {self._marker}; read -r _ < {self._gate}"
        assert node.request("POST", f"/jobs/{job_id}/submit", command_line=command) == b"OK"
        wait_until(self._marker.exists, f"the start of job {job_id}\n{node.log_text()}")
        self.pid = int(self._marker.read_text())
        self._start_time = self._stat()[19]
        wait_until(lambda: node.status(job_id)["status"] == "running", f"job {job_id} being reported as running")

    def _stat(self) -> list[str]:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()

    @property
    def is_alive(self) -> bool:
        """Whether the very process that was started still runs."""
        try:
            fields = self._stat()
        except OSError:
            return False
        return fields[0] not in "ZX" and fields[19] == self._start_time

    def release(self) -> None:
        """Let it end, with status 0."""
        assert self.is_alive
        fd = os.open(self._gate, os.O_WRONLY)
        os.write(fd, b"go\n")
        os.close(fd)
