"""The wrapper of a local job, with real processes: one claim, one outcome, whatever is killed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pulsar.errors import CannotAsk
from pulsar.managers import wrapper
from pulsar.managers.process_files import (
    Claim,
    ExitedWith,
    KilledBy,
    NotStarted,
    Outcome,
    read_claim,
    read_outcome,
    seal,
)
from pulsar.managers.processes import Identity
from pulsar.managers.script import ScriptSpec, job_script

WRAPPER = [sys.executable, "-I", "-S", "-B", str(Path(wrapper.__file__).resolve())]
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


class WrappedJob:
    """A job directory, and the wrappers started on it as the node starts them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[subprocess.Popen[bytes]] = []
        for name in ("working", "outputs", "configs", "metadata"):
            (directory / name).mkdir(parents=True)
        self._ready = directory.parent / "ready"
        os.mkfifo(self._ready)

    def write_script(self, command: str) -> None:
        (self.directory / "command.sh").write_text(job_script(ScriptSpec(str(self.directory), command)))

    def start(self, token: str = "token", preexec_fn: Callable[[], None] | None = None) -> subprocess.Popen[bytes]:
        """Start a wrapper; its standard output is closed when nothing of the job runs any more."""
        process = subprocess.Popen(
            [*WRAPPER, str(self.directory), token],
            cwd=self.directory / "working",
            env={"PATH": os.environ["PATH"], "HOME": "/nowhere", "LC_CTYPE": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=preexec_fn,
        )
        self.started.append(process)
        return process

    def run(self, command: str) -> subprocess.Popen[bytes]:
        self.write_script(command)
        process = self.start()
        assert process.wait(30) == 0
        return process

    def start_and_hold(self, before: str = "", after: str = "") -> tuple[subprocess.Popen[bytes], int]:
        """Start a job that does ``before``, tells the pid of its script, and waits to be killed or :meth:`release`\\ d."""
        os.mkfifo(self.directory / "go")
        self.write_script(f"{before}\necho $$ > {self._ready}; read -r _ < ../go\n{after}")
        process = self.start()
        return process, int(self._ready.read_text())

    def release(self) -> None:
        (self.directory / "go").write_text("go\n")

    @property
    def outcome(self) -> Outcome | None:
        return read_outcome(str(self.directory))

    @property
    def claim(self) -> Claim | None:
        return read_claim(str(self.directory))

    def names(self) -> set[str]:
        return {path.name for path in self.directory.iterdir()}


@pytest.fixture
def job(tmp_path: Path) -> Iterator[WrappedJob]:
    made = WrappedJob(tmp_path / "1")
    yield made
    for process in made.started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def until_all_ended(process: subprocess.Popen[bytes]) -> bytes:
    """Wait until no process of the job is left and return what it printed."""
    assert process.stdout is not None
    return process.stdout.read()


# -- the outcome --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 75, 143, 255])
def test_exit_code_of_the_command_is_the_outcome(job: WrappedJob, code: int) -> None:
    job.run(f"(exit {code})")
    assert job.outcome == ExitedWith(code)
    assert json.loads((job.directory / "exit_status").read_text()) == {"code": code}
    assert (job.directory / "return_code").read_text() == f"{code}\n"
    assert not [name for name in job.names() if name.startswith(".pulsar-")]


def test_wrapper_writes_the_exit_code_of_a_script_that_did_not(job: WrappedJob) -> None:
    (job.directory / "command.sh").write_text("exit 7\n")
    assert job.start().wait(30) == 0
    assert (job.directory / "return_code").read_text() == "7\n"
    assert job.outcome == ExitedWith(7)


def test_exit_code_that_the_script_wrote_counts(job: WrappedJob) -> None:
    (job.directory / "command.sh").write_text(f"echo 3 > {job.directory}/return_code; exit 7\n")
    assert job.start().wait(30) == 0
    assert (job.directory / "return_code").read_text() == "3\n"
    assert job.outcome == ExitedWith(3)


def test_an_empty_exit_code_file_counts_as_none(job: WrappedJob) -> None:
    (job.directory / "command.sh").write_text(f": > {job.directory}/return_code; exit 7\n")
    assert job.start().wait(30) == 0
    assert (job.directory / "return_code").read_text() == "7\n"


def test_streams_and_environment_reach_the_job(job: WrappedJob) -> None:
    process = job.run("echo out; echo err >&2; pwd; env | grep -c . > count")
    assert process.communicate() == (f"out\n{job.directory}/working\n".encode(), b"err\n")


def test_script_killed_before_its_exit_code_is_told_with_the_signal(job: WrappedJob) -> None:
    process, script = job.start_and_hold()
    os.kill(script, signal.SIGKILL)
    assert process.wait(30) == 0
    assert job.outcome == KilledBy(signal.SIGKILL)
    assert not (job.directory / "return_code").exists()


def test_script_killed_after_its_exit_code_has_that_code(job: WrappedJob) -> None:
    os.mkfifo(job.directory / "go")
    post = f"echo $$ > {job.directory.parent}/ready; read -r _ < ../go"
    script = job_script(ScriptSpec(str(job.directory), "(exit 4)", post_commands=(post,)))
    (job.directory / "command.sh").write_text(script)
    process = job.start()
    os.kill(int((job.directory.parent / "ready").read_text()), signal.SIGKILL)
    assert process.wait(30) == 0
    assert job.outcome == ExitedWith(4)
    assert json.loads((job.directory / "exit_status").read_text()) == {"signal": signal.SIGKILL}


def test_command_killed_by_a_signal_has_the_exit_code_that_shells_give_it(job: WrappedJob) -> None:
    job.run("kill -KILL $BASHPID")
    assert job.outcome == ExitedWith(137)


def test_script_goes_on_without_its_wrapper_and_leaves_its_exit_code(job: WrappedJob) -> None:
    process, _ = job.start_and_hold(after="(exit 6)")
    process.kill()
    process.wait(30)
    assert job.claim is not None
    assert not identity_of(job.claim).is_alive
    assert job.outcome is None
    job.release()
    until_all_ended(process)
    assert job.outcome == ExitedWith(6)


def test_nothing_is_told_of_a_job_that_was_killed_with_its_wrapper(job: WrappedJob) -> None:
    process, _ = job.start_and_hold()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    assert job.outcome is None
    assert "exit_status" not in job.names()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_wrapper_outlives_a_polite_end_of_all_of_the_job_and_tells_it(job: WrappedJob, number: signal.Signals) -> None:
    process, _ = job.start_and_hold()
    os.killpg(process.pid, number)
    assert process.wait(30) == 0
    assert job.outcome in (KilledBy(number), ExitedWith(128 + number))


def test_signal_to_the_wrapper_alone_does_not_disturb_the_job(job: WrappedJob) -> None:
    process, _ = job.start_and_hold(after="(exit 6)")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        process.send_signal(number)
    job.release()
    assert process.wait(30) == 0
    assert job.outcome == ExitedWith(6)


@on_linux
def test_job_starts_with_no_signal_ignored_or_blocked_whatever_its_node_did(job: WrappedJob) -> None:
    job.write_script("grep -E '^Sig(Blk|Ign)' /proc/self/status")
    numbers = {signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD, signal.SIGUSR1, signal.SIGXFSZ}

    def inherit() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

    process = job.start(preexec_fn=inherit)
    blocked, ignored = (int(line.split()[1], 16) for line in until_all_ended(process).splitlines())
    assert [number for number in numbers if (blocked | ignored) & 1 << number - 1] == []
    assert process.wait(30) == 0


@on_linux
def test_job_inherits_no_open_file_but_its_streams(job: WrappedJob) -> None:
    process = job.run("ls /proc/self/fd")
    # The fourth is the directory that ls reads.
    assert until_all_ended(process).split() == [b"0", b"1", b"2", b"3"]


def test_missing_script_is_an_exit_code_with_a_message(job: WrappedJob) -> None:
    process = job.start()
    assert process.wait(30) == 0
    assert job.outcome == ExitedWith(127)
    assert b"command.sh" in process.communicate()[1]


def test_removed_job_directory_ends_the_wrapper_quietly(job: WrappedJob) -> None:
    process, _ = job.start_and_hold()
    shutil.rmtree(job.directory)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(30) == 0
    assert process.communicate() == (b"", b"")
    assert not job.directory.exists()


def test_job_directory_that_became_something_else_ends_the_wrapper_quietly(job: WrappedJob) -> None:
    process, _ = job.start_and_hold()
    shutil.rmtree(job.directory)
    job.directory.write_text("")
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(30) == 0
    assert job.directory.read_text() == ""


def test_job_directory_that_was_never_there_ends_the_wrapper_quietly(job: WrappedJob, tmp_path: Path) -> None:
    done = subprocess.run([*WRAPPER, str(tmp_path / "none"), "token"], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def identity_of(claim: Claim) -> Identity:
    return Identity(claim.pid, claim.start, claim.boot)


# -- the claim ----------------------------------------------------------------------------------------------------------


def test_claim_names_the_living_wrapper(job: WrappedJob) -> None:
    process, _ = job.start_and_hold()
    claim = job.claim
    assert claim is not None
    assert (claim.pid, claim.token) == (process.pid, "token")
    assert identity_of(claim).is_alive
    job.release()
    process.wait(30)
    assert not identity_of(claim).is_alive
    assert job.claim == claim, "the claim stays, so that nobody runs the job again"


@on_linux
def test_another_process_with_the_pid_is_not_taken_for_the_wrapper(job: WrappedJob) -> None:
    job.start_and_hold()
    claim = job.claim
    assert claim is not None
    assert not identity_of(replace(claim, start=claim.start + 1)).is_alive
    assert not identity_of(replace(claim, boot="another boot")).is_alive
    assert identity_of(replace(claim, boot="")).is_alive


@on_linux
def test_a_zombie_is_not_alive(job: WrappedJob) -> None:
    process, _ = job.start_and_hold()
    claim = job.claim
    assert claim is not None
    job.release()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not identity_of(claim).is_alive


def test_token_cannot_forge_a_claim(job: WrappedJob) -> None:
    job.write_script("true")
    assert job.start('x", "pid": 1, "y": "\n\\\N{SNOWMAN}').wait(30) == 0
    claim = job.claim
    assert claim is not None
    assert claim.pid == job.started[0].pid


def test_second_wrapper_ends_without_running_anything(job: WrappedJob) -> None:
    job.run("echo run >> ../runs")
    second = job.start()
    assert second.wait(30) == wrapper.CLAIMED_BY_ANOTHER
    assert (job.directory / "runs").read_text() == "run\n"
    assert job.claim is not None
    assert job.claim.pid == job.started[0].pid
    assert not [name for name in job.names() if name.startswith(".pulsar-")]


def test_of_many_wrappers_one_runs_the_job(job: WrappedJob) -> None:
    job.write_script("echo run >> ../runs")
    statuses = sorted(process.wait(60) for process in [job.start(str(number)) for number in range(12)])
    assert statuses == [0] + [wrapper.CLAIMED_BY_ANOTHER] * 11
    assert (job.directory / "runs").read_text() == "run\n"


def test_sealed_job_cannot_be_claimed(job: WrappedJob) -> None:
    job.write_script("echo run >> ../runs")
    assert seal(str(job.directory))
    assert seal(str(job.directory)), "sealing is repeatable"
    assert job.start().wait(30) == wrapper.CLAIMED_BY_ANOTHER
    assert job.claim is None
    assert job.outcome is None
    assert "runs" not in job.names()


def test_claimed_job_cannot_be_sealed(job: WrappedJob) -> None:
    job.run("true")
    claim = job.claim
    assert not seal(str(job.directory))
    assert job.claim == claim


def test_directory_that_is_gone_counts_as_sealed(tmp_path: Path) -> None:
    assert seal(str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_sealing_that_failed_is_not_taken_for_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(os, "symlink", fail)
    monkeypatch.setattr(Path, "symlink_to", fail)
    with pytest.raises(CannotAsk, match="cannot seal"):
        seal(str(tmp_path))


# -- a machine in trouble -----------------------------------------------------------------------------------------------


def run_with_trouble(job: WrappedJob, trouble: str) -> subprocess.CompletedProcess[str]:
    """Run a wrapper whose ``os`` was tampered with by the statements ``trouble``."""
    program = textwrap.dedent("""
        import errno, importlib.util, os, sys
        spec = importlib.util.spec_from_file_location("wrapper", sys.argv[1])
        wrapper = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(wrapper)
        wrapper.time.sleep = lambda seconds: print(f"slept {seconds}")
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    """)
    program += textwrap.dedent(trouble) + "\nstatus = wrapper.main(sys.argv[2:])\nprint('status', status)\n"
    return subprocess.run(
        [sys.executable, "-I", "-c", program, WRAPPER[-1], str(job.directory), "token"],
        cwd=job.directory / "working",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=60,
    )


NO_ROOM_FOR_NEW_FILES = """
    import os
    left = {tries}
    real_open = os.open
    def no_room(path, flags, mode=0o777, **rest):
        global left
        if flags & os.O_CREAT and left != 0 and {when}:
            left -= 1
            raise full
        return real_open(path, flags, mode, **rest)
    os.open = no_room
"""


def test_a_disk_that_the_job_has_filled_does_not_hide_its_end(job: WrappedJob) -> None:
    (job.directory / "command.sh").write_text("exit 5\n")
    trouble = NO_ROOM_FOR_NEW_FILES.format(tries=-1, when="'return_code' in path")
    done = run_with_trouble(job, trouble)
    assert done.stdout == "status 0\n"
    assert "cannot write return_code" in done.stderr
    assert job.outcome == ExitedWith(5)
    assert json.loads((job.directory / "exit_status").read_text()) == {"code": 5}


def test_outcome_is_written_as_soon_as_there_is_room(job: WrappedJob) -> None:
    (job.directory / "command.sh").write_text("kill -KILL $$\n")
    done = run_with_trouble(job, NO_ROOM_FOR_NEW_FILES.format(tries=4, when="'exit_status' in path"))
    # The first refusal was to the reservation, which nobody waits for.
    assert done.stdout.splitlines() == ["slept 0.05", "slept 0.1", "slept 0.2", "status 0"]
    assert job.outcome == KilledBy(signal.SIGKILL)


def test_outcome_that_cannot_be_written_is_not_kept_quiet(job: WrappedJob) -> None:
    (job.directory / "command.sh").write_text("kill -KILL $$\n")
    impatient = "    wrapper._PATIENCE_S = -1\n"
    done = run_with_trouble(job, NO_ROOM_FOR_NEW_FILES.format(tries=-1, when="'exit_status' in path") + impatient)
    assert done.stdout == f"status {wrapper.CANNOT_WRITE}\n"
    assert '{"signal": 9}' in done.stderr


def test_job_that_cannot_be_claimed_for_want_of_room_waits_for_it(job: WrappedJob) -> None:
    job.write_script("true")
    done = run_with_trouble(job, NO_ROOM_FOR_NEW_FILES.format(tries=2, when="'pid' in path"))
    assert done.stdout.splitlines() == ["slept 0.05", "slept 0.1", "status 0"]
    assert job.outcome == ExitedWith(0)


def test_job_is_claimed_where_there_are_no_hard_links(job: WrappedJob) -> None:
    job.write_script("echo run >> ../runs")
    no_links = "def link(*_): raise PermissionError(errno.EPERM, 'no links here')\nos.link = link"
    assert run_with_trouble(job, no_links).stdout == "status 0\n"
    assert job.claim is not None
    assert run_with_trouble(job, no_links).stdout == f"status {wrapper.CLAIMED_BY_ANOTHER}\n"
    assert (job.directory / "runs").read_text() == "run\n"


def test_job_that_cannot_be_claimed_does_not_run(job: WrappedJob) -> None:
    job.write_script("echo run >> ../runs")
    done = run_with_trouble(job, "def link(*_): raise PermissionError(errno.EACCES, 'not here')\nos.link = link")
    assert done.stdout == f"status {wrapper.CANNOT_WRITE}\n"
    assert "cannot claim the job" in done.stderr
    assert "runs" not in job.names()


def test_room_that_the_job_has_taken_away_is_made_again(job: WrappedJob) -> None:
    job.run("rm -f ../.pulsar-upload-*; kill -KILL $$")
    assert job.outcome == KilledBy(signal.SIGKILL)


def test_script_that_could_not_be_started_is_told_with_the_reason(job: WrappedJob) -> None:
    trouble = "def refuse(*_, **__): raise OSError(errno.EAGAIN, 'no more \"processes\"')\nos.posix_spawn = refuse"
    assert run_with_trouble(job, trouble).stdout == "status 0\n"
    outcome = job.outcome
    assert isinstance(outcome, NotStarted)
    assert "no more ?processes?" in outcome.detail


def test_bash_is_found_where_it_is_not_in_bin(job: WrappedJob) -> None:
    job.write_script("(exit 4)")
    trouble = "def missing(*_, **__): raise FileNotFoundError(errno.ENOENT, 'no /bin/bash')\nos.posix_spawn = missing"
    assert run_with_trouble(job, trouble).stdout == "status 0\n"
    assert job.outcome == ExitedWith(4)


# -- reading what may be anything ---------------------------------------------------------------------------------------


def put_text(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: None,
    "empty": put_text(b""),
    "blank": put_text(b" \n"),
    "words": put_text(b"done\n"),
    "bytes": put_text(b"\xff\xfe\0\n"),
    "half": put_text(b'{"code": '),
    "huge": put_text(b"0" * 10_000_000),
    "huge number": put_text(b"0" + b" " * 10_000),
    "huge object": put_text(b'{"code": 0, "x": "' + b"x" * 10_000 + b'"}'),
    "deep": put_text(b"[" * 4000),
    "list": put_text(b"[0]"),
    "other object": put_text(b'{"a": 1}'),
    "wrong types": put_text(b'{"code": "0", "signal": 1.5, "error": 7, "pid": "1", "start": null, "boot": 0, "token": []}'),
    "no signal": put_text(b'{"signal": 0}'),
    "many digits": put_text(b"1" * 30),
    "two numbers": put_text(b"0\n1\n"),
    "no ascii": put_text("\N{ARABIC-INDIC DIGIT ONE}".encode()),
    "directory": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "link to a good file": lambda path: path.symlink_to(path.parent / "good"),
    "link to itself": lambda path: path.symlink_to(path),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("name", ["return_code", "exit_status", "pid"])
def test_what_is_not_a_file_of_ours_is_read_as_nothing(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "good").write_text('{"code": 0, "pid": 1, "start": 1, "boot": "", "token": ""}')
    UNREADABLE[kind](tmp_path / name)
    assert read_outcome(str(tmp_path)) is None
    assert read_claim(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("content", "code"), [(b"0\n", 0), (b"137\n", 137), (b"3", 3), (b" 3 \n", 3), (b"-1\n", -1), (b"4294967295\n", 4294967295)]
)
def test_exit_codes_as_various_writers_write_them(tmp_path: Path, content: bytes, code: int) -> None:
    (tmp_path / "return_code").write_bytes(content)
    assert read_outcome(str(tmp_path)) == ExitedWith(code)


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        ('{"code": 3}', ExitedWith(3)),
        ('{"signal": 9}', KilledBy(9)),
        ('{"error": "no"}', NotStarted("no")),
        ('{"code": 3}' + " " * 200, ExitedWith(3)),
    ],
)
def test_exit_status_counts_when_there_is_no_exit_code(tmp_path: Path, content: str, outcome: Outcome) -> None:
    (tmp_path / "exit_status").write_text(content)
    assert read_outcome(str(tmp_path)) == outcome
    (tmp_path / "return_code").write_text("garbage")
    assert read_outcome(str(tmp_path)) == outcome
    (tmp_path / "return_code").write_text("8\n")
    assert read_outcome(str(tmp_path)) == ExitedWith(8)


def test_a_file_that_cannot_be_opened_for_want_of_means_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    (tmp_path / "return_code").write_text("0\n")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CannotAsk, match="Too many open files"):
        read_outcome(str(tmp_path))
    with pytest.raises(CannotAsk, match="Too many open files"):
        read_claim(str(tmp_path))


# -- cost ---------------------------------------------------------------------------------------------------------------


def test_wrapper_imports_next_to_nothing(job: WrappedJob) -> None:
    job.write_script("true")
    done = subprocess.run(
        [*WRAPPER[:-1], "-X", "importtime", WRAPPER[-1], str(job.directory), "token"],
        cwd=job.directory / "working",
        capture_output=True,
        text=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "posix" in imported
    heavy = {"__future__", "contextlib", "enum", "json", "re", "signal", "site", "subprocess", "threading", "typing"}
    assert imported & heavy == set()
    assert not [name for name in imported if name.startswith("pulsar")]
