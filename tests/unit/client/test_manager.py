from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pulsar.client import build_client_manager
from pulsar.client.client import InputCachingJobClient, JobClient
from pulsar.client.exceptions import ClientError
from pulsar.client.transport import TRANSPORTS, Response, open_transport
from pulsar.errors import ConfigError
from tests.unit.client.fake_server import FakeServer


def test_options_that_mean_nothing_here_are_ignored() -> None:
    manager = build_client_manager(manager="_default_", cache=None, transport=None, amqp_url=None, amqp_publish_retry=False)
    assert manager
    assert type(manager.get_client({"url": "http://h"}, "1")) is JobClient
    manager.shutdown(ensure_cleanup=True)


@pytest.mark.parametrize("cache", [True, "true", "1"])
def test_a_cache_makes_other_clients(cache: object) -> None:
    assert type(build_client_manager(cache=cache).get_client({"url": "http://h"}, "1")) is InputCachingJobClient


@pytest.mark.parametrize("option", ["amqp_url", "relay_url", "k8s_enabled", "tes_enabled", "gcp_batch_enabled", "pulsar_app"])
def test_a_way_that_is_not_spoken_is_named(option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        build_client_manager(**{option: "x"})


def test_extras_add_to_a_copy_of_the_destination(tmp_path: Path) -> None:
    params = {"url": "http://h", "manager": "q"}
    server = FakeServer(tmp_path)
    client = build_client_manager(transport=server).get_client(params, "1", files_endpoint="http://g", env=[])
    assert params == {"url": "http://h", "manager": "q"}
    assert client.files_endpoint == "http://g"
    client.kill()
    assert server.calls[0].path == "/managers/q/jobs/1/cancel"


def test_a_destination_may_be_a_legacy_url(tmp_path: Path) -> None:
    server = FakeServer(tmp_path, token="TOKEN")
    client = build_client_manager(transport=server).get_client("pulsar://https://TOKEN@h:1/", "1")
    assert client.get_status() == "lost"


def test_a_destination_needs_a_url() -> None:
    with pytest.raises(ClientError, match="url"):
        build_client_manager().get_client({}, "1")


def test_the_object_store_speaks_its_commands(tmp_path: Path) -> None:
    server = FakeServer(tmp_path)
    values = {"exists": b"true", "empty": b"false", "file_ready": b"true", "delete": b"true", "create": b"null", "size": b"12"}
    values |= {"get_data": b'"text"', "get_filename": b'"/a/b"', "update_from_file": b"null", "get_store_usage_percent": b"1.5"}
    for name, value in values.items():
        server.answers[f"object_store_{name}"] = lambda call, value=value: Response(200, "OK", value)
    store = build_client_manager(transport=server).get_object_store_client({"url": "http://h"})
    assert store.exists("9", extra_dir="x", alt_name=None) is True
    assert store.empty("9") is False
    assert store.file_ready("9") is True
    assert store.delete("9") is True
    assert store.create("9") is None
    assert store.size("9") == 12
    assert store.get_data("9", start=2) == "text"
    assert store.get_filename("9") == "/a/b"
    assert store.get_store_usage_percent() == 1.5
    store.update_from_file("9", file_name="/new")
    assert server.calls[0].args == {"object_id": "9", "extra_dir": "x"}
    assert server.calls[6].args == {"object_id": "9", "start": "2", "count": "-1"}


def test_a_transport_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match="carrier pigeon"):
        open_transport("carrier pigeon")


def test_curl_without_pycurl_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycurl", None)
    monkeypatch.delitem(sys.modules, TRANSPORTS["curl"][0], raising=False)
    with pytest.raises(ConfigError, match="pip install"):
        open_transport("curl")
