"""The verbs: what a client can ask of a job. Every way in, REST or message, ends here.

A verb that changes a job writes the change into the ledger and wakes the engine; it never talks to a job backend. When a verb
has returned, what it promised survives ``kill -9``.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pulsar.errors import Conflict, NotFound, RequestError, StaleRevision, Unavailable
from pulsar.jobs.job import Cancel, Event, Job, JobKey, Launch, Staged, TimelineEntry, advance
from pulsar.jobs.ports import JobFiles, ManagerProfile, OpenedFile, Stager, Store
from pulsar.jobs.report import lost_document, setup_document, status_document, terminal_document
from pulsar.jobs.states import State
from pulsar.protocol.layout import JobDirectory, checked_job_id
from pulsar.protocol.messages import LaunchRequest

__all__ = ["DEFAULT_MANAGER", "JobService"]

log = logging.getLogger(__name__)

DEFAULT_MANAGER = "_default_"

#: How long ``cancel`` and ``clean`` wait for the engine to end a job before they answer, in seconds. A cancellation goes on
#: after the answer; a directory is never removed under a living job.
_CANCEL_WAIT_S = 2.0
_CLEAN_WAIT_S = 10.0


class JobService:
    """The node's verbs for one set of managers.

    ``wake`` tells the engine, wherever it runs, that the ledger has changed; a wake-up that is lost costs time, not a job.
    """

    def __init__(
        self,
        store: Store,
        files: JobFiles,
        stager: Stager,
        profiles: Mapping[str, ManagerProfile],
        wake: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._files = files
        self._stager = stager
        self._profiles = profiles
        self._wake = wake
        self._clock = clock

    # -- set-up and launch --------------------------------------------------------------------------------------------

    def setup(self, manager: str, job_id: str, tool_id: str = "", tool_version: str = "") -> dict[str, Any]:
        """Make a job and its directory, and return the set-up document (specification 1.3).

        A job that is not final is left as it is, with its directories in place. A final one begins a new attempt in an
        empty directory; its timeline goes on.
        """
        profile = self._profile(manager)
        if profile.assigns_uuids:
            job_id = uuid.uuid4().hex
        key = JobKey(manager, checked_job_id(job_id))
        directory = JobDirectory.of(profile.staging_directory, job_id).path
        with self._files.exclusive(directory):
            job = self._store.get(key)
            if job is not None and not job.state.is_final and job.clean_requested:
                raise Conflict(f"the last attempt of job {key} is still being ended; try again in a moment")
            if job is None or job.state.is_final:
                job = self._begin_attempt(key, directory, job, tool_id, tool_version)
            self._files.create(directory, profile.directory_mode)
            self._files.write(directory, "tool_id", json.dumps(job.tool_id))
            self._files.write(directory, "tool_version", json.dumps(job.tool_version))
        return setup_document(job, profile)

    def _begin_attempt(self, key: JobKey, directory: str, last: Job | None, tool_id: str, tool_version: str) -> Job:
        self._refuse_shared_directory(key)
        if last is not None:
            self._files.remove(directory)
        elif self._files.exists(directory):
            # Not ours to delete: an earlier server's job, or this node's before its ledger was lost.
            kept = self._files.set_aside(directory)
            log.warning("job %s: its directory existed already and is unknown to the ledger; it is kept as %s", key, kept)
        now = self._clock()
        job = Job(
            key=key,
            directory=directory,
            attempt=last.attempt + 1 if last else 1,
            revision=last.revision if last else 0,
            tool_id=tool_id,
            tool_version=tool_version,
            created_at=now,
            updated_at=now,
        )
        return self._store.begin(job, TimelineEntry(job.attempt, None, State.NEW, "setup", tool_id, now))

    def submit(self, manager: str, job_id: str, request: LaunchRequest) -> None:
        """Launch the job. On return the request is durable, also over a power cut.

        A job that was launched before is left alone (specification 3, duplicate submit). A request that brings
        ``setup_params`` sets the job up first. Raises :class:`NotFound` for a job that was never set up.
        """
        profile = self._profile(manager)
        key = JobKey(manager, checked_job_id(job_id))
        self._stager.check(request)
        job = self._store.get(key)
        if job is None and request.setup_params:
            request = self._set_up_by_request(key, profile, request)
        directory = JobDirectory.of(profile.staging_directory, job_id).path
        with self._files.exclusive(directory):
            job = self._store.get(key)
            if job is None:
                raise NotFound(f"job {key} was never set up on this node")
            if job.state is not State.NEW:
                log.info("job %s: was launched before; this submit is ignored", key)
                return
            self._files.touch_outputs(directory, request.touch_outputs)
            self._files.write(directory, "launch_config", json.dumps(_launch_config(request)), mode=0o600)
            events: list[Event] = [Launch(request)]
            if not self._stager.needs_stage_in(replace(job, request=request)):
                events.append(Staged())
            self._apply(job, events, durable=True)
        self._wake()

    def _set_up_by_request(self, key: JobKey, profile: ManagerProfile, request: LaunchRequest) -> LaunchRequest:
        params = request.setup_params
        if str(params.get("job_id") or key.job_id) != key.job_id:
            raise RequestError("setup_params.job_id is not the job_id of the request")
        document = self.setup(key.manager, key.job_id, str(params.get("tool_id") or ""), str(params.get("tool_version") or ""))
        directory = str(document["job_directory"])
        # Two spellings of two generations of clients (specification 4.2).
        command_line = request.command_line.replace("__PULSAR_JOB_DIRECTORY__", directory)
        command_line = command_line.replace("__PULSAR_JOBS_DIRECTORY__", profile.staging_directory)
        return replace(request, command_line=command_line)

    # -- asking -------------------------------------------------------------------------------------------------------

    def status(self, manager: str, job_id: str) -> str:
        """Return the status document as JSON text; ``lost`` for a job that this node does not have (specification 1.5)."""
        profile = self._profile(manager)
        key = JobKey(manager, checked_job_id(job_id))
        standing = self._store.standing(key)
        if standing is not None and not standing.is_clean:
            if not standing.state.is_final:
                return json.dumps(status_document(key.job_id, standing.state))
            document = self._store.document(key)
            if document is not None:
                return document
        return lost_document(job_id, JobDirectory.of(profile.staging_directory, job_id).path, profile)

    def timeline(self, manager: str, job_id: str) -> list[TimelineEntry]:
        """Return everything that happened to the job, all attempts, oldest first; empty for an unknown job."""
        self._profile(manager)
        return self._store.timeline(JobKey(manager, checked_job_id(job_id)))

    # -- ending -------------------------------------------------------------------------------------------------------

    def cancel(self, manager: str, job_id: str) -> None:
        """End the job. On return the wish is durable, and mostly the job has ended; a final or unknown job is left alone."""
        self._profile(manager)
        key = JobKey(manager, checked_job_id(job_id))
        job = self._request_end(key, clean=False)
        if job is not None and not job.state.is_final:
            self._wait_until_final(key, _CANCEL_WAIT_S)

    def clean(self, manager: str, job_id: str) -> None:
        """Remove the job's directory, having ended the job first. Repeatable; nothing happens in ``debug`` mode.

        Raises :class:`Unavailable` when the job could not be ended in time; the engine then removes the directory when it is.
        """
        profile = self._profile(manager)
        key = JobKey(manager, checked_job_id(job_id))
        directory = JobDirectory.of(profile.staging_directory, job_id).path
        if profile.keeps_directories:
            return
        job = self._request_end(key, clean=True)
        if job is not None and not job.state.is_final and not self._wait_until_final(key, _CLEAN_WAIT_S):
            raise Unavailable(f"job {key} is still being ended; its directory is removed as soon as nothing of it runs")
        with self._files.exclusive(directory):
            job = self._store.get(key)
            if job is None:
                self._refuse_shared_directory(key)
                self._files.remove(directory)
            else:
                self.remove_directory(job)
        self._wake()

    def remove_directory(self, job: Job) -> None:
        """Remove the directory of a final job and note it. The caller holds the job's lock."""
        if not job.state.is_final or job.cleaned_at is not None:
            return
        self._files.remove(job.directory)
        now = self._clock()
        entry = TimelineEntry(job.attempt, job.state, job.state, "cleaned", "", now)
        self._store.save(replace(job, cleaned_at=now, updated_at=now), [entry])

    def _request_end(self, key: JobKey, *, clean: bool) -> Job | None:
        while True:
            job = self._store.get(key)
            if job is None or job.state.is_final:
                return job
            try:
                wanted = replace(job, clean_requested=job.clean_requested or clean)
                saved = self._apply(wanted, [Cancel()], durable=True)
            except StaleRevision:
                continue  # the engine was quicker; look again
            self._wake()
            return saved

    def _wait_until_final(self, key: JobKey, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        pause = 0.002
        while True:
            standing = self._store.standing(key)
            if standing is None or standing.state.is_final:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
            pause = min(0.05, pause * 1.5)

    # -- files --------------------------------------------------------------------------------------------------------

    def upload(self, manager: str, job_id: str, path_type: str, name: str, source: Callable[[int], bytes]) -> str:
        """Store the bytes that ``source(size)`` returns, whole or not at all; return the path at which the job sees them."""
        job = self._open_job(manager, job_id)
        return self._files.receive(job.directory, path_type, name, source)

    def path(self, manager: str, job_id: str, path_type: str, name: str) -> str:
        """Return the path that a client which shares the file system reads from or writes to (specification 1.2, ``path``)."""
        if path_type in ("output", "output_workdir", "output_metadata"):
            return self._files.output_path(self._known_job(manager, job_id).directory, path_type, name)
        return self._files.upload_path(self._open_job(manager, job_id).directory, path_type, name)

    def open_output(self, manager: str, job_id: str, path_type: str, name: str) -> OpenedFile:
        """Open an output of the job for reading; the caller closes it."""
        return self._files.open_output(self._known_job(manager, job_id).directory, path_type, name)

    # -- shared -------------------------------------------------------------------------------------------------------

    def _apply(self, job: Job, events: list[Event], *, durable: bool = False) -> Job:
        """Advance the job by ``events`` and save it once, with its document if it has become final."""
        now = self._clock()
        entries = []
        for event in events:
            step = advance(job, event)
            if step is not None:
                job, entry = step
                entries.append(replace(entry, time=now))
        document = None
        if job.state.is_final and entries:
            document = self.document(job)
        if entries or job.clean_requested:
            job = self._store.save(replace(job, updated_at=now), entries, document, durable=durable)
        return job

    def document(self, job: Job) -> str:
        """Return the terminal document of a job that has just become final, from its directory as it is now."""
        profile = self._profile(job.manager)
        sources = job.request.all_dynamic_file_sources if job.request else []
        snapshot = self._files.snapshot(job.directory, profile.stream_limit, sources)
        return terminal_document(job, profile, snapshot)

    def manager_of(self, name: str | None) -> str:
        """Return the manager that a route means; :class:`NotFound` for one that this node does not have."""
        return self._profile(name or DEFAULT_MANAGER).name

    def _profile(self, manager: str) -> ManagerProfile:
        profile = self._profiles.get(manager)
        if profile is None:
            raise NotFound(f"no manager is called {manager[:60]!r} on this node; it has {', '.join(sorted(self._profiles))}")
        return profile

    def _known_job(self, manager: str, job_id: str) -> Job:
        self._profile(manager)
        key = JobKey(manager, checked_job_id(job_id))
        job = self._store.get(key)
        if job is None or job.cleaned_at is not None:
            raise NotFound(f"job {key} was never set up on this node, or is cleaned")
        return job

    def _open_job(self, manager: str, job_id: str) -> Job:
        job = self._known_job(manager, job_id)
        if job.state.is_final or job.clean_requested:
            raise Conflict(f"job {job.key} has ended; set it up again before sending files")
        return job

    def _refuse_shared_directory(self, key: JobKey) -> None:
        """Two managers may share a staging directory; then an id can be live in one of them only."""
        mine = self._profile(key.manager).staging_directory
        for other in self._profiles.values():
            if other.name == key.manager or other.staging_directory != mine:
                continue
            standing = self._store.standing(JobKey(other.name, key.job_id))
            if standing is not None and not standing.state.is_final:
                raise Conflict(f"job {key.job_id} is live under manager {other.name!r}, which has the same staging directory")

    @contextmanager
    def exclusive(self, job: Job) -> Iterator[None]:
        """Hold the job's lock, for the engine's house-keeping."""
        with self._files.exclusive(job.directory):
            yield


def _launch_config(request: LaunchRequest) -> dict[str, Any]:
    """Return the object of specification 4.7."""
    setup_params = dict(request.setup_params)
    if request.cvmfsexec is not None:
        setup_params["cvmfsexec"] = request.cvmfsexec
    return {
        "remote_staging": request.remote_staging,
        "command_line": request.command_line,
        "dependencies_description": request.dependencies_description,
        "submit_params": request.submit_params,
        "env": request.env,
        "setup_params": setup_params,
        "dynamic_file_sources": request.dynamic_file_sources,
        "token_endpoint": request.token_endpoint,
    }
