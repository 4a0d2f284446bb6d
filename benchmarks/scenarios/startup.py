"""From exec to the first healthy answer, and what the idle server's processes take."""

from __future__ import annotations

import time

from benchmarks.bench import CONTENDER_COLUMNS, Bench, in_turns
from benchmarks.measures import Aim, Metric, Section, Target
from benchmarks.processes import usage

__all__ = ["StartUp"]

_ROUNDS = 5
_SETTLE_S = 2.0
_TARGET = Target(Aim.RATIO_AT_MOST, 0.5)


class StartUp:
    """The scenario."""

    name = "start-up"
    title = "Start-up and idle memory"
    columns = CONTENDER_COLUMNS
    metrics: tuple[Metric, ...] = (
        Metric("startup", "exec to the first healthy answer", "s", _TARGET),
        Metric("idle_memory", "idle memory of all its processes (PSS)", "MiB", _TARGET),
    )

    def run(self, bench: Bench, section: Section) -> None:
        """Take the samples."""
        servers = [bench.server(key, f"startup-{key}") for key in bench.contenders]
        for server in servers:
            with server.running():
                pass  # so that the byte code is compiled and the files are in memory for all
        for _, server in in_turns(servers, bench.rounds(_ROUNDS)):
            section.add("startup", server.key, server.start())
            try:
                time.sleep(bench.seconds(_SETTLE_S))
                found = usage(server.pids())
            finally:
                server.stop()
            section.add("idle_memory", server.key, found.pss_mib)
            bench.say(f"{server.key}: {section.samples['startup'][server.key][-1]:.2f} s, {found.pss_mib:.1f} MiB")
        section.notes.append(f"Memory is sampled {_SETTLE_S:g} s after the first answer, over all processes of the server.")
