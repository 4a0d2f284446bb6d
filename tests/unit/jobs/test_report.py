"""The documents that clients read."""

from __future__ import annotations

import json
from dataclasses import replace

from pulsar.jobs.job import Job, JobKey, Reason
from pulsar.jobs.ports import DirectorySnapshot, ManagerProfile
from pulsar.jobs.report import lost_document, setup_document, status_document, terminal_document
from pulsar.jobs.states import State

PROFILE = ManagerProfile("_default_", "/staging", system_properties={"separator": "/", "galaxy_home": "/galaxy"})
JOB = Job(JobKey("_default_", "1"), "/staging/1", tool_id="cat1", tool_version="1.0")

TERMINAL_KEYS = {
    "job_id",
    "complete",
    "status",
    "returncode",
    "stdout",
    "stderr",
    "job_stdout",
    "job_stderr",
    "working_directory",
    "metadata_directory",
    "job_directory",
    "working_directory_contents",
    "outputs_directory_contents",
    "metadata_directory_contents",
    "job_directory_contents",
    "system_properties",
    "pulsar_version",
    "realized_dynamic_file_sources",
}


def test_the_set_up_document_has_its_keys_in_order() -> None:
    document = setup_document(JOB, PROFILE)
    assert list(document) == [
        "job_directory",
        "working_directory",
        "metadata_directory",
        "outputs_directory",
        "configs_directory",
        "tools_directory",
        "inputs_directory",
        "unstructured_files_directory",
        "path_separator",
        "job_id",
        "system_properties",
        "pulsar_version",
        "preserve_galaxy_python_environment",
        "tool_id",
        "tool_version",
    ]
    assert document["tools_directory"] == "/staging/1/tool_files"
    assert tuple(int(part) for part in document["pulsar_version"].split(".")) >= (0, 15, 13)
    assert "tool_id" not in setup_document(replace(JOB, tool_id=""), PROFILE)


def test_complete_is_a_string() -> None:
    assert status_document("1", State.RUNNING) == {"complete": "false", "status": "running", "job_id": "1"}
    assert json.loads(lost_document("1", "/staging/1", PROFILE))["complete"] == "true"


def test_a_terminal_document_has_every_key() -> None:
    document = json.loads(terminal_document(replace(JOB, state=State.COMPLETE), PROFILE, DirectorySnapshot(True, 0, "out")))
    assert set(document) == TERMINAL_KEYS
    assert (document["status"], document["returncode"], document["stdout"]) == ("complete", 0, "out")
    assert set(json.loads(lost_document("1", "/staging/1", PROFILE))) == TERMINAL_KEYS


def test_the_reason_of_a_failure_is_at_the_end_of_stderr() -> None:
    job = replace(JOB, state=State.FAILED, reason=Reason.KILLED, detail="killed by SIGKILL")
    document = json.loads(terminal_document(job, PROFILE, DirectorySnapshot(True, None, "", "tool said")))
    assert document["stderr"] == "tool said\n[pulsar] job failed: killed by SIGKILL (killed)\n"
    assert (document["reason"], document["returncode"]) == ("killed", None)
