"""What every scenario works with: a place, a client process, servers, and where samples go."""

from __future__ import annotations

import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from benchmarks.measures import Column, Metric, Section
from benchmarks.servers import CONTENDERS, Server

__all__ = ["CONTENDER_COLUMNS", "Bench", "Scenario"]

CONTENDER_COLUMNS = tuple(Column(contender.key, contender.title) for contender in CONTENDERS.values())

T = TypeVar("T")


class Scenario(Protocol):
    """One kind of measurement."""

    name: str
    title: str
    columns: tuple[Column, ...]
    metrics: tuple[Metric, ...]

    def run(self, bench: Bench, section: Section) -> None:
        """Take the samples."""


@dataclass
class Bench:
    """``is_quick``: few and short measurements, to see that they work; the figures mean little."""

    scratch: Path
    clients: ProcessPoolExecutor
    contenders: tuple[str, ...]
    is_quick: bool = False

    def rounds(self, count: int) -> int:
        """Return how often to go around: ``count`` times, or once when it shall be quick."""
        return 1 if self.is_quick else count

    def seconds(self, value: float) -> float:
        """Return how long to measure."""
        return min(value, 0.5) if self.is_quick else value

    def by_client(self, function: Callable[..., T], *arguments: object) -> T:
        """Return what ``function`` returns in the client process."""
        return self.clients.submit(function, *arguments).result()

    def say(self, text: str) -> None:
        """Tell how far it is."""
        print(f"  {text}", file=sys.stderr, flush=True)

    def server(self, contender: str, name: str, *, has_free_manager: bool = False) -> Server:
        """Return a configured server, not started."""
        return Server(CONTENDERS[contender], self.scratch / name, has_free_manager=has_free_manager).configure()

    @contextmanager
    def all_running(self, name: str) -> Iterator[list[Server]]:
        """Have one server of each contender run."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.server(key, f"{name}-{key}").running()) for key in self.contenders]


def in_turns(servers: list[Server], rounds: int) -> Iterator[tuple[int, Server]]:
    """Yield each server once a round, each round beginning with another one."""
    for number in range(rounds):
        first = number % len(servers)
        for server in servers[first:] + servers[:first]:
            yield number, server


@contextmanager
def prepared(scratch_parent: Path | None, contenders: tuple[str, ...], *, is_quick: bool) -> Iterator[Bench]:
    """Have a scratch directory and a client process while the block runs."""
    scratch = Path(tempfile.mkdtemp(prefix="pulsar-bench-", dir=scratch_parent))
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as clients:
            clients.submit(time.time).result()
            yield Bench(scratch, clients, contenders, is_quick)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
