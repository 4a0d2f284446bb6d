"""Filling the ledger of one of our nodes before it starts, through the node's own parts."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.jobs import LONGEST_JOB_S
from benchmarks.servers import SLOTS, Server
from pulsar.config.load import load_config
from pulsar.core import PulsarApp
from pulsar.jobs.job import Job, JobKey, TimelineEntry
from pulsar.jobs.states import State
from pulsar.protocol.messages import LaunchRequest
from pulsar.store.files import DiskJobFiles
from pulsar.store.sqlite import SqliteStore

__all__ = ["fill_ledger"]

_MANAGER = "_default_"
_REQUEST = LaunchRequest("true", env=[{"name": "GALAXY_SLOTS", "value": "1"}])
#: About as much as the document of a real job has.
_DOCUMENT = json.dumps({"complete": "true", "status": "complete", "returncode": 0, "stdout": "x" * 2000})


def fill_ledger(server: Server, finished: int, queued: int) -> list[Path]:
    """Put jobs into the ledger of a node that is configured and does not run.

    The queued ones come after jobs that take all slots of the default manager; returned are the files in which those will write
    their process ids when they have started.
    """
    app = PulsarApp.from_config(load_config(ini_path=str(server.directory / "server.ini")))
    ledger = SqliteStore(Path(server.directory, "files", "persisted_data", "pulsar.sqlite3"))
    _add_finished(ledger, server.staging, finished)
    ledger.close()
    pid_files = [server.directory / f"sleeper-{number}.pid" for number in range(SLOTS)]
    for number, pid_file in enumerate(pid_files):
        app.service.setup(_MANAGER, f"sleeper-{number}")
        command = f"sh -c 'echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep {LONGEST_JOB_S}'"
        app.service.submit(_MANAGER, f"sleeper-{number}", LaunchRequest(command))
    for number in range(queued):
        app.service.setup(_MANAGER, f"queued-{number}")
        app.service.submit(_MANAGER, f"queued-{number}", _REQUEST)
    app.shutdown()
    return pid_files


def _add_finished(ledger: SqliteStore, staging: Path, count: int) -> None:
    files = DiskJobFiles(None, [str(staging)])
    for number in range(count):
        now = time.time()
        key = JobKey(_MANAGER, f"finished-{number}")
        directory = str(staging / key.job_id)
        files.create(directory, None)
        job = ledger.begin(Job(key, directory, created_at=now, updated_at=now), _entry(None, State.NEW, "setup", now))
        launched = [
            _entry(State.NEW, State.STAGING_IN, "launch", now),
            _entry(State.STAGING_IN, State.SUBMITTING, "staged", now),
        ]
        job = ledger.save(replace(job, state=State.SUBMITTING, request=_REQUEST), launched)
        ended = [
            _entry(State.SUBMITTING, State.QUEUED, "submitted", now),
            _entry(State.QUEUED, State.RUNNING, "started", now),
            _entry(State.RUNNING, State.STAGING_OUT, "exited", now),
            _entry(State.STAGING_OUT, State.COMPLETE, "staged", now),
        ]
        ledger.save(replace(job, state=State.COMPLETE, exit_code=0), ended, _DOCUMENT)


def _entry(left: State | None, entered: State, event: str, now: float) -> TimelineEntry:
    return TimelineEntry(1, left, entered, event, "", now)
