"""The transport on the standard library: one connection per request, bodies streamed both ways."""

from __future__ import annotations

import http.client
import socket
import urllib.error
import urllib.request
from email.message import Message
from typing import IO, Any, BinaryIO

import pulsar
from pulsar.client.exceptions import PulsarClientTransportError
from pulsar.client.transport.base import MAX_ERROR_BYTES, Request, Response, is_success

__all__ = ["UrllibTransport"]

_BLOCK_BYTES = 256 * 1024


class _ReadsMayMove(urllib.request.HTTPRedirectHandler):
    """Follow redirections of GET only: the standard handler turns a redirected POST into a GET, which does something else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        if req.get_method() != "GET":
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


class _SinkFailed(Exception):
    """The receiver of the body failed, not the connection: its :class:`OSError` must not look like one of the network."""

    def __init__(self, reason: OSError) -> None:
        super().__init__()
        self.reason = reason


class UrllibTransport:
    """Send requests with :mod:`urllib`, honouring the proxy settings of the environment."""

    def __init__(self, timeout: float | None = None) -> None:
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_ReadsMayMove)
        self._opener.addheaders = [("User-Agent", f"pulsar-node/{pulsar.__version__}")]

    def __call__(self, request: Request) -> Response:
        """Return the answer, whatever its status."""
        try:
            with self._open(request) as answer:
                return _response(answer, answer.status, request.sink)
        except _SinkFailed as exc:
            raise exc.reason from exc
        except urllib.error.HTTPError as error:
            with error:
                return _response(error, error.code, None)
        except urllib.error.URLError as exc:
            raise _translated(exc.reason) from exc
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise _translated(exc) from exc

    def _open(self, request: Request) -> Any:
        wire = urllib.request.Request(request.url, method=request.method)  # noqa: S310 - the interface builds http(s) only
        if request.body is not None:
            wire.data = request.body
            wire.add_header("Content-Length", str(request.length))
            wire.add_header("Content-Type", "application/octet-stream")
        if self._timeout is None:
            return self._opener.open(wire)
        return self._opener.open(wire, timeout=self._timeout)


def _response(answer: Any, status: int, sink: BinaryIO | None) -> Response:
    content_type = answer.headers.get("Content-Type", "")
    if not is_success(status):
        return Response(status, answer.reason or "", answer.read(MAX_ERROR_BYTES), content_type)
    if sink is None:
        return Response(status, answer.reason or "", answer.read(), content_type)
    received = 0
    while block := answer.read(_BLOCK_BYTES):
        try:
            sink.write(block)
        except OSError as exc:
            raise _SinkFailed(exc) from exc
        received += len(block)
    announced = answer.headers.get("Content-Length")
    # http.client does not complain about a body that ends early when it is read in pieces.
    if announced is not None and announced.isdigit() and received != int(announced):
        raise http.client.IncompleteRead(b"", int(announced) - received)
    return Response(status, answer.reason or "", b"", content_type)


def _translated(reason: object) -> PulsarClientTransportError:
    """Return our error for a foreign one. Only texts that cannot hold the address (with its token) are repeated."""
    error = PulsarClientTransportError
    if isinstance(reason, (TimeoutError, socket.timeout)):
        return error(error.TIMEOUT)
    if isinstance(reason, ConnectionRefusedError):
        return error(error.CONNECTION_REFUSED, transport_code=reason.errno, transport_message=reason.strerror)
    if isinstance(reason, http.client.IncompleteRead):
        return error(transport_message="the answer ended before its announced length")
    if isinstance(reason, (http.client.HTTPException, ValueError)) and not isinstance(reason, OSError):
        return error(transport_message=f"not an HTTP exchange ({type(reason).__name__})")
    if isinstance(reason, OSError):
        return error(transport_code=reason.errno, transport_message=reason.strerror or str(reason) or type(reason).__name__)
    return error(transport_message=str(reason))
