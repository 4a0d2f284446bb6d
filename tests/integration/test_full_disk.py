"""A disk that fills up under the node, ledger and all: a reason for every refusal, nothing lost, and on when there is room."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pulsar.core import PulsarApp
from pulsar.errors import StorageFull
from pulsar.protocol.messages import LaunchRequest

pytestmark = pytest.mark.service("mount")
MANAGER = "_default_"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Take every byte that is left."""
    ballast = disk / "ballast"
    with open(ballast, "ab", buffering=0) as file:
        for block in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * block)
            except OSError:
                continue
    return ballast


def set_up_many(app: PulsarApp) -> None:
    """Set up more jobs than the few pages that SQLite may have to spare."""
    for number in range(100, 400):
        app.service.setup(MANAGER, str(number), "tool", "1")


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        tick.wait(0.01)


def test_a_node_lives_through_a_full_disk(disk: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    app = PulsarApp(staging_directory=str(disk / "staging"), persistence_directory=str(disk / "persisted"))
    try:
        service = app.service

        def status(job_id: str) -> str:
            return str(json.loads(service.status(MANAGER, job_id))["status"])

        service.setup(MANAGER, "1", "tool", "1")
        service.submit(MANAGER, "1", LaunchRequest(f"cat {shlex.quote(str(gate))}; exit 5"))
        until(lambda: (disk / "staging" / "1" / "pid").exists() and status("1") == "running")
        ballast = fill(disk)
        with pytest.raises(StorageFull):
            set_up_many(app)
        assert status("1") == "running", "asking goes on"
        gate.write_text("go")
        until((disk / "staging" / "1" / "exit_status").exists)
        ballast.unlink()
        until(lambda: status("1") == "complete", seconds=90)
        document = json.loads(service.status(MANAGER, "1"))
        assert document["returncode"] == 5
        service.setup(MANAGER, "2", "tool", "1")
        service.submit(MANAGER, "2", LaunchRequest("exit 6"))
        until(lambda: status("2") == "complete")
        assert json.loads(service.status(MANAGER, "2"))["returncode"] == 6
    finally:
        app.shutdown()
