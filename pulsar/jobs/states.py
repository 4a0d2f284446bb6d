"""Everything about a job's states and transitions, in one table.

A job is born NEW at set-up. The client uploads its files, then *launches* it. Files that the node itself has to fetch are
*staged* in, the job is *submitted* to its manager, *started* by it, and it *exited*; what the node itself has to deliver is
staged out, and the job ends. On the way it may have *failed* (with a typed reason), *vanished* (the backend, its accounting
and the exit-code file know nothing of it) or been asked to *cancel*; CANCELLING ends when it is known to be *killed*.

Each state owns at most one activity, and each activity is safe to repeat; so recovery is to re-enter the stored state.

A missing row raises: it is a mistake in the program. Events in ``IGNORED`` are late or repeated and change no state.
"""

from __future__ import annotations

from enum import Enum

from pulsar.protocol.status import WireStatus

__all__ = [
    "FINAL_STATES",
    "IGNORED",
    "TRANSITIONS",
    "WIRE_STATUS",
    "EventKind",
    "ImpossibleTransition",
    "State",
    "next_state",
]


class State(str, Enum):
    """Where a job stands."""

    NEW = "new"
    STAGING_IN = "staging_in"
    SUBMITTING = "submitting"
    QUEUED = "queued"
    RUNNING = "running"
    STAGING_OUT = "staging_out"
    CANCELLING = "cancelling"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        """Whether nothing will happen to this attempt any more."""
        return self in FINAL_STATES

    @property
    def is_with_manager(self) -> bool:
        """Whether the job's manager is the one to ask about it."""
        return self in (State.QUEUED, State.RUNNING)


class EventKind(str, Enum):
    """What can happen to a job."""

    LAUNCH = "launch"
    STAGED = "staged"
    SUBMITTED = "submitted"
    STARTED = "started"
    EXITED = "exited"
    FAILED = "failed"
    VANISHED = "vanished"
    CANCEL = "cancel"
    KILLED = "killed"


FINAL_STATES = frozenset({State.COMPLETE, State.FAILED, State.CANCELLED, State.LOST})

#: The word that a client reads. A job that is being ended has not ended: Galaxy collects the files of a job as soon as it
#: reads ``cancelled``, so until the last process is gone the word is one it waits on.
WIRE_STATUS: dict[State, WireStatus] = {
    State.NEW: WireStatus.PREPROCESSING,
    State.STAGING_IN: WireStatus.PREPROCESSING,
    State.SUBMITTING: WireStatus.PREPROCESSING,
    State.QUEUED: WireStatus.QUEUED,
    State.RUNNING: WireStatus.RUNNING,
    State.STAGING_OUT: WireStatus.POSTPROCESSING,
    State.CANCELLING: WireStatus.POSTPROCESSING,
    State.COMPLETE: WireStatus.COMPLETE,
    State.FAILED: WireStatus.FAILED,
    State.CANCELLED: WireStatus.CANCELLED,
    State.LOST: WireStatus.LOST,
}

S, E = State, EventKind

#: Two outcomes in a row are "complete, or failed by the verdict that the job carries": see :func:`next_state`.
TRANSITIONS: dict[tuple[State, EventKind], State] = {
    (S.NEW, E.LAUNCH): S.STAGING_IN,
    (S.NEW, E.FAILED): S.FAILED,
    (S.NEW, E.CANCEL): S.CANCELLED,
    (S.STAGING_IN, E.STAGED): S.SUBMITTING,
    (S.STAGING_IN, E.FAILED): S.FAILED,
    (S.STAGING_IN, E.CANCEL): S.CANCELLING,
    (S.SUBMITTING, E.SUBMITTED): S.QUEUED,
    (S.SUBMITTING, E.FAILED): S.FAILED,
    (S.SUBMITTING, E.CANCEL): S.CANCELLING,
    (S.QUEUED, E.STARTED): S.RUNNING,
    (S.QUEUED, E.EXITED): S.STAGING_OUT,
    (S.QUEUED, E.FAILED): S.STAGING_OUT,
    (S.QUEUED, E.VANISHED): S.LOST,
    (S.QUEUED, E.CANCEL): S.CANCELLING,
    (S.RUNNING, E.EXITED): S.STAGING_OUT,
    (S.RUNNING, E.FAILED): S.STAGING_OUT,
    (S.RUNNING, E.VANISHED): S.LOST,
    (S.RUNNING, E.CANCEL): S.CANCELLING,
    (S.STAGING_OUT, E.STAGED): S.COMPLETE,
    (S.STAGING_OUT, E.FAILED): S.FAILED,
    (S.STAGING_OUT, E.CANCEL): S.CANCELLING,
    (S.CANCELLING, E.KILLED): S.CANCELLED,
}

#: Late or repeated events, ignored on purpose.
IGNORED: frozenset[tuple[State, EventKind]] = frozenset(
    {
        *((state, E.LAUNCH) for state in (S.STAGING_IN, S.SUBMITTING, S.QUEUED, S.RUNNING, S.STAGING_OUT)),
        (S.RUNNING, E.STARTED),
        *((S.STAGING_OUT, event) for event in (E.STARTED, E.EXITED, E.VANISHED)),
        *((S.CANCELLING, event) for event in EventKind if event is not E.KILLED),
        *((state, event) for state in FINAL_STATES for event in EventKind),
    }
)


class ImpossibleTransition(AssertionError):
    """An event came in a state in which it cannot come: a mistake in the program, not in the world."""


def next_state(state: State, event: EventKind, *, verdict_failed: bool = False) -> State | None:
    """Return the state after ``event``; None when the event is ignored there.

    ``verdict_failed`` says that the job was judged *failed* before its files went home: staging out then ends in FAILED.
    Raises :class:`ImpossibleTransition` for a pair that is neither in the table nor ignored.
    """
    target = TRANSITIONS.get((state, event))
    if target is None:
        if (state, event) in IGNORED:
            return None
        raise ImpossibleTransition(f"{event.value!r} cannot happen to a job that is {state.value!r}")
    if target is State.COMPLETE and verdict_failed:
        return State.FAILED
    return target
