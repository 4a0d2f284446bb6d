"""Clients that break off, dawdle, ask for too much or too long, against a running node over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from tests.support.node import RunningNode, start_node, wait_until

SLOW_UPLOADS = 200


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with start_node(tmp_path_factory.mktemp("node"), token="t0ken") as node:
        yield node


@pytest.fixture
def job(node: RunningNode, request: pytest.FixtureRequest) -> Path:
    """A job of its own for each test."""
    job_id = request.node.name.translate(str.maketrans("[]-", "___"))[:100]
    return Path(node.set_up_job(job_id)["job_directory"])


@contextlib.contextmanager
def wire(node: RunningNode, timeout_s: float = 30.0) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", node.port), timeout=timeout_s) as connection:
        yield connection


def target(job: Path, command: str = "files", **query: str) -> str:
    return f"/jobs/{job.name}/{command}?" + urlencode({**query, "private_token": "t0ken"})


def upload_head(job: Path, name: str, length: int) -> bytes:
    return f"POST {target(job, name=name, type='input')} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def answer_on(connection: socket.socket, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the next answer."""
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def is_alone(job: Path) -> bool:
    return not any(name.startswith(".pulsar-upload-") for name in os.listdir(job / "inputs"))


# -- uploads that break off -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
@pytest.mark.parametrize("sent", [0, 10, 3_000_000])
def test_a_truncated_upload_leaves_nothing(node: RunningNode, job: Path, how: str, sent: int) -> None:
    with wire(node) as connection:
        connection.sendall(upload_head(job, "x", 5_000_000))
        connection.sendall(bytes(sent))
        if sent:
            wait_until(lambda: os.listdir(job / "inputs"), "the upload's beginning")
        if how == "half-close":
            connection.shutdown(socket.SHUT_WR)
            status, _, body = answer_on(connection)
            assert (status, json.loads(body)["reason"]) == (400, "length_mismatch")
        elif how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: os.listdir(job / "inputs") == [], "that nothing is left of the upload")
    assert node.request("POST", f"/jobs/{job.name}/files", body=b"whole", name="x", type="input")
    assert (job / "inputs" / "x").read_bytes() == b"whole"


def test_a_truncated_upload_does_not_harm_what_was_there(node: RunningNode, job: Path) -> None:
    node.request("POST", f"/jobs/{job.name}/files", body=b"before", name="x", type="input")
    with wire(node) as connection:
        connection.sendall(upload_head(job, "x", 1000) + b"half")
        wait_until(lambda: not is_alone(job), "the upload's beginning")
    wait_until(lambda: is_alone(job), "that nothing is left of the upload")
    assert (job / "inputs" / "x").read_bytes() == b"before"


def test_an_upload_in_chunks(node: RunningNode, job: Path) -> None:
    with wire(node) as connection:
        head = f"POST {target(job, name='x', type='input')} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n")
        status, _, body = answer_on(connection)
    assert status == 200, body
    assert (job / "inputs" / "x").read_bytes() == b"abcde"


def test_broken_chunks_leave_nothing(node: RunningNode, job: Path) -> None:
    for chunks in (b"5\r\nabc", b"zz\r\nabc\r\n", b"3\r\nabc\r\n"):
        with wire(node) as connection:
            head = f"POST {target(job, name='x', type='input')} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.sendall(head.encode() + chunks)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(4096)
        wait_until(lambda: os.listdir(job / "inputs") == [], "that nothing is left of the upload")


def test_an_upload_of_many_mebibytes_arrives_whole(node: RunningNode, job: Path) -> None:
    content = os.urandom(1 << 20) * 40
    node.request("POST", f"/jobs/{job.name}/files", body=content, name="deep/x", type="input")
    assert (job / "inputs" / "deep" / "x").read_bytes() == content


def test_an_upload_that_expects_100_continue(node: RunningNode, job: Path) -> None:
    with wire(node) as connection:
        head = upload_head(job, "x", 3).replace(b"Host: x\r\n", b"Host: x\r\nExpect: 100-continue\r\n")
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"abc")
        assert answer_on(connection)[0] == 200


# -- uploads that are refused ---------------------------------------------------------------------------------------------


def test_a_small_refused_upload_is_answered_and_the_connection_goes_on(node: RunningNode, job: Path) -> None:
    with wire(node) as connection:
        for path, status in (
            (f"/jobs/{job.name}/files?name=x&type=input", 401),
            ("/jobs/none/files?name=x&type=input&private_token=t0ken", 404),
        ):
            connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode() + bytes(100000))
            assert answer_on(connection)[0] == status
        connection.sendall(f"GET {target(job, 'status')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert answer_on(connection)[0] == 200


def test_a_large_refused_upload_is_not_taken(node: RunningNode, job: Path) -> None:
    """The answer comes at once, and the node does not take the rest, be it a terabyte."""
    with wire(node, 10.0) as connection:
        connection.sendall(
            f"POST /jobs/{job.name}/files?name=x&type=input HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 40}\r\n\r\n".encode()
        )
        assert answer_on(connection)[0] == 401
        sent = 0
        with contextlib.suppress(ConnectionError, TimeoutError):
            while sent < 200 << 20:
                connection.sendall(bytes(1 << 20))
                sent += 1 << 20
    assert sent < 100 << 20
    assert os.listdir(job / "inputs") == []


# -- dawdlers -------------------------------------------------------------------------------------------------------------


def test_status_answers_while_many_uploads_dawdle(node: RunningNode, job: Path) -> None:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(wire(node)) for _ in range(SLOW_UPLOADS)]
        for number, connection in enumerate(connections):
            connection.sendall(upload_head(job, f"x{number}", 20) + b"0123456789")
        time.sleep(1.0)
        for connection in connections:
            connection.sendall(b"0")
        for _ in range(20):
            start = time.monotonic()
            assert node.status(job.name)["status"] == "preprocessing"
            assert time.monotonic() - start < 1.0
        for connection in connections:
            connection.sendall(b"123456789")
        for connection in connections:
            assert answer_on(connection)[0] == 200
    assert len(os.listdir(job / "inputs")) == SLOW_UPLOADS
    assert {path.read_bytes() for path in (job / "inputs").iterdir()} == {b"01234567890123456789"}


def test_status_answers_while_request_heads_dawdle(node: RunningNode, job: Path) -> None:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(wire(node)) for _ in range(SLOW_UPLOADS)]
        for connection in connections:
            connection.sendall(b"GET /jobs/1/sta")
        time.sleep(0.5)
        for _ in range(10):
            start = time.monotonic()
            node.status(job.name)
            assert time.monotonic() - start < 1.0


def test_readers_that_dawdle_do_not_hold_up_others(node: RunningNode, job: Path) -> None:
    with (job / "outputs" / "big").open("wb") as stream:
        stream.truncate(64 << 20)
    with contextlib.ExitStack() as stack:
        for _ in range(SLOW_UPLOADS):
            connection = stack.enter_context(wire(node))
            connection.sendall(f"GET {target(job, name='big')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(1.0)
        for _ in range(10):
            start = time.monotonic()
            node.status(job.name)
            assert time.monotonic() - start < 1.0


# -- long requests --------------------------------------------------------------------------------------------------------


def test_a_request_line_of_four_mebibytes(node: RunningNode, job: Path) -> None:
    command_line = "true # " + "é/ " * 500_000
    line = target(job, "submit", command_line=command_line)
    assert len(line) > 4 << 20
    with wire(node) as connection:
        connection.sendall(f"POST {line} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        assert answer_on(connection)[0::2] == (200, b"OK")
    assert json.loads((job / "launch_config").read_text())["command_line"] == command_line
    node.wait_for_end(job.name)


def test_hostile_request_lines_are_answered_by_4xx(node: RunningNode, job: Path) -> None:
    for path in (
        "/jobs/..%2Fx/status",
        "/jobs/%2e%2e/status",
        "/jobs/%00/status",
        "/jobs/%ff/status",
        "/jobs/a%2Fb/files?name=x",
        "//",
        "/",
    ):
        with wire(node) as connection:
            mark = "&" if "?" in path else "?"
            connection.sendall(f"GET {path}{mark}private_token=t0ken HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            status, _, body = answer_on(connection)
            assert status in (400, 404), path
            assert b"Traceback" not in body


# -- downloads ------------------------------------------------------------------------------------------------------------


def test_a_download_in_parts_over_one_connection(node: RunningNode, job: Path) -> None:
    content = os.urandom(3 << 20)
    (job / "outputs" / "o").write_bytes(content)
    line = target(job, name="o")
    with wire(node) as connection:
        for asked, status, part in (
            ("", 200, content),
            ("Range: bytes=0-9\r\n", 206, content[:10]),
            ("Range: bytes=1000000-\r\n", 206, content[1000000:]),
            ("Range: bytes=-7\r\n", 206, content[-7:]),
            ("Range: bytes=9999999-\r\n", 416, b""),
            ("Range: bytes=0-1,4-5\r\n", 200, content),
        ):
            connection.sendall(f"GET {line} HTTP/1.1\r\nHost: x\r\n{asked}\r\n".encode())
            got, headers, body = answer_on(connection)
            assert (got, body) == (status, part), asked
            assert headers["content-length"] == str(len(part))
        connection.sendall(f"HEAD {line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        got, headers, body = answer_on(connection, "HEAD")
        assert (got, headers["content-length"], body) == (200, str(len(content)), b"")
        connection.sendall(f"GET {target(job, 'status')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert answer_on(connection)[0] == 200


def test_many_requests_over_one_connection(node: RunningNode, job: Path) -> None:
    with wire(node) as connection:
        for number in range(50):
            connection.sendall(upload_head(job, f"x{number}", 4) + b"%04d" % number)
            assert answer_on(connection)[0] == 200
            connection.sendall(f"GET {target(job, 'status')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert answer_on(connection)[0] == 200
    assert len(os.listdir(job / "inputs")) == 50


def test_many_clients_at_once_get_their_own_files(node: RunningNode, job: Path) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                name = f"{number}-{turn}"
                content = name.encode() * 20_000
                node.request("POST", f"/jobs/{job.name}/files", body=content, name=name, type="output")
                assert node.request("GET", f"/jobs/{job.name}/files", name=name) == content
        except BaseException as exc:  # noqa: BLE001 - shown by the test
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_token_is_in_no_log(node: RunningNode) -> None:
    with contextlib.suppress(OSError):
        node.request("GET", "/nothing")
    with wire(node) as connection:
        connection.sendall(f"GET /jobs/{quote('é')}%zz/status?private_token=t0ken HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert answer_on(connection)[0] == 400
    assert "t0ken" not in node.log_text()
