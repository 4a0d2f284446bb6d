from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from pulsar.client.exceptions import PulsarClientTransportError, StagingError
from pulsar.client.interface import HttpInterface
from pulsar.client.transport import Request, Response
from pulsar.protocol.commands import COMMANDS
from tests.unit.client.conftest import write


class Wire:
    """A transport that answers the same every time and keeps what it was given."""

    def __init__(self, response: Response | None = None) -> None:
        self.response = response or Response(200, "OK", b"OK")
        self.requests: list[Request] = []
        self.bodies: list[bytes | None] = []

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        self.bodies.append(request.body.read(-1) if request.body is not None else None)
        if request.sink is not None:
            request.sink.write(self.response.body)
        return self.response


def test_every_parameter_is_in_the_query_and_the_token_is_the_last() -> None:
    wire = Wire()
    HttpInterface("http://h:8913", "s&cret", wire).execute("submit", {"command_line": "a b&c=d", "job_id": "1/2", "env": None})
    (request,) = wire.requests
    parts = urlsplit(request.url)
    assert (request.method, parts.path) == ("POST", "/jobs/1%2F2/submit")
    assert parse_qsl(parts.query) == [("command_line", "a b&c=d"), ("job_id", "1/2"), ("private_token", "s&cret")]
    assert wire.bodies == [None]


def test_a_manager_stands_before_the_command() -> None:
    wire = Wire()
    HttpInterface("http://h:8913", None, wire, "queue").execute("status", {"job_id": "1"})
    assert wire.requests[0].url == "http://h:8913/managers/queue/jobs/1/status?job_id=1"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_reaches_its_own_route(name: str) -> None:
    wire = Wire()
    HttpInterface("http://h", None, wire).execute(name, {"job_id": "1", "object_id": "2", "name": "n", "path": "p"})
    path = urlsplit(wire.requests[0].url).path
    match = COMMANDS[name].pattern.match(path)
    assert match is not None
    assert wire.requests[0].method == COMMANDS[name].client_method


def test_a_file_is_sent_with_its_length(tmp_path: Path) -> None:
    wire = Wire()
    path = write(tmp_path / "a", "content")
    HttpInterface("http://h", None, wire).execute("upload_file", {"job_id": "1"}, source=path)
    assert (wire.bodies, wire.requests[0].length) == ([b"content"], 7)


def test_an_empty_file_is_a_body_of_no_bytes(tmp_path: Path) -> None:
    wire = Wire()
    HttpInterface("http://h", None, wire).execute("upload_file", {"job_id": "1"}, source=write(tmp_path / "a", ""))
    assert (wire.bodies, wire.requests[0].length) == ([b""], 0)


def test_a_file_that_grows_meanwhile_is_sent_as_long_as_was_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "1234")
    seen: list[bytes] = []

    def transport(request: Request) -> Response:
        Path(path).write_text("1234567")
        assert request.body is not None
        seen.extend((request.body.read(3), request.body.read(100), request.body.read(100)))
        return Response(200)

    HttpInterface("http://h", None, transport).execute("upload_file", {"job_id": "1"}, source=path)
    assert seen == [b"123", b"4", b""]


def test_a_file_that_shrinks_meanwhile_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "1234")

    def transport(request: Request) -> Response:
        Path(path).write_text("")
        assert request.body is not None
        request.body.read(100)
        return Response(200)

    with pytest.raises(StagingError, match="shorter"):
        HttpInterface("http://h", None, transport).execute("upload_file", {"job_id": "1"}, source=path)


def test_a_body_can_be_sent_again_from_its_beginning(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "1234")

    def transport(request: Request) -> Response:
        assert request.body is not None
        assert request.body.read(3) == b"123"
        request.body.seek(0)
        assert request.body.read(-1) == b"1234"
        return Response(200)

    HttpInterface("http://h", None, transport).execute("upload_file", {"job_id": "1"}, source=path)


def test_a_file_that_is_not_there_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    wire = Wire()
    with pytest.raises(StagingError, match="missing"):
        HttpInterface("http://h", None, wire).execute("upload_file", {"job_id": "1"}, source=str(tmp_path / "missing"))
    assert wire.requests == []


def test_a_download_is_at_its_place_whole(tmp_path: Path) -> None:
    wire = Wire(Response(200, "OK", b"bytes"))
    target = tmp_path / "new" / "file"
    HttpInterface("http://h", None, wire).execute("download_output", {"job_id": "1", "name": "n"}, target=str(target))
    assert target.read_bytes() == b"bytes"


def test_an_error_leaves_nothing_of_a_download(tmp_path: Path) -> None:
    wire = Wire(Response(404, "Not Found", b"<html>"))
    with pytest.raises(PulsarClientTransportError) as caught:
        HttpInterface("http://h", None, wire).execute("download_output", {"job_id": "1"}, target=str(tmp_path / "file"))
    assert (caught.value.status, caught.value.transport_code, caught.value.transient) == (404, 404, False)
    assert list(tmp_path.iterdir()) == []


def test_the_server_s_own_sentence_is_repeated_when_it_speaks_plainly() -> None:
    wire = Wire(Response(409, "Conflict", b"job 1 has ended\nmore", "text/plain; charset=UTF-8"))
    with pytest.raises(PulsarClientTransportError, match="job 1 has ended"):
        HttpInterface("http://h", None, wire).execute("status", {"job_id": "1"})


@pytest.mark.parametrize("status", [301, 308, 401, 403, 404, 413, 414, 431, 500, 503])
def test_no_error_holds_the_token(status: int) -> None:
    wire = Wire(Response(status, "Reason", b"<p>secret</p>", "text/html"))
    with pytest.raises(PulsarClientTransportError) as caught:
        HttpInterface("http://user@h", "secret", wire).execute("status", {"job_id": "1"})
    assert "secret" not in str(caught.value)
    assert caught.value.status == status


def test_the_representation_does_not_hold_the_token() -> None:
    assert repr(HttpInterface("http://h:1", "secret", Wire())) == "HttpInterface('http://h:1/')"


def test_the_content_at_hand_is_sent_as_it_is() -> None:
    wire = Wire()
    HttpInterface("http://h", None, wire).execute("upload_file", {"job_id": "1"}, content=b"\xff\x00")
    assert wire.bodies == [b"\xff\x00"]


def test_a_sink_that_fails_is_a_trouble_of_this_side(tmp_path: Path) -> None:
    def transport(request: Request) -> Response:
        raise OSError(28, "No space left on device")

    with pytest.raises(StagingError, match="No space left"):
        HttpInterface("http://h", None, transport).execute("download_output", {"job_id": "1"}, target=str(tmp_path / "a"))
