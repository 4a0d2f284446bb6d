"""The job record, the events that change it, and :func:`advance`, which computes the record after an event.

Everything here is a value. Nothing is saved or done: the engine saves what :func:`advance` returns, then acts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from pulsar.jobs.states import EventKind, State, next_state
from pulsar.protocol.messages import LaunchRequest

__all__ = [
    "Cancel",
    "Event",
    "Exited",
    "Failed",
    "Job",
    "JobKey",
    "Killed",
    "Launch",
    "Reason",
    "Staged",
    "Started",
    "Submitted",
    "TimelineEntry",
    "Vanished",
    "advance",
]


class JobKey(NamedTuple):
    """What a job is called on this node: manager and id."""

    manager: str
    job_id: str

    def __str__(self) -> str:
        return self.job_id if self.manager == "_default_" else f"{self.manager}/{self.job_id}"


class Reason(str, Enum):
    """Why a job failed, was cancelled or lost: the typed word beside the sentence."""

    STAGING_IN = "staging_in"
    STAGING_OUT = "staging_out"
    SUBMIT_REFUSED = "submit_refused"
    UNAUTHORIZED = "unauthorized"
    KILLED = "killed"
    WALLTIME = "walltime"
    MEMORY = "memory"
    NODE_FAILURE = "node_failure"
    STORAGE_FULL = "storage_full"
    CANCELLED = "cancelled"
    VANISHED = "vanished"
    INTERNAL = "internal"


@dataclass(frozen=True)
class Job:
    """One job, as the ledger keeps it. ``revision`` counts the saves; times are seconds since the epoch."""

    key: JobKey
    directory: str
    state: State = State.NEW
    attempt: int = 1
    revision: int = 0
    tool_id: str = ""
    tool_version: str = ""
    request: LaunchRequest | None = None
    #: What the manager calls the job; for local jobs the identity of the process once it runs.
    external_id: str | None = None
    #: Judged failed by its manager; the files still go home first.
    verdict_failed: bool = False
    reason: Reason | None = None
    detail: str = ""
    exit_code: int | None = None
    created_at: float = 0.0
    updated_at: float = 0.0
    #: Order of launch on this node: what a FIFO queue goes by. 0 until launched.
    sequence: int = 0
    #: The client asked for the directory to go as soon as the job has ended.
    clean_requested: bool = False
    #: When the directory was removed; None while it exists.
    cleaned_at: float | None = None

    @property
    def manager(self) -> str:
        """Name of the manager that has the job."""
        return self.key.manager

    @property
    def job_id(self) -> str:
        """The job's id on the wire."""
        return self.key.job_id


@dataclass(frozen=True)
class Launch:
    """The client has sent everything; run it."""

    request: LaunchRequest
    kind = EventKind.LAUNCH


@dataclass(frozen=True)
class Staged:
    """The activity of STAGING_IN or STAGING_OUT is done: the files are where they belong."""

    kind = EventKind.STAGED


@dataclass(frozen=True)
class Submitted:
    """The manager has the job and calls it ``external_id``."""

    external_id: str
    kind = EventKind.SUBMITTED


@dataclass(frozen=True)
class Started:
    """The job runs; ``external_id`` when only now its final name is known."""

    external_id: str | None = None
    kind = EventKind.STARTED


@dataclass(frozen=True)
class Exited:
    """The job script ended with ``exit_code``."""

    exit_code: int
    kind = EventKind.EXITED


@dataclass(frozen=True)
class Failed:
    """It cannot go on. ``detail`` is one sentence for people."""

    reason: Reason
    detail: str
    kind = EventKind.FAILED


@dataclass(frozen=True)
class Vanished:
    """Queue, accounting and exit-code file were asked, and none knows the job."""

    detail: str = "the job is unknown to its manager and left no exit code"
    kind = EventKind.VANISHED


@dataclass(frozen=True)
class Cancel:
    """Somebody wants the job to end."""

    detail: str = "cancelled on request"
    kind = EventKind.CANCEL


@dataclass(frozen=True)
class Killed:
    """Nothing of the job runs any more."""

    kind = EventKind.KILLED


Event = Launch | Staged | Submitted | Started | Exited | Failed | Vanished | Cancel | Killed


@dataclass(frozen=True)
class TimelineEntry:
    """One line of a job's timeline: ``entered`` is the state after it; equal to ``left`` when only noted."""

    attempt: int
    left: State | None
    entered: State
    event: str
    detail: str = ""
    time: float = 0.0


def advance(job: Job, event: Event) -> tuple[Job, TimelineEntry] | None:
    """Return the job after ``event`` with its timeline entry; None when the event changes nothing.

    Raises :class:`~pulsar.jobs.states.ImpossibleTransition` when the event cannot happen in the job's state.
    """
    target = next_state(job.state, event.kind, verdict_failed=job.verdict_failed)
    if target is None:
        return _late(job, event)
    entry = TimelineEntry(job.attempt, job.state, target, event.kind.value, _detail(event))
    return replace(_with_facts(job, event), state=target), entry


def _late(job: Job, event: Event) -> tuple[Job, TimelineEntry] | None:
    """An ignored event may still bring a fact: a job submitted while it was being cancelled has a name to be killed by."""
    match event:
        case Submitted(external_id=external_id) | Started(external_id=external_id) if (
            job.state is State.CANCELLING and external_id and external_id != job.external_id
        ):
            entry = TimelineEntry(job.attempt, job.state, job.state, event.kind.value, _detail(event))
            return replace(job, external_id=external_id), entry
    return None


def _with_facts(job: Job, event: Event) -> Job:
    match event:
        case Launch(request=request):
            return replace(job, request=request)
        case Submitted(external_id=external_id):
            return replace(job, external_id=external_id)
        case Started(external_id=external_id):
            return replace(job, external_id=external_id or job.external_id)
        case Exited(exit_code=code):
            return replace(job, exit_code=code)
        case Failed(reason=reason, detail=detail):
            # The first reason is the cause; a failure to deliver after a failed job does not hide it.
            if job.verdict_failed:
                return job
            return replace(job, verdict_failed=True, reason=reason, detail=detail)
        case Vanished(detail=detail):
            return replace(job, reason=Reason.VANISHED, detail=detail)
        case Cancel(detail=detail):
            return replace(job, reason=Reason.CANCELLED, detail=detail)
        case _:
            return job


def _detail(event: Event) -> str:
    match event:
        case Failed(reason=reason, detail=detail):
            return f"{reason.value}: {detail}"
        case Exited(exit_code=code):
            return f"exit code {code}"
        case Submitted(external_id=external_id):
            return external_id
        case Started(external_id=external_id):
            return external_id or ""
        case Vanished(detail=detail) | Cancel(detail=detail):
            return detail
        case _:
            return ""
