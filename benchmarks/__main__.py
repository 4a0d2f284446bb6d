"""``python -m benchmarks``: measure, and write ``benchmarks/RESULTS.md`` and ``benchmarks/results.json``."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from benchmarks import machine
from benchmarks.bench import Bench, prepared
from benchmarks.measures import Section
from benchmarks.report import markdown, merge, table
from benchmarks.scenarios import SCENARIOS
from benchmarks.servers import CONTENDERS
from benchmarks.soak import DEFAULT_SECONDS, SOAK, soak

_HERE = Path(__file__).resolve().parent


def main() -> int:
    """Measure what the command line says; return the exit status."""
    arguments = _parser().parse_args()
    if arguments.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:14}{scenario.title}")
        print(f"{SOAK:14}a long mixed load on our node; not part of the default run")
        return 0
    contenders = tuple(key for key in CONTENDERS if key not in arguments.without)
    began = time.monotonic()
    with prepared(arguments.scratch, contenders, is_quick=arguments.quick) as bench:
        facts = {"date": _now(), **machine.describe(bench.scratch), **_commands(contenders)}
        sections = [soak(bench, arguments.seconds, _now())] if arguments.what == SOAK else _measure(bench, arguments.only)
    facts["took"] = f"{time.monotonic() - began:.0f} s"
    for section in sections:
        print(f"\n## {section.title}\n", *table(section), "", *section.notes, sep="\n")
    if arguments.quick:
        print("\nNothing was written: the figures of a quick run mean little.")
    else:
        stored = merge(_HERE / "results.json", sections, facts)
        (_HERE / "RESULTS.md").write_text(markdown(stored, [*SCENARIOS, SOAK]))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure this node beside the peer.")
    parser.add_argument("what", nargs="?", choices=("all", SOAK), default="all", help="the comparison (default), or the soak")
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), help="this scenario alone; may be repeated")
    parser.add_argument("--without", action="append", choices=("peer", "uwsgi"), default=[], help="leave a contender out")
    parser.add_argument("--quick", action="store_true", help="only see whether it works; writes nothing")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS, help="how long the soak lasts (default: %(default)g)")
    parser.add_argument("--scratch", type=Path, help="where servers have their directories (default: the system's own)")
    return parser


def _measure(bench: Bench, only: list[str] | None) -> list[Section]:
    sections = []
    for name, scenario in SCENARIOS.items():
        if only is None or name in only:
            print(f"{name}:", file=sys.stderr, flush=True)
            section = Section(name, scenario.title, scenario.columns, scenario.metrics, taken_at=_now())
            scenario.run(bench, section)
            sections.append(section)
    return sections


def _commands(contenders: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for key in contenders:
        command = CONTENDERS[key].launch_words
        found[CONTENDERS[key].title] = f"`{shlex.join(['pulsar', *command, '--config', 'DIRECTORY'])}`"
    return found


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


if __name__ == "__main__":
    sys.exit(main())
