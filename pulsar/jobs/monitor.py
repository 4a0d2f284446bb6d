"""Asking managers about many jobs at once, and turning what they answer into events.

One question per manager is under way at a time. A manager is asked when its interval has passed, at once when it has told of a
change, and at once for a job that is new to the watch. A question that could not be asked says nothing about any job; it is
asked again, with growing pauses.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from pulsar.errors import CannotAsk
from pulsar.jobs.job import Event, Exited, Failed, Job, JobKey, Started, Vanished
from pulsar.jobs.ports import Exit, Failure, Gone, Manager, Observation, Queued, Running
from pulsar.jobs.states import State
from pulsar.retry import Backoff

__all__ = ["Monitor", "event_of"]

log = logging.getLogger(__name__)


def event_of(job: Job, observation: Observation) -> Event | None:
    """Return the event that an observation means for a job that is QUEUED or RUNNING; None when nothing has changed."""
    match observation:
        case Queued():
            return None
        case Running(external_id=external_id):
            return Started(external_id) if job.state is State.QUEUED else None
        case Exit(code=code):
            return Exited(code)
        case Failure(reason=reason, detail=detail):
            return Failed(reason, detail)
        case Gone(detail=detail):
            return Vanished(detail)


@dataclass
class _Watch:
    """The jobs of one manager, in the order of their launch."""

    manager: Manager
    jobs: dict[JobKey, Job] = field(default_factory=dict)
    nudged: set[JobKey] = field(default_factory=set)
    due: float = 0.0
    asking: bool = False
    pauses: Iterator[float] | None = None


class Monitor:
    """The watched jobs of all managers. Thread-safe; the engine calls :meth:`rounds` and runs what it yields."""

    def __init__(
        self,
        managers: Mapping[str, Manager],
        happened: Callable[[Job, Event], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._happened = happened
        self._clock = clock
        self._lock = threading.Lock()
        self._watches = {name: _Watch(manager) for name, manager in managers.items()}

    def watch(self, job: Job) -> None:
        """Ask about ``job`` from now on; the first time at once."""
        with self._lock:
            watch = self._watches[job.manager]
            known = watch.jobs.get(job.key)
            watch.jobs[job.key] = job
            if known is None or known.attempt != job.attempt:
                watch.nudged.add(job.key)

    def unwatch(self, key: JobKey) -> None:
        """Ask no more about the job."""
        with self._lock:
            watch = self._watches[key.manager]
            watch.jobs.pop(key, None)
            watch.nudged.discard(key)

    def nudge(self, key: JobKey) -> None:
        """Ask about the job soon, because its manager says that something has happened."""
        with self._lock:
            watch = self._watches[key.manager]
            if key in watch.jobs:
                watch.nudged.add(key)

    def rounds(self) -> list[Callable[[], None]]:
        """Return the questions that are due now, each to be run once, in any thread."""
        now = self._clock()
        due: list[Callable[[], None]] = []
        with self._lock:
            for watch in self._watches.values():
                if watch.asking or not watch.jobs or (watch.pauses is not None and now < watch.due):
                    continue
                if now >= watch.due:
                    jobs = list(watch.jobs.values())
                elif watch.nudged:
                    jobs = [watch.jobs[key] for key in watch.nudged if key in watch.jobs]
                else:
                    continue
                jobs.sort(key=lambda job: job.sequence)
                watch.nudged = set()
                watch.asking = True
                due.append(lambda watch=watch, jobs=jobs, full=now >= watch.due: self._ask(watch, jobs, full))  # type: ignore[misc]
        return due

    def seconds_to_next(self) -> float:
        """Return how long nothing is due, if nothing happens."""
        now = self._clock()
        with self._lock:
            waits = [watch.due - now for watch in self._watches.values() if watch.jobs and not watch.asking]
        return max(0.0, min(waits, default=60.0))

    def _ask(self, watch: _Watch, jobs: list[Job], full: bool) -> None:
        try:
            answer = watch.manager.poll(jobs)
        except CannotAsk as exc:
            self._postpone(watch, exc)
            return
        except Exception as exc:
            log.exception("asking manager %s failed", jobs[0].manager)
            self._postpone(watch, exc)
            return
        with self._lock:
            watch.asking = False
            watch.pauses = None
            if full:
                watch.due = self._clock() + watch.manager.poll_interval_s
        for job in jobs:
            observation = answer.get(job.key)
            event = event_of(job, observation) if observation is not None else None
            if event is not None:
                self._happened(job, event)

    def _postpone(self, watch: _Watch, error: Exception) -> None:
        with self._lock:
            if watch.pauses is None:
                watch.pauses = Backoff(start=1.0, maximum=60.0).pauses()
                log.warning("a job manager did not answer, its jobs keep their state: %s", error)
            watch.due = self._clock() + next(watch.pauses)
            watch.asking = False
