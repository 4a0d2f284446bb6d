"""What a server's processes take, read from ``/proc`` while it works: memory, threads, open files, processor time."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MemoryWatch", "Usage", "processes_of_session", "processor_seconds", "usage"]

MIB = float(1 << 20)
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """A sample over all processes of a server. ``pss_mib``: memory, a page that n processes share counted as 1/n for each."""

    pss_mib: float
    threads: int
    files: int
    processes: int


def processes_of_session(session: int) -> list[int]:
    """Return the living processes of a session, which is what a server is started as."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with contextlib.suppress(OSError):
                state, _, _, sid = _stat(int(entry))[:4]
                if int(sid) == session and state not in "ZX":
                    found.append(int(entry))
    return sorted(found)


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third, the state, on (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def processor_seconds(pids: list[int]) -> float:
    """Return the processor time, user and system, that the processes have taken so far, in seconds."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            ticks += sum(int(field) for field in _stat(pid)[11:13])
    return ticks / _TICKS


def usage(pids: list[int]) -> Usage:
    """Return what the processes have now."""
    threads = files = living = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            threads += int(_stat(pid)[17])
            files += len(os.listdir(f"/proc/{pid}/fd"))
            living += 1
    return Usage(pss_mib(pids), threads, files, living)


def pss_mib(pids: list[int]) -> float:
    """Return the proportional set size of the processes, in MiB."""
    kib = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
            kib += next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return kib / 1024


class MemoryWatch:
    """Samples the memory of some processes in a thread; ``growth_mib`` is the most that it grew over the start."""

    def __init__(self, pids: list[int], interval_s: float = 0.05) -> None:
        self._pids = pids
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._start_mib = pss_mib(pids)
        self._most_mib = self._start_mib
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._most_mib = max(self._most_mib, pss_mib(self._pids))

    @property
    def growth_mib(self) -> float:
        """How much more than at the start it was at most, in MiB."""
        return self._most_mib - self._start_mib

    @contextlib.contextmanager
    def watching(self) -> Iterator[MemoryWatch]:
        """Sample until the block ends."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()
            self._most_mib = max(self._most_mib, pss_mib(self._pids))
