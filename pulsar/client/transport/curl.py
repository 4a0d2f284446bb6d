"""The transport on libcurl: connections are kept between requests. The one module of the client that imports pycurl."""

from __future__ import annotations

import re
import threading
from io import BytesIO
from typing import BinaryIO

import pulsar
from pulsar.client.exceptions import PulsarClientTransportError
from pulsar.client.transport.base import MAX_ERROR_BYTES, Request, Response, is_success
from pulsar.client.transport.standard import UrllibTransport
from pulsar.errors import ConfigError, PulsarError

try:
    import pycurl
except ImportError as _missing:
    raise ConfigError("the transport 'curl' needs pycurl: pip install 'pulsar-node[curl]', or use 'urllib'") from _missing

__all__ = ["CurlTransport"]

_STATUS_LINE = re.compile(rb"HTTP/[\d.]+ (\d{3}) ?(.*)")
_CONNECT_TIMEOUT_S = 30
_MAX_REDIRECTS = 5

#: libcurl sends no request whose head is larger than 1 MiB ("HTTP request too large"); a launch request may well be.
_MAX_URL_CHARS = 1_000_000


class CurlTransport:
    """Send requests with libcurl. Each thread has a handle of its own, so one transport serves many threads."""

    def __init__(self, timeout: float | None = None) -> None:
        self._timeout = timeout
        self._handles = threading.local()
        self._for_long_urls = UrllibTransport(timeout)

    def __call__(self, request: Request) -> Response:
        """Return the answer, whatever its status."""
        if len(request.url) > _MAX_URL_CHARS:
            return self._for_long_urls(request)
        curl = self._handle()
        answer = _Answer(request.sink)
        curl.setopt(pycurl.URL, request.url)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.USERAGENT, f"pulsar-node/{pulsar.__version__}")
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.HEADERFUNCTION, answer.take_header)
        curl.setopt(pycurl.WRITEFUNCTION, answer.take_body)
        self._set_limits(curl)
        source = _Source(request.body) if request.body is not None else None
        _set_method(curl, request, source)
        try:
            curl.perform()
        except pycurl.error as exc:
            raise (source and source.failure) or answer.failure or _translated(exc) from exc
        return answer.response()

    def _handle(self) -> pycurl.Curl:
        handle: pycurl.Curl | None = getattr(self._handles, "curl", None)
        if handle is None:
            handle = self._handles.curl = pycurl.Curl()
        handle.reset()  # keeps the connections, forgets the options
        return handle

    def _set_limits(self, curl: pycurl.Curl) -> None:
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, int((self._timeout or _CONNECT_TIMEOUT_S) * 1000))
        if self._timeout is not None:
            # Silence is what is limited, not the time a large file takes.
            curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)
            curl.setopt(pycurl.LOW_SPEED_TIME, max(1, round(self._timeout)))


def _set_method(curl: pycurl.Curl, request: Request, source: _Source | None) -> None:
    headers = ["Expect:"]  # no pause before large bodies
    if source is not None:
        curl.setopt(pycurl.UPLOAD, 1)
        curl.setopt(pycurl.CUSTOMREQUEST, request.method)
        curl.setopt(pycurl.INFILESIZE_LARGE, request.length)
        curl.setopt(pycurl.READFUNCTION, source.read)
        curl.setopt(pycurl.SEEKFUNCTION, source.seek)
        headers.append("Content-Type: application/octet-stream")
    elif request.method == "GET":
        curl.setopt(pycurl.HTTPGET, 1)
        curl.setopt(pycurl.FOLLOWLOCATION, 1)
        curl.setopt(pycurl.MAXREDIRS, _MAX_REDIRECTS)
        curl.setopt(pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    else:
        curl.setopt(pycurl.POSTFIELDS, "")
        curl.setopt(pycurl.CUSTOMREQUEST, request.method)
        headers.append("Content-Type:")
    curl.setopt(pycurl.HTTPHEADER, headers)


class _Source:
    """Give a body to libcurl, and keep what went wrong: libcurl itself only says that a callback failed."""

    def __init__(self, body: BinaryIO) -> None:
        self._body = body
        self.failure: Exception | None = None

    def read(self, size: int) -> bytes | int:
        try:
            return self._body.read(size)
        except (OSError, PulsarError) as exc:
            self.failure = exc
            return pycurl.READFUNC_ABORT

    def seek(self, offset: int, origin: int) -> int:
        """libcurl sends a body again when a kept connection turns out to be dead."""
        self._body.seek(offset, origin)
        return pycurl.SEEKFUNC_OK


class _Answer:
    """Collect one answer. After a redirection a new status line comes, and what came before it is dropped."""

    def __init__(self, sink: BinaryIO | None) -> None:
        self._sink = sink
        self._kept = BytesIO()
        self._status = 0
        self._reason = ""
        self._content_type = ""
        #: What the sink raised.
        self.failure: OSError | None = None

    def take_header(self, line: bytes) -> None:
        status_line = _STATUS_LINE.match(line)
        if status_line:
            self._status = int(status_line[1])
            self._reason = status_line[2].strip().decode("latin-1")
            self._content_type = ""
            self._kept = BytesIO()
        elif line.lower().startswith(b"content-type:"):
            self._content_type = line.split(b":", 1)[1].strip().decode("latin-1")

    def take_body(self, block: bytes) -> int | None:
        if not is_success(self._status):
            room = MAX_ERROR_BYTES - self._kept.tell()
            self._kept.write(block[: max(0, room)])
            return None
        try:
            (self._sink or self._kept).write(block)
        except OSError as exc:
            self.failure = exc
            return 0  # anything but the length of the block ends the transfer
        return None

    def response(self) -> Response:
        return Response(self._status, self._reason, self._kept.getvalue(), self._content_type)


def _translated(error: pycurl.error) -> PulsarClientTransportError:
    ours = PulsarClientTransportError
    number, text = (*error.args, "", "")[:2]
    code = {pycurl.E_COULDNT_CONNECT: ours.CONNECTION_REFUSED, pycurl.E_OPERATION_TIMEDOUT: ours.TIMEOUT}.get(
        number, ours.UNKNOWN
    )
    return ours(code, transport_code=number if isinstance(number, int) else None, transport_message=str(text))
