"""What Galaxy does with a job over REST, on a raw socket; run in a process that is not the harness."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.wire import Connection, request_head

__all__ = ["LONGEST_JOB_S", "POLL_INTERVAL_S", "JobClient", "long_job", "run_jobs_in_parallel", "run_jobs_in_turn"]

POLL_INTERVAL_S = 0.010
_JOB_TIMEOUT_S = 60.0
#: No job of a measurement may outlive it for longer, whatever happens to the harness.
LONGEST_JOB_S = 1800


class JobClient:
    """The verbs, by one client. ``manager`` None for the default one."""

    def __init__(self, port: int, *, keep_alive: bool = False, manager: str | None = None) -> None:
        self._connection = Connection(port, keep_alive=keep_alive)
        self._prefix = f"/managers/{manager}" if manager else ""

    def __enter__(self) -> JobClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def set_up(self, job_id: str) -> dict[str, Any]:
        """Make the job."""
        answer = self._connection.request("POST", f"{self._prefix}/jobs", {"job_id": job_id})
        document: dict[str, Any] = json.loads(answer.require_ok())
        return document

    def submit(self, job_id: str, command_line: str) -> None:
        """Launch the job."""
        query = {"job_id": job_id, "command_line": command_line}
        self._connection.request("POST", f"{self._prefix}/jobs/{job_id}/submit", query).require_ok()

    def status(self, job_id: str) -> dict[str, Any]:
        """Ask how it stands."""
        answer = self._connection.request("GET", f"{self._prefix}/jobs/{job_id}/status", {"job_id": job_id})
        document: dict[str, Any] = json.loads(answer.require_ok())
        return document

    def wait_for(self, job_id: str, *, interval_s: float = POLL_INTERVAL_S) -> dict[str, Any]:
        """Ask now and from now on at a fixed beat until the job has ended; return its last document."""
        began = beat = time.perf_counter()
        while True:
            document = self.status(job_id)
            if document["complete"] == "true":
                return document
            if beat - began > _JOB_TIMEOUT_S:
                raise TimeoutError(f"job {job_id} is still {document['status']} after {_JOB_TIMEOUT_S:g} s")
            beat = max(beat + interval_s, time.perf_counter())
            time.sleep(max(0.0, beat - time.perf_counter()))

    def upload_head(self, job_id: str, path_type: str, name: str, length: int) -> bytes:
        """Return what goes before the bytes of a file, for :meth:`exchange`."""
        return self._file_head("POST", job_id, path_type, name, length)

    def download_head(self, job_id: str, path_type: str, name: str) -> bytes:
        """Return the request for a file, for :meth:`exchange`."""
        return self._file_head("GET", job_id, path_type, name)

    def _file_head(self, method: str, job_id: str, path_type: str, name: str, length: int | None = None) -> bytes:
        query = {"job_id": job_id, "name": name, "type": path_type}
        path = f"{self._prefix}/jobs/{job_id}/files"
        return request_head(method, path, query, body_length=length, keep_alive=self._connection.keep_alive)

    def exchange(self, request: bytes) -> bytes:
        """Send a request that was prepared and return the body of its answer."""
        return self._connection.exchange(request).require_ok()

    def upload(self, job_id: str, path_type: str, name: str, body: bytes) -> None:
        """Send a file."""
        self.exchange(self.upload_head(job_id, path_type, name, len(body)) + body)

    def download(self, job_id: str, path_type: str, name: str) -> bytes:
        """Fetch a file."""
        return self.exchange(self.download_head(job_id, path_type, name))

    def cancel(self, job_id: str) -> None:
        """End the job."""
        self._connection.request("PUT", f"{self._prefix}/jobs/{job_id}/cancel", {"job_id": job_id}).require_ok()

    def clean(self, job_id: str) -> None:
        """Remove the job."""
        self._connection.request("DELETE", f"{self._prefix}/jobs/{job_id}", {"job_id": job_id}).require_ok()

    def run_noop(self, job_id: str) -> float:
        """Set up, submit and await a job that does nothing; return the seconds that took."""
        began = time.perf_counter()
        self.set_up(job_id)
        self.submit(job_id, "true")
        document = self.wait_for(job_id)
        seconds = time.perf_counter() - began
        if document["status"] != "complete" or document["returncode"] != 0:
            raise RuntimeError(f"job {job_id} became {document['status']} with {document['returncode']}")
        return seconds


def run_jobs_in_turn(port: int, name: str, count: int, manager: str | None = None) -> list[float]:
    """Run no-op jobs one after the other; return the seconds of each. They are left where they are."""
    with JobClient(port, manager=manager) as client:
        return [client.run_noop(f"{name}-{number}") for number in range(count)]


def run_jobs_in_parallel(port: int, name: str, count: int, clients: int, manager: str | None = None) -> float:
    """Run no-op jobs by several clients, each one after the other; return jobs per second. They are left where they are."""
    todo = [f"{name}-{number}" for number in range(count)]
    failures: list[BaseException] = []
    ready = threading.Barrier(clients + 1)

    def work() -> None:
        ready.wait()
        with JobClient(port, manager=manager) as client:
            while todo and not failures:
                with contextlib.suppress(IndexError):
                    job_id = todo.pop()
                    try:
                        client.run_noop(job_id)
                    except BaseException as exc:  # noqa: BLE001 - told by the thread that waits
                        failures.append(exc)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if failures:
        raise failures[0]
    return count / seconds


@contextlib.contextmanager
def long_job(port: int, job_id: str, directory: Path, manager: str | None = None) -> Iterator[str]:
    """Have a job run while the block runs; it is ended by the id of its process, and removed."""
    pid_file = directory / f"{job_id}.pid"
    with JobClient(port, manager=manager) as client:
        client.set_up(job_id)
        # In a place that a rename fills, so that a number is never read by half.
        client.submit(job_id, f"sh -c 'echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep {LONGEST_JOB_S}'")
        deadline = time.monotonic() + _JOB_TIMEOUT_S
        while not (pid_file.exists() and client.status(job_id)["status"] == "running"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job_id} did not start")
            time.sleep(0.02)
        try:
            yield job_id
        finally:
            end_process_of(pid_file)
            with contextlib.suppress(Exception):
                client.wait_for(job_id)
                client.clean(job_id)


def end_process_of(pid_file: Path) -> None:
    """Kill the process whose number is in the file, if it is there."""
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
