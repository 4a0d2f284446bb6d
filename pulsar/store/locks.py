"""Job locks: one at a time may do administrative work on a job, among all threads and processes of the node."""

from __future__ import annotations

import fcntl
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from pulsar.errors import translate_os_error

__all__ = ["JobLocks"]

#: Many jobs share one lock file, so that a node which has seen a million jobs has not a million lock files.
_STRIPES = 256


class JobLocks:
    """Locks by name, striped over a fixed number of files in ``lock_directory``; over threads only when it is None.

    Two names may share a stripe: a thread that holds one lock must not ask for a second.
    """

    def __init__(self, lock_directory: str | None) -> None:
        self._directory = lock_directory
        self._threads = [threading.Lock() for _ in range(_STRIPES)] if lock_directory is None else []

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Hold the lock of ``name``. It is released by leaving, and by the death of the process."""
        stripe = zlib.crc32(os.fsencode(name)) % _STRIPES
        if self._directory is None:
            with self._threads[stripe]:
                yield
            return
        # Opened anew each time: a flock belongs to the open file, so it excludes the threads of this process as well, and a
        # process forked meanwhile does not share it.
        descriptor = self._open(self._directory, f"{stripe:03d}.lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            # Said, not left to the closing: a process forked meanwhile has a copy of the descriptor and would keep the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    @staticmethod
    def _open(directory: str, name: str) -> int:
        # For writing, because an exclusive lock over NFS needs a file that is open for writing.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            try:
                return os.open(f"{directory}/{name}", flags, 0o600)
            except FileNotFoundError:
                os.makedirs(directory, mode=0o700, exist_ok=True)  # noqa: PTH103 - a string all the way, as in the hot path
                return os.open(f"{directory}/{name}", flags, 0o600)
        except OSError as exc:
            raise translate_os_error(exc, f"cannot open the lock file {name} in {directory}") from exc
