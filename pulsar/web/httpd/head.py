"""From bytes to environ: request heads, taken apart by llhttp, the parser of Node.js (httptools).

Strict on purpose: what the parser accepts and two readers could understand differently, such as a repeated ``Host``, is refused
here as well (RFC 9112, section 11.2).
"""

from __future__ import annotations

import io
import re
from collections import deque
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

import httptools

from pulsar.web.httpd.connection import Connection, Refused
from pulsar.web.httpd.input import Body, ChunkedBody, LengthBody

__all__ = ["Environ", "Message", "Request", "take_request"]

Environ = dict[str, Any]

#: Most header fields of one request.
MAX_FIELDS = 200

_VERSIONS = {"1.1": "HTTP/1.1", "1.0": "HTTP/1.0"}
_ABSOLUTE = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
#: Fields that may come once only: two values would mean different things to different readers.
_ONCE = frozenset({"HTTP_HOST", "CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "HTTP_AUTHORIZATION"})
#: Lengths with more digits are nobody's.
_MOST_DIGITS = 18


class Message:
    """What the parser found; it calls the methods while bytes are fed to it."""

    __slots__ = ("ended", "fields", "has_more", "headed", "pieces", "target")

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.headed = self.ended = False
        #: The body as far as it was parsed and not read.
        self.pieces: deque[bytes] = deque()
        #: Whether something of a next request was fed.
        self.has_more = False

    def on_message_begin(self) -> None:
        self.has_more = self.ended

    def on_url(self, url: bytes) -> None:
        if not self.headed:
            self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headed:  # fields of a trailer are of no use to anybody here
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.headed = True

    def on_body(self, data: bytes) -> None:
        if not self.ended:
            self.pieces.append(data)

    def on_message_complete(self) -> None:
        self.ended = True


class Request:
    """One request on its way: the environ, and what its answer must look like."""

    __slots__ = ("body", "environ", "is_http11", "keep", "unsent", "wants_no_body")

    def __init__(self, environ: Environ, is_http11: bool, keep: bool, body: Body | None) -> None:
        self.environ = environ
        self.is_http11 = is_http11
        #: Whether the connection can be used again; whoever finds out that it cannot says so here.
        self.keep = keep
        #: None for a request that has no body at all.
        self.body = body
        self.wants_no_body = environ["REQUEST_METHOD"] == "HEAD"
        #: The rest of an answer that could not be sent at once.
        self.unsent: memoryview | None = None


def take_request(connection: Connection, base: Environ) -> Request | None:
    """Return the next request that was read ahead, once its head is complete; :class:`Refused` when it is none.

    ``base`` is what the environs of all requests have in common.
    """
    buffer, start = connection.buffer, connection.start
    while buffer.startswith(b"\r\n", start):  # empty lines before a request (RFC 9112, 2.2)
        connection.start = start = start + 2
    end = buffer.find(b"\r\n\r\n", max(start, connection.searched))
    if end < 0:
        connection.searched = max(start, len(buffer) - 3)
        return None
    connection.start = connection.searched = end + 4
    message = Message()
    parser = httptools.HttpRequestParser(message)
    try:
        parser.feed_data(bytes(buffer[start : end + 4]))
    except httptools.HttpParserUpgrade:
        pass  # nobody has to be upgraded: the request is answered as an ordinary one
    except httptools.HttpParserError as exc:
        raise Refused(400, str(exc)) from exc
    version = _VERSIONS.get(parser.get_http_version())
    if version is None or not message.headed:
        raise Refused(400, "not a request of HTTP/1.0 or 1.1")
    # The parser lets more than one space pass between the three words of the line.
    if buffer.find(b"\r\n", start) - start != len(parser.get_method()) + len(message.target) + len("  HTTP/1.1"):
        raise Refused(400, "request line")
    environ = base.copy()
    environ["REQUEST_METHOD"] = parser.get_method().decode("ascii")
    environ["SERVER_PROTOCOL"] = version
    environ["REMOTE_ADDR"], port = connection.peer
    environ["REMOTE_PORT"] = str(port)
    _read_target(environ, message.target)
    _read_fields(environ, message.fields)
    is_http11 = version == "HTTP/1.1"
    if is_http11 and "HTTP_HOST" not in environ:
        raise Refused(400, "no Host")
    body = _body(connection, environ, is_http11, parser, message)
    environ["wsgi.input"] = io.BytesIO() if body is None else body
    return Request(environ, is_http11, _keeps_connection(environ, is_http11), body)


def _read_target(environ: Environ, raw: bytes) -> None:
    target = raw.decode("latin-1")
    absolute = _ABSOLUTE.match(target)
    if absolute is not None:
        target = target[absolute.end() :]
        if not target.startswith("/"):
            target = "/" + target
    if not target.startswith("/"):
        raise Refused(400, "request target")
    path, _, query = target.partition("?")
    environ["RAW_URI"] = target
    environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1") if "%" in path else path
    environ["QUERY_STRING"] = query


def _read_fields(environ: Environ, fields: list[tuple[bytes, bytes]]) -> None:
    if len(fields) > MAX_FIELDS:
        raise Refused(431, "too many header fields")
    for name, raw in fields:
        key = _key(name)
        if key is None:
            continue
        value = raw.decode("latin-1").strip(" \t")
        if key in environ:
            if key in _ONCE:
                raise Refused(400, f"repeated {key}")
            value = f"{environ[key]}, {value}"
        environ[key] = value


@lru_cache(maxsize=512)
def _key(name: bytes) -> str | None:
    """Return a field's name in the environ; None for one with an underscore, which would pass for another with a hyphen."""
    if b"_" in name:
        return None
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in ("CONTENT_LENGTH", "CONTENT_TYPE") else "HTTP_" + key


def _keeps_connection(environ: Environ, is_http11: bool) -> bool:
    options = environ.get("HTTP_CONNECTION")
    if options is None:
        return is_http11
    words = {word.strip().lower() for word in options.split(",")}
    return "close" not in words and (is_http11 or "keep-alive" in words)


def _body(
    connection: Connection, environ: Environ, is_http11: bool, parser: httptools.HttpRequestParser, message: Message
) -> Body | None:
    awaits_continue = is_http11 and environ.get("HTTP_EXPECT", "").lower() == "100-continue"
    coding, length = environ.get("HTTP_TRANSFER_ENCODING"), environ.get("CONTENT_LENGTH")
    if coding is not None:
        if length is not None or not is_http11:
            raise Refused(400, "Content-Length with Transfer-Encoding")
        if coding.lower() != "chunked":
            raise Refused(501, "a transfer encoding other than chunked")
        return ChunkedBody(connection, awaits_continue, parser, message)
    if length is None:
        return None
    if not (length.isascii() and length.isdigit() and len(length) <= _MOST_DIGITS):
        raise Refused(400, "Content-Length")
    return LengthBody(connection, awaits_continue, int(length)) if int(length) else None
