from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from pulsar.client import ClientOutputs, PulsarOutputs, finish_job
from pulsar.client.client import JobClient
from pulsar.client.exceptions import PulsarClientTransportError, StagingError
from pulsar.client.transport import Response
from tests.unit.client.conftest import write
from tests.unit.client.fake_server import FakeServer

MakeClient = Callable[..., JobClient]


@pytest.fixture
def client(server: FakeServer, make_client: MakeClient) -> JobClient:
    client = make_client("7")
    client.setup()
    write(server.job("7") / "outputs" / "dataset_1.dat", "one")
    write(server.job("7") / "working" / "galaxy.json", "[]")
    server.calls.clear()
    return client


def outputs_of(client: JobClient) -> PulsarOutputs:
    return PulsarOutputs.from_status_response(client.full_status())


def wanted(galaxy: Path) -> ClientOutputs:
    return ClientOutputs(working_directory=str(galaxy / "w"), output_files=[str(galaxy / "dataset_1.dat")])


def test_files_come_home_and_the_job_is_removed(server: FakeServer, client: JobClient, galaxy: Path) -> None:
    failures = finish_job(client, "onsuccess", True, wanted(galaxy), outputs_of(client))
    assert failures == []
    assert (galaxy / "dataset_1.dat").read_text() == "one"
    assert (galaxy / "w" / "galaxy.json").read_text() == "[]"
    assert not server.job("7").exists()


@pytest.mark.parametrize(
    ("cleanup_job", "fails", "cleaned"),
    [
        ("always", False, True),
        ("always", True, True),
        ("onsuccess", False, True),
        ("onsuccess", True, False),
        ("never", False, False),
        ("never", True, False),
    ],
)
def test_when_the_job_is_removed(
    server: FakeServer, client: JobClient, galaxy: Path, cleanup_job: str, fails: bool, cleaned: bool
) -> None:
    if fails:
        server.answers["download_output"] = lambda call: Response(404, "Not Found")
    failures = finish_job(client, cleanup_job, True, wanted(galaxy), outputs_of(client))
    assert bool(failures) is fails
    assert ("clean" in server.commands()) is cleaned


def test_one_failure_does_not_stop_the_others(server: FakeServer, client: JobClient, galaxy: Path) -> None:
    outputs = wanted(galaxy)
    outputs.work_dir_outputs = [(str(galaxy / "w" / "missing"), str(galaxy / "dataset_2.dat"))]
    failures = finish_job(client, "never", True, outputs, outputs_of(client))
    assert [type(failure) for failure in failures] == [PulsarClientTransportError]
    assert (galaxy / "dataset_1.dat").exists()
    assert not (galaxy / "dataset_2.dat").exists()


def test_a_job_that_did_not_complete_is_removed_without_collecting(server: FakeServer, client: JobClient, galaxy: Path) -> None:
    assert finish_job(client, "onsuccess", False, wanted(galaxy), PulsarOutputs()) == []
    assert server.commands() == ["clean"]


def test_what_the_server_brings_itself_is_not_collected(server: FakeServer, make_client: MakeClient, galaxy: Path) -> None:
    client = make_client("7", default_file_action="remote_copy")
    found = PulsarOutputs(output_directory_contents=("dataset_1.dat",))
    assert finish_job(client, "never", True, wanted(galaxy), found) == []
    assert server.calls == []


def test_names_that_lead_elsewhere_are_a_failure(server: FakeServer, client: JobClient, galaxy: Path) -> None:
    found = PulsarOutputs(output_directory_contents=("dataset_1_files/../../x",))
    (failure,) = finish_job(client, "onsuccess", True, wanted(galaxy), found)
    assert isinstance(failure, StagingError)
    assert server.calls == []


def test_trouble_with_removing_is_logged_and_not_a_failure(
    server: FakeServer, client: JobClient, galaxy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers["clean"] = lambda call: Response(503, "Unavailable")
    with caplog.at_level(logging.WARNING):
        assert finish_job(client, "always", True, wanted(galaxy), outputs_of(client)) == []
    assert "job 7 could not be removed" in caplog.text
