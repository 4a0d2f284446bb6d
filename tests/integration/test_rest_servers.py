"""The REST API behaves the same behind every server that may carry it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.node import RunningNode, start_node, wait_until

SERVERS = [
    "default",
    pytest.param("uwsgi", marks=pytest.mark.service("uwsgi")),
    pytest.param("paste", marks=pytest.mark.service("paste")),
]


@pytest.fixture(scope="module", params=SERVERS)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    app = {"file_cache_dir": "cache", "max_upload_bytes": 50 << 20}
    with start_node(tmp_path_factory.mktemp("node"), request.param, token="t0ken", app=app) as node:
        yield node


@pytest.fixture
def job(node: RunningNode, request: pytest.FixtureRequest) -> Path:
    """A job of its own for each test."""
    job_id = request.node.name.translate(str.maketrans("[]-", "___"))[:100]
    return Path(node.set_up_job(job_id)["job_directory"])


def ask(
    node: RunningNode, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body; the path is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)
    with contextlib.closing(connection):
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(body or b"")), **(headers or {})}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def query(**values: str) -> str:
    return urlencode({**values, "private_token": "t0ken"})


@pytest.mark.parametrize("size", [0, 1, 70_000, 30 << 20])
def test_a_file_comes_and_goes_unchanged(node: RunningNode, job: Path, size: int) -> None:
    content = os.urandom(size)
    path = f"/jobs/{job.name}/files?"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _, body = ask(node, "POST", path + query(name="deep/x", type="output"), content, form)
    assert (status, json.loads(body)) == (200, {"path": str(job / "outputs" / "deep" / "x")})
    assert (job / "outputs" / "deep" / "x").read_bytes() == content
    status, headers, body = ask(node, "GET", path + query(name="deep/x"))
    assert (status, headers["content-length"]) == (200, str(size))
    assert body == content


@pytest.mark.parametrize("asked", ["bytes=0-9", "bytes=500000-", "bytes=-7", "bytes=100-400000", "bytes=0-"])
def test_parts_are_the_parts_that_were_asked_for(node: RunningNode, job: Path, asked: str) -> None:
    content = os.urandom(1_000_000)
    (job / "outputs" / "o").write_bytes(content)
    first, _, last = asked.removeprefix("bytes=").partition("-")
    part = content[int(first) : int(last) + 1 if last else None] if first else content[-int(last) :]
    status, headers, body = ask(node, "GET", f"/jobs/{job.name}/files?{query(name='o')}", headers={"Range": asked})
    assert (status, len(body), headers["content-length"]) == (206, len(part), str(len(part)))
    assert body == part
    assert headers["content-range"].endswith("/1000000")


def test_a_part_that_is_not_there(node: RunningNode, job: Path) -> None:
    (job / "outputs" / "o").write_bytes(b"123")
    status, headers, _ = ask(node, "GET", f"/jobs/{job.name}/files?{query(name='o')}", headers={"Range": "bytes=3-"})
    assert (status, headers["content-range"]) == (416, "bytes */3")


def test_head_has_the_length_and_no_body(node: RunningNode, job: Path) -> None:
    (job / "outputs" / "o").write_bytes(bytes(100_000))
    status, headers, body = ask(node, "HEAD", f"/jobs/{job.name}/files?{query(name='o')}")
    assert (status, headers["content-length"], body) == (200, "100000", b"")
    assert ask(node, "HEAD", f"/jobs/{job.name}/status?{query()}")[0::2] == (200, b"")


@pytest.mark.parametrize("how", ["close", "half-close"])
def test_a_truncated_upload_leaves_nothing(node: RunningNode, job: Path, how: str) -> None:
    with socket.create_connection(("127.0.0.1", node.port), timeout=30) as connection:
        head = (
            f"POST /jobs/{job.name}/files?{query(name='x', type='input')} HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
        )
        connection.sendall(head.encode() + bytes(2_000_000))
        if how == "half-close":
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while connection.recv(65536):
                    pass
    wait_until(lambda: os.listdir(job / "inputs") == [], "that nothing is left of the upload")
    assert ask(node, "POST", f"/jobs/{job.name}/files?{query(name='x', type='input')}", b"whole")[0] == 200
    assert (job / "inputs" / "x").read_bytes() == b"whole"


def test_refusals_are_answered_and_told_apart(node: RunningNode, job: Path) -> None:
    upload = f"/jobs/{job.name}/files?name=x&type=input"
    for method, path, body, status, reason in (
        ("POST", upload, b"abc", 401, "unauthorized"),
        ("POST", upload + "&private_token=wrong", bytes(500_000), 401, "unauthorized"),
        ("POST", f"/jobs/never/files?{query(name='x', type='input')}", b"abc", 404, "not_found"),
        ("GET", f"/jobs/{job.name}/files?{query(name='missing')}", None, 404, "not_found"),
        ("POST", f"/jobs/{job.name}/files?{query(name='x')}", b"abc", 400, "request_error"),
        ("POST", f"/jobs/{job.name}/files?{query(name='../x', type='input')}", b"abc", 400, "unsafe_path"),
        ("GET", f"/jobs?{query()}", None, 405, "method_not_allowed"),
        ("GET", f"/nothing?{query()}", None, 404, "not_found"),
        ("GET", f"/managers/none/jobs/1/status?{query()}", None, 404, "not_found"),
        ("PUT", f"/objects/1?{query()}", b"", 404, "not_found"),
    ):
        got, headers, content = ask(node, method, path, body)
        assert (got, json.loads(content)["reason"]) == (status, reason), path
        assert headers["content-type"] == "application/json"
    assert os.listdir(job / "inputs") == []


@pytest.mark.parametrize(
    "path", ["/jobs/a%2Fb/status", "/jobs/%2e%2e/status", "/jobs/../status", "/jobs/%00/status", "/jobs/%ff/status"]
)
def test_hostile_paths_are_refused(node: RunningNode, path: str) -> None:
    assert ask(node, "GET", f"{path}?{query()}")[0] in (400, 404)


def test_a_body_that_is_too_large_is_refused(node: RunningNode, job: Path) -> None:
    with socket.create_connection(("127.0.0.1", node.port), timeout=30) as connection:
        target = f"/jobs/{job.name}/files?{query(name='x', type='input')}"
        connection.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {60 << 20}\r\n\r\n".encode())
        assert b" 413 " in connection.recv(4096).splitlines()[0]
    assert os.listdir(job / "inputs") == []


def test_the_cache_of_uploads(node: RunningNode, job: Path) -> None:
    where = {"path": f"/galaxy/{job.name}"}
    assert [ask(node, "PUT", f"/cache?{query(**where)}")[2] for _ in range(2)] == [b"true", b"false"]
    assert ask(node, "POST", f"/cache?{query(**where)}", b"content")[2] == b"null"
    _, _, body = ask(node, "GET", f"/cache/status?{query(**where)}")
    found = json.loads(body)
    assert found["ready"] is True
    assert ask(node, "POST", f"/jobs/{job.name}/files?{query(name='x', type='input', cache_token=found['token'])}")[0] == 200
    assert (job / "inputs" / "x").read_bytes() == b"content"


def test_nothing_went_wrong_unseen(node: RunningNode) -> None:
    log = node.log_text()
    assert "Traceback" not in log
    assert "incident" not in log
