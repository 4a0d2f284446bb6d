"""The engine with a world of stand-ins: ordinary ways, faults, and death after each save in turn."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

import pytest

from pulsar.errors import PulsarError, RequestError, StorageFull, SubmitRefused, Unavailable
from pulsar.jobs.engine import Engine
from pulsar.jobs.job import Exited, Job, JobKey, Reason
from pulsar.jobs.ports import Exit, Failure, Gone, ManagerProfile, Observation, Queued, Running, Store
from pulsar.jobs.service import JobService
from pulsar.jobs.states import State
from pulsar.protocol.messages import LaunchRequest
from pulsar.store.memory import MemoryStore
from tests.support.fakes import FakeFiles, FakeManager, FakeStager, MortalStore, World

KEY = JobKey("_default_", "1")
PROFILES = {"_default_": ManagerProfile("_default_", "/staging")}


class Node:
    """One life of a node process over a world, a disk and a ledger that outlive it."""

    def __init__(self, store: Store, files: FakeFiles, world: World, *, wants_stage_in: bool = True) -> None:
        self.store = store
        self.manager = FakeManager(world)
        self.stager = FakeStager(world, wants_stage_in=wants_stage_in)
        self.service = JobService(store, files, self.stager, PROFILES, lambda: self.engine.wake())
        self.engine = Engine(store, files, self.stager, {"_default_": self.manager}, self.service)

    def start(self) -> Node:
        self.engine.start()
        return self

    def die(self) -> None:
        self.manager.is_cut = True
        self.engine.stop()


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a condition of another thread."""
    deadline = time.monotonic() + seconds
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        tick.wait(0.002)


def state(store: Store) -> State | None:
    standing = store.standing(KEY)
    return standing.state if standing else None


def is_final(store: Store) -> bool:
    now = state(store)
    return now is not None and now.is_final


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def world() -> World:
    return World()


def run_job(store: MemoryStore, world: World, *, prepare: Callable[[Node], None] = lambda node: None) -> Job:
    node = Node(store, FakeFiles(), world)
    prepare(node)
    node.start()
    try:
        node.service.setup("_default_", "1", "cat1", "1.0")
        node.service.submit("_default_", "1", LaunchRequest("true"))
        until(lambda: is_final(store))
    finally:
        node.die()
    job = store.get(KEY)
    assert job is not None
    return job


def test_a_job_runs_from_set_up_to_complete(store: MemoryStore, world: World) -> None:
    job = run_job(store, world)
    assert (job.state, job.exit_code, world.starts[KEY]) == (State.COMPLETE, 3, 1)
    assert [entry.event for entry in store.timeline(KEY)] == [
        "setup",
        "launch",
        "staged",
        "submitted",
        "started",
        "exited",
        "staged",
    ]
    document = json.loads(store.document(KEY) or "")
    assert (document["status"], document["complete"], document["returncode"]) == ("complete", "true", 3)


@pytest.mark.parametrize(
    ("seen", "final", "reason"),
    [
        (Failure(Reason.WALLTIME, "too long"), State.FAILED, Reason.WALLTIME),
        (Gone(), State.LOST, Reason.VANISHED),
        (Exit(0), State.COMPLETE, None),
    ],
)
def test_what_the_manager_sees_decides(
    store: MemoryStore, world: World, seen: Observation, final: State, reason: Reason | None
) -> None:
    world.script = (Queued(), Running(), seen)
    job = run_job(store, world)
    assert (job.state, job.reason) == (final, reason)
    if final is State.FAILED:
        assert world.staged_out[KEY] == 1, "the files of a failed job go home too"
        assert "too long" in json.loads(store.document(KEY) or "")["stderr"]


def test_a_refused_job_fails_with_the_reason(store: MemoryStore, world: World) -> None:
    def refuse(node: Node) -> None:
        def submit(job: Job) -> str:
            raise SubmitRefused("no such partition")

        node.manager.submit = submit  # type: ignore[method-assign]

    job = run_job(store, world, prepare=refuse)
    assert (job.state, job.reason, job.detail) == (State.FAILED, Reason.SUBMIT_REFUSED, "no such partition")


@pytest.mark.parametrize(
    ("error", "reason"), [(RequestError("404 for x.dat"), Reason.STAGING_IN), (StorageFull("no space"), Reason.STORAGE_FULL)]
)
def test_a_file_that_cannot_be_had_fails_the_job(store: MemoryStore, world: World, error: Exception, reason: Reason) -> None:
    def fail(node: Node) -> None:
        node.stager.fail_in = error

    job = run_job(store, world, prepare=fail)
    assert (job.state, job.reason) == (State.FAILED, reason)
    assert KEY not in world.starts


def test_a_transient_fault_is_waited_out_and_noted(store: MemoryStore, world: World) -> None:
    def stumble(node: Node) -> None:
        stage_in = node.stager.stage_in
        times = iter([True, False])

        def stage(job: Job, cancelled: Callable[[], bool]) -> None:
            if next(times):
                raise Unavailable("galaxy is away")
            stage_in(job, cancelled)

        node.stager.stage_in = stage  # type: ignore[method-assign]

    job = run_job(store, world, prepare=stumble)
    assert job.state is State.COMPLETE
    assert any("galaxy is away" in entry.detail for entry in store.timeline(KEY))


def test_a_mistake_of_the_node_fails_the_job_and_not_the_engine(
    store: MemoryStore, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def blunder(node: Node) -> None:
        node.stager.fail_out = ZeroDivisionError("oops")

    job = run_job(store, world, prepare=blunder)
    assert (job.state, job.reason) == (State.FAILED, Reason.INTERNAL)
    assert "oops" in caplog.text


def test_a_manager_that_does_not_answer_changes_nothing(store: MemoryStore, world: World) -> None:
    world.script = (Running(),)
    node = Node(store, FakeFiles(), world).start()
    try:
        node.service.setup("_default_", "1")
        node.service.submit("_default_", "1", LaunchRequest("true"))
        until(lambda: state(store) is State.RUNNING)
        node.manager.is_cut = True
        looks = world.looks[KEY]
        threading.Event().wait(0.1)
        assert state(store) is State.RUNNING
        node.manager.is_cut = False
        world.script = (Exit(0),)
        until(lambda: is_final(store))
        assert world.looks[KEY] > looks
    finally:
        node.die()
    assert state(store) is State.COMPLETE


def test_cancel_ends_the_job_before_it_is_called_cancelled(store: MemoryStore, world: World) -> None:
    world.script = (Running(),)
    node = Node(store, FakeFiles(), world).start()
    try:
        node.service.setup("_default_", "1")
        node.service.submit("_default_", "1", LaunchRequest("true"))
        until(lambda: state(store) is State.RUNNING)
        node.service.cancel("_default_", "1")
        assert state(store) is State.CANCELLED
        assert world.kills[KEY] == 1
        assert json.loads(node.service.status("_default_", "1"))["status"] == "cancelled"
    finally:
        node.die()


def test_clean_ends_a_running_job_first_and_then_removes_its_directory(store: MemoryStore, world: World) -> None:
    world.script = (Running(),)
    files = FakeFiles()
    node = Node(store, files, world).start()
    try:
        node.service.setup("_default_", "1")
        node.service.submit("_default_", "1", LaunchRequest("true"))
        until(lambda: state(store) is State.RUNNING)
        node.service.clean("_default_", "1")
        assert world.kills[KEY] == 1
        assert files.removed == ["/staging/1"]
        assert json.loads(node.service.status("_default_", "1"))["status"] == "lost"
    finally:
        node.die()


def _wait_until_running(node: Node) -> None:
    until(lambda: json.loads(node.service.status("_default_", "1"))["status"] == "running")


def test_what_is_seen_of_an_earlier_attempt_is_no_news_of_the_next(store: MemoryStore, world: World) -> None:
    node = Node(store, FakeFiles(), world)
    first = run_job(store, world)
    world.script = (Running(),)
    world.looks.clear()
    node.start()
    try:
        node.service.setup("_default_", "1")
        node.service.submit("_default_", "1", LaunchRequest("true"))
        until(lambda: state(store) is State.RUNNING)
        node.engine._observed(first, Exited(1))
        assert state(store) is State.RUNNING
    finally:
        node.die()


class Client:
    """What Galaxy does with one job. A verb that was not answered is repeated; one that was, is not."""

    def __init__(self, *, cancel: bool) -> None:
        self._left: list[Callable[[Node], object]] = [
            lambda node: node.service.setup("_default_", "1", "cat1"),
            lambda node: node.service.submit("_default_", "1", LaunchRequest("true")),
        ]
        if cancel:
            self._left += [_wait_until_running, lambda node: node.service.cancel("_default_", "1")]

    def talk_to(self, node: Node) -> None:
        """Go on until everything is answered or the node is dead."""
        while self._left:
            try:
                self._left[0](node)
            except PulsarError:
                assert isinstance(node.store, MortalStore)
                assert node.store.died.is_set()
                return
            self._left.pop(0)


def _count_writes(*, cancel: bool) -> int:
    store = MortalStore(MemoryStore())
    world = World()
    if cancel:
        world.script = (Running(),)
    node = Node(store, FakeFiles(), world).start()  # type: ignore[arg-type]
    Client(cancel=cancel).talk_to(node)
    until(lambda: is_final(store))  # type: ignore[arg-type]
    node.die()
    return store.writes


_DEATHS = [
    pytest.param(
        number, before, cancel, id=f"{'before' if before else 'after'}-save-{number}{'-of-a-cancelled-job' if cancel else ''}"
    )
    for cancel in (False, True)
    for before in (False, True)
    for number in range(1, _count_writes(cancel=cancel) + 1)
]


@pytest.mark.parametrize(("number", "before", "cancel"), _DEATHS)
def test_a_node_killed_around_any_save_loses_nothing_and_runs_nothing_twice(number: int, before: bool, cancel: bool) -> None:
    store, files, world = MemoryStore(), FakeFiles(), World()
    if cancel:
        world.script = (Running(),)
    mortal = MortalStore(store, number, before=before)
    first = Node(mortal, files, world).start()  # type: ignore[arg-type]
    client = Client(cancel=cancel)
    talk = threading.Thread(target=client.talk_to, args=(first,))
    talk.start()
    assert mortal.died.wait(10.0)
    first.die()
    talk.join()
    second = Node(store, files, world).start()
    try:
        client.talk_to(second)
        until(lambda: is_final(store))
    finally:
        second.die()
    job = store.get(KEY)
    assert job is not None
    assert world.starts.get(KEY, 0) <= 1
    assert job.attempt == 1
    if cancel:
        assert job.state is State.CANCELLED
        assert KEY not in world.standing, "something still runs"
    else:
        assert (job.state, job.exit_code) == (State.COMPLETE, 3)
        assert world.starts[KEY] == 1
    assert store.document(KEY) is not None
    assert [entry.entered for entry in store.timeline(KEY)].count(job.state) == 1
