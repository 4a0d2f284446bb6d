"""The ledger in memory: the twin of :mod:`pulsar.store.sqlite` for ``persistence_directory: __none__``. One process only."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pulsar.errors import StaleRevision
from pulsar.jobs.job import Job, JobKey, TimelineEntry
from pulsar.jobs.ports import Standing
from pulsar.jobs.states import EventKind, State

__all__ = ["MemoryStore"]


class MemoryStore:
    """A :class:`~pulsar.jobs.ports.Store` that forgets everything when its process ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[JobKey, Job] = {}
        self._documents: dict[JobKey, str] = {}
        self._events: list[tuple[int, JobKey, TimelineEntry]] = []
        self._last_event = 0

    @property
    def reads_never_wait(self) -> bool:
        return True

    def get(self, key: JobKey) -> Job | None:
        return self._jobs.get(key)

    def standing(self, key: JobKey) -> Standing | None:
        job = self._jobs.get(key)
        return Standing(job.state, job.cleaned_at is not None) if job else None

    def document(self, key: JobKey) -> str | None:
        return self._documents.get(key)

    def unfinished(self) -> list[Job]:
        with self._lock:
            jobs = [job for job in self._jobs.values() if not job.state.is_final]
        return sorted(jobs, key=lambda job: (job.sequence == 0, job.sequence))

    def clean_pending(self) -> list[Job]:
        with self._lock:
            return [job for job in self._jobs.values() if job.state.is_final and job.clean_requested and job.cleaned_at is None]

    def changed_since(self, mark: int) -> tuple[int, list[JobKey]]:
        with self._lock:
            changed = []
            for event_id, key, _ in reversed(self._events):
                if event_id <= mark:
                    break
                changed.append(key)
            return self._last_event, list(dict.fromkeys(reversed(changed)))

    def mark(self) -> int:
        return self._last_event

    def timeline(self, key: JobKey) -> list[TimelineEntry]:
        with self._lock:
            return [entry for _, event_key, entry in self._events if event_key == key]

    def counts(self) -> Mapping[tuple[str, State], int]:
        return Counter((job.manager, job.state) for job in self.unfinished())

    def begin(self, job: Job, entry: TimelineEntry) -> Job:
        with self._lock:
            last = self._jobs.get(job.key)
            if (last.attempt if last else 0) != job.attempt - 1 or (last and not last.state.is_final):
                raise StaleRevision(f"job {job.key} was set up by somebody else at the same moment")
            job = replace(job, revision=job.revision + 1)
            self._jobs[job.key] = job
            self._documents.pop(job.key, None)
            self._append(job.key, entry)
        return job

    def save(self, job: Job, entries: Sequence[TimelineEntry], document: str | None = None, *, durable: bool = False) -> Job:
        del durable  # memory is as durable as it gets
        with self._lock:
            stored = self._jobs.get(job.key)
            if stored is None or stored.revision != job.revision:
                raise StaleRevision(f"job {job.key} was changed by somebody else")
            for entry in entries:
                self._append(job.key, entry)
                if entry.event == EventKind.LAUNCH.value and job.request is not None:
                    job = replace(job, sequence=self._last_event)
            job = replace(job, revision=job.revision + 1, request=None if job.cleaned_at is not None else job.request)
            self._jobs[job.key] = job
            if document is not None:
                self._documents[job.key] = document
            if job.cleaned_at is not None:
                self._documents.pop(job.key, None)
        return job

    def forget_before(self, time: float) -> int:
        with self._lock:
            old = {key for key, job in self._jobs.items() if job.cleaned_at is not None and job.cleaned_at < time}
            for key in old:
                del self._jobs[key]
            self._events = [event for event in self._events if event[1] not in old]
        return len(old)

    def reset_after_fork(self) -> None:
        self._lock = threading.Lock()

    def close(self) -> None:
        pass

    def _append(self, key: JobKey, entry: TimelineEntry) -> None:
        self._last_event += 1
        self._events.append((self._last_event, key, entry))
