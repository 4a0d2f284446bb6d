"""One suite for every ledger: what :class:`pulsar.jobs.ports.Store` promises."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pulsar.errors import StaleRevision
from pulsar.jobs.job import Job, JobKey, Reason, TimelineEntry
from pulsar.jobs.ports import Standing, Store
from pulsar.jobs.states import State
from pulsar.protocol.messages import LaunchRequest
from pulsar.store.memory import MemoryStore
from pulsar.store.sqlite import SqliteStore

KEY = JobKey("_default_", "42")
REQUEST = LaunchRequest("echo 'é' \"x\"", env=[{"name": "A", "value": "b"}], remote_staging={"client_outputs": {"a": [1, None]}})


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store: Store = SqliteStore(tmp_path / "deep" / "node.sqlite3") if request.param == "sqlite" else MemoryStore()
    yield store
    store.close()


def entry(state: State, event: str = "noted", attempt: int = 1, left: State | None = None, time: float = 1.0) -> TimelineEntry:
    return TimelineEntry(attempt, left, state, event, "why", time)


def begun(store: Store, job_id: str = "42", manager: str = "_default_") -> Job:
    key = JobKey(manager, job_id)
    return store.begin(Job(key, f"/staging/{job_id}", tool_id="cat1", created_at=5.0, updated_at=5.0), entry(State.NEW, "setup"))


def launched(store: Store, job_id: str = "42") -> Job:
    job = replace(begun(store, job_id), state=State.STAGING_IN, request=REQUEST)
    return store.save(job, [entry(State.STAGING_IN, "launch")])


def finished(store: Store, job_id: str = "42", state: State = State.COMPLETE) -> Job:
    return store.save(replace(launched(store, job_id), state=state, exit_code=0), [entry(state, "staged")], '{"a": "é"}')


def test_an_unknown_job_is_none(store: Store) -> None:
    assert store.get(KEY) is None
    assert store.standing(KEY) is None
    assert store.document(KEY) is None
    assert store.timeline(KEY) == []


def test_what_was_saved_is_read_back_the_same(store: Store) -> None:
    saved = store.save(
        replace(
            launched(store),
            state=State.RUNNING,
            external_id="77",
            verdict_failed=True,
            reason=Reason.MEMORY,
            detail="too much",
            exit_code=3,
            clean_requested=True,
        ),
        [entry(State.RUNNING, "started")],
    )
    assert store.get(KEY) == saved
    assert saved.request == REQUEST


def test_every_save_raises_the_revision(store: Store) -> None:
    job = begun(store)
    assert store.save(job, [entry(State.NEW)]).revision == job.revision + 1


def test_of_two_writers_one_loses_loudly_and_changes_nothing(store: Store) -> None:
    job = begun(store)
    store.save(replace(job, detail="first"), [entry(State.NEW)])
    with pytest.raises(StaleRevision):
        store.save(replace(job, detail="second"), [entry(State.NEW, "late")])
    kept = store.get(KEY)
    assert kept is not None
    assert kept.detail == "first"
    assert "late" not in [line.event for line in store.timeline(KEY)]


def test_racing_saves_of_one_revision_leave_exactly_one_winner(store: Store) -> None:
    job = begun(store)
    barrier = threading.Barrier(8)
    outcomes: list[str] = []

    def race(number: int) -> None:
        barrier.wait()
        try:
            store.save(replace(job, detail=str(number)), [entry(State.NEW, f"race {number}")])
        except StaleRevision:
            outcomes.append("lost")
        else:
            outcomes.append(str(number))

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if outcome != "lost"]
    kept = store.get(KEY)
    assert kept is not None
    assert winners == [kept.detail]


def test_a_live_attempt_cannot_be_begun_again(store: Store) -> None:
    begun(store)
    with pytest.raises(StaleRevision):
        begun(store)


def test_a_final_attempt_makes_room_for_the_next_and_keeps_its_timeline(store: Store) -> None:
    last = finished(store)
    job = store.begin(Job(KEY, "/staging/42", attempt=2, revision=last.revision), entry(State.NEW, "setup", attempt=2))
    assert job.revision > last.revision
    assert store.document(KEY) is None
    fresh = store.get(KEY)
    assert fresh is not None
    assert fresh.request is None
    assert [(line.attempt, line.event) for line in store.timeline(KEY)] == [
        (1, "setup"),
        (1, "launch"),
        (1, "staged"),
        (2, "setup"),
    ]


def test_the_document_comes_with_the_final_state(store: Store) -> None:
    finished(store)
    assert store.standing(KEY) == Standing(State.COMPLETE, False)
    assert store.document(KEY) == '{"a": "é"}'


def test_a_cleaned_job_keeps_only_its_record_and_timeline(store: Store) -> None:
    job = finished(store)
    store.save(replace(job, cleaned_at=9.0), [entry(State.COMPLETE, "cleaned")])
    assert store.standing(KEY) == Standing(State.COMPLETE, True)
    assert store.document(KEY) is None
    kept = store.get(KEY)
    assert kept is not None
    assert kept.request is None
    assert len(store.timeline(KEY)) == 4


def test_unfinished_jobs_come_in_the_order_of_their_launch(store: Store) -> None:
    begun(store, "never-launched")
    for job_id in ("3", "1", "2"):
        begun(store, job_id)
    for job_id in ("2", "3", "1"):
        job = store.get(JobKey("_default_", job_id))
        assert job is not None
        store.save(replace(job, state=State.STAGING_IN, request=REQUEST), [entry(State.STAGING_IN, "launch")])
    finished(store, "ended")
    assert [job.job_id for job in store.unfinished()] == ["2", "3", "1", "never-launched"]
    assert store.counts() == {("_default_", State.NEW): 1, ("_default_", State.STAGING_IN): 3}


def test_changes_are_told_once_and_in_order(store: Store) -> None:
    mark = store.mark()
    begun(store, "1")
    begun(store, "2", manager="other")
    job = launched(store, "3")
    store.save(job, [entry(State.STAGING_IN)])
    mark, keys = store.changed_since(mark)
    assert keys == [JobKey("_default_", "1"), JobKey("other", "2"), JobKey("_default_", "3")]
    assert store.changed_since(mark) == (mark, [])
    assert store.mark() == mark


def test_clean_pending_are_final_jobs_whose_directory_is_to_go(store: Store) -> None:
    live = begun(store, "live")
    store.save(replace(live, clean_requested=True), [])
    done = finished(store, "done")
    done = store.save(replace(done, clean_requested=True), [])
    finished(store, "kept")
    assert [job.job_id for job in store.clean_pending()] == ["done"]
    store.save(replace(done, cleaned_at=3.0), [entry(State.COMPLETE, "cleaned")])
    assert store.clean_pending() == []


def test_only_old_cleaned_jobs_are_forgotten(store: Store) -> None:
    for job_id, cleaned_at in (("old", 10.0), ("new", 99.0)):
        store.save(replace(finished(store, job_id), cleaned_at=cleaned_at), [entry(State.COMPLETE, "cleaned")])
    finished(store, "not-cleaned")
    assert store.forget_before(50.0) == 1
    assert store.get(JobKey("_default_", "old")) is None
    assert store.timeline(JobKey("_default_", "old")) == []
    assert store.get(JobKey("_default_", "new")) is not None
    assert store.get(JobKey("_default_", "not-cleaned")) is not None


def test_ids_are_values_not_statements(store: Store) -> None:
    job = begun(store, "'; DROP TABLE jobs; --")
    assert store.get(job.key) == job
