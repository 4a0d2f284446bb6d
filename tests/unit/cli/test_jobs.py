"""``pulsar-jobs`` reads the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pulsar.cli.jobs import main
from pulsar.jobs.job import Job, JobKey, TimelineEntry
from pulsar.jobs.states import State
from pulsar.protocol.messages import LaunchRequest
from pulsar.store.sqlite import SqliteStore


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A configuration directory whose ledger has a running and a finished job."""
    (tmp_path / "app.yml").write_text("persistence_directory: kept\nstaging_directory: staging\n")
    store = SqliteStore(tmp_path / "kept" / "pulsar.sqlite3")
    for job_id, state in (("7", State.RUNNING), ("8", State.COMPLETE)):
        key = JobKey("_default_", job_id)
        job = store.begin(Job(key, f"/s/{job_id}", tool_id="bwa"), TimelineEntry(1, None, State.NEW, "setup", "bwa", 1.0))
        job = replace(job, state=state, external_id="99", request=LaunchRequest("true"))
        store.save(job, [TimelineEntry(1, State.QUEUED, state, "started", "99", 2.0)])
    store.close()
    return tmp_path


def test_unfinished_jobs_have_a_line_each(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", str(node)]) == 0
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["JOB", "STATE"]
    assert line.split()[:2] == ["7", "running"]
    assert line.split()[-2:] == ["bwa", "99"]


def test_a_job_has_its_timeline_also_when_it_has_ended(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", str(node), "8"]) == 0
    text = capsys.readouterr().out
    assert "attempt 1" in text
    assert [line.split()[2] for line in text.splitlines() if line.startswith("    ")] == ["setup", "started"]


def test_json_is_for_programs(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", str(node), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "running"
    assert main(["-c", str(node), "--json", "7"]) == 0
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == ["setup", "started"]


def test_an_unknown_job_is_named(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", str(node), "nope"]) == 1
    assert "nope" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"), [(["--manager", "x"], "_default_"), (["-c", "{missing}"], "-c")], ids=["manager", "directory"]
)
def test_a_mistake_is_one_line_with_the_remedy(
    node: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    empty = tmp_path_factory.mktemp("empty")
    given = [str(empty) if argument == "{missing}" else argument for argument in arguments]
    assert main(given if "-c" in given else ["-c", str(node), *given]) == 1
    message = capsys.readouterr().err
    assert word in message
    assert len(message.splitlines()) == 1
