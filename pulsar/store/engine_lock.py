"""Which process of a node is its engine, and how the others wake it.

The engine is whoever holds an exclusive lock on ``engine.lock`` in the persistence directory; the kernel takes the lock from a
process that dies. Other processes wake it by a datagram to the socket beside the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from pulsar.errors import LedgerError

__all__ = ["EngineLock", "WakeListener", "send_wake_up"]

_SOCKET_NAME = "engine.sock"


class EngineLock:
    """The right to be the engine of the node whose persistence directory is ``directory``."""

    def __init__(self, directory: str) -> None:
        self._path = Path(directory) / "engine.lock"
        self._fd: int | None = None

    def try_to_take(self) -> bool:
        """Take the lock if nobody has it and return whether this process has it now.

        Raises :class:`LedgerError` when the file system cannot lock: without locks two engines could run a job twice.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError as exc:
            os.close(fd)
            raise LedgerError(
                f"{self._path} cannot be locked ({exc.strerror}); put persistence_directory on a file system with locks"
            ) from exc
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._fd = fd
        return True

    def is_taken(self) -> bool:
        """Whether some process, this one or another, is the engine."""
        if self._fd is not None:
            return True
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def release(self) -> None:
        """Give the lock up, or, in a child of the process that has it, the copy of its descriptor."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@contextlib.contextmanager
def _short_address(directory: str) -> Iterator[str]:
    """Yield an address of the socket that fits into the 108 bytes of unix(7), however long the directory's name is."""
    path = f"{directory}/{_SOCKET_NAME}"
    if len(os.fsencode(path)) < 100:
        yield path
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{_SOCKET_NAME}"
    finally:
        os.close(fd)


class WakeListener:
    """Calls ``wake`` for each datagram; held by the engine's process, which has the lock, so an old socket may be replaced."""

    def __init__(self, directory: str, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._closing = False
        self._directory = directory
        Path(directory, _SOCKET_NAME).unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with _short_address(directory) as address:
            self._socket.bind(address)
        Path(directory, _SOCKET_NAME).chmod(0o600)
        self._thread = threading.Thread(target=self._run, name="pulsar-wake-up", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing:
            self._socket.recv(16)
            self._wake()

    def close(self) -> None:
        """Stop listening."""
        self._closing = True
        send_wake_up(self._directory)
        self._thread.join(timeout=2.0)
        self._socket.close()


def send_wake_up(directory: str) -> None:
    """Wake the engine of the node, if there is one; a wake-up that gets lost costs the engine one interval, never a job."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(OSError):
        sender.setblocking(False)
        with _short_address(directory) as address:
            sender.sendto(b"w", address)
