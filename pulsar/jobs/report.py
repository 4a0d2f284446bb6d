"""The documents that a client reads about a job (specification 1.3 and 1.5). Pure: facts in, documents out."""

from __future__ import annotations

import json
from typing import Any

from pulsar.jobs.job import Job
from pulsar.jobs.ports import DirectorySnapshot, ManagerProfile
from pulsar.jobs.states import WIRE_STATUS, State
from pulsar.protocol import WIRE_VERSION
from pulsar.protocol.layout import JobDirectory
from pulsar.protocol.status import WireStatus

__all__ = ["lost_document", "setup_document", "status_document", "terminal_document"]


def setup_document(job: Job, profile: ManagerProfile) -> dict[str, Any]:
    """Return the answer to set-up; the keys are in the order of specification 1.3."""
    directory = JobDirectory(job.directory)
    document: dict[str, Any] = {
        "job_directory": directory.path,
        "working_directory": directory.directory_of("workdir"),
        "metadata_directory": directory.directory_of("metadata"),
        "outputs_directory": directory.directory_of("output"),
        "configs_directory": directory.directory_of("config"),
        "tools_directory": directory.directory_of("tool"),
        "inputs_directory": directory.directory_of("input"),
        "unstructured_files_directory": directory.directory_of("unstructured"),
        "path_separator": "/",
        "job_id": job.job_id,
        "system_properties": dict(profile.system_properties),
        "pulsar_version": WIRE_VERSION,
        "preserve_galaxy_python_environment": None,
    }
    if job.tool_id:
        document["tool_id"] = job.tool_id
    if job.tool_version:
        document["tool_version"] = job.tool_version
    return document


def status_document(job_id: str, state: State) -> dict[str, Any]:
    """Return the short document of a job that has not ended."""
    return {"complete": "false", "status": WIRE_STATUS[state].value, "job_id": job_id}


def terminal_document(job: Job, profile: ManagerProfile, snapshot: DirectorySnapshot) -> str:
    """Return the full document of a job that ends in ``job.state``, as JSON text.

    The reason of a job that failed, was lost or cancelled is appended to ``stderr`` (and is in ``reason`` and
    ``reason_detail``, which older clients ignore), so that Galaxy's user reads why. The exit code is the one in the job's
    ``return_code`` file; a job judged failed has none unless its script wrote one.
    """
    document = _terminal(job.job_id, job.directory, WIRE_STATUS[job.state], profile, snapshot)
    if job.reason is not None:
        document["reason"] = job.reason.value
        document["reason_detail"] = job.detail
        if job.state in (State.FAILED, State.LOST):
            document["stderr"] = _with_line(
                document["stderr"], f"[pulsar] job {job.state.value}: {job.detail} ({job.reason.value})"
            )
    if document["returncode"] is None and job.exit_code is not None:
        document["returncode"] = job.exit_code
    return json.dumps(document)


def lost_document(job_id: str, directory: str, profile: ManagerProfile) -> str:
    """Return the document of a job that this node does not have, as JSON text: ``lost``, with empty lists."""
    return json.dumps(_terminal(job_id, directory, WireStatus.LOST, profile, DirectorySnapshot()))


def _terminal(job_id: str, path: str, status: WireStatus, profile: ManagerProfile, snapshot: DirectorySnapshot) -> dict[str, Any]:
    directory = JobDirectory(path)
    return {
        "job_id": job_id,
        "complete": "true",
        "status": status.value,
        "returncode": snapshot.return_code,
        "stdout": snapshot.stdout,
        "stderr": snapshot.stderr,
        "job_stdout": snapshot.job_stdout,
        "job_stderr": snapshot.job_stderr,
        "working_directory": directory.directory_of("workdir"),
        "metadata_directory": directory.directory_of("metadata"),
        "job_directory": directory.path,
        "working_directory_contents": list(snapshot.working_directory_contents),
        "outputs_directory_contents": list(snapshot.outputs_directory_contents),
        "metadata_directory_contents": list(snapshot.metadata_directory_contents),
        "job_directory_contents": list(snapshot.job_directory_contents),
        "system_properties": dict(profile.system_properties),
        "pulsar_version": WIRE_VERSION,
        "realized_dynamic_file_sources": [dict(source) for source in snapshot.realized_dynamic_file_sources],
    }


def _with_line(text: str, line: str) -> str:
    if not text:
        return line + "\n"
    return f"{text}{'' if text.endswith(chr(10)) else chr(10)}{line}\n"
