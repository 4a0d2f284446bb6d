"""Whatever bytes come, the built-in server answers or hangs up, serves the next client, and reads what another parser reads."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from itertools import pairwise
from urllib.parse import unquote_to_bytes

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pulsar.web.httpd import Server
from tests.support.httpd import SampleApp, body_of, exchange, read_to_end, running_server, status_of

QUESTION = b"GET /q?well HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SEEDS = [
    QUESTION,
    b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" + QUESTION,
    b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\nabc\r\n0\r\nT: x\r\n\r\n"
    + QUESTION,
    b"GET /qenv?a=b&c=%20 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nConnection: close, x\r\nUpgrade: y\r\n\r\n",
    b"PUT http://h/ignore?x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
    b"HEAD /file HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + QUESTION,
]
WORDS = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b"%", b"-1", b"\xff", b"\r\n\r\n", b"\r\n ", b"0\r\n\r\n",
     b"HTTP/1.1", b"HTTP/1.0", b"Host: y\r\n", b"Content-Length: 3\r\n", b"99999999999999999999",
     b"Transfer-Encoding: chunked\r\n",
     b"Transfer-Encoding: identity\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n",
     b"Expect: 100-continue\r\n"]
)  # fmt: skip
QUICKLY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Requests with a few places cut, doubled, or overwritten."""
    data = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 12)))
        data = data[:start] + draw(st.one_of(WORDS, st.binary(max_size=4), st.just(data[start:stop] * 2))) + data[stop:]
    return data


#: Names and values that a request may have, and some that it may not.
FIELDS = st.lists(
    st.tuples(
        st.text("abcXYZ019-_!#~ :\x7f", min_size=1, max_size=8).map(str.encode),
        st.text('abc \t,;="\x00\x1f\x7f\xe9', max_size=12).map(lambda text: text.encode("latin-1")),
    ),
    max_size=6,
)
TARGETS = st.text("/ab%20Ff?&=.;#~\x7f\xe9 ", max_size=20).map(lambda text: b"/q" + text.encode("latin-1"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    app = SampleApp(tmp_path_factory.mktemp("app"))
    with running_server(Told(app), io_timeout_s=2) as server:
        yield server


class Told:
    """The sample application, which answers any path at the host ``tell`` by what it was told."""

    def __init__(self, app: SampleApp) -> None:
        self.app = app
        self.is_quick = app.is_quick

    def __call__(self, environ, start_response):  # type: ignore[no-untyped-def]
        if environ.get("HTTP_HOST") == "tell":
            environ = {**environ, "PATH_INFO": "/qenv", "HTTP_PATH": environ["PATH_INFO"]}
        return self.app(environ, start_response)


def said(port: int, data: bytes) -> bytes:
    """Send the bytes, say that no more come, and return the answers; the server must not keep us waiting for them."""
    with socket.create_connection(("127.0.0.1", port), 10) as client, contextlib.suppress(ConnectionError):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return read_to_end(client)
    return b""


@QUICKLY
@given(data=st.one_of(st.binary(max_size=200), mutations()))
def test_no_bytes_keep_the_server_from_the_next_client(server: Server, data: bytes) -> None:
    answer = said(server.port, data)
    assert answer == b"" or status_of(answer) in (100, 200, 204, 206, 400, 404, 431, 500, 501)
    assert body_of(exchange(server.port, QUESTION)) == b"well"


@QUICKLY
@given(target=TARGETS, fields=FIELDS)
def test_what_is_accepted_is_understood_as_by_another_parser(
    server: Server, target: bytes, fields: list[tuple[bytes, bytes]]
) -> None:
    lines = [b"GET %b HTTP/1.1" % target, b"Host: tell", b"Connection: close", *(b"%b: %b" % field for field in fields)]
    data = b"\r\n".join(lines) + b"\r\n\r\n"
    answer = said(server.port, data)
    if status_of(answer) != 200:
        assert status_of(answer) in (400, 501)
        return
    other = h11.Connection(h11.SERVER)
    other.receive_data(data)
    request = other.next_event()
    assert isinstance(request, h11.Request), "h11 would refuse this"
    told = json.loads(body_of(answer))
    path, _, query = request.target.partition(b"?")
    assert told["HTTP_PATH"].encode("latin-1") == unquote_to_bytes(path)
    assert told["QUERY_STRING"].encode("latin-1") == query
    expected: dict[str, list[str]] = {}
    for name, value in request.headers:
        if b"_" not in name:
            key = name.decode().upper().replace("-", "_")
            expected.setdefault(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}", []).append(
                value.decode("latin-1")
            )
    expected.pop("HTTP_PATH", None)
    assert {name: told[name] for name in expected} == {name: ", ".join(values) for name, values in expected.items()}
    assert {name for name in told if name.startswith("HTTP_")} - {"HTTP_PATH"} == {n for n in expected if n.startswith("HTTP_")}


@QUICKLY
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    cuts=st.lists(st.integers(0, 300), max_size=4),
    tail=st.sampled_from([b"", b"X: y\r\n"]),
)
def test_chunks_are_put_together_however_they_are_cut(server: Server, pieces: list[bytes], cuts: list[int], tail: bytes) -> None:
    data = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    data += b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + tail + b"\r\n"
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    answer = exchange(server.port, *(data[start:stop] for start, stop in pairwise(places)))
    assert (status_of(answer), body_of(answer)) == (200, b"".join(pieces))
