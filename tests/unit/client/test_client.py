from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pulsar.client.client import InputCachingJobClient, JobClient
from pulsar.client.exceptions import ClientError, PulsarClientTransportError, StagingError
from pulsar.client.transport import Response
from pulsar.protocol import WIRE_VERSION
from tests.unit.client.conftest import write
from tests.unit.client.fake_server import Call, FakeServer

MakeClient = Callable[..., JobClient]


def failing(times: int, status: int, then: Response) -> Callable[[Call], Response]:
    answers = iter([Response(status, "Reason")] * times)
    return lambda call: next(answers, then)


def test_setup_sends_what_the_specification_says(server: FakeServer, make_client: MakeClient) -> None:
    document = make_client("7", private_token="t").setup("cat", "1.0", preserve_galaxy_python_environment=True)
    assert document["inputs_directory"].endswith("/7/inputs")
    (call,) = server.calls
    assert call.args == {
        "job_id": "7",
        "tool_id": "cat",
        "tool_version": "1.0",
        "use_metadata": "true",
        "preserve_galaxy_python_environment": "True",
        "private_token": "t",
    }


def test_the_client_switches_to_the_id_of_the_server(server: FakeServer, make_client: MakeClient) -> None:
    server.answers["setup"] = lambda call: Response(200, "OK", json.dumps({"job_id": "f" * 32}).encode())
    client = make_client("7")
    client.setup()
    client.kill()
    assert client.job_id == "f" * 32
    assert server.calls[-1].path == f"/jobs/{'f' * 32}/cancel"


def test_with_a_jobs_directory_setup_asks_nobody_and_travels_with_the_launch(server: FakeServer, make_client: MakeClient) -> None:
    client = make_client("7", jobs_directory="/remote/")
    document = client.setup("cat", "1.0")
    assert server.calls == []
    assert document["working_directory"] == "/remote/7/working"
    assert document["unstructured_files_directory"] == "/remote/7/unstructured"
    assert (document["pulsar_version"], document["tool_id"]) == (WIRE_VERSION, "cat")
    client.launch("true")
    assert server.launch()["setup_params"] == {
        "job_id": "7",
        "tool_id": "cat",
        "tool_version": "1.0",
        "use_metadata": True,
        "preserve_galaxy_python_environment": None,
    }


def test_the_separator_of_the_server_is_that_of_the_destination(make_client: MakeClient) -> None:
    document = make_client("7", jobs_directory="C:\\jobs", remote_sep="\\").setup()
    assert document["outputs_directory"] == "C:\\jobs\\7\\outputs"
    assert document["system_properties"] == {"separator": "\\"}


def test_a_launch_is_a_query_of_json_documents(server: FakeServer, make_client: MakeClient) -> None:
    client = make_client("7", submit_native="-q", token_endpoint="http://g/token")
    client.launch(
        "echo ü",
        env=[{"name": "A", "value": "B"}],
        remote_staging={"action_mapper": {}},
        dependencies_description={"requirements": []},
        dynamic_file_sources=[{"path": "galaxy.json", "type": "galaxy"}],
        touch_outputs=["a.dat"],
    )
    launch = server.launch()
    assert launch == {
        "command_line": "echo ü",
        "job_id": "7",
        "params": {"native": "-q"},
        "dependencies_description": {"requirements": []},
        "env": [{"name": "A", "value": "B"}],
        "remote_staging": {"action_mapper": {}},
        "submit_extras": {"touch_outputs": ["a.dat"]},
        "dynamic_file_sources": [{"path": "galaxy.json", "type": "galaxy"}],
        "token_endpoint": {"token_endpoint": "http://g/token"},
    }
    assert server.calls[-1].body is None


def test_what_is_empty_is_not_sent(server: FakeServer, make_client: MakeClient) -> None:
    make_client("7").launch("true")
    assert set(server.launch()) == {"command_line", "job_id", "submit_extras"}


def test_the_word_of_the_status(server: FakeServer, make_client: MakeClient) -> None:
    client = make_client("7")
    assert client.get_status() == "lost"
    client.setup()
    server.statuses = ["queued"]
    assert client.get_status() == "queued"
    assert client.full_status()["complete"] == "true"


def test_a_question_is_asked_again_while_that_can_help(server: FakeServer, make_client: MakeClient) -> None:
    server.answers["status"] = failing(4, 503, Response(200, "OK", b'{"status": "running"}'))
    client = make_client("7")
    pauses: list[float] = []
    client._sleep = pauses.append
    assert client.get_status() == "running"
    assert len(pauses) == 4
    assert pauses == sorted(pauses)


def test_after_five_tries_the_error_is_told(server: FakeServer, make_client: MakeClient) -> None:
    server.answers["status"] = failing(99, 500, Response(200))
    with pytest.raises(PulsarClientTransportError):
        make_client("7").get_status()
    assert len(server.calls) == 5


def test_a_refusal_is_not_asked_about_again(server: FakeServer, make_client: MakeClient, tmp_path: Path) -> None:
    make_client("7").setup()
    with pytest.raises(PulsarClientTransportError) as caught:
        make_client("7").fetch_output(str(tmp_path / "a"), "no such")
    assert caught.value.status == 404
    assert server.commands() == ["setup", "download_output"]


@pytest.mark.parametrize("command", ["setup", "submit", "cancel", "clean", "upload_file"])
def test_what_changes_something_is_asked_once(server: FakeServer, make_client: MakeClient, command: str) -> None:
    server.answers[command] = failing(99, 503, Response(200))
    client = make_client("7")
    act: dict[str, Callable[[], Any]] = {
        "setup": client.setup,
        "submit": lambda: client.launch("true"),
        "cancel": client.kill,
        "clean": client.clean,
        "upload_file": lambda: client.put_file(None, "input", "a", contents="x"),
    }
    with pytest.raises(PulsarClientTransportError):
        act[command]()
    assert server.commands() == [command]


def test_a_file_is_transferred(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    client = make_client("7")
    client.setup()
    path = client.put_file(write(galaxy / "a.dat", "content"), "input")
    assert path == str(server.job("7") / "inputs" / "a.dat")
    assert Path(path).read_text() == "content"


def test_a_file_is_copied_on_the_shared_file_system(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    client = make_client("7")
    client.setup()
    path = client.put_file(write(galaxy / "a.dat", "content"), "input", action_type="copy")
    assert Path(path).read_text() == "content"
    assert server.commands() == ["setup", "path"]
    client.fetch_output(str(galaxy / "back" / "a.dat"), "a.dat", "input", action_type="copy")
    assert (galaxy / "back" / "a.dat").read_text() == "content"


def test_text_at_hand_is_sent_as_utf8(server: FakeServer, make_client: MakeClient) -> None:
    client = make_client("7")
    client.setup()
    path = client.put_file("/galaxy/conf.txt", "config", contents="grün")
    assert Path(path).read_bytes() == "grün".encode()


def test_a_file_needs_a_path_or_contents(make_client: MakeClient) -> None:
    with pytest.raises(StagingError):
        make_client("7").put_file(None, "input")
    with pytest.raises(StagingError):
        make_client("7").put_file(None, "input", "name")


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"\xff"])
def test_an_answer_of_something_else_is_named(server: FakeServer, make_client: MakeClient, answer: bytes) -> None:
    server.answers["status"] = lambda call: Response(200, "OK", answer)
    with pytest.raises(ClientError, match="Pulsar server"):
        make_client("7").get_status()


def test_an_upload_without_a_path_in_the_answer_is_an_error(server: FakeServer, make_client: MakeClient) -> None:
    server.answers["upload_file"] = lambda call: Response(200, "OK", b"{}")
    with pytest.raises(ClientError, match="where the file is"):
        make_client("7").put_file(None, "input", "a", contents="")


def test_the_env_is_the_list_of_the_destination(make_client: MakeClient) -> None:
    env: list[dict[str, Any]] = [{"name": "A", "value": "1"}]
    client = make_client("7", env=env)
    client.env.append({"name": "B", "value": "2"})
    assert env == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    assert make_client("7").env == []


def test_what_galaxy_reads_of_a_client(make_client: MakeClient) -> None:
    client = make_client("7", files_endpoint="http://g/files", default_file_action="none", file_action_config="/a.yml")
    assert (client.files_endpoint, client.default_file_action, client.action_config_path) == ("http://g/files", "none", "/a.yml")
    assert (client.prefer_local_staging, client.job_directory, client.job_ip(), client.token_endpoint) == (True, None, None, None)
    assert make_client("7", jobs_directory="/j").prefer_local_staging is False


def test_ids_can_be_uuids(make_client: MakeClient) -> None:
    assert len(make_client("7", assign_ids="uuid").job_id) == 32
    client = make_client("7")
    assert client.assign_job_id() == client.job_id
    assert len(client.job_id) == 32


def test_one_of_many_clients_sends_a_cached_file(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    path = write(galaxy / "a.dat", "content")
    paths = []
    for job_id in ("7", "8"):
        client = make_client(job_id, cache=True)
        assert isinstance(client, InputCachingJobClient)
        client.setup()
        paths.append(client.put_file(path, "input"))
    assert [Path(found).read_text() for found in paths] == ["content", "content"]
    assert server.commands().count("cache_insert") == 1
    assert [call.body for call in server.calls if call.command == "upload_file"] == [None, None]


def test_a_client_waits_for_the_one_that_sends(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    path = write(galaxy / "a.dat", "content")
    client = make_client("7", cache=True)
    client.setup()
    make_client("8", cache=True)._answer("cache_required", {"path": path})
    waits: list[float] = []

    def other_arrives(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            make_client("8")._call("cache_insert", {"path": path}, source=path)

    client._sleep = other_arrives
    assert Path(client.put_file(path, "input")).read_text() == "content"
    assert len(waits) == 3


def test_a_promise_that_nobody_keeps_is_not_waited_for_for_ever(
    server: FakeServer, make_client: MakeClient, galaxy: Path
) -> None:
    path = write(galaxy / "a.dat", "content")
    make_client("8", cache=True)._answer("cache_required", {"path": path})
    client = make_client("7", cache=True)
    client.setup()
    assert Path(client.put_file(path, "input")).read_text() == "content"
    assert server.calls[-1].body == b"content"


def test_contents_at_hand_pass_the_cache_by(server: FakeServer, make_client: MakeClient) -> None:
    client = make_client("7", cache=True)
    client.setup()
    client.put_file("/g/c.txt", "config", contents="x")
    assert server.commands() == ["setup", "upload_file"]
