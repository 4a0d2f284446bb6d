"""Jobs that do nothing: how soon one is complete, and how many are in a second."""

from __future__ import annotations

from benchmarks.bench import CONTENDER_COLUMNS, Bench, in_turns
from benchmarks.jobs import POLL_INTERVAL_S, run_jobs_in_parallel, run_jobs_in_turn
from benchmarks.measures import Aim, Metric, Section, Target
from benchmarks.servers import SLOTS

__all__ = ["NoopJobs"]

_IN_TURN = 30
_IN_PARALLEL = 200
_CLIENTS = 8
_ROUNDS = 3


class NoopJobs:
    """The scenario."""

    name = "jobs"
    title = "Jobs that do nothing"
    columns = CONTENDER_COLUMNS
    metrics: tuple[Metric, ...] = (
        Metric(
            "noop_latency",
            f"set-up → submit → complete, asked every {POLL_INTERVAL_S * 1000:g} ms",
            "ms",
            Target(Aim.RATIO_AT_MOST, 0.25),
        ),
        Metric(
            "noop_throughput",
            f"{_IN_PARALLEL} jobs by {_CLIENTS} clients, {SLOTS} slots",
            "jobs/s",
            Target(Aim.RATIO_AT_LEAST, 2.0),
        ),
    )

    def run(self, bench: Bench, section: Section) -> None:
        """Take the samples."""
        in_turn, in_parallel = (5, 16) if bench.is_quick else (_IN_TURN, _IN_PARALLEL)
        with bench.all_running("jobs") as servers:
            for number, server in in_turns(servers, bench.rounds(_ROUNDS)):
                for seconds in bench.by_client(run_jobs_in_turn, server.port, f"turn-{number}", in_turn):
                    section.add("noop_latency", server.key, seconds * 1000)
                rate = bench.by_client(run_jobs_in_parallel, server.port, f"many-{number}", in_parallel, _CLIENTS)
                section.add("noop_throughput", server.key, rate)
                bench.say(f"{server.key}: {section.median('noop_latency', server.key):.1f} ms, {rate:.1f} jobs/s")
        section.notes.append("A new connection for each request, as Galaxy's client makes them.")
