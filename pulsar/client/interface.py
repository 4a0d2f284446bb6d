"""How a client talks to a server: commands of :mod:`pulsar.protocol.commands` by name, with arguments and files.

:class:`ServerInterface` is what the clients need; :class:`HttpInterface` is the REST way (specification 1). Every judgement
about an answer, and every file that is read or written for a transfer, is here, whatever the transport.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import BinaryIO, Protocol, cast
from urllib.parse import urlencode

from pulsar.client.destination import base_url, without_token
from pulsar.client.exceptions import PulsarClientTransportError, StagingError
from pulsar.client.files import replacing
from pulsar.client.transport import Request, Response, Transport, open_transport
from pulsar.client.transport.base import is_success
from pulsar.protocol.commands import command

__all__ = ["HttpInterface", "ServerInterface"]

log = logging.getLogger(__name__)

_HINTS = {
    401: "the server wants a private token, or another one",
    403: "the server refuses this",
    404: "the server has no such address, job or file",
    413: "the server does not take so large a request",
    414: "the server does not take so long an address; its request-line limit must be lifted",
    431: "the server does not take so long an address; its header limit must be lifted",
}


class ServerInterface(Protocol):
    """A server's commands. ``args`` are text; those that are None are left out."""

    def execute(
        self,
        name: str,
        args: Mapping[str, str | None],
        *,
        content: bytes | None = None,
        source: str | None = None,
        target: str | None = None,
    ) -> bytes:
        """Carry out the command and return its answer.

        ``content`` or the bytes of the file ``source`` are the body. With ``target`` the answer is written to that file, whole
        or not at all, and nothing is returned. Raises :class:`PulsarClientTransportError` when the command was not carried
        out, and :class:`StagingError` when a local file cannot be read or written.
        """


class HttpInterface:
    """The REST interface of one server, or of one manager of it."""

    def __init__(
        self, url: str, private_token: str | None = None, transport: Transport | None = None, manager: str | None = None
    ) -> None:
        self._base_url = base_url(url, manager)
        self._private_token = private_token
        self._transport = transport or open_transport()

    def __repr__(self) -> str:
        return f"HttpInterface({without_token(self._base_url)!r})"

    def execute(
        self,
        name: str,
        args: Mapping[str, str | None],
        *,
        content: bytes | None = None,
        source: str | None = None,
        target: str | None = None,
    ) -> bytes:
        """Do as :class:`ServerInterface` says."""
        row = command(name)
        url = self.url(name, args)
        with _body(content, source) as (body, length), _sink(target) as sink:
            response = self._transport(Request(row.client_method, url, body, length, sink))
            log.debug("%s: %s %s answered %d", name, row.client_method, without_token(url), response.status)
            if not is_success(response.status):
                # Inside the block, so that the sink is given up.
                raise _error(response)
        return response.body

    def url(self, name: str, args: Mapping[str, str | None]) -> str:
        """Return the address of a command: everything is in the query string, the token last (specification 1.1)."""
        given = {key: value for key, value in args.items() if value is not None}
        path = command(name).url_path(**given)
        if self._private_token is not None:
            given["private_token"] = self._private_token
        query = urlencode(given)
        return f"{self._base_url}{path}?{query}" if query else self._base_url + path


def _error(response: Response) -> PulsarClientTransportError:
    hint = _HINTS.get(response.status)
    if 300 <= response.status < 400:
        hint = "the server has moved; use its new address"
    message = ": ".join(part for part in (response.reason, hint, _explanation(response)) if part)
    return PulsarClientTransportError(status=response.status, transport_message=message)


def _explanation(response: Response) -> str:
    """The server's own sentence, when it speaks plainly; pages of HTML are for browsers."""
    if not response.content_type.startswith("text/plain"):
        return ""
    text = response.body.decode("utf-8", "replace").strip()
    line = text.splitlines()[0] if text else ""
    return "" if line.startswith(str(response.status)) else line[:300]


@contextmanager
def _body(content: bytes | None, source: str | None) -> Iterator[tuple[BinaryIO | None, int]]:
    if source is None:
        yield (None, 0) if content is None else (BytesIO(content), len(content))
        return
    try:
        stream = open(source, "rb")  # noqa: SIM115 - closed below, where its errors are not those of the transfer
    except OSError as exc:
        raise StagingError(f"cannot send {source}: {exc.strerror}") from exc
    with stream:
        length = os.fstat(stream.fileno()).st_size
        yield cast("BinaryIO", _ExactReader(stream, length, source)), length


class _ExactReader:
    """Read a file as long as it was when its length was announced; a file that shrinks meanwhile is an error."""

    def __init__(self, stream: BinaryIO, length: int, name: str) -> None:
        self._stream = stream
        self._left = self._length = length
        self._name = name

    def read(self, size: int = -1) -> bytes:
        if self._left == 0:
            return b""
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        try:
            block = self._stream.read(wanted)
        except OSError as exc:
            raise StagingError(f"cannot send {self._name}: {exc.strerror}") from exc
        if not block:
            raise StagingError(f"cannot send {self._name}: it became shorter while it was sent")
        self._left -= len(block)
        return block

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = self._stream.seek(offset, whence)
        self._left = max(0, self._length - position)
        return position


@contextmanager
def _sink(target: str | None) -> Iterator[BinaryIO | None]:
    """Give a stream whose bytes are at ``target`` when the block has ended well, and nowhere otherwise."""
    if target is None:
        yield None
        return
    with replacing(target) as part, part.open("xb") as stream:
        yield stream
