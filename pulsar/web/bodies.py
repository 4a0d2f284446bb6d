"""Request bodies: raw bytes of a known length, read in large blocks, whatever their content type says (specification 14.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pulsar.errors import LengthMismatch, RequestError, TooLarge

__all__ = ["RequestBody"]

#: What is left of a body is read away after an answer, up to this size, so that a client which sends first and listens then
#: gets the answer. From more the connection is better closed, which the servers do.
_MOST_DRAINED = 1 << 20
_DRAIN_BLOCK = 1 << 16


class RequestBody:
    """The body of one request. :meth:`read` is a source for :meth:`JobFiles.receive`."""

    def __init__(self, environ: dict[str, Any], most_bytes: int = 0) -> None:
        self._input = environ.get("wsgi.input")
        #: Bytes that the client announced; None when it sends chunks and the server knows where they end.
        self.length = _announced_length(environ)
        self._most = most_bytes
        self._taken = 0
        self._ended = self.length == 0 or self._input is None

    def require_size(self) -> None:
        """Raise :class:`TooLarge` when the announced length is more than this node takes; nothing is read for that."""
        if self._most and self.length is not None and self.length > self._most:
            raise TooLarge(f"the body has {self.length} bytes; this node takes {self._most}")

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, and nothing at the end of the whole body.

        Raises :class:`LengthMismatch` when the client stopped before the announced length, and :class:`TooLarge` for chunks
        without end.
        """
        if self._ended:
            return b""
        wanted = size if self.length is None else min(size, self.length - self._taken)
        block = self._read(wanted)
        self._taken += len(block)
        if self.length is None:
            self._ended = not block
            if self._most and self._taken > self._most:
                raise TooLarge(f"the body has more than the {self._most} bytes that this node takes")
        elif not block:
            raise LengthMismatch(f"the body ended after {self._taken} of {self.length} bytes; nothing of it is kept")
        else:
            self._ended = self._taken == self.length
        return block

    def drain(self) -> None:
        """Read away what is left, if it is little. Never fails."""
        if self._ended or (self.length is not None and self.length - self._taken > _MOST_DRAINED):
            return
        most = self._taken + _MOST_DRAINED
        try:
            while self._taken < most and self.read(_DRAIN_BLOCK):
                pass
        except RequestError:
            self._ended = True

    def _read(self, size: int) -> bytes:
        read: Callable[[int], bytes] = self._input.read  # type: ignore[union-attr]  # not None: the body would have ended
        try:
            return read(size)
        except (OSError, ValueError) as exc:
            # The client is gone, was silent for too long, or sent chunks that are none: each server has its own words.
            self._ended = True
            raise LengthMismatch(f"the body could not be read on after {self._taken} bytes; nothing of it is kept") from exc


def _announced_length(environ: dict[str, Any]) -> int | None:
    text = environ.get("CONTENT_LENGTH")
    if text:
        if not (text.isascii() and text.isdecimal()) or len(text) > 18:
            raise RequestError("Content-Length is not a number of bytes")
        return int(text)
    if environ.get("HTTP_TRANSFER_ENCODING", "").strip().lower() in ("", "identity"):
        return 0
    if environ.get("wsgi.input_terminated"):
        return None
    raise RequestError("this server takes no chunked bodies; send a Content-Length")
