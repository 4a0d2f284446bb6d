from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pulsar.client.client import JobClient
from pulsar.client.manager import ClientManager
from tests.unit.client.fake_server import FakeServer


@pytest.fixture
def server(tmp_path: Path) -> FakeServer:
    return FakeServer(tmp_path / "jobs")


@pytest.fixture
def make_client(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., JobClient]:
    """Make a client of the fake server; it does not really wait between its tries."""

    def make(job_id: str = "7", *, cache: bool = False, **params: Any) -> JobClient:
        client = ClientManager(server, cache=cache).get_client({"url": "http://server:8913", **params}, job_id)
        client._sleep = lambda seconds: None
        return client

    return make


@pytest.fixture
def galaxy(tmp_path: Path) -> Path:
    """The directory of Galaxy's files."""
    directory = tmp_path / "galaxy"
    directory.mkdir()
    return directory


def write(path: Path, text: str = "x") -> str:
    """Write a file with its directories and return its path as Galaxy has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)
