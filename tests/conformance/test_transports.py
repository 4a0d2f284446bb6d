"""Every transport of the client keeps the same promises over a real connection."""

from __future__ import annotations

import hashlib
import os
import resource
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest

from pulsar.client.exceptions import PulsarClientTransportError, StagingError
from pulsar.client.interface import HttpInterface
from pulsar.client.transport import TRANSPORTS, Request, Transport, open_transport
from tests.support.node import free_port


class Handler(BaseHTTPRequestHandler):
    """Answers by path; what came is in the headers of the answer."""

    protocol_version = "HTTP/1.1"
    connections: set[tuple[str, int]]
    big: bytes = b""
    release: threading.Event

    def answer(self) -> None:
        type(self).connections.add(self.client_address)
        length = self.headers.get("Content-Length")
        digest, left = hashlib.sha256(), int(length or 0)
        while left:
            block = self.rfile.read(min(left, 1 << 20))
            digest.update(block)
            left -= len(block)
        route = self.path.partition("?")[0].strip("/").replace("/", "_") or "echo"
        getattr(self, f"do_{route}", self.do_echo)(f"{self.command} {length} {digest.hexdigest()[:8]}".encode())

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - names of the standard library

    def do_echo(self, said: bytes) -> None:
        self.reply(200, said)

    def do_missing(self, said: bytes) -> None:
        self.reply(404, b"it is not here", {"Content-Type": "text/plain"})

    def do_moved(self, said: bytes) -> None:
        self.reply(302, b"look there", {"Location": "/echo"})

    def do_chunked(self, said: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for block in (b"first ", b"second"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
        self.wfile.write(b"0\r\n\r\n")

    def do_broken_off(self, said: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"only this")
        self.close_connection = True

    def do_silent(self, said: bytes) -> None:
        self.release.wait(10.0)
        self.close_connection = True

    def do_big(self, said: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.big) * 64))
        self.end_headers()
        for _ in range(64):
            self.wfile.write(self.big)

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what some of the tests are about."""


@pytest.fixture(scope="module")
def http_server() -> Iterator[str]:
    Handler.connections = set()
    Handler.release = threading.Event()
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Handler.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def answering_once(answer: bytes) -> Iterator[tuple[str, bytearray]]:
    """Take one connection, read a request's head and answer with these bytes; gives the address and what was read."""
    received = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10.0)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while not received.endswith(b"\r\n\r\n"):
                    received.extend(connection.recv(1 << 20))
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", received
        thread.join(10.0)


@pytest.fixture(params=sorted(TRANSPORTS))
def transport(request: pytest.FixtureRequest) -> Transport:
    return open_transport(request.param, 30.0)


def body(content: bytes) -> dict[str, object]:
    return {"body": BytesIO(content), "length": len(content)}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_a_request_without_a_body(transport: Transport, http_server: str, method: str) -> None:
    answer = transport(Request(method, f"{http_server}/echo?x=1"))
    assert (answer.status, answer.reason) == (200, "OK")
    assert answer.body.split()[0] == method.encode()
    assert answer.body.split()[1] in (b"None", b"0")


@pytest.mark.parametrize("content", [b"", b"content", os.urandom(3_000_000)], ids=["empty", "short", "long"])
def test_a_body_arrives_with_its_length(transport: Transport, http_server: str, content: bytes) -> None:
    answer = transport(Request("POST", f"{http_server}/echo", **body(content)))  # type: ignore[arg-type]
    assert answer.body == b"POST %d %s" % (len(content), hashlib.sha256(content).hexdigest()[:8].encode())


def test_an_address_of_megabytes_is_sent_whole(transport: Transport) -> None:
    """``submit`` has everything in its query string; the standard library's server takes no such line, so one is made here."""
    wanted = "x" * 4_000_000
    with answering_once(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK") as (url, received):
        answer = transport(Request("POST", f"{url}/jobs?command_line={wanted}"))
    assert answer.body == b"OK"
    assert wanted.encode() in received


def test_an_error_is_an_answer_with_its_text(transport: Transport, http_server: str) -> None:
    sink = BytesIO()
    answer = transport(Request("GET", f"{http_server}/missing", sink=sink))
    assert (answer.status, answer.body, answer.content_type) == (404, b"it is not here", "text/plain")
    assert sink.getvalue() == b""


def test_a_read_may_be_redirected(transport: Transport, http_server: str) -> None:
    sink = BytesIO()
    assert transport(Request("GET", f"{http_server}/moved", sink=sink)).status == 200
    assert sink.getvalue().startswith(b"GET")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_change_is_never_turned_into_a_read(transport: Transport, http_server: str, method: str) -> None:
    assert transport(Request(method, f"{http_server}/moved")).status == 302


def test_chunks_are_put_together(transport: Transport, http_server: str) -> None:
    sink = BytesIO()
    transport(Request("GET", f"{http_server}/chunked", sink=sink))
    assert sink.getvalue() == b"first second"
    assert transport(Request("GET", f"{http_server}/chunked")).body == b"first second"


@pytest.mark.parametrize("into_sink", [True, False])
def test_an_answer_that_is_broken_off_is_no_answer(transport: Transport, http_server: str, into_sink: bool) -> None:
    with pytest.raises(PulsarClientTransportError) as caught:
        transport(Request("GET", f"{http_server}/broken_off", sink=BytesIO() if into_sink else None))
    assert caught.value.transient


@pytest.mark.parametrize("name", sorted(TRANSPORTS))
def test_silence_is_a_timeout(http_server: str, name: str) -> None:
    with pytest.raises(PulsarClientTransportError) as caught:
        open_transport(name, 1.0)(Request("GET", f"{http_server}/silent"))
    assert caught.value.code == "timeout"


def test_a_closed_port_is_a_refusal(transport: Transport) -> None:
    with pytest.raises(PulsarClientTransportError) as caught:
        transport(Request("GET", f"http://127.0.0.1:{free_port()}/?private_token=secret"))
    assert caught.value.code == "connection_refused"
    assert "secret" not in str(caught.value)


def test_something_else_than_http_is_told_without_the_address(transport: Transport) -> None:
    with answering_once(b"SSH-2.0-OpenSSH\r\n") as (url, _), pytest.raises(PulsarClientTransportError) as caught:
        transport(Request("GET", f"{url}/?private_token=secret"))
    assert "secret" not in str(caught.value)


def test_a_full_disk_is_not_an_error_of_the_network(transport: Transport, http_server: str) -> None:
    class Full(BytesIO):
        def write(self, block: object) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        transport(Request("GET", f"{http_server}/echo", sink=Full()))
    # The next request is not disturbed by it.
    assert transport(Request("GET", f"{http_server}/echo")).status == 200


def test_a_file_that_shrinks_is_not_an_error_of_the_network(transport: Transport, http_server: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1_000_000))
    interface = HttpInterface(http_server, None, transport)

    def shrinking(request: Request) -> object:
        path.write_bytes(b"")
        return transport(request)

    interface._transport = shrinking  # type: ignore[assignment]
    with pytest.raises(StagingError, match="shorter"):
        interface.execute("upload_file", {"job_id": "1", "name": "a", "type": "input"}, source=str(path))


def test_a_large_download_costs_no_memory(transport: Transport, http_server: str, tmp_path: Path) -> None:
    Handler.big = bytes(4 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (tmp_path / "file").open("wb") as sink:
        transport(Request("GET", f"{http_server}/big", sink=sink))
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (tmp_path / "file").stat().st_size == 64 * len(Handler.big)
    assert grown_kib < 64 * 1024, f"{grown_kib} KiB on {sys.platform}"


def test_curl_keeps_its_connection(http_server: str) -> None:
    transport = open_transport("curl")
    Handler.connections.clear()
    for _ in range(3):
        transport(Request("GET", f"{http_server}/echo"))
        transport(Request("POST", f"{http_server}/echo", **body(b"content")))  # type: ignore[arg-type]
    assert len(Handler.connections) == 1


def test_many_threads_share_one_transport(transport: Transport, http_server: str) -> None:
    answers: list[bytes] = []

    def ask(number: int) -> None:
        content = b"%d" % number * 1000
        answer = transport(Request("POST", f"{http_server}/echo", **body(content)))  # type: ignore[arg-type]
        answers.append(answer.body.split()[2] + hashlib.sha256(content).hexdigest()[:8].encode())

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 20
    assert all(answer[:8] == answer[8:] for answer in answers)
