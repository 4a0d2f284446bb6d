"""HTTP/1.1 over a raw socket, as little of it as a measurement needs, so that the client costs next to nothing."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlencode

__all__ = ["Answer", "Connection", "ProtocolError", "body_of_head", "connect", "find_head", "request_head"]

HOST = "127.0.0.1"
_BLOCK = 256 * 1024
_TIMEOUT = struct.pack("ll", 120, 0)  # struct timeval


class ProtocolError(Exception):
    """The server did not answer as HTTP/1.1 has it."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes

    def require_ok(self) -> bytes:
        """Return the body; raise unless the status is 200."""
        if self.status != 200:
            raise ProtocolError(f"status {self.status}: {self.body[:300]!r}")
        return self.body


@dataclass(frozen=True)
class BodyEnd:
    """How the end of a body is known. ``length`` None: by chunks if ``is_chunked``, else by the end of the connection."""

    status: int
    length: int | None
    is_chunked: bool
    closes: bool


def connect(port: int) -> socket.socket:
    """Return a blocking connection to a port of the loopback interface; it gives up after two minutes of silence."""
    sock = socket.socket()
    # The kernel's own timeouts: with those of Python every operation would cost a poll more.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEOUT)
    try:
        sock.connect((HOST, port))
    except OSError:
        sock.close()
        raise
    return sock


def request_head(
    method: str, path: str, query: dict[str, str] | None = None, *, body_length: int | None = None, keep_alive: bool = False
) -> bytes:
    """Return a request up to its body, with the headers that Galaxy's client sends."""
    target = f"{path}?{urlencode(query)}" if query else path
    lines = [f"{method} {target} HTTP/1.1", "Accept-Encoding: identity", f"Host: {HOST}", "User-Agent: Python-urllib/3.11"]
    if method != "GET":
        # What urllib says of any body (and servers must ignore).
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {body_length or 0}"]
    if not keep_alive:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode()


def find_head(data: bytes | bytearray) -> int:
    """Return where the body begins, or -1 while the head is not there as a whole."""
    end = data.find(b"\r\n\r\n")
    return end + 4 if end >= 0 else -1


def body_of_head(head: bytes) -> BodyEnd:
    """Return what a head, up to its empty line, says of the body that follows it."""
    head = head.lower()
    if not head.startswith(b"http/1.") or not head[9:12].isdigit():
        raise ProtocolError(f"not a status line: {head[:80]!r}")
    length = _field(head, b"\r\ncontent-length:")
    is_chunked = b"\r\ntransfer-encoding: chunked" in head
    closes = b"close" in (_field(head, b"\r\nconnection:") or b"") or (length is None and not is_chunked) or head[7:8] == b"0"
    return BodyEnd(int(head[9:12]), None if length is None else int(length), is_chunked, closes)


def _field(head: bytes, name: bytes) -> bytes | None:
    start = head.find(name)
    if start < 0:
        return None
    end = head.find(b"\r\n", start + 2)
    return head[start + len(name) : end if end >= 0 else None].strip()


class Connection:
    """A client with one connection at a time: kept, or a new one for each request as Galaxy's urllib makes them."""

    def __init__(self, port: int, *, keep_alive: bool = False) -> None:
        self.port = port
        self.keep_alive = keep_alive
        self._sock: socket.socket | None = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open; the next request opens a new connection."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def request(self, method: str, path: str, query: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        """Send a request and return its answer."""
        return self.exchange(request_head(method, path, query, body_length=len(body), keep_alive=self.keep_alive) + body)

    def exchange(self, request: bytes) -> Answer:
        """Send the bytes of a request and return the answer."""
        was_open = self._sock is not None
        try:
            return self._exchange(request)
        except (ConnectionError, _ClosedUnused):
            # A server may close a kept connection at any moment, without a word.
            if not was_open:
                raise
            self.close()
            return self._exchange(request)

    def _exchange(self, request: bytes) -> Answer:
        if self._sock is None:
            self._sock = connect(self.port)
        self._sock.sendall(request)
        data = bytearray()
        while (start := find_head(data)) < 0:
            self._receive(data)
        end = body_of_head(bytes(data[: start - 4]))
        body = self._body(data[start:], end)
        if end.closes or not self.keep_alive:
            self.close()
        return Answer(end.status, body)

    def _receive(self, data: bytearray) -> None:
        assert self._sock is not None
        block = self._sock.recv(_BLOCK)
        if not block:
            if not data:
                raise _ClosedUnused("the connection was closed without an answer")
            raise ProtocolError("the connection was closed in the middle of an answer")
        data += block

    def _body(self, data: bytearray, end: BodyEnd) -> bytes:
        if end.length is not None:
            while len(data) < end.length:
                self._receive(data)
            return bytes(data[: end.length])
        if end.is_chunked:
            return self._chunked(data)
        assert self._sock is not None
        while block := self._sock.recv(_BLOCK):
            data += block
        return bytes(data)

    def _chunked(self, data: bytearray) -> bytes:
        body = bytearray()
        position = 0
        while True:
            while (line_end := data.find(b"\r\n", position)) < 0:
                self._receive(data)
            size = int(data[position:line_end].partition(b";")[0], 16)
            begin = line_end + 2
            while len(data) < begin + size + 2:
                self._receive(data)
            body += data[begin : begin + size]
            position = begin + size + 2
            if size == 0:
                return bytes(body)


class _ClosedUnused(Exception):
    """Nothing came before the end of the connection."""
