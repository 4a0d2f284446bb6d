"""The classic set-up: pulsar-config writes the files, a real supervisord runs them, and restarts leave jobs alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.jobs import BlockedJob
from tests.support.node import RunningNode, free_port, node_environment, processes_of_session, wait_until

pytestmark = pytest.mark.service("supervisor")


@dataclass
class Supervised:
    """A node that supervisord runs."""

    node: RunningNode
    configuration: Path

    def control(self, *words: str) -> str:
        """Return what supervisorctl says."""
        done = subprocess.run(
            [_command("supervisorctl"), "-c", str(self.configuration), *words], capture_output=True, text=True, timeout=90
        )
        return done.stdout + done.stderr

    @property
    def pid(self) -> int:
        """The process that supervisord has started; 0 when there is none."""
        text = self.control("pid", "pulsar").strip()
        return int(text) if text.isdecimal() else 0

    def wait_until_it_answers(self) -> None:
        """Wait for the node."""
        wait_until(self.node._answers, "an answer of the supervised node", 60.0)


def _command(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    assert found is not None
    return found


@pytest.fixture(params=[pytest.param("uwsgi", marks=pytest.mark.service("uwsgi")), "default"])
def supervised(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Supervised]:
    """The node that ``pulsar-config`` sets up, under a supervisord of its own."""
    directory, port = tmp_path / "node", free_port()
    done = subprocess.run(
        [
            sys.executable, "-m", "pulsar.cli.config", "--supervisor", "--wsgi_server", request.param, "--private_token", "foo",
            "--host", "127.0.0.1", "--port", str(port), "--directory", str(directory),
        ],
        env=node_environment(),
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    configuration = tmp_path / "supervisord.conf"
    configuration.write_text(
        f"[supervisord]\nlogfile = {tmp_path}/supervisord.log\npidfile = {tmp_path}/supervisord.pid\nnodaemon = true\n"
        f"[unix_http_server]\nfile = {tmp_path}/s.sock\n[supervisorctl]\nserverurl = unix://{tmp_path}/s.sock\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[include]\nfiles = {directory}/supervisor.conf\n"
    )
    process = subprocess.Popen(
        [_command("supervisord"), "-c", str(configuration)],
        env=node_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    found = Supervised(RunningNode(directory, "supervised", port, "foo", {}), configuration)
    try:
        found.wait_until_it_answers()
        yield found
    finally:
        process.terminate()
        process.wait(90)
        wait_until(lambda: not processes_of_session(process.pid), "the end of everything that supervisord started")


def test_a_job_outlives_a_restart(supervised: Supervised) -> None:
    job = BlockedJob(supervised.node, "1")
    before = supervised.pid
    assert "started" in supervised.control("restart", "pulsar")
    supervised.wait_until_it_answers()
    assert supervised.pid not in (0, before)
    assert job.is_alive
    assert supervised.node.status("1")["status"] == "running"
    job.release()
    assert supervised.node.wait_for_end("1")["returncode"] == 0


def test_a_job_outlives_the_end_of_the_node_and_ends_meanwhile(supervised: Supervised) -> None:
    job = BlockedJob(supervised.node, "1")
    assert "stopped" in supervised.control("stop", "pulsar")
    assert job.is_alive
    job.release()
    wait_until(lambda: not job.is_alive, "the end of the job")
    supervised.control("start", "pulsar")
    supervised.wait_until_it_answers()
    assert supervised.node.wait_for_end("1")["returncode"] == 0


def test_a_node_that_is_killed_comes_back_and_finds_its_job(supervised: Supervised) -> None:
    job = BlockedJob(supervised.node, "1")
    before = supervised.pid
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: supervised.pid not in (0, before), "another process", 60.0)
    supervised.wait_until_it_answers()
    assert job.is_alive
    job.release()
    assert supervised.node.wait_for_end("1")["returncode"] == 0


def test_the_token_is_in_no_log(supervised: Supervised, tmp_path: Path) -> None:
    supervised.node.submit_job("1", "true")
    supervised.node.wait_for_end("1")
    for log in (supervised.node.directory / "pulsar.log", tmp_path / "supervisord.log"):
        assert "private_token=foo" not in log.read_text()
