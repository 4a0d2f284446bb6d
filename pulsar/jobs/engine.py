"""The engine: decide, save, act. The one place of a node that drives its jobs.

A single loop follows the ledger's change feed. For each job that has changed it looks at the stored state, and starts the one
activity that the state owns in a bounded pool; what the activity reports is an event, which is saved before anything else is
done, and so comes back through the feed. Nothing here remembers what the ledger does not: after ``kill -9`` the engine
re-enters the stored states. There is no thread per job.

====================  ============================================================  =============================
state                 activity                                                      its outcome
====================  ============================================================  =============================
STAGING_IN            fetch the files the node has to fetch                         staged, failed
SUBMITTING            look whether the manager has the job, else hand it over       submitted, failed
QUEUED, RUNNING       watched by the monitor, all jobs of a manager at once         started, exited, failed, ...
STAGING_OUT           deliver the files the node has to deliver                     staged, failed
CANCELLING            end whatever runs                                             killed
final                 let the manager forget it; remove the directory if wanted     --
====================  ============================================================  =============================
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace

from pulsar.errors import LedgerError, PulsarError, StaleRevision, StorageFull
from pulsar.jobs.job import Event, Failed, Job, JobKey, Killed, Reason, Staged, Started, Submitted, TimelineEntry, advance
from pulsar.jobs.monitor import Monitor
from pulsar.jobs.ports import JobFiles, Manager, Running, Stager, Store
from pulsar.jobs.service import JobService
from pulsar.jobs.states import EventKind, State
from pulsar.retry import Backoff

__all__ = ["Engine"]

log = logging.getLogger(__name__)

#: Activities under way at once. They are short, or wait for the outside; more threads would not make them faster.
ACTIVITY_THREADS = 6

#: The longest time after which a change that nobody told of is seen, in seconds.
_FEED_INTERVAL_S = 1.0
_HOUSEKEEPING_INTERVAL_S = 60.0
_TRANSIENT = Backoff(start=0.5, maximum=60.0)


#: What a state calls for: given the job and a way to see that it should leave off, it returns what happened, one event or more.
Activity = Callable[[Job, Callable[[], bool]], "Event | Sequence[Event] | None"]


class _Lane:
    """Work that is done one at a time and in order, by whichever thread of the pool has begun to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = False

    def add(self, work: Callable[[], None]) -> bool:
        """Append the work and return whether somebody has to call :meth:`drain`."""
        with self._lock:
            self._waiting.append(work)
            begin, self._busy = not self._busy, True
        return begin

    def drain(self) -> None:
        """Do the work until none is left."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    return
                work = self._waiting.popleft()
            work()


class Engine:
    """Drives every job in ``store`` through ``managers`` until :meth:`stop`.

    ``history_s``: how long the record of a cleaned job is kept, in seconds.
    """

    def __init__(
        self,
        store: Store,
        files: JobFiles,
        stager: Stager,
        managers: Mapping[str, Manager],
        service: JobService,
        history_s: float = 30 * 86400.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._files = files
        self._stager = stager
        self._managers = managers
        self._service = service
        self._history_s = history_s
        self._clock = clock
        self._monitor = Monitor(managers, self._observed)
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(ACTIVITY_THREADS, thread_name_prefix="pulsar-activity")
        self._lock = threading.Lock()
        #: Jobs with an activity under way, and what to tell it when the job is to end.
        self._busy: dict[JobKey, threading.Event] = {}
        #: Busy jobs that have changed meanwhile.
        self._again: set[JobKey] = set()
        #: Jobs to look at, filled by finished activities and by timers.
        self._ready: list[JobKey] = []
        #: Jobs are handed to a manager one at a time, in the order of their launch: first in, first out begins here.
        self._lanes = {name: _Lane() for name in managers}
        self._timers: list[tuple[float, JobKey]] = []
        self._pauses: dict[JobKey, Iterator[float]] = {}
        self._sweeping = False
        self._sweep_wanted = True
        self._next_housekeeping = 0.0
        self._mark = 0
        self._thread = threading.Thread(target=self._run, name="pulsar-engine", daemon=True)

    # -- from outside -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Re-enter every stored state and begin to follow the ledger."""
        self._thread.start()

    def wake(self) -> None:
        """Look at the ledger now; somebody has written to it."""
        self._woken.set()

    def nudge(self, key: JobKey) -> None:
        """Ask the job's manager about it now; the manager has noticed something."""
        self._monitor.nudge(key)
        self._woken.set()

    def stop(self) -> None:
        """Start nothing more, tell activities to leave off, and return when they have. Jobs that run go on."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def is_alive(self) -> bool:
        """Whether the loop runs."""
        return self._thread.is_alive()

    # -- the loop -----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pauses = _TRANSIENT.pauses()
        recovered = False
        while not self._stopping.is_set():
            try:
                if not recovered:
                    self._recover()
                    recovered = True
                self._turn()
                pauses = _TRANSIENT.pauses()
            except (LedgerError, StorageFull) as exc:
                pause = next(pauses)
                log.error("the engine waits %.0f s for the ledger: %s", pause, exc)
                self._stopping.wait(pause)
            except Exception:
                log.exception("a turn of the engine failed; it goes on")
                self._stopping.wait(1.0)

    def _recover(self) -> None:
        """Meet the stored jobs again: first those that must end, then those that run or wait, then all the others."""
        self._mark = self._store.mark()
        jobs = self._store.unfinished()
        ending = [job for job in jobs if job.state is State.CANCELLING]
        wait([future for job in ending if (future := self._begin(job, self._cancel))], timeout=15.0)
        for name, manager in self._managers.items():
            held = [job for job in jobs if job.manager == name and job.state.is_with_manager]
            if held:
                # Before anything is submitted: a manager must know what runs already to keep to its limits.
                try:
                    manager.poll(held)
                except PulsarError as exc:
                    log.warning("manager %s did not answer at start-up, its jobs keep their state: %s", name, exc)
        orphans = {job.manager for job in jobs} - set(self._managers)
        for name in orphans:
            log.error("the ledger has unfinished jobs of manager %r, which is not configured any more; they wait for it", name)
        self._ready.extend(job.key for job in (*jobs, *self._store.clean_pending()))
        if jobs:
            log.info("%d unfinished jobs are taken up again", len(jobs))

    def _turn(self) -> None:
        self._woken.wait(self._seconds_to_next())
        self._woken.clear()
        self._mark, changed = self._store.changed_since(self._mark)
        with self._lock:
            ready, self._ready = self._ready, []
        for key in dict.fromkeys((*changed, *ready, *self._due_timers())):
            self._attend(key)
        for question in self._monitor.rounds():
            self._submit_to_pool(lambda question=question: self._ask(question))  # type: ignore[misc]
        self._keep_house()

    def _ask(self, question: Callable[[], None]) -> None:
        question()
        self._woken.set()  # what was noticed meanwhile is asked about next

    def _seconds_to_next(self) -> float:
        with self._lock:
            if self._ready:
                return 0.0
            timer = self._timers[0][0] - time.monotonic() if self._timers else _FEED_INTERVAL_S
        return max(0.0, min(_FEED_INTERVAL_S, timer, self._monitor.seconds_to_next()))

    def _due_timers(self) -> list[JobKey]:
        due = []
        with self._lock:
            while self._timers and self._timers[0][0] <= time.monotonic():
                due.append(heapq.heappop(self._timers)[1])
        return due

    def _attend(self, key: JobKey) -> None:
        """Start what the job's stored state calls for, unless its activity is under way."""
        if key.manager not in self._managers:
            return
        # First whether an activity is under way, then the state: only this thread starts activities, so the state that is read
        # afterwards cannot be one that an activity is about to leave.
        with self._lock:
            busy = self._busy.get(key)
            if busy is not None:
                self._again.add(key)
        job = self._store.get(key)
        if job is None:
            return
        if busy is not None:
            if job.state is State.CANCELLING:
                busy.set()
            return
        match job.state:
            case State.STAGING_IN:
                self._begin(job, self._stage_in)
            case State.SUBMITTING:
                self._begin(job, self._submit, self._lanes[key.manager])
            case State.QUEUED | State.RUNNING:
                # Thousands may be watched for days; what was asked for is in the ledger when it is needed again.
                self._monitor.watch(replace(job, request=None))
            case State.STAGING_OUT:
                self._monitor.unwatch(key)
                self._begin(job, self._stage_out)
            case State.CANCELLING:
                self._monitor.unwatch(key)
                self._begin(job, self._cancel)
            case State.NEW:
                pass
            case _:
                self._end(job)

    def _end(self, job: Job) -> None:
        self._monitor.unwatch(job.key)
        self._pauses.pop(job.key, None)
        self._managers[job.manager].forget(job)
        if job.cleaned_at is not None:
            self._sweep_wanted = True
        elif job.clean_requested:
            self._begin(job, self._clean)

    # -- activities: each is safe to repeat ---------------------------------------------------------------------------

    def _stage_in(self, job: Job, cancelled: Callable[[], bool]) -> Event | None:
        try:
            self._stager.stage_in(job, cancelled)
        except PulsarError as exc:
            if exc.transient and not isinstance(exc, StorageFull):
                raise
            return Failed(Reason.STORAGE_FULL if isinstance(exc, StorageFull) else Reason.STAGING_IN, str(exc))
        return None if cancelled() else Staged()

    def _submit(self, job: Job, cancelled: Callable[[], bool]) -> Sequence[Event] | None:
        manager = self._managers[job.manager]
        handed: str | Running | None = manager.find(job)
        if handed is None:
            if cancelled():
                return None
            try:
                handed = manager.submit(job)
            except StorageFull as exc:
                return [Failed(Reason.STORAGE_FULL, str(exc))]
            except PulsarError as exc:
                if exc.transient:
                    raise
                return [Failed(Reason.SUBMIT_REFUSED, str(exc))]
        if isinstance(handed, Running):
            return [Submitted(handed.external_id or ""), Started(handed.external_id)]
        return [Submitted(handed)]

    def _stage_out(self, job: Job, cancelled: Callable[[], bool]) -> Event | None:
        try:
            self._stager.stage_out(job, cancelled)
        except PulsarError as exc:
            if exc.transient:
                raise
            return Failed(Reason.STAGING_OUT, str(exc))
        return None if cancelled() else Staged()

    def _cancel(self, job: Job, cancelled: Callable[[], bool]) -> Event | None:
        del cancelled  # this is the cancellation
        manager = self._managers[job.manager]
        if job.external_id is None:
            job = replace(job, external_id=manager.find(job))
        manager.cancel(job)
        return Killed()

    def _clean(self, job: Job, cancelled: Callable[[], bool]) -> Event | None:
        del cancelled
        with self._service.exclusive(job):
            current = self._store.get(job.key)
            if current is not None and current.attempt == job.attempt:
                self._service.remove_directory(current)
        return None

    def _begin(self, job: Job, activity: Activity, lane: _Lane | None = None) -> Future[None] | None:
        cancelled = threading.Event()
        with self._lock:
            if job.key in self._busy:
                self._again.add(job.key)
                return None
            self._busy[job.key] = cancelled

        def leave_off() -> bool:
            return cancelled.is_set() or self._stopping.is_set()

        work = lambda: self._act(job, activity, leave_off)  # noqa: E731 - it is a value here
        if lane is None:
            return self._submit_to_pool(work)
        return self._submit_to_pool(lane.drain) if lane.add(work) else None

    def _submit_to_pool(self, work: Callable[[], None]) -> Future[None] | None:
        try:
            return self._pool.submit(work)
        except RuntimeError:  # the pool is shut down: the node stops, the ledger knows what is to be done
            return None

    def _act(self, job: Job, activity: Activity, leave_off: Callable[[], bool]) -> None:
        try:
            try:
                outcome = activity(job, leave_off)
            except PulsarError as exc:
                self._postpone(job, exc)
                return
            except Exception as exc:
                log.exception("job %s: its activity in state %s failed", job.key, job.state.value)
                if job.state is State.CANCELLING or job.state.is_final:
                    self._postpone(job, exc)
                    return
                outcome = Failed(Reason.INTERNAL, f"the node made a mistake ({type(exc).__name__}); its log has the details")
            self._pauses.pop(job.key, None)
            if outcome is not None:
                self._apply(job, outcome if isinstance(outcome, Sequence) else [outcome])
        finally:
            with self._lock:
                del self._busy[job.key]
                if job.key in self._again:
                    self._again.discard(job.key)
                    self._ready.append(job.key)
            self._woken.set()

    def _postpone(self, job: Job, error: Exception) -> None:
        """Enter the state again after a pause; the first time the timeline says why."""
        first = job.key not in self._pauses
        pauses = self._pauses.setdefault(job.key, _TRANSIENT.pauses())
        pause = next(pauses)
        log.warning("job %s: %s is tried again in %.1f s: %s", job.key, job.state.value, pause, error)
        with self._lock:
            heapq.heappush(self._timers, (time.monotonic() + pause, job.key))
        if first:
            self._note(job, f"waiting to try again: {error}")

    def _note(self, job: Job, text: str) -> None:
        entry = TimelineEntry(job.attempt, job.state, job.state, "noted", text, self._clock())
        try:
            self._store.save(job, [entry])
        except (LedgerError, StorageFull) as exc:
            log.warning("job %s: could not be noted in its timeline: %s", job.key, exc)

    # -- decide and save ----------------------------------------------------------------------------------------------

    def _observed(self, job: Job, event: Event) -> None:
        """Take what the monitor saw. A job that ended and has nothing to be delivered goes all the way in one save."""
        events: list[Event] = [event]
        if event.kind in (EventKind.EXITED, EventKind.FAILED):
            current = self._store.get(job.key)
            if current is not None and not self._stager.needs_stage_out(current):
                events.append(Staged())
        self._apply(job, events)

    def _apply(self, job: Job, events: Sequence[Event]) -> None:
        """Save what the events do to the job. An outcome is not given up: while the ledger cannot be written, this waits."""
        pauses = _TRANSIENT.pauses()
        while True:
            try:
                self._try_to_apply(job, events)
            except StaleRevision:
                continue
            except (LedgerError, StorageFull) as exc:
                pause = next(pauses)
                log.error("job %s: %s cannot be saved, trying again in %.1f s: %s", job.key, events[0].kind.value, pause, exc)
                if self._stopping.wait(pause):
                    return  # the outcome is found again at the next start
                continue
            except Exception:
                log.exception("job %s: event %s could not be applied", job.key, events[0].kind.value)
            self._woken.set()
            return

    def _try_to_apply(self, seen: Job, events: Sequence[Event]) -> None:
        job = self._store.get(seen.key)
        if job is None or job.attempt != seen.attempt:
            return  # what happened to an earlier attempt is no news of this one
        now = self._clock()
        entries = []
        for event in events:
            step = advance(job, event)
            if step is None:
                break  # it was ignored: what would follow from it does not
            job, entry = step
            entries.append(replace(entry, time=now))
        if not entries:
            return
        document = self._service.document(job) if job.state.is_final else None
        self._store.save(replace(job, updated_at=now), entries, document)

    # -- house-keeping ------------------------------------------------------------------------------------------------

    def _keep_house(self) -> None:
        now = time.monotonic()
        if self._sweeping or not (self._sweep_wanted or now >= self._next_housekeeping):
            return
        self._sweeping = True
        self._sweep_wanted = False
        self._next_housekeeping = now + _HOUSEKEEPING_INTERVAL_S
        self._submit_to_pool(self._sweep)

    def _sweep(self) -> None:
        try:
            self._files.sweep()
            self._store.forget_before(self._clock() - self._history_s)
        except PulsarError as exc:
            log.warning("house-keeping is put off: %s", exc)
        except Exception:
            log.exception("house-keeping failed; it is tried again")
        finally:
            self._sweeping = False
