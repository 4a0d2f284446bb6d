"""What an event does to the record of a job."""

from dataclasses import replace

from pulsar.jobs.job import (
    Cancel,
    Exited,
    Failed,
    Job,
    JobKey,
    Killed,
    Launch,
    Reason,
    Staged,
    Started,
    Submitted,
    Vanished,
    advance,
)
from pulsar.jobs.states import State
from pulsar.protocol.messages import LaunchRequest

JOB = Job(JobKey("_default_", "1"), "/staging/1")


def after(job: Job, *events: object) -> Job:
    for event in events:
        step = advance(job, event)  # type: ignore[arg-type]
        assert step is not None
        job = step[0]
    return job


def test_an_ordinary_job_collects_its_facts() -> None:
    request = LaunchRequest("true")
    job = after(JOB, Launch(request), Staged(), Submitted("7"), Started("7.1"), Exited(3), Staged())
    assert (job.state, job.request, job.external_id, job.exit_code, job.reason) == (State.COMPLETE, request, "7.1", 3, None)


def test_a_failed_job_keeps_its_first_reason_and_still_sends_its_files() -> None:
    running = replace(JOB, state=State.RUNNING)
    job = after(running, Failed(Reason.WALLTIME, "too long"))
    assert job.state is State.STAGING_OUT
    job = after(job, Failed(Reason.STAGING_OUT, "galaxy is away"))
    assert (job.state, job.reason, job.detail) == (State.FAILED, Reason.WALLTIME, "too long")


def test_a_delivery_that_fails_fails_the_job() -> None:
    job = after(replace(JOB, state=State.STAGING_OUT), Failed(Reason.STAGING_OUT, "no"))
    assert (job.state, job.reason) == (State.FAILED, Reason.STAGING_OUT)


def test_a_job_submitted_while_it_is_cancelled_keeps_the_name_to_kill_it_by() -> None:
    cancelling = after(replace(JOB, state=State.SUBMITTING), Cancel())
    step = advance(cancelling, Submitted("99"))
    assert step is not None
    assert (step[0].state, step[0].external_id) == (State.CANCELLING, "99")
    assert advance(step[0], Submitted("99")) is None
    assert after(step[0], Killed()).state is State.CANCELLED


def test_a_vanished_job_is_lost_with_a_reason() -> None:
    job = after(replace(JOB, state=State.RUNNING), Vanished())
    assert (job.state, job.reason) == (State.LOST, Reason.VANISHED)


def test_late_events_change_nothing() -> None:
    assert advance(replace(JOB, state=State.COMPLETE), Exited(1)) is None
    assert advance(replace(JOB, state=State.RUNNING), Started("x")) is None


def test_the_timeline_entry_says_what_happened() -> None:
    step = advance(replace(JOB, state=State.RUNNING), Failed(Reason.MEMORY, "12 GB"))
    assert step is not None
    entry = step[1]
    assert (entry.left, entry.entered, entry.event, entry.detail) == (State.RUNNING, State.STAGING_OUT, "failed", "memory: 12 GB")
