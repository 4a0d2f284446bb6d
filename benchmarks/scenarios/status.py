"""How many status requests a server answers per second, of a job that runs: what most of Galaxy's requests are."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.bench import CONTENDER_COLUMNS, Bench, in_turns
from benchmarks.jobs import long_job
from benchmarks.load import LoadResult, LoadSpec, generate_load
from benchmarks.measures import Aim, Metric, Section, Target
from benchmarks.wire import request_head

__all__ = ["CONNECTIONS", "StatusRequests", "status_load"]

CONNECTIONS = (1, 8, 32)
_SECONDS = 2.0
_ROUNDS = 3
_TARGET = Target(Aim.RATIO_AT_LEAST, 3.0)


def status_key(connections: int, *, keep_alive: bool) -> str:
    """Return the key of the metric."""
    return f"status_{'keep' if keep_alive else 'close'}_{connections}"


def status_load(
    port: int, job_id: str, connections: int, seconds: float, *, keep_alive: bool, manager: str | None = None
) -> LoadResult:
    """Ask for the status of one job all the time; run in the client process."""
    prefix = f"/managers/{manager}" if manager else ""
    head = request_head("GET", f"{prefix}/jobs/{job_id}/status", {"job_id": job_id}, keep_alive=keep_alive)
    return generate_load(LoadSpec(port, head, connections, keep_alive, seconds))


def _metrics() -> tuple[Metric, ...]:
    found = []
    for keep_alive in (False, True):
        for connections in CONNECTIONS:
            how = "kept" if keep_alive else "a new one each"
            title = f"status, {connections} connection{'s' if connections > 1 else ''}, {how}"
            found.append(Metric(status_key(connections, keep_alive=keep_alive), title, "requests/s", _TARGET))
    return tuple(found)


class StatusRequests:
    """The scenario."""

    name = "status"
    title = "Status requests"
    columns = CONTENDER_COLUMNS
    metrics = _metrics()

    def run(self, bench: Bench, section: Section) -> None:
        """Take the samples."""
        spent: dict[str, list[float]] = {}
        with bench.all_running("status") as servers, ExitStack() as stack:
            for server in servers:
                stack.enter_context(long_job(server.port, "long", server.directory))
            for _, server in in_turns(servers, bench.rounds(_ROUNDS)):
                for keep_alive in (False, True):
                    for connections in CONNECTIONS:
                        before = server.processor_seconds()
                        result = _measure(bench, server.port, connections, keep_alive=keep_alive)
                        # The warm-up counts in the first and not in the second; it is the same for all.
                        spent.setdefault(server.key, []).append((server.processor_seconds() - before) / result.answers)
                        section.add(status_key(connections, keep_alive=keep_alive), server.key, result.per_second)
                bench.say(f"{server.key}: {section.samples[status_key(8, keep_alive=False)][server.key][-1]:,.0f} requests/s")
        section.notes.append("The job asked for is running. uWSGI's HTTP router, as configured, keeps no connection.")
        costs = ", ".join(f"{key} {sorted(values)[len(values) // 2] * 1e6:,.0f} µs" for key, values in spent.items())
        section.notes.append(f"Processor time of the server per request, median over all rows: {costs}.")


def _measure(bench: Bench, port: int, connections: int, *, keep_alive: bool) -> LoadResult:
    return bench.by_client(_load, port, connections, bench.seconds(_SECONDS), keep_alive)


def _load(port: int, connections: int, seconds: float, keep_alive: bool) -> LoadResult:
    return status_load(port, "long", connections, seconds, keep_alive=keep_alive)
