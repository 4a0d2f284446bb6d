"""The upload cache (specification 1.6): files that several jobs of one client need are sent once.

A file is ``<directory>/<token>``, complete as soon as it has that name. Of all who need a file that is not there one is told to
send it; its claim is ``<directory>/<token>_CLAIM``, as old as the last sign of life of who holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pulsar.errors import NotFound, RequestError, translate_os_error

__all__ = ["UploadCache"]

_BLOCK = 512 * 1024
_TOKEN = re.compile(r"[0-9a-f]{64}\Z")
#: A claim whose holder has given no sign of life for so long is free again, in seconds: the client may have died.
_CLAIM_LIFE_S = 300.0
#: How often an upload gives a sign of life, in seconds.
_SIGN_OF_LIFE_S = 10.0


class UploadCache:
    """The cache in one directory, shared by all processes of the node."""

    def __init__(self, directory: str, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock
        try:
            Path(directory).mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise translate_os_error(exc, f"cannot make the upload cache {directory}") from exc

    @staticmethod
    def token(client_ip: str, path: str) -> str:
        """Return the name under which the cache has the file ``path`` of the client at ``client_ip``."""
        return hashlib.sha256(f"IP:{client_ip}:{path}".encode("utf-8", "surrogatepass")).hexdigest()

    def is_ready(self, token: str) -> bool:
        """Return whether the whole file is there."""
        return Path(self._file(token)).is_file()

    def claim(self, token: str) -> bool:
        """Return True to exactly one of all who ask while the file is missing: that one is to send it."""
        with self._locked_claim(token) as claim:
            if self.is_ready(token):
                return False
            found = os.fstat(claim)
            if found.st_size and self._clock() - found.st_mtime < _CLAIM_LIFE_S:
                return False
            os.truncate(claim, 0)
            os.write(claim, b"claimed\n")
            self._sign(token)
            return True

    def insert(self, token: str, source: Callable[[int], bytes]) -> None:
        """Store all that ``source(size)`` gives, or nothing; then the claim is free at once."""
        temporary = f"{self._file(token)}_TMP.{uuid.uuid4().hex}"
        try:
            try:
                self._write(token, temporary, source)
                os.replace(temporary, self._file(token))
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
        finally:
            with contextlib.suppress(OSError):
                os.unlink(self._claim(token))

    def open(self, token: str) -> BinaryIO:
        """Return the file, opened for reading; :class:`NotFound` when the cache does not have it."""
        try:
            return open(self._file(token), "rb", buffering=0)
        except OSError as exc:
            raise NotFound("the upload cache has no file under this cache_token; send the file itself") from exc

    def _file(self, token: str) -> str:
        if _TOKEN.match(token) is None:
            raise RequestError("a cache_token is 64 hexadecimal digits, as told by cache/status")
        return f"{self._directory}/{token}"

    def _claim(self, token: str) -> str:
        return f"{self._file(token)}_CLAIM"

    def _sign(self, token: str) -> None:
        now = self._clock()
        with contextlib.suppress(OSError):
            os.utime(self._claim(token), (now, now))

    @contextmanager
    def _locked_claim(self, token: str) -> Iterator[int]:
        """Give the claim's file, open and locked; it is still the one of that name."""
        path = self._claim(token)
        while True:
            try:
                claim = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError as exc:
                raise translate_os_error(exc, "cannot write to the upload cache") from exc
            try:
                fcntl.flock(claim, fcntl.LOCK_EX)
                if _is_at(claim, path):
                    try:
                        yield claim
                        return
                    except OSError as exc:
                        raise translate_os_error(exc, "cannot write to the upload cache") from exc
            finally:
                fcntl.flock(claim, fcntl.LOCK_UN)
                os.close(claim)

    def _write(self, token: str, temporary: str, source: Callable[[int], bytes]) -> None:
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as exc:
            raise translate_os_error(exc, "cannot write to the upload cache") from exc
        signed = time.monotonic()
        try:
            while block := source(_BLOCK):
                _write_all(descriptor, memoryview(block))
                if time.monotonic() - signed > _SIGN_OF_LIFE_S:
                    signed = time.monotonic()
                    self._sign(token)
        finally:
            try:
                os.close(descriptor)
            except OSError as exc:
                raise translate_os_error(exc, "cannot write to the upload cache") from exc


def _is_at(descriptor: int, path: str) -> bool:
    try:
        there = Path(path).stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _write_all(descriptor: int, content: memoryview) -> None:
    try:
        while content:
            content = content[os.write(descriptor, content) :]
    except OSError as exc:
        raise translate_os_error(exc, "cannot write to the upload cache") from exc
