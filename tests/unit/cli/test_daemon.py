"""Pid files: the lock is the truth. Real processes, because locks, forks and signals are what is tested."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pulsar.cli.daemon import PidFile, stop_daemon
from pulsar.errors import ConfigError

DAEMON = """
import signal, sys, threading
from pathlib import Path
from pulsar.cli.daemon import PidFile, become_daemon
ready = become_daemon(PidFile(Path(sys.argv[1])), Path(sys.argv[2]))
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
print("the daemon speaks", flush=True)
{before}
ready()
stop.wait()
{after}
"""


def start(tmp_path: Path, before: str = "", after: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", DAEMON.format(before=before, after=after), str(tmp_path / "pid"), str(tmp_path / "log")],
        capture_output=True,
        text=True,
        timeout=30,
    )


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_daemon_is_started_and_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(tmp_path).returncode == 0
    pid = int((tmp_path / "pid").read_text())
    assert is_alive(pid)
    assert os.getsid(pid) not in (os.getsid(0), pid), "it is in a session of its own that it does not lead"
    assert (tmp_path / "log").read_text() == "the daemon speaks\n"
    assert stop_daemon(tmp_path / "pid") == 0
    assert not is_alive(pid)
    assert not (tmp_path / "pid").exists()
    assert f"the daemon {pid} has ended" in capsys.readouterr().out


def test_stopping_waits_for_the_end(tmp_path: Path) -> None:
    assert start(tmp_path, after="import time; time.sleep(0.5)").returncode == 0
    before = time.monotonic()
    assert stop_daemon(tmp_path / "pid") == 0
    assert time.monotonic() - before >= 0.5


def test_a_daemon_that_does_not_end_in_time_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(tmp_path, after="stop.clear(); stop.wait()").returncode == 0
    pid = int((tmp_path / "pid").read_text())
    try:
        assert stop_daemon(tmp_path / "pid", patience_s=0.2) == 1
        assert "has not ended within 0.2 seconds" in capsys.readouterr().err
        assert (tmp_path / "pid").exists()
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    assert start(tmp_path).returncode == 0
    pid = int((tmp_path / "pid").read_text())
    second = start(tmp_path)
    assert second.returncode == 1
    assert f"a daemon runs already (pid {pid}" in second.stderr
    assert int((tmp_path / "pid").read_text()) == pid
    assert stop_daemon(tmp_path / "pid") == 0


def test_a_daemon_that_dies_before_it_is_ready_is_reported_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("an old line\n")
    done = start(tmp_path, before="raise SystemExit('no port')")
    assert done.returncode == 1
    assert "no port" in done.stderr
    assert "an old line" not in done.stderr
    assert f"the daemon did not start; see {tmp_path}/log" in done.stderr


def test_without_a_pid_file_there_is_nothing_to_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stop_daemon(tmp_path / "pid") == 1
    assert "no daemon to stop" in capsys.readouterr().err


def test_a_stale_pid_file_is_removed_and_its_number_not_signalled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The daemon was killed, and its number belongs to somebody else by now."""
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        (tmp_path / "pid").write_text(f"{bystander.pid}\n")
        assert stop_daemon(tmp_path / "pid") == 0
        assert "was stale" in capsys.readouterr().out
        assert not (tmp_path / "pid").exists()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_new_daemon_takes_over_the_pid_file_of_a_killed_one(tmp_path: Path) -> None:
    assert start(tmp_path).returncode == 0
    first = int((tmp_path / "pid").read_text())
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_alive(first) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert start(tmp_path).returncode == 0
    assert int((tmp_path / "pid").read_text()) != first
    assert stop_daemon(tmp_path / "pid") == 0


def test_a_lock_held_by_another_process_than_the_number_says_is_not_signalled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    holder = PidFile(tmp_path / "pid")
    holder.claim()
    try:
        (tmp_path / "pid").write_text(f"{bystander.pid}\n")
        assert stop_daemon(tmp_path / "pid", patience_s=0.1) == 1
        assert "not by its process" in capsys.readouterr().err
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
        holder.remove()


def test_the_lock_is_kept_by_what_the_daemon_executes(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom pulsar.cli.daemon import PidFile, become_daemon\n"
        "become_daemon(PidFile(Path(sys.argv[1])), Path(sys.argv[2]))()\nos.execvp('sleep', ['sleep', '60'])\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "pid"), str(tmp_path / "log")], check=True, timeout=30)
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ConfigError, match="runs already"):
        PidFile(tmp_path / "pid").claim()
    assert stop_daemon(tmp_path / "pid") == 0
    assert not is_alive(pid)


def test_a_pid_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere/pid cannot be written.*--pid"):
        PidFile(tmp_path / "nowhere" / "pid").claim()
