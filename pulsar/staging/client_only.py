"""Staging of a node whose clients move every file: they push inputs and fetch outputs over REST.

A request that wants the node to fetch or deliver files is refused at submit, with the remedy, instead of ending as a job whose
outputs are silently missing.
"""

from __future__ import annotations

from collections.abc import Callable

from pulsar.errors import RequestError
from pulsar.jobs.job import Job
from pulsar.protocol.messages import LaunchRequest

__all__ = ["ClientOnlyStager"]

_REMEDY = "use default_file_action: transfer (or copy, with a shared file system) in Galaxy's destination"


class ClientOnlyStager:
    """A :class:`~pulsar.jobs.ports.Stager` that has nothing to do."""

    def check(self, request: LaunchRequest) -> None:
        if request.stage_in:
            raise RequestError(f"remote_staging.setup asks this node to fetch files, which it cannot do; {_REMEDY}")
        mapper = request.remote_staging.get("action_mapper") or {}
        rows = mapper.get("paths") or []
        rules = rows if isinstance(rows, list) else []
        actions = [mapper.get("default_action"), *(row.get("action") for row in rules if isinstance(row, dict))]
        remote = next((action for action in actions if isinstance(action, str) and action.startswith("remote_")), None)
        if remote is not None:
            raise RequestError(f"file action {remote[:40]!r} asks this node to deliver files, which it cannot do; {_REMEDY}")

    def needs_stage_in(self, job: Job) -> bool:
        return bool(job.request and job.request.stage_in)

    def stage_in(self, job: Job, cancelled: Callable[[], bool]) -> None:
        del cancelled
        if job.request is not None:
            self.check(job.request)

    def needs_stage_out(self, job: Job) -> bool:
        del job
        return False

    def stage_out(self, job: Job, cancelled: Callable[[], bool]) -> None:
        del job, cancelled
