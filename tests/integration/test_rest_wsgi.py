"""The node as servers load it: nothing runs before the process that serves, and a fork is such a process."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pulsar.errors import ConfigError
from pulsar.web import wsgi
from pulsar.web.wsgi import NodeApplication, app_factory, start_nodes
from tests.support.node import wait_until
from tests.support.web import Client


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    (tmp_path / "app.yml").write_text("private_token: t0ken\nhealthz_public: true\n")
    path = tmp_path / "server.ini"
    path.write_text("[app:main]\npaste.app_factory = pulsar.web.wsgi:app_factory\napp_config = %(here)s/app.yml\n")
    return path


@pytest.fixture
def application(ini: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeApplication]:
    monkeypatch.setattr(wsgi, "_nodes", [])
    application = app_factory({"__file__": str(ini), "here": str(ini.parent)}, app_config=str(ini.parent / "app.yml"))
    yield application
    application.app.shutdown(10)


def engine_of(application: NodeApplication) -> str:
    answer = Client(application).call("GET", "/healthz", private_token="t0ken")
    return str(answer.json()["engine"])


def test_a_node_that_is_loaded_has_no_threads_and_starts_with_the_first_request(application: NodeApplication) -> None:
    before = threading.active_count()
    assert not any(thread.name.startswith("pulsar") for thread in threading.enumerate())
    wait_until(lambda: engine_of(application) == "this process", "the engine")
    assert threading.active_count() > before


def test_a_server_can_start_it_and_more_than_once(application: NodeApplication) -> None:
    start_nodes()
    start_nodes()
    application.start()
    wait_until(lambda: engine_of(application) == "this process", "the engine")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_every_process_forked_from_a_loaded_node_serves_and_one_is_the_engine(application: NodeApplication) -> None:
    reader, writer = os.pipe()
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                client = Client(application)
                assert client.call("POST", "/jobs", job_id=f"job{os.getpid()}", private_token="t0ken").status == 200
                # Asked once only: when the engine's process ends there is none until the next has taken over.
                engine = wait_until(lambda: {"none": ""}.get(name := engine_of(application), name), "an engine")
                os.write(writer, engine.encode() + b"\n")
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    os.close(writer)
    with open(reader) as stream:
        answers = stream.read().split("\n")[:-1]
    assert set(answers) <= {"this process", "another process"}
    # The parent has not served yet; all jobs of its children are in the ledger that they share.
    jobs = Client(application).call("GET", "/healthz", private_token="t0ken").json()["jobs"]
    assert jobs == {"_default_": {"new": 3}}


def test_the_options_of_the_administrator_count(application: NodeApplication) -> None:
    client = Client(application)
    assert client.call("GET", "/jobs/7/status").status == 401
    assert set(client.call("GET", "/healthz").json()) == {"version", "status"}
    assert json.loads(client.call("GET", "/jobs/7/status", private_token="t0ken").body)["status"] == "lost"


def test_a_configuration_that_cannot_work_is_told_when_it_is_loaded(ini: Path) -> None:
    (ini.parent / "app.yml").write_text("manager: {type: queued_nonsense}\n")
    with pytest.raises(ConfigError, match="queued_nonsense"):
        app_factory({"__file__": str(ini)}, app_config=str(ini.parent / "app.yml"))
