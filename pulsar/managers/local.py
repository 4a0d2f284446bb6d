"""Local jobs: ``queued_python`` (first in, first out, a fixed number at a time) and ``unqueued`` (all at once).

Each job is a session of its own, led by the wrapper of :mod:`pulsar.managers.wrapper`, and outlives the node. The queue is not
stored: it is the QUEUED jobs of the ledger in the order of their launch, so after a restart :meth:`LocalManager.poll` builds it
again. That a job is started once only is the wrapper's claim on the job directory, not this module's memory.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pulsar.errors import CannotAsk
from pulsar.jobs.job import Job, JobKey, Reason
from pulsar.jobs.ports import Changed, Exit, Failure, JobFiles, Observation, Queued, Running
from pulsar.managers.launch import LaunchSettings, script_of
from pulsar.managers.process_files import Claim, ExitedWith, KilledBy, NotStarted, is_sealed, read_claim, read_outcome, seal
from pulsar.managers.processes import MARK_VARIABLE, EndWatcher, Identity, bears_mark, end_tree, script_in_session
from pulsar.managers.spawner import Spawner

__all__ = ["LocalManager"]

log = logging.getLogger(__name__)

#: The environment that a local job starts with is clean: these names of the node's own, and a locale (specification 9.4).
_INHERITED = ("HOME", "PATH", "TMPDIR")


#: External id of a job that waits for its turn; once it is started that is the identity of its process.
_WAITING = "local"


#: What keeps a process from being started for a while only: no processes, memory or descriptors left.
_PASSING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


#: How often a job is started anew whose wrapper did not come to claim it.
_MOST_STARTS = 3


@dataclass
class _Started:
    """A job whose process was started, by this node process or by one before it."""

    job: Job
    identity: Identity


class LocalManager:
    """A :class:`~pulsar.jobs.ports.Manager` that runs jobs on this machine, ``slots`` at a time (None: no limit)."""

    poll_interval_s = 10.0

    def __init__(self, files: JobFiles, settings: LaunchSettings, changed: Changed, *, slots: int | None, grace_s: float) -> None:
        self._files = files
        self._settings = settings
        self._changed = changed
        self._slots = slots
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._waiting: dict[JobKey, Job] = {}
        self._started: dict[JobKey, _Started] = {}
        self._ended: dict[JobKey, tuple[Job, Observation]] = {}
        #: How often the wrapper of a job has ended without having claimed it.
        self._unclaimed: dict[JobKey, int] = {}
        self._closed = False
        self._spawner = Spawner()
        self._watcher = EndWatcher()

    # -- the port -----------------------------------------------------------------------------------------------------

    def submit(self, job: Job) -> str | Running:
        self._files.write(job.directory, "command.sh", script_of(job, self._settings), mode=0o700)
        with self._lock:
            self._forget_earlier(job)
            self._enqueue(job)
            self._start_waiting()
            started = self._started.get(job.key)
        return Running(str(started.identity)) if started else _WAITING

    def find(self, job: Job) -> str | None:
        with self._lock:
            self._forget_earlier(job)
            if job.key in self._waiting:
                return _WAITING
            started = self._started.get(job.key)
        if started is not None:
            return str(started.identity)
        claim = read_claim(job.directory)
        return str(_identity_of(claim)) if claim else None

    def poll(self, jobs: Sequence[Job]) -> Mapping[JobKey, Observation]:
        with self._lock:
            for job in jobs:
                self._forget_earlier(job)
                if not self._knows(job.key):
                    self._adopt(job)
            self._start_waiting()
            return {job.key: self._observe(job.key) for job in jobs if self._knows(job.key)}

    def cancel(self, job: Job) -> None:
        with self._lock:
            self._waiting.pop(job.key, None)
            started = self._started.get(job.key)
        # A wrapper that a node started just before it was killed may come to claim the job yet; now it cannot.
        sealed = seal(job.directory)
        identity = started.identity if started else Identity.parse(job.external_id)
        if identity is None and not sealed:
            claimed = _identity_of(read_claim(job.directory))
            identity = claimed if claimed and bears_mark(claimed.pid, _mark(job)) else None
        end_tree(identity or Identity(0, 0, ""), _mark(job), grace_s=self._grace_s)
        if started is not None:
            self._take_end(job.key, started.identity)

    def forget(self, job: Job) -> None:
        with self._lock:
            self._drop(job.key, up_to=job.attempt)

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._watcher.close()
        self._spawner.close()

    # -- under the lock -----------------------------------------------------------------------------------------------

    def _knows(self, key: JobKey) -> bool:
        return key in self._waiting or key in self._started or key in self._ended

    def _forget_earlier(self, job: Job) -> None:
        """Drop what is remembered of earlier attempts of the job; they have ended, or there would be no later one."""
        self._drop(job.key, up_to=job.attempt - 1)

    def _drop(self, key: JobKey, up_to: int) -> None:
        if (waiting := self._waiting.get(key)) and waiting.attempt <= up_to:
            del self._waiting[key]
        if (started := self._started.get(key)) and started.job.attempt <= up_to:
            del self._started[key]
        if (ended := self._ended.get(key)) and ended[0].attempt <= up_to:
            del self._ended[key]
        if not self._knows(key):
            self._unclaimed.pop(key, None)

    def _enqueue(self, job: Job) -> None:
        if not self._knows(job.key):
            self._waiting[job.key] = replace(job, request=None)  # its script is written; it may wait for long

    def _observe(self, key: JobKey) -> Observation:
        if key in self._ended:
            return self._ended[key][1]
        started = self._started.get(key)
        return Running(str(started.identity)) if started else Queued()

    def _start_waiting(self) -> None:
        while self._waiting and not self._closed and (self._slots is None or len(self._started) < self._slots):
            key = next(iter(self._waiting))
            job = self._waiting.pop(key)
            try:
                self._start(job)
            except OSError as exc:
                if exc.errno in _PASSING:
                    log.warning("job %s cannot be started now, it stays the first in the queue: %s", key, exc.strerror)
                    self._waiting = {key: job, **self._waiting}
                    return
                reason = f"its process could not be started: {exc.strerror or exc}"
                self._ended[key] = (job, Failure(Reason.SUBMIT_REFUSED, reason))
                self._changed(key)

    def _start(self, job: Job) -> None:
        self._watch(_Started(job, self._spawner.start(job.directory, _mark(job), _environment(job))))

    def _watch(self, started: _Started) -> None:
        key = started.job.key
        self._started[key] = started
        self._changed(key)
        self._watcher.watch(started.identity, lambda: self._take_end(key, started.identity))

    def _adopt(self, job: Job) -> None:
        """Meet a job that an earlier process of the node has handed over."""
        names = [Identity.parse(job.external_id), _identity_of(read_claim(job.directory))]
        known = [identity for identity in names if identity is not None]
        # The claim is a file that the job can write: a process counts only if it bears the job's mark.
        alive = [identity for identity in known if identity.is_alive and bears_mark(identity.pid, _mark(job))]
        if alive:
            log.info("job %s: found again as process %d", job.key, alive[0].pid)
            self._watch(_Started(job, alive[0]))
        elif known:
            self._settle(job, known[-1])
            self._changed(job.key)
        else:
            self._enqueue(job)

    # -- the end of a job ---------------------------------------------------------------------------------------------

    def _take_end(self, key: JobKey, identity: Identity) -> None:
        """The process has ended: note the outcome, and give its place to the next."""
        with self._lock:
            started = self._started.get(key)
            if started is None or started.identity != identity:
                return
            del self._started[key]
            try:
                self._settle(started.job, identity)
            except CannotAsk as exc:
                # Nothing is remembered of the job now, so the next poll meets it as after a restart, and reads again.
                log.warning("job %s: how it ended cannot be read yet: %s", key, exc)
            self._start_waiting()
        self._changed(key)

    def _settle(self, job: Job, identity: Identity) -> None:
        """Find out what the end of the process means."""
        claim = read_claim(job.directory)
        if claim is not None and claim.pid != identity.pid:
            self._adopt(job)  # an earlier process of the node had started it before it could say so; that one counts
        elif read_outcome(job.directory) is None and (script := self._script_without_wrapper(job, claim)) is not None:
            log.warning("job %s: its wrapper was killed, its script goes on as process %d", job.key, script.pid)
            self._watch(_Started(job, script))
        elif claim is None and self._may_start_again(job):
            # Killed before it could take the claim, so nothing of the job has run, and nothing has been lost but time.
            log.warning("job %s: its wrapper ended before it could claim the job; it is started again", job.key)
            self._waiting = {job.key: replace(job, request=None), **self._waiting}
        else:
            self._ended[job.key] = (job, self._outcome(job, identity, claim))

    def _may_start_again(self, job: Job) -> bool:
        if not Path(job.directory).is_dir() or is_sealed(job.directory):
            return False
        self._unclaimed[job.key] = self._unclaimed.get(job.key, 0) + 1
        return self._unclaimed[job.key] <= _MOST_STARTS

    def _script_without_wrapper(self, job: Job, claim: Claim | None) -> Identity | None:
        """Return the script that outlived its wrapper. It still writes its return code itself."""
        if claim is None:
            return None
        return script_in_session(claim.pid, f"{job.directory}/command.sh")

    def _outcome(self, job: Job, identity: Identity, claim: Claim | None) -> Observation:
        match read_outcome(job.directory):
            case ExitedWith(code=code):
                return Exit(code)
            case KilledBy(signal_number=number):
                name = _signal_name(number)
                return Failure(
                    Reason.KILLED, f"its script was killed by {name} before it could end, by a person or for lack of memory"
                )
            case NotStarted(detail=detail):
                return Failure(Reason.SUBMIT_REFUSED, f"its script could not be run: {detail}")
        if identity.is_of_another_boot:
            return Failure(Reason.NODE_FAILURE, "the machine was restarted while it ran, and it left no exit code")
        if not Path(job.directory).is_dir():
            return Failure(Reason.KILLED, "its directory was removed while it ran")
        if claim is None:
            return Failure(Reason.SUBMIT_REFUSED, "its wrapper ended before it could claim the job; its job_stderr may tell why")
        return Failure(Reason.KILLED, "all its processes were killed before it could leave an exit code")


def _identity_of(claim: Claim | None) -> Identity | None:
    return Identity(claim.pid, claim.start, claim.boot) if claim else None


def _mark(job: Job) -> str:
    """Return what names this attempt in the environment of its processes: a digest, for ids may be anything."""
    return hashlib.sha256(f"{job.directory}\0{job.attempt}".encode()).hexdigest()[:32]


def _environment(job: Job) -> dict[str, str]:
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment.setdefault("PATH", os.defpath)
    environment.setdefault("HOME", str(Path(job.directory, "home")))
    environment.setdefault("TMPDIR", str(Path(job.directory, "tmp")))
    environment["LC_CTYPE"] = "C.UTF-8"
    environment[MARK_VARIABLE] = _mark(job)
    return environment


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
