"""The raw HTTP client and the load generator of the benchmarks, against a server that answers from a script."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from benchmarks.load import LoadSpec, generate_load
from benchmarks.wire import Connection, ProtocolError, request_head

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nO\r\n1;x=y\r\nK\r\n0\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nOK"
LENGTH_AND_CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nOK"


@contextlib.contextmanager
def serving(answer: bytes, *, answers_per_connection: int = 1_000_000) -> Iterator[int]:
    """Answer every request so, in small pieces, and close each connection after some of them."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)

        def serve(sock: socket.socket) -> None:
            with sock, contextlib.suppress(OSError):
                for _ in range(answers_per_connection):
                    data = b""
                    while b"\r\n\r\n" not in data:
                        block = sock.recv(1000)
                        if not block:
                            return
                        data += block
                    sock.sendall(answer[:20])
                    sock.sendall(answer[20:])

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED, LENGTH_AND_CLOSE])
@pytest.mark.parametrize("keep_alive", [False, True])
def test_an_answer_is_read_to_its_end(answer: bytes, keep_alive: bool) -> None:
    with serving(answer) as port, Connection(port, keep_alive=keep_alive) as connection:
        for _ in range(3):
            assert connection.request("GET", "/x").require_ok() == b"OK"


def test_an_answer_may_end_with_its_connection() -> None:
    with serving(UNTIL_CLOSE, answers_per_connection=1) as port, Connection(port) as connection:
        assert connection.request("GET", "/x").require_ok() == b"OK"


def test_a_kept_connection_that_was_closed_is_opened_again() -> None:
    with serving(LENGTH, answers_per_connection=1) as port, Connection(port, keep_alive=True) as connection:
        for _ in range(3):
            assert connection.request("GET", "/x").require_ok() == b"OK"


@pytest.mark.parametrize("keep_alive", [False, True])
@pytest.mark.parametrize(("answer", "per_connection"), [(LENGTH, 1000), (CHUNKED, 1000), (LENGTH, 1), (UNTIL_CLOSE, 1)])
def test_the_generator_counts_whole_answers(answer: bytes, per_connection: int, keep_alive: bool) -> None:
    with serving(answer, answers_per_connection=per_connection) as port:
        result = generate_load(LoadSpec(port, request_head("GET", "/x", keep_alive=keep_alive), 3, keep_alive, 0.2, 0.05))
    assert result.answers > 10
    assert result.per_second == pytest.approx(result.answers / result.seconds)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b"nonsense in some length\r\n\r\n"])
def test_the_generator_stops_at_any_other_answer(answer: bytes) -> None:
    with serving(answer) as port, pytest.raises(ProtocolError):
        generate_load(LoadSpec(port, request_head("GET", "/x"), 1, False, 0.2))
