"""The ports of the job machine: what it needs from the world, each promise in the docstring of the method that makes it.

Adapters live in :mod:`pulsar.store`, :mod:`pulsar.managers` and :mod:`pulsar.staging`; :mod:`pulsar.core` joins them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple, Protocol

from pulsar.jobs.job import Job, JobKey, Reason, TimelineEntry
from pulsar.jobs.states import State
from pulsar.protocol.messages import LaunchRequest

__all__ = [
    "Changed",
    "DirectorySnapshot",
    "Exit",
    "Failure",
    "Gone",
    "JobFiles",
    "Manager",
    "ManagerProfile",
    "Observation",
    "OpenedFile",
    "Queued",
    "Running",
    "Stager",
    "Standing",
    "Store",
]


# -- the ledger ---------------------------------------------------------------------------------------------------------


class Standing(NamedTuple):
    """The little that most status polls need. ``is_clean``: the directory was removed at the client's wish."""

    state: State
    is_clean: bool


class Store(Protocol):
    """The ledger: the one truth about jobs. Safe to use from any thread and any process of the node.

    Every method raises :class:`~pulsar.errors.LedgerError` when the ledger cannot be read or written, and
    :class:`~pulsar.errors.StorageFull` when there is no room; then nothing has changed.
    """

    @property
    def reads_never_wait(self) -> bool:
        """Whether a read returns at once whoever is writing, so that it may be done where everybody would wait for it."""

    def get(self, key: JobKey) -> Job | None:
        """Return the job's latest attempt, or None when it was never set up here (or is forgotten)."""

    def standing(self, key: JobKey) -> Standing | None:
        """Return where the job stands, without reading its request: what a status poll costs."""

    def begin(self, job: Job, entry: TimelineEntry) -> Job:
        """Save the first record of an attempt and return it with its revision.

        Replaces a final attempt of the same key. Raises :class:`~pulsar.errors.StaleRevision` when the stored attempt is
        not the one before ``job.attempt``, or is not final.
        """

    def save(self, job: Job, entries: Sequence[TimelineEntry], document: str | None = None, *, durable: bool = False) -> Job:
        """Save ``job`` with its timeline entries, and its terminal document if given, in one transaction.

        ``job.revision`` names the revision it replaces. On return all of it survives ``kill -9``; with ``durable`` also a
        power cut. A LAUNCH entry gives the job its sequence number. Returns the job with the new revision. Raises
        :class:`~pulsar.errors.StaleRevision` when somebody else has saved it since.
        """

    def document(self, key: JobKey) -> str | None:
        """Return the terminal document (JSON text) of the latest attempt; None before it has ended or once it is cleaned."""

    def unfinished(self) -> list[Job]:
        """Return every job that is not final, in the order of their launch; those never launched come last."""

    def clean_pending(self) -> list[Job]:
        """Return the final jobs whose directory is still to be removed."""

    def changed_since(self, mark: int) -> tuple[int, list[JobKey]]:
        """Return a new mark, and the keys of jobs saved after ``mark`` by any process (0: since ever)."""

    def mark(self) -> int:
        """Return the mark of the latest change."""

    def timeline(self, key: JobKey) -> list[TimelineEntry]:
        """Return everything that happened to the job, all attempts, oldest first."""

    def counts(self) -> Mapping[tuple[str, State], int]:
        """Return how many unfinished jobs each manager has in each state."""

    def forget_before(self, time: float) -> int:
        """Drop the records and timelines of jobs that ended and were cleaned before ``time``; return how many."""

    def reset_after_fork(self) -> None:
        """Give up what must not be shared with the parent process; the store opens its own when next used."""

    def close(self) -> None:
        """Release what is open. Nothing may be called afterwards."""


# -- job directories ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DirectorySnapshot:
    """What a terminal document tells of a job directory. Contents are relative names of files, streams are shortened text."""

    exists: bool = False
    return_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    job_stdout: str = ""
    job_stderr: str = ""
    working_directory_contents: Sequence[str] = ()
    outputs_directory_contents: Sequence[str] = ()
    metadata_directory_contents: Sequence[str] = ()
    job_directory_contents: Sequence[str] = ()
    realized_dynamic_file_sources: Sequence[Mapping[str, Any]] = ()


@dataclass
class OpenedFile:
    """A regular file opened for reading; the receiver closes ``stream``. ``modified_at`` is in seconds since the epoch."""

    stream: BinaryIO
    size: int
    modified_at: float


class JobFiles(Protocol):
    """Job directories on disk. Nothing is read or written outside the job's own directory, whatever links a job left there.

    Failures are :class:`~pulsar.errors.PulsarError`\\ s: ``UnsafePath``, ``NotFound``, ``RequestError`` for special files,
    ``StorageFull``.
    """

    def exclusive(self, directory: str) -> AbstractContextManager[None]:
        """Hold the job's lock, across threads and processes of the node, for short administrative work."""

    def create(self, directory: str, mode: int | None) -> None:
        """Create the tree of a job; existing directories are accepted. On return all of it exists."""

    def exists(self, directory: str) -> bool:
        """Return whether the job directory is there."""

    def remove(self, directory: str) -> None:
        """Remove the tree. On return its name is free; the bytes go when :meth:`sweep` is next called."""

    def set_aside(self, directory: str) -> str:
        """Rename a directory that this node knows nothing of, so that its name is free, and return where it is kept now."""

    def sweep(self) -> None:
        """Delete what :meth:`remove` has put away. What cannot be deleted now is tried again at the next call."""

    def write(self, directory: str, name: str, text: str, *, mode: int = 0o666) -> None:
        """Replace one of the node's own files in the top of the directory, whole."""

    def touch_outputs(self, directory: str, names: Sequence[str]) -> None:
        """Create the named files below ``outputs/`` where they do not exist (append mode)."""

    def receive(self, directory: str, path_type: str, name: str, source: Callable[[int], bytes]) -> str:
        """Store what ``source(size)`` returns until it returns nothing, and return the absolute path the job will see.

        The bytes go to a temporary name, which becomes the real one only when ``source`` has ended well; when it raises,
        nothing is left and the error goes on to the caller.
        """

    def upload_path(self, directory: str, path_type: str, name: str) -> str:
        """Return the absolute path at which a file of this type and name belongs; its parent directories exist on return."""

    def output_path(self, directory: str, path_type: str, name: str) -> str:
        """Return the absolute path from which an output of this type and name is read; it need not exist."""

    def open_output(self, directory: str, path_type: str, name: str) -> OpenedFile:
        """Open an output for reading; only regular files inside the directory can be."""

    def snapshot(self, directory: str, stream_limit: int, dynamic_file_sources: Sequence[Mapping[str, Any]]) -> DirectorySnapshot:
        """Return what the terminal document needs; ``stream_limit`` in bytes for each stream, 0 for no limit."""


# -- managers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Queued:
    """The backend has the job, it does not run yet."""


@dataclass(frozen=True)
class Running:
    """The job runs. ``external_id`` when it is known only now."""

    external_id: str | None = None


@dataclass(frozen=True)
class Exit:
    """The job script ended and this is its exit code."""

    code: int


@dataclass(frozen=True)
class Failure:
    """The backend knows that the job did not end by itself, and why."""

    reason: Reason
    detail: str


@dataclass(frozen=True)
class Gone:
    """Queue, accounting and exit-code file were asked; none knows the job."""

    detail: str = "the job is unknown to its manager and left no exit code"


Observation = Queued | Running | Exit | Failure | Gone

#: Called by a manager, from any thread, when it noticed that something happened to a job: the job will be asked about soon.
Changed = Callable[[JobKey], None]


class Manager(Protocol):
    """A job backend. All methods may be called from any thread, at most one at a time for any one job.

    "The job is gone" is an answer (:class:`Gone`); "I could not ask" is :class:`~pulsar.errors.CannotAsk` and changes nothing.
    """

    #: Seconds between two rounds of :meth:`poll`; changes announced by the manager itself are asked about at once.
    poll_interval_s: float

    def submit(self, job: Job) -> str | Running:
        """Hand the job to the backend and return what the backend calls it, as :class:`Running` if it has started already.

        May be cut by ``kill -9`` anywhere: :meth:`find` then tells whether the backend has it. Raises
        :class:`~pulsar.errors.SubmitRefused` when asking again is useless and ``CannotAsk`` when it is not.
        """

    def find(self, job: Job) -> str | None:
        """Return the external id if the backend has this attempt of the job already, else None."""

    def poll(self, jobs: Sequence[Job]) -> Mapping[JobKey, Observation]:
        """Return what the backend knows of the jobs, in one question for all. Jobs come in the order of their launch.

        A job that is left out of the answer has not changed. After a restart this is how a manager meets its jobs again.
        """

    def cancel(self, job: Job) -> None:
        """End the job. On return nothing of it runs any more and nothing of it will start; repeatable."""

    def forget(self, job: Job) -> None:
        """The job has ended for good; drop what is kept about it. The directory may be gone already."""

    def close(self) -> None:
        """Stop working. Jobs go on."""


@dataclass(frozen=True)
class ManagerProfile:
    """What the job machine has to know about a manager; made from its configuration by :mod:`pulsar.core`."""

    name: str
    staging_directory: str
    #: ``uuid``: set-up gives each job an id of its own; otherwise the client's id is kept.
    assigns_uuids: bool = False
    keeps_directories: bool = False
    directory_mode: int | None = None
    stream_limit: int = 1048576
    system_properties: Mapping[str, str] = field(default_factory=lambda: {"separator": "/"})


# -- staging ------------------------------------------------------------------------------------------------------------


class Stager(Protocol):
    """Moves the files that the node itself has to fetch or deliver.

    ``cancelled()`` becomes true when the job is to end; both methods then return soon, having left things so that a later
    call could go on. Both are safe to repeat after ``kill -9``.
    """

    def check(self, request: LaunchRequest) -> None:
        """Raise :class:`~pulsar.errors.RequestError` when the request asks for something that this node cannot stage."""

    def needs_stage_in(self, job: Job) -> bool:
        """Whether :meth:`stage_in` has anything to do."""

    def stage_in(self, job: Job, cancelled: Callable[[], bool]) -> None:
        """On return every file of ``remote_staging.setup`` is in place. Raises a ``PulsarError`` that names the file."""

    def needs_stage_out(self, job: Job) -> bool:
        """Whether :meth:`stage_out` has anything to do."""

    def stage_out(self, job: Job, cancelled: Callable[[], bool]) -> None:
        """On return every output that the node has to send is delivered. Raises a ``PulsarError`` that names the file."""
