"""The built-in server: framing, limits, who waits for whom, and how it ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pulsar.web.httpd import Server, server_context
from tests.support.certificates import make_certificates
from tests.support.httpd import SampleApp, body_of, exchange, read_to_end, running_server, status_of
from tests.support.node import wait_until


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> SampleApp:
    return SampleApp(tmp_path_factory.mktemp("app"))


@pytest.fixture(scope="module")
def server(app: SampleApp) -> Iterator[Server]:
    with running_server(app) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    with contextlib.closing(connection):
        yield connection


def head(line: str, *fields: str, keep: bool = False) -> bytes:
    """Return a request's head; without ``keep`` the server closes after its answer."""
    lines = [f"{line} HTTP/1.1", "Host: x", *([] if keep else ["Connection: close"]), *fields]
    return "\r\n".join([*lines, "\r\n"]).encode()


def ask(client: http.client.HTTPConnection, method: str, path: str, body: object = None, **options: object) -> bytes:
    client.request(method, path, body, **options)  # type: ignore[arg-type]
    answer = client.getresponse()
    content = answer.read()
    assert answer.status < 300, (answer.status, content)
    return content


def in_chunks(content: bytes, size: int) -> bytes:
    chunks = (content[start : start + size] for start in range(0, len(content), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


# -- requests and answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/q", "/n"])
class TestEitherWayOfAnswering:
    def test_a_request_is_answered(self, server: Server, path: str) -> None:
        answer = exchange(server.port, head(f"GET {path}?a=b"))
        assert (status_of(answer), body_of(answer)) == (200, b"a=b")
        assert b"\r\nConnection: close\r\n" in answer

    def test_pipelined_requests_are_answered_in_turn(self, server: Server, path: str) -> None:
        requests = b"".join(head(f"GET {path}?{number}", keep=number < 3) for number in (1, 2, 3))
        assert re.findall(rb"\r\n\r\n(\d)", exchange(server.port, requests)) == [b"1", b"2", b"3"]

    def test_head_has_a_length_and_no_body(self, server: Server, path: str) -> None:
        answer = exchange(server.port, head(f"HEAD {path}?abc"))
        assert b"Content-Length: 3\r\n" in answer
        assert body_of(answer) == b""

    def test_http_1_0_is_answered_and_closed(self, server: Server, path: str) -> None:
        answer = exchange(server.port, b"GET %b?abc HTTP/1.0\r\n\r\n" % path.encode())
        assert body_of(answer) == b"abc"

    def test_http_1_0_may_ask_to_keep_the_connection(self, server: Server, path: str) -> None:
        kept = b"GET %b?1 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" % path.encode()
        answer = exchange(server.port, kept, b"GET %b?2 HTTP/1.0\r\n\r\n" % path.encode())
        assert re.findall(rb"\r\n\r\n(\d)", answer) == [b"1", b"2"]

    def test_a_request_may_come_byte_by_byte(self, server: Server, path: str) -> None:
        answer = exchange(server.port, *(bytes([byte]) for byte in head(f"GET {path}?slow")))
        assert body_of(answer) == b"slow"

    def test_an_upgrade_is_answered_as_an_ordinary_request(self, server: Server, path: str) -> None:
        request = b"GET %b?up HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n" % path.encode()
        assert body_of(exchange(server.port, request)) == b"up"

    def test_a_line_of_four_mebibytes_is_taken(self, server: Server, path: str) -> None:
        answer = exchange(server.port, head(f"GET {path}?" + "x" * (4 << 20)))
        assert len(body_of(answer)) == 4 << 20


def test_different_requests_may_be_pipelined(server: Server) -> None:
    answer = exchange(
        server.port,
        head("GET /n?1", keep=True)
        + head("GET /q?2", keep=True)
        + head("POST /echo", "Content-Length: 3", keep=True)
        + b"abc"
        + head("GET /q?4", keep=True)
        + head("GET /n?5"),
    )
    assert re.findall(rb"\r\n\r\n(\d|abc)", answer) == [b"1", b"2", b"abc", b"4", b"5"]


def test_what_the_application_is_told(server: Server) -> None:
    fields = ("X-A: 1", "x-a:  2\t", "Content_Length: 5", "X_B: c", "Content-Type: a/b", "Empty:")
    told = json.loads(body_of(exchange(server.port, head("GET /%71env?x=%20", *fields))))
    assert told["REQUEST_METHOD"] == "GET"
    assert (told["PATH_INFO"], told["RAW_URI"], told["QUERY_STRING"]) == ("/qenv", "/%71env?x=%20", "x=%20")
    assert (told["HTTP_X_A"], told["CONTENT_TYPE"], told["HTTP_EMPTY"]) == ("1, 2", "a/b", "")
    assert (told["REMOTE_ADDR"], told["SERVER_PORT"]) == ("127.0.0.1", str(server.port))
    assert "CONTENT_LENGTH" not in told
    assert "HTTP_X_B" not in told


@pytest.mark.parametrize("target", ["http://x/qenv?z", "HTTPS://x:80/qenv?z"])
def test_a_target_may_be_absolute(server: Server, target: str) -> None:
    told = json.loads(body_of(exchange(server.port, head(f"GET {target}"))))
    assert (told["RAW_URI"], told["QUERY_STRING"]) == ("/qenv?z", "z")


def test_answers_of_every_kind(client: http.client.HTTPConnection, app: SampleApp) -> None:
    assert ask(client, "GET", "/blocks") == b"x" * 100_006
    assert ask(client, "GET", "/nothing") == b""
    assert ask(client, "GET", "/204") == b""
    assert ask(client, "GET", "/write") == b"abcd"
    assert ask(client, "GET", "/qbig") == app.content
    assert ask(client, "GET", "/file") == app.content
    assert ask(client, "GET", "/part") == app.content[1000:101_000]
    assert ask(client, "HEAD", "/file") == b""
    assert ask(client, "GET", "/q?still+there") == b"still+there"


def test_blocks_of_unknown_length_reach_a_client_of_http_1_0(server: Server) -> None:
    assert body_of(exchange(server.port, b"GET /blocks HTTP/1.0\r\n\r\n")) == b"x" * 100_006


@pytest.mark.parametrize("path", ["/raise", "/qraise", "/qinjects"])
def test_an_application_that_fails_is_an_error_of_the_server(server: Server, path: str) -> None:
    answer = exchange(server.port, head(f"GET {path}", keep=True))
    assert status_of(answer) == 500
    assert b"Y: b" not in answer


def test_an_answer_that_stops_short_ends_the_connection(server: Server) -> None:
    assert body_of(exchange(server.port, head("GET /stops_short", keep=True))) == b"abc"


# -- bodies ---------------------------------------------------------------------------------------------------------------


def test_bodies_of_a_known_length(client: http.client.HTTPConnection, app: SampleApp) -> None:
    assert ask(client, "POST", "/echo", b"hello") == b"hello"
    assert ask(client, "POST", "/echo", b"") == b""
    assert ask(client, "POST", "/echo", app.content) == app.content
    assert ask(client, "POST", "/readinto", app.content) == str(len(app.content)).encode()
    assert ask(client, "POST", "/lines", b"ab\ncd\n\nef") == b"ab\n|cd\n|\n|ef"


@pytest.mark.parametrize("size", [1, 7, 77_777, 3 << 20])
def test_chunks_of_any_size(server: Server, app: SampleApp, size: int) -> None:
    content = app.content[: size * 2000]
    answer = exchange(server.port, head("POST /echo", "Transfer-Encoding: chunked") + in_chunks(content, size))
    assert body_of(answer) == content


def test_chunks_may_come_byte_by_byte_with_extensions_and_trailers(server: Server) -> None:
    chunks = b"3\r\nabc\r\n5;ext=1\r\n12345\r\n0\r\nTrailer: x\r\n\r\n"
    pieces = [head("POST /echo", "Transfer-Encoding: chunked"), *(bytes([byte]) for byte in chunks)]
    assert body_of(exchange(server.port, *pieces)) == b"abc12345"


def test_a_connection_is_kept_after_chunks(client: http.client.HTTPConnection) -> None:
    chunks = iter([b"a", b"b" * 70_000])
    assert len(ask(client, "POST", "/echo", chunks, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})) == 70_001
    kept = client.sock
    assert ask(client, "GET", "/q?next") == b"next"
    assert client.sock is kept


def test_what_follows_chunks_in_the_same_breath_is_never_taken_for_their_request(server: Server) -> None:
    answer = exchange(
        server.port, head("POST /echo", "Transfer-Encoding: chunked", keep=True) + b"3\r\nabc\r\n0\r\n\r\n" + head("GET /q?after")
    )
    assert body_of(answer) == b"abc"
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize("chunks", [b"3\r\nabcX\r\n0\r\n\r\n", b"zz\r\n", b"-1\r\n", b"3\nabc\n0\n\n", b"1;" + b"x" * (3 << 20)])
def test_chunks_that_are_none_are_refused(server: Server, chunks: bytes) -> None:
    assert status_of(exchange(server.port, head("POST /echo", "Transfer-Encoding: chunked", keep=True) + chunks)) == 400


def test_a_connection_is_kept_when_little_was_left_unread(client: http.client.HTTPConnection) -> None:
    assert ask(client, "POST", "/ignore", b"x" * 500_000) == b"ignored"
    kept = client.sock
    assert ask(client, "GET", "/q?still") == b"still"
    assert client.sock is kept


@pytest.mark.parametrize(("path", "status"), [("/ignore", 200), ("/raise", 500)])
def test_an_answer_reaches_a_client_that_has_not_sent_all_of_a_large_body(
    server: Server, app: SampleApp, path: str, status: int
) -> None:
    answer = exchange(server.port, head(f"POST {path}", f"Content-Length: {len(app.content)}", keep=True) + app.content)
    assert status_of(answer) == status
    assert b"\r\nConnection: close\r\n" in answer


def test_an_error_before_the_body_was_read_does_not_confuse_the_next_request(client: http.client.HTTPConnection) -> None:
    client.request("POST", "/missing", head("GET /q?smuggled", keep=True) * 100)
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (404, b"no")
    assert ask(client, "GET", "/q?mine") == b"mine"


def test_a_client_that_asks_first_is_told_to_go_on(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 20) as client:
        client.sendall(head("POST /echo", "Content-Length: 3", "Expect: 100-continue"))
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abc")
        assert read_to_end(client).endswith(b"\r\n\r\nabc")


def test_a_client_that_asks_first_is_not_told_to_send_what_nobody_reads(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 20) as client:
        client.sendall(head("POST /ignore", "Content-Length: 3", "Expect: 100-continue", keep=True))
        answer = client.recv(1000)
        assert status_of(answer) == 200
        assert b"\r\nConnection: close\r\n" in answer


# -- what is refused ------------------------------------------------------------------------------------------------------

REFUSED = {
    "no request": (b"garbage\r\n\r\n", 400),
    "http 0.9": (b"GET /q\r\n\r\n", 400),
    "http 2": (b"GET /q HTTP/2.0\r\nHost: x\r\n\r\n", 400),
    "lines without carriage return": (b"GET /q HTTP/1.1\nHost: x\n\n\r\n\r\n", 400),
    "space before the colon": (b"GET /q HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "folded field": (b"GET /q HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
    "two spaces": (b"GET  /q HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "no host": (b"GET /q HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /q HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "nul in a field": (b"GET /q HTTP/1.1\r\nHost: a\x00\r\n\r\n", 400),
    "bare carriage return in a field": (b"GET /q HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
    "bytes beyond ascii in the target": (b"GET /q\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "no path": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "connect": (b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "two lengths": (head("POST /echo", "Content-Length: 3", "Content-Length: 3") + b"abc", 400),
    "length and chunks": (head("POST /echo", "Content-Length: 3", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "chunks and length": (head("POST /echo", "Transfer-Encoding: chunked", "Content-Length: 3") + b"0\r\n\r\n", 400),
    "chunked twice": (head("POST /echo", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400),
    "another coding": (head("POST /echo", "Transfer-Encoding: gzip, chunked"), 501),
    "chunks in http 1.0": (b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "signed length": (head("POST /echo", "Content-Length: +3") + b"abc", 400),
    "list of lengths": (head("POST /echo", "Content-Length: 3, 3") + b"abc", 400),
    "endless length": (head("POST /echo", "Content-Length: 99999999999999999999999") + b"abc", 400),
    "too many fields": (head("GET /q", *(f"H{number}: x" for number in range(300))), 431),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_two_readers_could_read_differently_is_refused(server: Server, name: str) -> None:
    request, status = REFUSED[name]
    answer = exchange(server.port, request)
    assert status_of(answer) == status
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_head_beyond_the_limit_is_refused(app: SampleApp) -> None:
    with running_server(app, max_head=100_000) as server:
        assert status_of(exchange(server.port, head("GET /q?" + "x" * 3_000_000))) == 431


def test_no_query_is_ever_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for path in ("/raise", "/qraise", "/qinjects", "/missing", "/q\xff"):
        exchange(server.port, head(f"GET {path}?private_token=hidden"))
    exchange(server.port, head("POST /echo?private_token=hidden", "Transfer-Encoding: chunked") + b"zz\r\n")
    assert "error in /raise" in caplog.text
    assert "hidden" not in caplog.text


# -- many, slow and rude clients --------------------------------------------------------------------------------------------


def test_a_slow_reader_of_a_quick_answer_keeps_nobody_waiting(server: Server, app: SampleApp) -> None:
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(20)
        slow.connect(("127.0.0.1", server.port))
        slow.sendall(head("GET /qbig"))
        assert slow.recv(1) == b"H"
        assert body_of(exchange(server.port, head("GET /q?x"))) == b"x"
        assert body_of(b"H" + read_to_end(slow)) == app.content


def test_quick_requests_are_answered_while_uploads_have_all_threads(app: SampleApp) -> None:
    with running_server(app, max_threads=16) as server, contextlib.ExitStack() as stack:
        uploads = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 20)) for _ in range(500)]
        for upload in uploads:
            upload.sendall(head("POST /echo", "Content-Length: 10", keep=True) + b"x")
        wait_until(lambda: server._busy + len(server._waiting) == 500, "all uploads under way")
        assert body_of(exchange(server.port, head("GET /q?hi"))) == b"hi"
        for upload in uploads:
            upload.sendall(b"y" * 9)
        assert all(upload.recv(1000).endswith(b"\r\n\r\nxyyyyyyyyy") for upload in uploads)
        wait_until(lambda: server._busy == 0 and not server._waiting, "the end of all uploads")
        for upload in uploads:
            upload.sendall(head("GET /n?again"))
        assert all(read_to_end(upload).endswith(b"again") for upload in uploads)


def test_heads_that_never_end_cost_no_thread(app: SampleApp) -> None:
    with running_server(app, max_threads=2) as server, contextlib.ExitStack() as stack:
        for _ in range(500):
            half = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 20))
            half.sendall(b"GET /q HTTP/1.1\r\nHost: x\r\nX-")
        wait_until(lambda: len(server._watched) == 500, "all connections")
        assert body_of(exchange(server.port, head("GET /q?hi"))) == b"hi"
        assert body_of(exchange(server.port, head("GET /n?hi"))) == b"hi"


def test_a_client_that_leaves_frees_its_thread(app: SampleApp) -> None:
    with running_server(app) as server:
        with socket.create_connection(("127.0.0.1", server.port), 20) as client:
            client.sendall(head("POST /echo", "Content-Length: 1000") + b"x")
            wait_until(lambda: server._busy == 1, "the upload")
        wait_until(lambda: server._busy == 0, "its end")


def test_silence_has_an_end(app: SampleApp) -> None:
    with running_server(app, keep_alive_s=0.3, io_timeout_s=0.3) as server:
        with contextlib.suppress(ConnectionResetError):
            assert body_of(exchange(server.port, head("POST /echo", "Content-Length: 10") + b"x")) == b""
        assert exchange(server.port, b"GET /q") == b""
        assert exchange(server.port) == b""
        assert body_of(exchange(server.port, head("GET /q?kept", keep=True))) == b"kept"


def test_many_clients_at_once_get_what_is_theirs(server: Server, app: SampleApp) -> None:
    wrong: list[str] = []

    def hammer(seed: int) -> None:
        choice = random.Random(seed)
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        try:
            for number in range(60):
                match choice.choice(["quick", "echo", "part", "chunks"]):
                    case "quick":
                        assert ask(client, "GET", f"/{choice.choice('qn')}?{number}") == str(number).encode()
                    case "echo":
                        body = os.urandom(choice.choice((0, 1, 70_000, 400_000)))
                        assert ask(client, "POST", "/echo", body) == body
                    case "part":
                        assert ask(client, "GET", "/part") == app.content[1000:101_000]
                    case _:
                        blocks = iter([b"a", b"b" * 70_000])
                        headers = {"Transfer-Encoding": "chunked"}
                        assert len(ask(client, "POST", "/echo", blocks, encode_chunked=True, headers=headers)) == 70_001
                if choice.random() < 0.1:
                    client.close()
        except Exception as exc:  # noqa: BLE001 - the test shows it
            wrong.append(repr(exc))
        finally:
            client.close()

    threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    wait_until(lambda: server._busy == 0, "that all threads are free")


def test_a_server_without_descriptors_goes_on_when_there_are_some_again(tmp_path: Path) -> None:
    script = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
        "from pathlib import Path\n"
        "from tests.support.httpd import SampleApp\n"
        "from pulsar.web.httpd import Server\n"
        f"server = Server(SampleApp(Path({str(tmp_path)!r})), '127.0.0.1', 0)\n"
        "server.serve_forever(lambda: print(server.port, flush=True))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with contextlib.ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
        assert body_of(exchange(port, head("GET /q?back"))) == b"back"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


# -- addresses, TLS, the end ------------------------------------------------------------------------------------------------


def test_a_name_is_listened_at_by_all_its_addresses(app: SampleApp) -> None:
    with running_server(app, "localhost") as server:
        assert ("127.0.0.1", server.port) in server.addresses
        for host, port in server.addresses:
            with contextlib.closing(http.client.HTTPConnection(host, port, timeout=20)) as client:
                assert ask(client, "GET", "/q?here") == b"here"


def test_an_address_that_is_taken_is_an_error(server: Server, app: SampleApp) -> None:
    with pytest.raises(OSError, match="in use"):
        Server(app, "127.0.0.1", server.port)


@pytest.mark.service("openssl")
def test_tls(app: SampleApp, tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with running_server(app, tls=server_context(str(tmp_path / "host.pem"))) as server, contextlib.ExitStack() as stack:
        for begun in (b"", b"\x16\x03\x01") * 10:  # before and in the middle of a handshake
            silent = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 20))
            silent.sendall(begun)
        context = ssl.create_default_context(cafile=str(certificates.authority))
        client = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=20)
        stack.enter_context(contextlib.closing(client))
        for number in range(3):
            assert ask(client, "GET", f"/q?{number}") == str(number).encode()
        kept = client.sock
        assert ask(client, "POST", "/echo", app.content) == app.content
        assert ask(client, "GET", "/qbig") == app.content
        assert ask(client, "GET", "/file") == app.content
        assert ask(client, "GET", "/part") == app.content[1000:101_000]
        assert client.sock is kept
        assert kept is not None
        kept.sendall(b"".join(head(f"GET /q?{number}", keep=number < 3) for number in (1, 2, 3)))
        assert re.findall(rb"\r\n\r\n(\d)", read_to_end(kept)) == [b"1", b"2", b"3"]
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/1.1 200" not in exchange(server.port, head("GET /q?plain"))


def test_a_request_under_way_is_answered_before_the_end_and_an_idle_connection_is_not_waited_for(app: SampleApp) -> None:
    with running_server(app) as server, socket.create_connection(("127.0.0.1", server.port), 20) as idle:
        idle.sendall(head("GET /q?idle", keep=True))
        assert idle.recv(1000).endswith(b"idle")
        with socket.create_connection(("127.0.0.1", server.port), 20) as client:
            client.sendall(head("GET /wait", keep=True))
            assert app.waiting.acquire(timeout=20)
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            assert idle.recv(1000) == b""
            app.go_on.set()
            answer = read_to_end(client)
            assert body_of(answer) == b"waited"
            assert b"\r\nConnection: close\r\n" in answer
        before = time.monotonic()
        stopping.join()
        assert time.monotonic() - before < 5
    with pytest.raises(ConnectionRefusedError):
        exchange(server.port, head("GET /q"))
