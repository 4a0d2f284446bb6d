"""uWSGI with the classic section of server.ini: a master that loads the node, then forks; no lazy-apps."""

from __future__ import annotations

import os
import re
import signal
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.jobs import BlockedJob
from tests.support.node import start_node, wait_until

pytestmark = pytest.mark.service("uwsgi")
TOKEN = "a-secret-of-the-tests"


@pytest.mark.parametrize("processes", [1, 4])
def test_jobs_run_and_there_is_one_engine(tmp_path: Path, processes: int) -> None:
    with start_node(tmp_path, "uwsgi", TOKEN, processes) as node:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: node.submit_job(str(number), f"exit {number}"), range(20)))
        assert [node.wait_for_end(str(number))["returncode"] for number in range(20)] == list(range(20))
        assert node.log_text().count("is the engine of the node") == 1
        assert node.stop() == 0
        assert TOKEN not in node.log_text(), "uWSGI logs requests without their parameters"


@pytest.mark.parametrize("processes", [1, 4])
@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_a_running_job_outlives_uwsgi(tmp_path: Path, processes: int, ending: str) -> None:
    with start_node(tmp_path, "uwsgi", TOKEN, processes) as node:
        job = BlockedJob(node, "1")
        getattr(node, ending)()
        assert job.is_alive
        node.restart()
        job.release()
        assert node.wait_for_end("1")["returncode"] == 0


def test_another_worker_takes_over_from_an_engine_that_dies(tmp_path: Path) -> None:
    with start_node(tmp_path, "uwsgi", TOKEN, 4) as node:
        job = BlockedJob(node, "1")
        (first,) = _engines(node.log_text())
        assert first in node.pids()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(_engines(node.log_text())) == 2, "another engine")
        assert job.is_alive
        job.release()
        assert node.wait_for_end("1")["returncode"] == 0
        node.submit_job("2", "true")
        assert node.wait_for_end("2")["returncode"] == 0


def _engines(log: str) -> list[int]:
    return [int(number) for number in re.findall(r"process (\d+) is the engine of the node", log)]


def test_what_fits_into_its_buffer_is_taken_and_more_is_refused(tmp_path: Path) -> None:
    """The limit that docs/running.md warns of."""
    with start_node(tmp_path, "uwsgi", TOKEN) as node:
        node.submit_job("1", "true " + "x" * 28_000)
        assert node.wait_for_end("1")["returncode"] == 0
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            node.request("GET", "/healthz", ignored="x" * 40_000)
        node.request("GET", "/healthz")


def test_a_large_file_passes(tmp_path: Path) -> None:
    with start_node(tmp_path, "uwsgi", TOKEN) as node:
        job = node.set_up_job("1")
        body = os.urandom(1 << 20) * 20
        node.request("POST", "/jobs/1/files", body, name="big", type="input")
        assert Path(job["inputs_directory"], "big").read_bytes() == body
