"""One call of the application, and the bytes that its answer becomes (PEP 3333, RFC 9112)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from pulsar.web.httpd.connection import Connection
from pulsar.web.httpd.head import Environ, Request

__all__ = ["Answer", "Application", "FileWrapper", "failure"]

Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

#: Files up to this size go out together with the head, in one packet or few.
_SMALL_FILE = 1 << 16
#: What the connection decides for itself, whatever the application says.
_OURS = frozenset({"connection", "transfer-encoding", "date", "keep-alive"})


class FileWrapper:
    """``wsgi.file_wrapper``: an ordinary iterable, sent by sendfile when the application returns it untouched."""

    def __init__(self, filelike: Any, block_size: int = 1 << 18) -> None:
        self.filelike = filelike
        self.block_size = block_size

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.filelike.read(self.block_size), b"")

    def close(self) -> None:
        """Close the file."""
        _close(self.filelike)


class Answer:
    """The answer to one request. Finding out that the connection cannot be used again, it sets ``request.keep`` to False."""

    __slots__ = (
        "_application",
        "_begun",
        "_chunked",
        "_connection",
        "_early",
        "_fields",
        "_is_stopping",
        "_left",
        "_request",
        "_status",
    )

    def __init__(
        self, application: Application, connection: Connection, request: Request, is_stopping: Callable[[], bool]
    ) -> None:
        self._is_stopping = is_stopping
        self._application = application
        self._connection = connection
        self._request = request
        self._status: str | None = None
        self._fields: list[tuple[str, str]] = []
        self._early: list[bytes] = []
        self._begun = self._chunked = False
        #: What is to come of the announced length; None when none was announced.
        self._left: int | None = None

    @property
    def begun(self) -> bool:
        """Whether something of it was sent."""
        return self._begun

    def start_response(self, status: str, fields: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        """Be told status and header fields; return ``write``."""
        if exc_info is not None and self._begun:
            raise exc_info[1].with_traceback(exc_info[2])
        if self._status is not None and exc_info is None:
            raise AssertionError("start_response called twice")
        self._status, self._fields = status, fields
        return self._early.append

    def whole(self) -> bytes:
        """Run the application and return all bytes of the answer; nothing is sent."""
        result = self._application(self._request.environ, self.start_response)
        try:
            body = b"".join(result)
        finally:
            _close(result)
        if self._early:
            body = b"".join(self._early) + body
        head = self._head(len(body))
        if self._request.wants_no_body:
            return head
        if self._left is not None and self._left != len(body):
            raise ValueError("the answer is not as long as its Content-Length says")
        return head + body

    def stream(self) -> None:
        """Run the application and send the answer as it comes."""
        result = self._application(self._request.environ, self.start_response)
        try:
            if type(result) is FileWrapper and not self._early:
                self._send_file(result)
            elif type(result) is list:
                body = b"".join(self._early + result)
                self._early = []
                self._send(body, len(body), last=True)
            else:
                for block in result:
                    self._send(block)
                self._send(b"", 0 if not self._begun and not self._early else None, last=True)
        finally:
            _close(result)

    def _send(self, block: bytes, length: int | None = None, *, last: bool = False) -> None:
        """Send a block of the body, the first time with the head; ``length`` is that of the whole body where it is known."""
        out = b""
        if not self._begun and (block or last):
            out = self._head(length)
            self._begun = True
            if self._early:
                block = b"".join(self._early) + block
                self._early = []
        if self._request.wants_no_body:
            block = b""
        elif self._left is not None:
            if len(block) > self._left:
                block, self._request.keep = block[: self._left], False
            self._left -= len(block)
            if last and self._left:
                self._request.keep = False
        if block:
            out += b"%x\r\n%b\r\n" % (len(block), block) if self._chunked else block
        if last and self._chunked and not self._request.wants_no_body:
            out += b"0\r\n\r\n"
        if out:
            self._connection.send(out)

    def _send_file(self, result: FileWrapper) -> None:
        try:
            descriptor, offset = result.filelike.fileno(), result.filelike.tell()
            size = os.fstat(descriptor).st_size - offset
        except (AttributeError, OSError):
            for block in result:
                self._send(block)
            self._send(b"", last=True)
            return
        head = self._head(size)
        self._begun = True
        left = 0 if self._request.wants_no_body else size if self._left is None else self._left
        if left <= _SMALL_FILE:
            data = os.pread(descriptor, left, offset)
            self._connection.send(head + data)
            sent = len(data)
        else:
            self._connection.send(head, more=True)
            sent = self._send_part(descriptor, offset, left)
        if sent < left:  # the file became shorter: only a broken connection tells that the announced length is wrong
            self._request.keep = False

    def _send_part(self, descriptor: int, offset: int, count: int) -> int:
        connection = self._connection
        if connection.is_secure:
            with open(descriptor, "rb", closefd=False) as file:
                return connection.sock.sendfile(file, offset, count)
        sent = 0
        while sent < count and (n := os.sendfile(connection.descriptor, descriptor, offset + sent, min(count - sent, 1 << 30))):
            sent += n
        return sent

    def _head(self, length: int | None) -> bytes:
        request, status = self._request, self._status
        if status is None:
            raise AssertionError("the application did not call start_response")
        lines = ["HTTP/1.1 " + status, "Date: " + _date()]
        for name, value in self._fields:
            low = name.lower()
            if low in _OURS:
                continue
            if low == "content-length":
                self._left = int(value)
            lines.append(name + ": " + value)
        if status[:3] in ("204", "304") or status[0] == "1":
            request.wants_no_body = True
        elif self._left is None:
            if length is not None:
                lines.append(f"Content-Length: {length}")
            elif request.is_http11:
                self._chunked = True
                lines.append("Transfer-Encoding: chunked")
            else:
                request.keep = False
        body = request.body
        if self._is_stopping() or (body is not None and (body.took_too_much or not body.may_be_drained)):
            request.keep = False
        lines.append("Connection: keep-alive" if request.keep else "Connection: close")
        text = "\r\n".join(lines)
        if text.count("\r") != len(lines) - 1 or text.count("\n") != len(lines) - 1:
            raise ValueError("line break in a header field of the answer")
        return (text + "\r\n\r\n").encode("latin-1")


def failure(status: int) -> bytes:
    """Return a whole answer for a request that the application did not answer; the connection ends with it."""
    text = f"{status} {HTTPStatus(status).phrase}"
    return (
        f"HTTP/1.1 {text}\r\nDate: {_date()}\r\nContent-Type: text/plain\r\nContent-Length: {len(text) + 1}\r\n"
        f"Connection: close\r\n\r\n{text}\n"
    ).encode()


_last_date = (0, "")


def _date() -> str:
    """Return the date of now as answers have it, made once a second."""
    global _last_date
    second, text = _last_date
    now = int(time.time())
    if now != second:
        text = formatdate(now, usegmt=True)
        _last_date = (now, text)
    return text


def _close(thing: object) -> None:
    close = getattr(thing, "close", None)
    if close is not None:
        close()
