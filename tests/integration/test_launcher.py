"""Nodes started by the real launcher, in every mode that needs no service: they serve, end, come back, and keep their jobs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.jobs import BlockedJob
from tests.support.node import (
    RunningNode,
    free_port,
    node_environment,
    processes_of_session,
    start_node,
    wait_until,
    write_node_files,
)

TOKEN = "a-secret-of-the-tests"
IN_ONE_PROCESS = ["default", "gunicorn", pytest.param("paste", marks=pytest.mark.service("paste"))]


def launch(directory: Path, *words: str, module: str = "launcher", timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a command of the node's until it ends."""
    return subprocess.run(
        [sys.executable, "-m", f"pulsar.cli.{module}", *words],
        cwd=directory,
        env=node_environment(),
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def daemon_node(directory: Path, mode: str, port: int) -> RunningNode:
    """Return how a node that runs as a daemon is talked to."""
    return RunningNode(directory, mode, port, TOKEN, {})


@pytest.mark.parametrize("mode", IN_ONE_PROCESS)
def test_a_node_runs_a_job_and_ends_on_term(tmp_path: Path, mode: str) -> None:
    with start_node(tmp_path, mode, TOKEN) as node:
        node.submit_job("1", "echo out; echo err >&2; exit 3")
        document = node.wait_for_end("1")
        assert (document["returncode"], document["job_stdout"], document["job_stderr"]) == (3, "out\n", "err\n")
        assert node.stop() == 0
        assert node.pids() == []
    assert TOKEN not in node.log_text()


@pytest.mark.parametrize("ending", ["stop", "kill"])
@pytest.mark.parametrize("mode", IN_ONE_PROCESS)
def test_a_running_job_outlives_the_node(tmp_path: Path, mode: str, ending: str) -> None:
    with start_node(tmp_path, mode, TOKEN) as node:
        job = BlockedJob(node, "1")
        getattr(node, ending)()
        assert job.is_alive
        node.restart()
        assert node.status("1")["status"] == "running"
        job.release()
        assert node.wait_for_end("1")["returncode"] == 0


def test_a_job_that_ends_while_the_node_is_away_is_complete_afterwards(tmp_path: Path) -> None:
    with start_node(tmp_path, "default", TOKEN) as node:
        job = BlockedJob(node, "1")
        node.kill()
        job.release()
        wait_until(lambda: not job.is_alive, "the end of the job")
        node.restart()
        assert node.wait_for_end("1")["returncode"] == 0


def test_several_processes_have_one_engine(tmp_path: Path) -> None:
    with start_node(tmp_path, "gunicorn", TOKEN, processes=3) as node:
        for number in range(6):
            node.submit_job(str(number), "true")
        for number in range(6):
            assert node.wait_for_end(str(number))["returncode"] == 0
        wait_until(lambda: len(node.pids()) == 5, "a master, three workers, and what starts the jobs of the engine")
        assert node.log_text().count("is the engine of the node") == 1


def test_the_server_that_the_ini_names_serves(tmp_path: Path) -> None:
    (tmp_path / "other_server.py").write_text(
        "from wsgiref.simple_server import make_server\n"
        "def factory(global_conf, host, port, greeting):\n"
        "    def serve(app):\n"
        "        print(greeting, flush=True)\n"
        "        make_server(host, int(port), app).serve_forever()\n"
        "    return serve\n"
    )
    port = free_port()
    write_node_files(tmp_path, port, token=TOKEN)
    ini = (tmp_path / "server.ini").read_text()
    ini = ini.replace(
        "[server:main]\n", "[server:main]\npaste.server_factory = other_server:factory\ngreeting = hello from elsewhere\n"
    )
    (tmp_path / "server.ini").write_text(ini)
    node = RunningNode(tmp_path, "default", port, TOKEN, node_environment({"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.getcwd()}"}))
    node.start()
    with node:
        node.submit_job("1", "true")
        assert node.wait_for_end("1")["returncode"] == 0
        assert "hello from elsewhere" in node.log_text()


@pytest.mark.service("paste")
def test_an_egg_of_paste_deploy_may_be_named(tmp_path: Path) -> None:
    with start_node(tmp_path, "default", TOKEN, server={"use": "egg:Paste#http"}) as node:
        node.submit_job("1", "true")
        assert node.wait_for_end("1")["returncode"] == 0
        assert "gunicorn" not in node.log_text()


def test_a_server_that_is_not_installed_is_named(tmp_path: Path) -> None:
    write_node_files(tmp_path, free_port(), server={"use": "egg:NoSuchServer#main"})
    done = launch(tmp_path)
    assert done.returncode == 1
    assert "the server egg:NoSuchServer#main cannot be loaded" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_line_of_a_megabyte_is_taken(tmp_path: Path) -> None:
    with start_node(tmp_path, "default", TOKEN) as node:
        node.submit_job("1", "true " + "x" * 100_000)
        assert node.wait_for_end("1")["returncode"] == 0
        node.request("GET", "/healthz", ignored="x" * 4_000_000)


@pytest.mark.parametrize("mode", ["default", "webless", pytest.param("uwsgi", marks=pytest.mark.service("uwsgi"))])
def test_a_daemon_starts_and_stops(tmp_path: Path, mode: str) -> None:
    port = free_port()
    write_node_files(tmp_path, port, token=TOKEN)
    done = launch(tmp_path, "--mode", mode, "--daemon")
    assert done.returncode == 0, done.stderr + (tmp_path / "pulsar.log").read_text()
    pid = int((tmp_path / "pulsar.pid").read_text())
    session = os.getsid(pid)
    if mode != "webless":
        node = daemon_node(tmp_path, mode, port)
        wait_until(node._answers, "an answer of the daemon")
    assert launch(tmp_path, "--mode", mode, "--daemon").returncode == 1, "a second one is refused"
    stopped = launch(tmp_path, "--mode", mode, "--stop-daemon")
    assert (stopped.returncode, stopped.stdout) == (0, f"the daemon {pid} has ended\n")
    assert not (tmp_path / "pulsar.pid").exists()
    wait_until(lambda: not processes_of_session(session), "the end of every process")
    again = launch(tmp_path, "--mode", mode, "--stop-daemon")
    assert again.returncode == 1
    assert "no daemon to stop" in again.stderr


def test_a_job_outlives_its_daemon(tmp_path: Path) -> None:
    port = free_port()
    write_node_files(tmp_path, port, token=TOKEN)
    assert launch(tmp_path, "--daemon").returncode == 0
    node = daemon_node(tmp_path, "default", port)
    job = BlockedJob(node, "1")
    assert launch(tmp_path, "--stop-daemon").returncode == 0
    assert job.is_alive
    assert launch(tmp_path, "--daemon").returncode == 0
    job.release()
    assert node.wait_for_end("1")["returncode"] == 0
    assert launch(tmp_path, "--stop-daemon").returncode == 0


@pytest.mark.parametrize("words", [(), ("--daemon",)])
def test_a_port_that_is_taken_is_reported(tmp_path: Path, words: tuple[str, ...]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        write_node_files(tmp_path, port, token=TOKEN)
        before = time.monotonic()
        done = launch(tmp_path, *words)
        assert done.returncode == 1
        assert f"127.0.0.1:{port} is in use" in done.stderr
        assert "Traceback" not in done.stderr
        assert time.monotonic() - before < 20
    assert not (tmp_path / "pulsar.pid").exists()


@pytest.mark.parametrize("mode", ["default", "webless", pytest.param("uwsgi", marks=pytest.mark.service("uwsgi"))])
@pytest.mark.parametrize(
    ("app", "expected"),
    [
        ({"maximum_stream_size": "hunter"}, "maximum_stream_size must be a whole number of bytes"),
        ({"manager": {"num_concurrent_jobs": "many"}}, "num_concurrent_jobs must be"),
        ({"manager": {"type": "queued_nowhere"}}, "queued_nowhere"),
        ({"user_auth": {"authentication": []}}, "user_auth is set"),
        ({"staging_directory": "/proc/nowhere"}, "staging_directory /proc/nowhere"),
    ],
)
def test_a_configuration_that_cannot_work_ends_with_one_line(
    tmp_path: Path, mode: str, app: dict[str, object], expected: str
) -> None:
    write_node_files(tmp_path, free_port(), token=TOKEN, app=app)
    done = launch(tmp_path, "--mode", mode)
    assert done.returncode == (22 if mode == "uwsgi" else 1)
    if mode != "uwsgi":
        assert "Traceback" not in done.stderr
        assert expected in done.stderr.strip().splitlines()[-1]
    assert expected in done.stderr
    assert TOKEN not in done.stderr + done.stdout


def test_a_webless_node_is_the_engine_of_a_directory(tmp_path: Path) -> None:
    """A web server that is stopped leaves its jobs to an engine alone, and finds what that has done."""
    with start_node(tmp_path, "default", TOKEN) as node:
        job = BlockedJob(node, "1")
        node.stop()
        engine = RunningNode(tmp_path, "webless", node.port, TOKEN, node.env)
        engine.start()
        with engine:
            job.release()
            wait_until(lambda: not job.is_alive, "the end of the job")
        node.restart()
        assert node.wait_for_end("1")["returncode"] == 0


def test_local_env_reaches_the_node(tmp_path: Path) -> None:
    write_node_files(tmp_path, port := free_port(), token=TOKEN)
    (tmp_path / "local_env.sh").write_text("export PULSAR_CONFIG_OVERRIDE_STAGING_DIRECTORY=elsewhere\n")
    node = RunningNode(tmp_path, "default", port, TOKEN, node_environment())
    node.start()
    with node:
        assert node.set_up_job("1")["job_directory"] == str(tmp_path / "elsewhere" / "1")


def test_serve_alone_takes_an_ini(tmp_path: Path) -> None:
    write_node_files(tmp_path / "conf", port := free_port(), token=TOKEN)
    done = launch(tmp_path, str(tmp_path / "conf" / "server.ini"), "--daemon", "--pid", "p", "--log-file", "l", module="serve")
    assert done.returncode == 0, done.stderr
    assert f"Starting Pulsar on 127.0.0.1:{port}\n" in (tmp_path / "l").read_text()
    assert daemon_node(tmp_path, "default", port)._answers()
    assert launch(tmp_path, "--stop-daemon", "--pid", "p", module="serve").returncode == 0
