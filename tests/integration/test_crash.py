"""The node is killed, with SIGKILL, and every job ends once, with its true result.

First around every save that a job's life has, then at random moments under load. ``PULSAR_CRASH_KILLS`` says how many random
moments; ``make crash`` takes 200.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.mortal_node import EXIT_CODE
from tests.support.node import RunningNode, start_node

KILLS = int(os.environ.get("PULSAR_CRASH_KILLS", "10"))
ROOT = Path(__file__).parents[2]

#: Writes of an ordinary job: set-up, submit, submitted and started, exited and staged out; of a cancelled one: the first three,
#: cancel, killed.
ORDINARY_SAVES = 4
CANCELLED_SAVES = 5


def live(directory: Path, moment: str, number: int, purpose: str) -> subprocess.CompletedProcess[str]:
    journal = directory / "journal"
    arguments = [str(directory), moment, str(number), purpose, str(journal)]
    return subprocess.run(
        [sys.executable, "-m", "tests.support.mortal_node", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def runs_in(directory: Path) -> int:
    journal = directory / "journal"
    return len(journal.read_text().splitlines()) if journal.exists() else 0


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(1, ORDINARY_SAVES + 1))
def test_a_job_survives_the_death_of_the_node_around_every_save(tmp_path: Path, moment: str, number: int) -> None:
    first = live(tmp_path, moment, number, "run")
    assert first.returncode == -signal.SIGKILL, f"there is no save {number}: {first.stdout}{first.stderr}"
    second = live(tmp_path, "never", 0, "run")
    assert second.returncode == 0, second.stderr
    document = json.loads(second.stdout.splitlines()[-1])
    assert (document["status"], document["returncode"]) == ("complete", EXIT_CODE)
    assert document["outputs_directory_contents"] == ["o"]
    assert runs_in(tmp_path) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(1, CANCELLED_SAVES + 1))
def test_a_cancelled_job_is_cancelled_whenever_the_node_dies(tmp_path: Path, moment: str, number: int) -> None:
    first = live(tmp_path, moment, number, "cancel")
    assert first.returncode == -signal.SIGKILL, f"there is no save {number}: {first.stdout}{first.stderr}"
    second = live(tmp_path, "never", 0, "cancel")
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout.splitlines()[-1])["status"] == "cancelled"
    assert runs_in(tmp_path) <= 1
    assert not processes_in(tmp_path)


def processes_in(directory: Path) -> list[int]:
    """Return the processes whose working directory is below ``directory``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if Path(os.readlink(entry / "cwd")).is_relative_to(directory):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


# -- random moments -------------------------------------------------------------------------------------------------------


class Client:
    """A Galaxy with many jobs: each verb is repeated until it is answered, as long as the node is away."""

    def __init__(self, node: RunningNode, journal: Path) -> None:
        self._node = node
        self._journal = journal
        self.stop = threading.Event()
        self.problems: list[str] = []
        self.finished: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._number = 0

    def run(self) -> None:
        """Run jobs until told to stop, finishing the one under way."""
        while not self.stop.is_set():
            with self._lock:
                self._number += 1
                number = self._number
            try:
                self._one_job(number)
            except Exception as exc:  # noqa: BLE001 - a thread's edge: the test looks at what is noted here
                self.problems.append(f"job {number}: {exc!r}")

    def _one_job(self, number: int) -> None:
        job_id, code = str(number), number % 7
        self._ask("POST", "jobs", job_id=job_id, tool_id="t", tool_version="1")
        self._ask("POST", f"jobs/{job_id}/files", body=f"input {number}".encode(), name="in.txt", type="input")
        pause = random.choice(["0", "0.05", "0.3"])
        command = (
            f"echo {number} >> {shlex.quote(str(self._journal))}; cat ../inputs/in.txt > ../outputs/out.txt; "
            f"echo said {number} > ../metadata/tool_stdout; sleep {pause}; (exit {code})"
        )
        self._ask("POST", f"jobs/{job_id}/submit", command_line=command)
        document = self._wait(job_id)
        expected = ("complete", code, f"said {number}\n", ["out.txt"])
        found = (document["status"], document["returncode"], document["stdout"], document["outputs_directory_contents"])
        if found != expected:
            self.problems.append(f"job {number}: {found} instead of {expected}: {document}")
        if self._ask("GET", f"jobs/{job_id}/files", name="out.txt", type="output") != f"input {number}".encode():
            self.problems.append(f"job {number}: its output is wrong")
        self._ask("DELETE", f"jobs/{job_id}")
        with self._lock:
            self.finished[document["status"]] += 1

    def _wait(self, job_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            document: dict[str, Any] = json.loads(self._ask("GET", f"jobs/{job_id}/status"))
            if document["complete"] == "true":
                return document
            time.sleep(0.03)
        raise TimeoutError("it did not end")

    def _ask(self, method: str, path: str, body: bytes | None = None, **query: str) -> bytes:
        deadline = time.monotonic() + 120
        while True:
            url = f"{self._node.url.rstrip('/')}/{path}?{urllib.parse.urlencode(query)}"
            request = urllib.request.Request(url, data=body if body is not None or method != "POST" else b"", method=method)
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    content: bytes = answer.read()
                    return content
            except urllib.error.HTTPError as exc:
                with exc:
                    if exc.code < 500:
                        raise AssertionError(f"{method} {path}: {exc.code} {exc.read()!r}") from exc
            except (OSError, http.client.HTTPException):
                pass  # the node is away, or went while it answered
            if time.monotonic() > deadline:
                raise TimeoutError(f"{method} {path}")
            time.sleep(0.02)


def test_every_job_ends_once_with_its_true_result_when_the_node_is_killed_at_random_moments(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.touch()
    randomly = random.Random(20240501)
    with start_node(
        tmp_path / "node", app={"managers": {"_default_": {"type": "queued_python", "num_concurrent_jobs": 3}}}
    ) as node:
        client = Client(node, journal)
        threads = [threading.Thread(target=client.run) for _ in range(6)]
        for thread in threads:
            thread.start()
        for _ in range(KILLS):
            time.sleep(randomly.uniform(0.02, 0.8))
            node.kill()
            node.restart()
        client.stop.set()
        for thread in threads:
            thread.join()
    runs = Counter(journal.read_text().split())
    twice = {number: count for number, count in runs.items() if count != 1}
    print(f"{KILLS} kills, {sum(client.finished.values())} jobs: {dict(client.finished)}")
    assert not client.problems, client.problems[:5]
    assert not twice
    assert sum(client.finished.values()) >= KILLS
