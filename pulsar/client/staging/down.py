"""Staging down: bring a job's files home and clean up after it (specification 6.4)."""

from __future__ import annotations

import logging

from pulsar.client.action_mapper import FileActionMapper
from pulsar.client.actions import Staging
from pulsar.client.client import JobClient
from pulsar.client.staging.models import ClientOutputs, PulsarOutputs
from pulsar.client.staging.plan import CollectedFile, plan_collection
from pulsar.errors import PulsarError

__all__ = ["finish_job"]

log = logging.getLogger(__name__)


def finish_job(
    client: JobClient,
    cleanup_job: str,
    job_completed_normally: bool,
    client_outputs: ClientOutputs,
    pulsar_outputs: PulsarOutputs,
) -> list[Exception]:
    """Collect the job's files and return what went wrong, empty when nothing did.

    Files are collected when the job completed normally. The job is then removed from the server when ``cleanup_job`` is
    ``always``, or when nothing went wrong and it is not ``never``; trouble with removing is logged, not returned.
    """
    failures = collect(client, client_outputs, pulsar_outputs) if job_completed_normally else []
    if cleanup_job == "always" or (not failures and cleanup_job != "never"):
        try:
            client.clean()
        except PulsarError as exc:
            log.warning("job %s could not be removed from the server: %s", client.job_id, exc)
    return failures


def collect(client: JobClient, client_outputs: ClientOutputs, pulsar_outputs: PulsarOutputs) -> list[Exception]:
    """Bring home every file that is the client's to collect, and return the failures; one does not stop the others."""
    try:
        mapper = client.action_mapper()
        planned = plan_collection(client_outputs, pulsar_outputs)
    except PulsarError as exc:
        return [exc]
    failures: list[Exception] = []
    for file in planned:
        try:
            _collect_one(client, mapper, file)
        except PulsarError as exc:
            log.warning("job %s: %s was not collected: %s", client.job_id, file.name, exc)
            failures.append(exc)
    return failures


def _collect_one(client: JobClient, mapper: FileActionMapper, file: CollectedFile) -> None:
    action = mapper.action(file.galaxy_path, file.path_type)
    if action.staging is Staging.CLIENT:
        client.fetch_output(file.galaxy_path, file.name, file.path_type, action.action_type)
