"""What a full ledger changes: two of our nodes, one of which has 10,000 finished and 1,000 queued jobs."""

from __future__ import annotations

import json
import time

from benchmarks.bench import Bench, in_turns
from benchmarks.jobs import end_process_of, long_job, run_jobs_in_parallel, run_jobs_in_turn
from benchmarks.ledger import fill_ledger
from benchmarks.measures import Aim, Column, Metric, Section, Target
from benchmarks.processes import pss_mib
from benchmarks.scenarios.small_files import small_files
from benchmarks.scenarios.status import status_load
from benchmarks.servers import FREE_MANAGER, SLOTS, Server
from benchmarks.wire import Connection

__all__ = ["FullLedger"]

FINISHED, QUEUED = 10_000, 1_000
_ROUNDS = 5
_SECONDS = 2.0
_FILES = 1000
_JOBS = 20
_MANY_JOBS = 60
_SETTLE_S = 2.0
#: How long a node may take to take all jobs into its queue.
_QUEUE_S = 120.0
_TARGET = Target(Aim.NOT_WORSE_BY, 0.2)


class FullLedger:
    """The scenario. The jobs that are measured belong to a second manager, which has free slots."""

    name = "full-ledger"
    title = f"Our node with {FINISHED:,} finished and {QUEUED:,} queued jobs in its ledger"
    columns: tuple[Column, ...] = (Column("full", "full ledger"), Column("empty", "empty ledger"))
    metrics: tuple[Metric, ...] = (
        Metric("ledger_startup", "exec to the first healthy answer", "s", _TARGET),
        Metric("ledger_memory", "idle memory of all its processes (PSS)", "MiB", _TARGET),
        Metric("ledger_status_close", "status, 8 connections, a new one each", "requests/s", _TARGET),
        Metric("ledger_status_keep", "status, 8 connections, kept", "requests/s", _TARGET),
        Metric("ledger_small_up", "small files up, a new connection each", "files/s", _TARGET),
        Metric("ledger_small_down", "small files down, a new connection each", "files/s", _TARGET),
        Metric("ledger_noop_latency", "set-up → submit → complete", "ms", _TARGET),
        Metric("ledger_noop_throughput", f"{_MANY_JOBS} jobs by 8 clients, 2 slots", "jobs/s", _TARGET),
    )

    def run(self, bench: Bench, section: Section) -> None:
        """Take the samples."""
        servers = {key: bench.server("ours", f"ledger-{key}", has_free_manager=True) for key in ("full", "empty")}
        finished, queued = (200, 20) if bench.is_quick else (FINISHED, QUEUED)
        sleepers = fill_ledger(servers["full"], finished, queued)
        bench.say(f"the ledger has {finished:,} finished and {queued:,} queued jobs")
        keys = {id(server): key for key, server in servers.items()}
        try:
            _let_queue_form(servers["full"], queued)
            with servers["empty"].running():
                pass
            for number, server in in_turns(list(servers.values()), bench.rounds(_ROUNDS)):
                self._measure(bench, section, server, keys[id(server)], number)
        finally:
            for pid_file in sleepers:
                end_process_of(pid_file)
        section.notes.append(
            "The queued jobs wait behind jobs that run all the time; measured are jobs of a second manager, which has free slots."
        )

    def _measure(self, bench: Bench, section: Section, server: Server, key: str, number: int) -> None:
        section.add("ledger_startup", key, server.start())
        try:
            time.sleep(bench.seconds(_SETTLE_S))
            section.add("ledger_memory", key, pss_mib(server.pids()))
            with long_job(server.port, f"asked-{number}", server.directory, FREE_MANAGER) as job_id:
                for mode in ("close", "keep"):
                    rate = bench.by_client(_status_rate, server.port, job_id, bench.seconds(_SECONDS), mode == "keep")
                    section.add(f"ledger_status_{mode}", key, rate)
            count = 50 if bench.is_quick else _FILES
            up, down = bench.by_client(small_files, server.port, f"files-{number}", count, False, FREE_MANAGER)
            section.add("ledger_small_up", key, up)
            section.add("ledger_small_down", key, down)
            for seconds in bench.by_client(run_jobs_in_turn, server.port, f"turn-{number}", _JOBS, FREE_MANAGER):
                section.add("ledger_noop_latency", key, seconds * 1000)
            rate = bench.by_client(run_jobs_in_parallel, server.port, f"many-{number}", _MANY_JOBS, 8, FREE_MANAGER)
            section.add("ledger_noop_throughput", key, rate)
            bench.say(f"{key}: started in {section.samples['ledger_startup'][key][-1]:.2f} s")
        finally:
            server.stop()


def _status_rate(port: int, job_id: str, seconds: float, keep_alive: bool) -> float:
    return status_load(port, job_id, 8, seconds, keep_alive=keep_alive, manager=FREE_MANAGER).per_second


def _let_queue_form(server: Server, queued: int) -> None:
    """Start the node once, until the first jobs hold all slots and the others are queued; those that run outlive it."""
    with server.running(), Connection(server.port, keep_alive=True) as connection:
        deadline = time.monotonic() + _QUEUE_S
        wanted = {"running": SLOTS, "queued": queued}
        while (found := json.loads(connection.request("GET", "/healthz").body)["jobs"]["_default_"]) != wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the default manager has {found} jobs, not {wanted}")
            time.sleep(0.1)
