"""Starting the wrapper of a local job, quickly: the node's end of the socket to ``wrapper.py --serve``.

That process is started with the first job, ends with the node, and is started again if it should die. The wrappers that it has
forked go on without it, as they go on without the node.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from pulsar.managers import wrapper
from pulsar.managers.processes import Identity

__all__ = ["Spawner"]

log = logging.getLogger(__name__)

_PROGRAM = str(Path(wrapper.__file__).resolve())

#: How long a fork may take on a machine that has run out of nearly everything, in seconds.
_ANSWER_S = 30.0


def _python() -> str:
    """Return the interpreter that this process runs; inside uWSGI ``sys.executable`` is uWSGI's own program."""
    candidates = [sys.executable, *(f"{prefix}/bin/python3" for prefix in (sys.prefix, sys.base_prefix))]
    for candidate in candidates:
        if candidate and "python" in Path(candidate).name and os.access(candidate, os.X_OK):
            return candidate
    return shutil.which("python3") or sys.executable


class Spawner:
    """Starts wrappers. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(self, job_directory: str, token: str, environment: Mapping[str, str]) -> Identity:
        """Start the wrapper of a job, in a session of its own, and return its process.

        Raises :class:`OSError` when nothing was started.
        """
        parts = [job_directory, token, *(f"{name}={value}" for name, value in environment.items())]
        request = b"\0".join(os.fsencode(part) for part in parts)
        with self._lock:
            try:
                answer = self._ask(request)
            except (ConnectionError, TimeoutError):
                log.warning("the process that starts jobs had died; it is started again")
                self._stop()
                # If the first one had forked a wrapper before it died, that one's claim lets this one run nothing.
                answer = self._ask(request)
        if answer.startswith("!"):
            number, _, message = answer[1:].partition(":")
            raise OSError(int(number), message)
        identity = Identity.parse(answer)
        if identity is None:
            raise OSError(errno.EPROTO, "the process that starts jobs gave no answer")
        return identity

    def close(self) -> None:
        """End the starting process; wrappers go on."""
        with self._lock:
            self._stop()

    def _ask(self, request: bytes) -> str:
        if self._socket is None:
            self._begin()
        assert self._socket is not None
        self._socket.sendall(request)
        answer = self._socket.recv(4096)
        if not answer:
            raise ConnectionResetError(errno.ECONNRESET, "the process that starts jobs has died")
        return answer.decode("utf-8", "replace")

    def _begin(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_ANSWER_S)
        with theirs:
            self._process = subprocess.Popen(
                [_python(), "-I", "-S", "-B", _PROGRAM, "--serve", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd="/",
            )
        self._socket = ours

    def _stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            try:
                self._process.wait(5.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
