"""``pulsar-jobs``: what the ledger knows, for the operator. Why is this job not done? What is the node doing?

It only reads; the node may run or not.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from pulsar import __version__
from pulsar.cli.arguments import add_config_arguments, load_from_arguments, reporting
from pulsar.core import open_ledger
from pulsar.errors import ConfigError, LedgerError, PulsarError
from pulsar.jobs.job import Job, JobKey, TimelineEntry
from pulsar.jobs.ports import Store

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Print what was asked for and return the exit status: 1 for a job that the ledger does not know."""
    return reporting("pulsar-jobs", lambda: _run(_parser().parse_args(argv)))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="pulsar-jobs",
        description="Show the unfinished jobs of a node, or everything that happened to some jobs.",
    )
    parser.add_argument("job_id", nargs="*", help="show the timeline of these jobs (default: a line per unfinished job)")
    add_config_arguments(parser)
    parser.add_argument("--manager", help="only jobs of this manager")
    parser.add_argument("--json", action="store_true", help="print JSON, one object per line")
    parser.add_argument("--version", action="version", version=f"pulsar-node {__version__}")
    return parser


def _run(arguments: Namespace) -> int:
    config = load_from_arguments(arguments)
    known = [manager.name for manager in config.managers]
    if arguments.manager is not None and arguments.manager not in known:
        raise ConfigError(f"no manager is called {arguments.manager!r}; this node has {', '.join(known)}")
    managers = [arguments.manager] if arguments.manager else known
    try:
        store = open_ledger(config)
        try:
            if arguments.job_id:
                return _show_timelines(store, managers, arguments.job_id, as_json=arguments.json)
            _show_unfinished(store, managers, as_json=arguments.json)
        finally:
            store.close()
    except LedgerError as exc:
        raise ConfigError(str(exc)) from exc
    except PulsarError as exc:
        print(f"pulsar-jobs: {exc}", file=sys.stderr)
        return 1
    return 0


def _show_unfinished(store: Store, managers: list[str], *, as_json: bool) -> None:
    jobs = [job for job in store.unfinished() if job.manager in managers]
    if as_json:
        for job in jobs:
            print(json.dumps(_record(job)))
        return
    if not jobs:
        print("no unfinished jobs")
        return
    rows = [("JOB", "STATE", "SINCE", "ATTEMPT", "TOOL", "EXTERNAL ID")]
    rows += [
        (str(job.key), job.state.value, _when(job.updated_at), str(job.attempt), job.tool_id or "-", job.external_id or "-")
        for job in jobs
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _show_timelines(store: Store, managers: list[str], job_ids: list[str], *, as_json: bool) -> int:
    missing = []
    for job_id in job_ids:
        timelines = {name: entries for name in managers if (entries := store.timeline(JobKey(name, job_id)))}
        if not timelines:
            missing.append(job_id)
        for name, entries in timelines.items():
            key = JobKey(name, job_id)
            if as_json:
                for entry in entries:
                    print(json.dumps({"manager": name, "job_id": job_id, **_entry(entry)}))
            else:
                _print_timeline(key, entries)
    if missing:
        print(f"pulsar-jobs: the ledger knows nothing of {', '.join(missing)}", file=sys.stderr)
    return 1 if missing else 0


def _print_timeline(key: JobKey, entries: list[TimelineEntry]) -> None:
    print(f"job {key}")
    attempt = 0
    for entry in entries:
        if entry.attempt != attempt:
            attempt = entry.attempt
            print(f"  attempt {attempt}")
        detail = f"  {entry.detail}" if entry.detail else ""
        print(f"    {_when(entry.time)}  {entry.event:<10} {entry.entered.value:<12}{detail}".rstrip())


def _when(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _record(job: Job) -> dict[str, Any]:
    return {
        "manager": job.manager,
        "job_id": job.job_id,
        "state": job.state.value,
        "attempt": job.attempt,
        "tool_id": job.tool_id,
        "external_id": job.external_id,
        "directory": job.directory,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
    }


def _entry(entry: TimelineEntry) -> dict[str, Any]:
    return {
        "time": entry.time,
        "attempt": entry.attempt,
        "event": entry.event,
        "left": entry.left.value if entry.left else None,
        "entered": entry.entered.value,
        "detail": entry.detail,
    }


if __name__ == "__main__":
    sys.exit(main())
