"""The built-in server with a small application, and a client that sends bytes as they are."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pulsar.web.httpd import Server

__all__ = ["SampleApp", "body_of", "exchange", "running_server", "status_of"]

TIMEOUT_S = 20.0


class SampleApp:
    """An application whose paths do what their names say. Paths that begin with ``/q`` are quick."""

    def __init__(self, directory: Path) -> None:
        self.content = os.urandom(3 << 20)
        self.file = directory / "content"
        self.file.write_bytes(self.content)
        #: Requests to ``/wait`` are under way until this is set; each of them first releases ``waiting``.
        self.go_on = threading.Event()
        self.waiting = threading.Semaphore(0)

    @staticmethod
    def is_quick(environ: dict[str, Any]) -> bool:
        path: str = environ["PATH_INFO"]
        return path.startswith("/q")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        name = environ["PATH_INFO"].strip("/")
        method = getattr(self, "_" + name, None)
        if method is None:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"no"]
        result: Iterable[bytes] = method(environ, start_response)
        return result

    def _ok(self, start_response: Callable[..., Any], body: bytes) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body]

    def _q(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self._ok(start_response, environ["QUERY_STRING"].encode("latin-1"))

    _n = _q

    def _qenv(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen = {name: value for name, value in environ.items() if isinstance(value, str)}
        return self._ok(start_response, json.dumps(seen).encode())

    def _qbig(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self._ok(start_response, self.content)

    def _echo(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self._ok(start_response, environ["wsgi.input"].read())

    def _readinto(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        buffer, total = bytearray(70_000), 0
        while count := environ["wsgi.input"].readinto(buffer):
            total += count
        return self._ok(start_response, str(total).encode())

    def _lines(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self._ok(start_response, b"|".join(environ["wsgi.input"]))

    def _blocks(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return (b"x" * size for size in (1, 0, 5, 100_000))

    def _nothing(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return iter(())

    def _204(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("204 No Content", [])
        return []

    def _ignore(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self._ok(start_response, b"ignored")

    def _raise(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise KeyError("raised on purpose")

    _qraise = _raise

    def _stops_short(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "10")])
        yield b"abc"
        raise KeyError("raised on purpose")

    def _qinjects(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("X", "a\r\nY: b")])
        return [b""]

    def _write(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        write(b"ab")
        return [b"cd"]

    def _file(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(len(self.content)))])
        result: Iterable[bytes] = environ["wsgi.file_wrapper"](open(self.file, "rb"))  # noqa: SIM115 - the server closes it
        return result

    def _part(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        file = open(self.file, "rb")  # noqa: SIM115 - the server closes it
        file.seek(1000)
        start_response("206 Partial Content", [("Content-Length", "100000")])
        result: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
        return result

    def _wait(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.waiting.release()
        self.go_on.wait(TIMEOUT_S)
        return self._ok(start_response, b"waited")


@contextlib.contextmanager
def running_server(app: Any, host: str = "127.0.0.1", **options: Any) -> Iterator[Server]:
    """Serve ``app`` on a free port in this process."""
    server = Server(app, host, 0, **{"grace_s": 5.0, **options})
    server.start()
    try:
        yield server
    finally:
        server.stop()


def exchange(port: int, *pieces: bytes, timeout_s: float = TIMEOUT_S) -> bytes:
    """Send the pieces, each in a packet of its own, and return all that comes until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        return read_to_end(client)


def read_to_end(client: socket.socket) -> bytes:
    """Return all that comes until the server ends the connection."""
    parts = []
    while data := client.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


def status_of(answer: bytes) -> int:
    """Return the status of the first answer; 0 when there is none."""
    words = answer[:20].split(b" ")
    return int(words[1]) if len(words) > 1 and words[0] == b"HTTP/1.1" else 0


def body_of(answer: bytes) -> bytes:
    """Return what follows the first head."""
    return answer.partition(b"\r\n\r\n")[2]
