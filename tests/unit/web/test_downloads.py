"""Sending files: length, parts, conditions (RFC 9110), and that nothing is left open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import pytest

from tests.support.web import Client, WebNode

CONTENT = bytes(range(256)) * 4000
FILE = "/jobs/7/files?name=o"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[WebNode]:
    node = WebNode(tmp_path)
    (node.job() / "outputs" / "o").write_bytes(CONTENT)
    (node.job() / "outputs" / "empty").touch()
    before = len(os.listdir("/proc/self/fd"))
    yield node
    assert len(os.listdir("/proc/self/fd")) == before


class Wrapper:
    """What PEP 3333 says of ``wsgi.file_wrapper``: from where the file is, to its end."""

    made: ClassVar[list[Wrapper]] = []

    def __init__(self, stream: BinaryIO, block: int = 8192) -> None:
        self.stream = stream
        self.start = stream.tell()
        stream.fileno()
        self.made.append(self)

    def __iter__(self) -> Iterator[bytes]:
        yield self.stream.read()

    def close(self) -> None:
        self.stream.close()


@pytest.fixture(params=["with file_wrapper", "without", "uwsgi"])
def client(request: pytest.FixtureRequest, node: WebNode) -> Client:
    Wrapper.made = []
    extra: dict[str, Any] = {} if request.param == "without" else {"wsgi.file_wrapper": Wrapper}
    if request.param == "uwsgi":
        extra["uwsgi.version"] = b"2.0"
    return Client(node.app, **extra)


def test_a_whole_file_has_its_length_and_what_conditions_need(client: Client) -> None:
    answer = client.request("GET", FILE)
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"].startswith('W/"')
    assert answer.headers["Last-Modified"].endswith("GMT")


def test_an_empty_file_is_empty(client: Client) -> None:
    answer = client.request("GET", "/jobs/7/files?name=empty")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")
    assert client.request("GET", "/jobs/7/files?name=empty", headers={"Range": "bytes=0-"}).status == 416


SIZE = len(CONTENT)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-", 0, SIZE),
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=300000-900000", 300000, 900001),
        ("bytes=1000-", 1000, SIZE),
        ("bytes=-5", SIZE - 5, SIZE),
        (f"bytes=-{SIZE * 2}", 0, SIZE),
        (f"bytes=10-{SIZE * 2}", 10, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
    ],
)
def test_a_part_is_sent(client: Client, asked: str, start: int, stop: int) -> None:
    answer = client.request("GET", FILE, headers={"Range": asked})
    assert (answer.status, answer.body) == (206, CONTENT[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE * 9}-{SIZE * 10}", "bytes=-0"])
def test_a_part_that_is_not_there_is_416(client: Client, asked: str) -> None:
    answer = client.request("GET", FILE, headers={"Range": asked})
    assert (answer.status, answer.headers["Content-Range"], answer.body) == (416, f"bytes */{SIZE}", b"")


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=0-1,5-6",
        "bytes=5-1",
        "bytes=",
        "bytes=a-b",
        "lines=1-2",
        "",
        "bytes=-",
        "bytes 1-2",
        "bytes=1-2-3",
        "\xff",
        "bytes=-" + "9" * 5000,
    ],
)
def test_a_range_that_is_none_or_several_is_ignored(client: Client, asked: str) -> None:
    answer = client.request("GET", FILE, headers={"Range": asked})
    assert (answer.status, answer.body) == (200, CONTENT)


def test_if_range(client: Client) -> None:
    first = client.request("GET", FILE)
    for condition, status in (
        (first.headers["Last-Modified"], 206),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 200),
        (first.headers["ETag"], 200),  # a weak tag never matches here
        ("nonsense", 200),
    ):
        assert client.request("GET", FILE, headers={"Range": "bytes=0-1", "If-Range": condition}).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": "{etag}"}, 304),
        ({"If-None-Match": '"x", {etag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": "{modified}"}, 200),
        ({"If-Modified-Since": "{modified}"}, 304),
        ({"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "nonsense"}, 200),
        ({"If-Modified-Since": "Mon, 01 Jan 99999999999 00:00:00 GMT"}, 200),
    ],
)
def test_conditions(client: Client, headers: dict[str, str], status: int) -> None:
    first = client.request("HEAD", FILE)
    filled = {
        name: value.format(etag=first.headers["ETag"], modified=first.headers["Last-Modified"]) for name, value in headers.items()
    }
    answer = client.request("GET", FILE, headers=filled)
    assert answer.status == status
    assert len(answer.body) == (0 if status == 304 else SIZE)


@pytest.mark.parametrize("time", [-1e9, 0, 1e18, 1e10 + 0.5])
def test_a_file_from_the_far_past_or_future_is_sent(node: WebNode, client: Client, time: float) -> None:
    try:
        os.utime(node.staging / "7" / "outputs" / "o", (time, time))
    except OverflowError:
        pytest.skip("this file system has no such time")
    assert client.request("GET", FILE).body == CONTENT
    assert client.request("GET", FILE, headers={"Range": "bytes=1-2", "If-Range": "x"}).status == 200


def test_the_server_sends_the_file_itself_where_it_can(node: WebNode) -> None:
    client = Client(node.app, **{"wsgi.file_wrapper": Wrapper})
    for asked, start in (("", 0), ("bytes=0-", 0), ("bytes=1000-", 1000), ("bytes=-7", SIZE - 7)):
        Wrapper.made = []
        client.request("GET", FILE, headers={"Range": asked})
        assert [wrapper.start for wrapper in Wrapper.made] == [start]
    Wrapper.made = []
    client.request("GET", FILE, headers={"Range": "bytes=0-10"})
    assert Wrapper.made == []


def test_head_opens_nothing_for_long(client: Client) -> None:
    for headers in ({}, {"Range": "bytes=1-2"}):
        answer = client.request("HEAD", FILE, headers=headers)
        assert answer.body == b""
        assert int(answer.headers["Content-Length"]) == (2 if headers else SIZE)


def test_a_file_that_becomes_shorter_breaks_the_connection_instead_of_lying(node: WebNode) -> None:
    path = node.staging / "7" / "outputs" / "o"
    answered: list[Any] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/jobs/7/files",
        "QUERY_STRING": "name=o",
    }
    result = node.app(environ, lambda status, headers: answered.append(status))
    path.write_bytes(b"short")
    try:
        with pytest.raises(OSError, match="shorter"):
            b"".join(result)
    finally:
        result.close()  # type: ignore[attr-defined]
