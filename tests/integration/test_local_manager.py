"""Local jobs on a real node without a web server: queueing, ends of every kind, kills, and lives of the node."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pulsar.core import PulsarApp
from pulsar.errors import Conflict, NotFound, RequestError
from pulsar.jobs.job import JobKey
from pulsar.protocol.messages import LaunchRequest

MANAGER = "_default_"


@contextmanager
def running(directory: Path, kind: str = "queued_python", **options: Any) -> Iterator[PulsarApp]:
    manager = {"type": kind, "cancel_grace_s": 0.5, **options}
    app = PulsarApp(
        staging_directory=str(directory / "staging"), persistence_directory=str(directory / "persisted"), manager=manager
    )
    try:
        yield app
    finally:
        app.shutdown()


def launch(app: PulsarApp, job_id: str, command: str, **request: Any) -> None:
    app.service.setup(MANAGER, job_id, "tool", "1.0")
    app.service.submit(MANAGER, job_id, LaunchRequest(command, **request))


def document(app: PulsarApp, job_id: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(app.service.status(MANAGER, job_id))
    return content


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        tick.wait(0.005)


def ended(app: PulsarApp, job_id: str) -> dict[str, Any]:
    until(lambda: document(app, job_id)["complete"] == "true")
    return document(app, job_id)


def until_status(app: PulsarApp, job_id: str, status: str) -> None:
    until(lambda: document(app, job_id)["status"] == status)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


# -- ends -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("true", 0),
        ("exit 3", 3),
        ("(exit 255)", 255),
        ("sh -c 'kill -9 $$'", 137),
        ("sh -c 'kill -15 $$'", 143),
        ("exit 139", 139),
        ("no-such-command-here", 127),
    ],
)
def test_a_tool_that_ends_in_a_living_script_is_complete_with_its_code(tmp_path: Path, command: str, code: int) -> None:
    with running(tmp_path) as app:
        launch(app, "1", command)
        assert [ended(app, "1")[name] for name in ("status", "returncode")] == ["complete", code]


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV"])
def test_a_script_that_is_killed_is_failed_with_a_reason(tmp_path: Path, name: str) -> None:
    with running(tmp_path) as app:
        launch(app, "1", f"echo before > ../metadata/tool_stdout; kill -{name[3:]} $$; sleep 60")
        found = ended(app, "1")
    assert [found["status"], found["returncode"], found["reason"]] == ["failed", None, "killed"]
    assert name in found["stderr"]
    assert found["stdout"] == "before\n"


def test_a_wrapper_that_is_killed_with_all_its_session_leaves_a_failed_job(tmp_path: Path) -> None:
    with running(tmp_path) as app:
        launch(app, "1", "sleep 60")
        until((tmp_path / "staging" / "1" / "pid").exists)
        until_status(app, "1", "running")
        pid = int(app.service.timeline(MANAGER, "1")[-1].detail.split(":")[0])
        os.killpg(pid, signal.SIGKILL)
        found = ended(app, "1")
    assert (found["status"], found["reason"]) == ("failed", "killed")


@pytest.mark.parametrize("meanwhile", ["the node is there", "the node is away"])
def test_a_script_that_outlives_its_wrapper_is_waited_for(tmp_path: Path, meanwhile: str) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with running(tmp_path) as app:
        launch(app, "1", f"touch started; cat {shlex.quote(str(gate))}; exit 11")
        until((tmp_path / "staging" / "1" / "working" / "started").exists)
        until_status(app, "1", "running")
        pid = int(app.service.timeline(MANAGER, "1")[-1].detail.split(":")[0])
        if meanwhile == "the node is there":
            os.kill(pid, signal.SIGKILL)
            until(lambda: not alive(pid))
    if meanwhile == "the node is away":
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid))
    with running(tmp_path) as app:
        assert document(app, "1")["status"] == "running"
        gate.write_text("go")
        assert [ended(app, "1")[name] for name in ("status", "returncode")] == ["complete", 11]


def test_a_wrapper_that_was_killed_before_its_claim_is_started_again(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with running(tmp_path) as app:
        launch(app, "1", "sleep 60")
        until((tmp_path / "staging" / "1" / "pid").exists)
        until_status(app, "1", "running")
        pid = int(app.service.timeline(MANAGER, "1")[-1].detail.split(":")[0])
        launch(app, "2", f"echo ran >> {shlex.quote(str(journal))}; exit 12")
        until_status(app, "2", "queued")
    # What is left when the first job's wrapper is killed right after its fork: a process that is gone, and no claim.
    os.killpg(pid, signal.SIGKILL)
    until(lambda: not alive(pid))
    (tmp_path / "staging" / "1" / "pid").unlink()
    script = tmp_path / "staging" / "1" / "command.sh"
    script.write_text(f"echo again >> {shlex.quote(str(journal))}; exit 13")
    with running(tmp_path) as app:
        assert [ended(app, "1")[name] for name in ("status", "returncode")] == ["complete", 13]
        assert ended(app, "2")["returncode"] == 12
    assert journal.read_text().split() == ["again", "ran"]


def test_a_job_that_can_never_be_claimed_fails_in_the_end(tmp_path: Path) -> None:
    with running(tmp_path) as app:
        app.service.setup(MANAGER, "1", "tool", "1.0")
        (tmp_path / "staging" / "1" / "pid").write_text("not a claim")
        app.service.submit(MANAGER, "1", LaunchRequest("true"))
        assert [ended(app, "1")[name] for name in ("status", "reason")] == ["failed", "submit_refused"]


def test_a_forged_claim_does_not_make_the_node_kill_a_stranger(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        forged = {"pid": stranger.pid, "start": 1, "boot": "", "token": ""}
        with running(tmp_path) as app:
            launch(app, "1", f"echo {shlex.quote(json.dumps(forged))} > ../pid; touch done; sleep 60")
            until((tmp_path / "staging" / "1" / "working" / "done").exists)
        with running(tmp_path) as app:
            until_status(app, "1", "running")
            app.service.cancel(MANAGER, "1")
            assert document(app, "1")["status"] == "cancelled"
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_the_streams_and_lists_of_a_job_come_home(tmp_path: Path) -> None:
    command = (
        "cat ../inputs/in.txt > made.txt; mkdir -p deep/er; echo x > deep/er/y; echo out > ../outputs/o.dat; "
        "echo tool-out > ../metadata/tool_stdout; echo tool-err > ../metadata/tool_stderr; echo script-out; echo script-err >&2"
    )
    with running(tmp_path) as app:
        service = app.service
        service.setup(MANAGER, "1", "tool", "1.0")
        blocks = iter([b"input", b""])
        service.upload(MANAGER, "1", "input", "in.txt", lambda size: next(blocks))
        service.submit(MANAGER, "1", LaunchRequest(command))
        found = ended(app, "1")
    assert [found[name] for name in ("stdout", "stderr", "job_stdout", "job_stderr")] == [
        "tool-out\n",
        "tool-err\n",
        "script-out\n",
        "script-err\n",
    ]
    assert sorted(found["working_directory_contents"]) == ["deep/er/y", "made.txt"] or sorted(
        found["working_directory_contents"]
    ) == [
        "deep/er/y",
        "made.txt",
    ]
    assert found["outputs_directory_contents"] == ["o.dat"]


def test_a_job_starts_with_a_clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET_OF_THE_NODE", "hush")
    with running(tmp_path, env_FROM_MANAGER="m $HOME") as app:
        launch(app, "1", "env > ../metadata/tool_stdout", env=[{"name": "FROM_REQUEST", "value": 'a "quoted" $((1+1))'}])
        lines = ended(app, "1")["stdout"].splitlines()
    assert 'FROM_REQUEST=a "quoted" 2' in lines
    assert f"FROM_MANAGER=m {os.environ['HOME']}" in lines
    assert "LC_CTYPE=C.UTF-8" in lines
    assert "hush" not in "\n".join(lines)


@pytest.mark.parametrize(
    "job_id", ["$(touch pwned)", "a b", "it's", 'q"q', "`id`", "-rf", "ünï", "1;2", "a:b:c", "*", "%s\\n".replace("\\", "")]
)
def test_ids_that_are_shell_syntax_are_names_and_nothing_else(tmp_path: Path, job_id: str) -> None:
    with running(tmp_path) as app:
        launch(app, job_id, "echo fine > ../metadata/tool_stdout; pwd")
        found = ended(app, job_id)
    assert (found["status"], found["returncode"], found["stdout"]) == ("complete", 0, "fine\n")
    assert found["job_stdout"] == str(tmp_path / "staging" / job_id / "working") + "\n"
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("word", ["plain", "it's", '"double"', "é'"])
def test_a_command_of_some_mebibytes_runs_without_delay(tmp_path: Path, word: str) -> None:
    words = " ".join(shlex.quote(f"{word}{number}") for number in range(150_000))
    with running(tmp_path) as app:
        launch(app, "1", f"echo {words} | wc -w > ../metadata/tool_stdout")
        assert ended(app, "1")["stdout"].strip() == "150000"


# -- the queue ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 3])
def test_jobs_start_in_order_and_never_more_at_once_than_allowed(tmp_path: Path, slots: int) -> None:
    journal = tmp_path / "journal"
    command = f"echo + {{0}} >> {shlex.quote(str(journal))}; sleep 0.05; echo - {{0}} >> {shlex.quote(str(journal))}"
    numbers = [str(number) for number in range(12)]
    with running(tmp_path, num_concurrent_jobs=slots) as app:
        for number in numbers:
            launch(app, number, command.format(number))
        for number in numbers:
            assert ended(app, number)["status"] == "complete"
    at_once = most = 0
    started = []
    for line in journal.read_text().splitlines():
        sign, number = line.split()
        at_once += 1 if sign == "+" else -1
        most = max(most, at_once)
        if sign == "+":
            started.append(number)
    assert most <= slots
    if slots == 1:
        assert started == numbers


def test_unqueued_jobs_start_at_once(tmp_path: Path) -> None:
    with running(tmp_path, kind="unqueued") as app:
        for number in range(6):
            launch(app, str(number), "sleep 60")
        for number in range(6):
            until_status(app, str(number), "running")
        for number in range(6):
            app.service.cancel(MANAGER, str(number))


def test_a_waiting_job_that_is_cancelled_never_starts(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with running(tmp_path, num_concurrent_jobs=1) as app:
        launch(app, "1", "sleep 60")
        until_status(app, "1", "running")
        launch(app, "2", f"touch {shlex.quote(str(journal))}")
        until_status(app, "2", "queued")
        app.service.cancel(MANAGER, "2")
        assert document(app, "2")["status"] == "cancelled"
        app.service.cancel(MANAGER, "1")
        assert document(app, "1")["status"] == "cancelled"
        launch(app, "3", "true")
        assert ended(app, "3")["status"] == "complete"
    assert not journal.exists()


# -- kills ----------------------------------------------------------------------------------------------------------------

_RUNAWAY = """
(setsid sh -c 'echo $$ >> ../pids; exec sleep 300' &)
(nohup sh -c 'echo $$ >> ../pids; exec sleep 300' > /dev/null 2>&1 &)
sh -c 'trap "" TERM; echo $$ >> ../pids; while :; do sleep 1; done' &
python3 -c 'import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("../pids", "a").write("%d\\n" % os.getpid())
        time.sleep(300)
    os._exit(0)
os.wait()
time.sleep(300)'
"""


@pytest.mark.parametrize("verb", ["cancel", "clean"])
def test_a_kill_takes_the_whole_tree_also_what_has_run_away(tmp_path: Path, verb: str) -> None:
    with running(tmp_path) as app:
        launch(app, "1", _RUNAWAY)
        pids = tmp_path / "staging" / "1" / "pids"
        until(lambda: pids.exists() and len(pids.read_text().split()) == 4)
        members = [int(pid) for pid in pids.read_text().split()]
        assert all(alive(pid) for pid in members)
        getattr(app.service, verb)(MANAGER, "1")
        until(lambda: document(app, "1")["complete"] == "true")
        assert not [pid for pid in members if alive(pid)]
        assert document(app, "1")["status"] == ("cancelled" if verb == "cancel" else "lost")
        if verb == "clean":
            assert not (tmp_path / "staging" / "1").exists()


def test_a_kill_spares_everybody_else(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        with running(tmp_path, num_concurrent_jobs=2) as app:
            launch(app, "1", "sleep 60")
            launch(app, "2", "sleep 1; exit 4")
            until_status(app, "1", "running")
            app.service.cancel(MANAGER, "1")
            assert ended(app, "2")["returncode"] == 4
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


# -- lives of the node ----------------------------------------------------------------------------------------------------


def test_a_job_goes_on_while_the_node_is_away_and_is_found_again(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with running(tmp_path) as app:
        launch(app, "1", f"echo here > ../outputs/o; cat {shlex.quote(str(gate))} > got; exit 5")
        until_status(app, "1", "running")
        launch(app, "2", "exit 6")
    with running(tmp_path) as app:
        assert document(app, "1")["status"] == "running"
        until_status(app, "2", "queued")
        gate.write_text("go")
        assert ended(app, "1")["returncode"] == 5
        assert ended(app, "2")["returncode"] == 6
    assert (tmp_path / "staging" / "1" / "working" / "got").read_text() == "go"


def test_a_job_that_ended_while_the_node_was_away_has_its_true_code(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with running(tmp_path) as app:
        launch(app, "1", f"cat {shlex.quote(str(gate))}; exit 42")
        until_status(app, "1", "running")
    gate.write_text("go")
    until((tmp_path / "staging" / "1" / "exit_status").exists)
    with running(tmp_path) as app:
        assert [ended(app, "1")[name] for name in ("status", "returncode")] == ["complete", 42]


def test_a_job_that_was_killed_while_the_node_was_away_is_failed(tmp_path: Path) -> None:
    with running(tmp_path) as app:
        launch(app, "1", "sleep 60")
        until((tmp_path / "staging" / "1" / "pid").exists)
        until_status(app, "1", "running")
        pid = int(app.service.timeline(MANAGER, "1")[-1].detail.split(":")[0])
    os.killpg(pid, signal.SIGKILL)
    until(lambda: not alive(pid))
    with running(tmp_path) as app:
        assert [ended(app, "1")[name] for name in ("status", "reason")] == ["failed", "killed"]


def test_a_job_of_before_a_restart_of_the_machine_is_failed_and_says_so(tmp_path: Path) -> None:
    with running(tmp_path) as app:
        launch(app, "1", "sleep 60")
        until_status(app, "1", "running")
        job = app._store.get(JobKey(MANAGER, "1"))
        assert job is not None
        assert job.external_id is not None
        pid = int(job.external_id.split(":")[0])
    os.killpg(pid, signal.SIGKILL)
    # What the ledger and the claim would say if the machine had been started anew since.
    boot = "00000000-0000-0000-0000-000000000000"
    with contextlib.closing(sqlite3.connect(tmp_path / "persisted" / "pulsar.sqlite3")) as db, db:
        db.execute("UPDATE jobs SET external_id = ?", (f"1:1:{boot}",))
    (tmp_path / "staging" / "1" / "pid").write_text(json.dumps({"pid": 1, "start": 1, "boot": boot, "token": ""}))
    with running(tmp_path) as app:
        assert [ended(app, "1")[name] for name in ("status", "reason")] == ["failed", "node_failure"]


def test_limits_hold_over_a_restart(tmp_path: Path) -> None:
    with running(tmp_path, num_concurrent_jobs=1) as app:
        launch(app, "1", "sleep 60")
        launch(app, "2", "true")
        until_status(app, "1", "running")
        until_status(app, "2", "queued")
    with running(tmp_path, num_concurrent_jobs=1) as app:
        launch(app, "3", "true")
        until_status(app, "3", "queued")
        assert document(app, "2")["status"] == "queued"
        app.service.cancel(MANAGER, "1")
        assert ended(app, "2")["status"] == "complete"
        assert ended(app, "3")["status"] == "complete"


def test_two_processes_of_a_node_have_one_engine_and_the_second_takes_over(tmp_path: Path) -> None:
    script = (
        "import sys, signal; from pulsar.core import PulsarApp\n"
        f"app = PulsarApp(staging_directory={str(tmp_path / 'staging')!r},"
        f" persistence_directory={str(tmp_path / 'persisted')!r})\n"
        "import threading; print('up', flush=True); threading.Event().wait()"
    )
    first = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        first.stdout.readline()
        lock = tmp_path / "persisted" / "engine.lock"
        until(lambda: lock.exists() and lock.read_text().strip() == str(first.pid))
        with running(tmp_path) as app:
            launch(app, "1", "sleep 0.2; exit 9")
            assert app.health()["engine"] == "another process"
            until_status(app, "1", "running")
            first.kill()
            until(lambda: app.health()["engine"] == "this process")
            assert ended(app, "1")["returncode"] == 9
    finally:
        first.kill()
        first.wait()
        assert first.stdout is not None
        first.stdout.close()


# -- verbs in odd moments -------------------------------------------------------------------------------------------------


def test_a_second_submit_is_ignored(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with running(tmp_path) as app:
        launch(app, "1", f"echo ran >> {shlex.quote(str(journal))}")
        app.service.submit(MANAGER, "1", LaunchRequest("exit 1"))
        assert ended(app, "1")["returncode"] == 0
        app.service.submit(MANAGER, "1", LaunchRequest("exit 1"))
        assert document(app, "1")["returncode"] == 0
    assert journal.read_text() == "ran\n"


def test_set_up_of_a_live_job_is_harmless_and_of_a_final_one_begins_anew(tmp_path: Path) -> None:
    with running(tmp_path) as app:
        launch(app, "1", "echo old > ../outputs/old; sleep 0.2; exit 1")
        app.service.setup(MANAGER, "1", "tool", "1.0")
        assert ended(app, "1")["outputs_directory_contents"] == ["old"]
        launch(app, "1", "echo new > ../outputs/new; exit 2")
        found = ended(app, "1")
        assert (found["returncode"], found["outputs_directory_contents"]) == (2, ["new"])
        assert {entry.attempt for entry in app.service.timeline(MANAGER, "1")} == {1, 2}


def test_nothing_springs_up_for_a_job_that_was_never_set_up(tmp_path: Path) -> None:
    with running(tmp_path) as app:
        with pytest.raises(NotFound):
            app.service.submit(MANAGER, "1", LaunchRequest("true"))
        with pytest.raises(NotFound):
            app.service.upload(MANAGER, "1", "input", "x", lambda size: b"")
        app.service.cancel(MANAGER, "1")
        app.service.clean(MANAGER, "1")
        assert document(app, "1")["status"] == "lost"
    assert [path.name for path in (tmp_path / "staging").iterdir() if not path.name.startswith(".")] == []


def test_a_file_for_a_job_that_has_ended_is_refused(tmp_path: Path) -> None:
    with running(tmp_path) as app:
        launch(app, "1", "true")
        ended(app, "1")
        with pytest.raises(Conflict):
            app.service.upload(MANAGER, "1", "input", "x", lambda size: b"")


def test_a_request_for_files_that_only_the_node_could_fetch_is_refused_at_submit(tmp_path: Path) -> None:
    staging = {
        "setup": [{"name": "x", "type": "input", "action": {"action_type": "remote_transfer", "url": "http://127.0.0.1:1/"}}]
    }
    with running(tmp_path) as app:
        app.service.setup(MANAGER, "1")
        with pytest.raises(RequestError, match="default_file_action"):
            app.service.submit(MANAGER, "1", LaunchRequest("true", remote_staging=staging))
        with pytest.raises(RequestError, match="remote_transfer"):
            app.service.submit(
                MANAGER, "1", LaunchRequest("true", remote_staging={"action_mapper": {"default_action": "remote_transfer"}})
            )
        assert document(app, "1")["status"] == "preprocessing"


def test_a_directory_that_the_ledger_does_not_know_is_kept_aside(tmp_path: Path) -> None:
    stranger = tmp_path / "staging" / "1"
    (stranger / "outputs").mkdir(parents=True)
    (stranger / "return_code").write_text("0\n")
    with running(tmp_path) as app:
        launch(app, "1", "exit 3")
        assert ended(app, "1")["returncode"] == 3
    kept = list((tmp_path / "staging" / ".pulsar-aside").iterdir())
    assert [path.joinpath("return_code").read_text() for path in kept] == ["0\n"]


def test_debug_keeps_directories(tmp_path: Path) -> None:
    with running(tmp_path, debug=True) as app:
        launch(app, "1", "true")
        ended(app, "1")
        app.service.clean(MANAGER, "1")
        assert document(app, "1")["status"] == "complete"
    assert (tmp_path / "staging" / "1" / "command.sh").exists()


def test_assigned_uuids_are_what_the_job_is_called(tmp_path: Path) -> None:
    with running(tmp_path, assign_ids="uuid") as app:
        answer = app.service.setup(MANAGER, "1", "tool", "1.0")
        job_id = answer["job_id"]
        assert len(job_id) == 32
        app.service.submit(MANAGER, job_id, LaunchRequest("true"))
        assert ended(app, job_id)["job_id"] == job_id


def test_a_node_without_persistence_runs_jobs_all_the_same(tmp_path: Path) -> None:
    app = PulsarApp(staging_directory=str(tmp_path / "staging"), persistence_directory="__none__")
    try:
        launch(app, "1", "exit 8")
        assert ended(app, "1")["returncode"] == 8
    finally:
        app.shutdown()
    assert not (tmp_path / "persisted").exists()
