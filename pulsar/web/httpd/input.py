"""``wsgi.input``: request bodies that end by themselves, read straight from the socket, with bounded memory."""

from __future__ import annotations

import io
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

import httptools

from pulsar.web.httpd.connection import Connection, Refused

if TYPE_CHECKING:
    from pulsar.web.httpd.head import Message

__all__ = ["Body", "ChunkedBody", "LengthBody"]

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BLOCK = 1 << 18
#: One read gives at most so much at a time, so that memory grows with what arrives and not with what was announced.
_MOST_AT_ONCE = 1 << 20
#: What an application left unread is read away up to this size, to keep the connection.
_MOST_DRAINED = 1 << 20
#: So many bytes of chunk sizes, extensions and trailers may come in a row without one byte of the body.
_MOST_FRAMING = 1 << 20


class Body(io.RawIOBase):
    """What both kinds of bodies have in common.

    Reading raises :class:`OSError` when the client went away or was silent for too long, and :class:`Refused` for chunks that
    are none; after that the rest of the body cannot be read.
    """

    def __init__(self, connection: Connection, awaits_continue: bool) -> None:
        self._connection = connection
        #: Whether the client waits for our word before it sends (RFC 9110, 10.1.1); it is given with the first read.
        self.awaits_continue = awaits_continue
        #: Whether the body was read to its end.
        self.is_complete = False
        self._is_broken = False

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return ``size`` bytes, fewer only at the end."""
        wanted = sys.maxsize if size is None or size < 0 else size
        parts: list[bytes] = []
        while wanted and (data := self._some(min(wanted, _MOST_AT_ONCE))):
            parts.append(data)
            wanted -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._some(min(len(view), _MOST_AT_ONCE))
        view[: len(data)] = data
        return len(data)

    @property
    def took_too_much(self) -> bool:
        """Whether bytes behind the body were read with it, so that the next request cannot be."""
        return False

    @property
    def may_be_drained(self) -> bool:
        """Whether what is unread can be expected to be little."""
        return not self._is_broken and (self.is_complete or not self.awaits_continue)

    def drain(self) -> bool:
        """Read away what was left, if it is little; return whether the connection is at the start of its next request."""
        budget = _MOST_DRAINED
        while self.may_be_drained and not self.is_complete and budget > 0:
            budget -= len(self._some(_BLOCK))
        return self.is_complete

    def _some(self, size: int) -> bytes:
        """Return between 1 and ``size`` bytes; none only at the end of the body."""
        if self.is_complete or not size:
            return b""
        if self._is_broken:
            raise ConnectionResetError("the body of the request has ended too early")
        try:
            if self.awaits_continue:
                self.awaits_continue = False
                if not self._connection.has_bytes:
                    self._connection.send(_CONTINUE)
            return self._next(size)
        except BlockingIOError as exc:  # so the kernel tells of its time-out
            self._is_broken = True
            raise TimeoutError("the client sent nothing for too long") from exc
        except Exception:
            self._is_broken = True
            raise

    def _next(self, size: int) -> bytes:
        raise NotImplementedError


class LengthBody(Body):
    """A body of ``length`` bytes."""

    def __init__(self, connection: Connection, awaits_continue: bool, length: int) -> None:
        super().__init__(connection, awaits_continue)
        self._left = length
        self.is_complete = not length

    @property
    def may_be_drained(self) -> bool:
        return super().may_be_drained and self._left <= _MOST_DRAINED

    def _next(self, size: int) -> bytes:
        connection = self._connection
        size = min(size, self._left)
        data = connection.take_bytes(size) if connection.has_bytes else connection.receive(size)
        if not data:
            raise ConnectionResetError("the client went away in the middle of a request body")
        self._left -= len(data)
        self.is_complete = not self._left
        return data


class ChunkedBody(Body):
    """A body in chunks, which the parser of its head takes apart."""

    def __init__(
        self, connection: Connection, awaits_continue: bool, parser: httptools.HttpRequestParser, message: Message
    ) -> None:
        super().__init__(connection, awaits_continue)
        self._parser = parser
        self._message = message
        self._pieces: deque[bytes] = message.pieces
        self._framing = 0

    @property
    def took_too_much(self) -> bool:
        return self._message.has_more

    def _next(self, size: int) -> bytes:
        while not self._pieces and not self._message.ended:
            self._parse_more()
        if not self._pieces:
            self.is_complete = True
            return b""
        piece = self._pieces.popleft()
        if len(piece) > size:
            self._pieces.appendleft(piece[size:])
            piece = piece[:size]
        self.is_complete = not self._pieces and self._message.ended
        return piece

    def _parse_more(self) -> None:
        connection = self._connection
        data = connection.take_bytes(_BLOCK) if connection.has_bytes else connection.sock.recv(_BLOCK)
        if not data:
            raise ConnectionResetError("the client went away in the middle of a request body")
        message = self._message
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            message.has_more |= exc.args[0] < len(data)
        except httptools.HttpParserError as exc:
            if not message.ended:
                raise Refused(400, f"chunked body: {exc}") from exc
            message.has_more = True
        self._framing = 0 if self._pieces else self._framing + len(data)
        if self._framing > _MOST_FRAMING and not message.ended:
            raise Refused(400, "chunked body: more framing than body")
