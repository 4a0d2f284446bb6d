"""Stand-ins for the world, for faults that the real one cannot be made to show. They fail when an effect goes unnoticed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pulsar.errors import CannotAsk, LedgerError
from pulsar.jobs.job import Job, JobKey, TimelineEntry
from pulsar.jobs.ports import DirectorySnapshot, Exit, Gone, Observation, OpenedFile, Queued, Running, Store
from pulsar.protocol.messages import LaunchRequest


class FakeFiles:
    """Job directories that exist in a set. Shared by an engine and its successor, as a disk is."""

    def __init__(self) -> None:
        self.directories: set[str] = set()
        self.removed: list[str] = []
        self.aside: list[str] = []
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def exclusive(self, directory: str) -> Iterator[None]:
        with self._lock:
            yield

    def create(self, directory: str, mode: int | None) -> None:
        self.directories.add(directory)

    def exists(self, directory: str) -> bool:
        return directory in self.directories

    def remove(self, directory: str) -> None:
        if directory in self.directories:
            self.directories.discard(directory)
            self.removed.append(directory)

    def set_aside(self, directory: str) -> str:
        self.directories.discard(directory)
        self.aside.append(directory)
        return directory + ".aside"

    def sweep(self) -> None:
        pass

    def write(self, directory: str, name: str, text: str, *, mode: int = 0o666) -> None:
        pass

    def touch_outputs(self, directory: str, names: Sequence[str]) -> None:
        pass

    def receive(self, directory: str, path_type: str, name: str, source: Callable[[int], bytes]) -> str:
        raise NotImplementedError

    def upload_path(self, directory: str, path_type: str, name: str) -> str:
        return f"{directory}/{path_type}/{name}"

    def output_path(self, directory: str, path_type: str, name: str) -> str:
        return f"{directory}/{path_type}/{name}"

    def open_output(self, directory: str, path_type: str, name: str) -> OpenedFile:
        raise NotImplementedError

    def snapshot(self, directory: str, stream_limit: int, dynamic_file_sources: Sequence[Mapping[str, Any]]) -> DirectorySnapshot:
        return DirectorySnapshot(exists=directory in self.directories)


class World:
    """A job backend that outlives the node: what runs in it, and how often each job was started."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.standing: dict[JobKey, Observation] = {}
        self.starts: dict[JobKey, int] = {}
        self.kills: dict[JobKey, int] = {}
        self.staged_in: dict[JobKey, int] = {}
        self.staged_out: dict[JobKey, int] = {}
        #: What a job becomes each time it is looked at.
        self.script: tuple[Observation, ...] = (Queued(), Running("77"), Exit(3))
        self.looks: dict[JobKey, int] = {}


class FakeManager:
    """One node process' link to a :class:`World`; cut when that process "dies"."""

    poll_interval_s = 0.01

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_cut = False
        self.forgotten: list[JobKey] = []

    def _use(self) -> None:
        if self.is_cut:
            raise CannotAsk("this node process is dead")

    def submit(self, job: Job) -> str:
        with self.world.lock:
            self._use()
            self.world.starts[job.key] = self.world.starts.get(job.key, 0) + 1
            self.world.standing[job.key] = self.world.script[0]
        return f"x{job.job_id}"

    def find(self, job: Job) -> str | None:
        with self.world.lock:
            self._use()
            return f"x{job.job_id}" if job.key in self.world.standing else None

    def poll(self, jobs: Sequence[Job]) -> Mapping[JobKey, Observation]:
        answer: dict[JobKey, Observation] = {}
        with self.world.lock:
            self._use()
            for job in jobs:
                look = self.world.looks.get(job.key, 0)
                self.world.looks[job.key] = look + 1
                if job.key in self.world.standing:
                    self.world.standing[job.key] = self.world.script[min(look, len(self.world.script) - 1)]
                answer[job.key] = self.world.standing.get(job.key, Gone())
        return answer

    def cancel(self, job: Job) -> None:
        with self.world.lock:
            self._use()
            self.world.kills[job.key] = self.world.kills.get(job.key, 0) + 1
            self.world.standing.pop(job.key, None)

    def forget(self, job: Job) -> None:
        self.forgotten.append(job.key)

    def close(self) -> None:
        self.is_cut = True


class FakeStager:
    """Staging that counts; ``wants_stage_in`` decides whether a job has files to fetch."""

    def __init__(self, world: World, *, wants_stage_in: bool = False) -> None:
        self.world = world
        self.wants_stage_in = wants_stage_in
        self.fail_in: Exception | None = None
        self.fail_out: Exception | None = None

    def check(self, request: LaunchRequest) -> None:
        pass

    def needs_stage_in(self, job: Job) -> bool:
        return self.wants_stage_in

    def stage_in(self, job: Job, cancelled: Callable[[], bool]) -> None:
        if self.fail_in is not None:
            raise self.fail_in
        self.world.staged_in[job.key] = self.world.staged_in.get(job.key, 0) + 1

    def needs_stage_out(self, job: Job) -> bool:
        return True

    def stage_out(self, job: Job, cancelled: Callable[[], bool]) -> None:
        if self.fail_out is not None:
            raise self.fail_out
        self.world.staged_out[job.key] = self.world.staged_out.get(job.key, 0) + 1


class MortalStore:
    """One process' link to a store: it dies before or after its ``n``\\ th write, and is dead from then on.

    Dying before a write is a kill between the act and the save; dying after it, between the save and the next act.
    """

    _WRITES = ("begin", "save")

    def __init__(self, store: Store, die_at: int | None = None, *, before: bool = False) -> None:
        self._store = store
        self._die_at = die_at
        self._before = before
        self._count = 0
        self._lock = threading.Lock()
        self.died = threading.Event()
        self.entries: list[TimelineEntry] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in self._WRITES:
            return lambda *args, **kwargs: self._alive() or method(*args, **kwargs)
        return lambda *args, **kwargs: self._write(method, *args, **kwargs)

    def _alive(self) -> None:
        if self.died.is_set():
            raise LedgerError("this node process is dead")

    def _write(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            self._alive()
            self._count += 1
            last = self._count == self._die_at
            if last and self._before:
                self.died.set()
                raise LedgerError("this node process died before the save")
            result = method(*args, **kwargs)
            if last:
                self.died.set()
            return result

    @property
    def writes(self) -> int:
        """How many writes there have been."""
        return self._count
