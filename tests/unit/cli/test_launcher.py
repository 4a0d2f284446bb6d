"""The launcher: what it executes, for each mode and environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pulsar import __version__
from pulsar.cli import launcher


class Executed(Exception):
    """Stands for the end of this program, which has become another."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self.command = list(command)
        self.environ = dict(environ)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODE", "PULSAR_CONFIG_DIR", "PULSAR_CONFIG_FILE", "PULSAR_LOCAL_ENV", "PULSAR_VIRTUALENV"):
        monkeypatch.delenv(name, raising=False)

    def execute(command: Sequence[str], environ: Mapping[str, str]) -> int:
        raise Executed(command, environ)

    monkeypatch.setattr(launcher, "_execute", execute)


def launched(*words: str) -> Executed:
    with pytest.raises(Executed) as caught:
        launcher.main(list(words))
    return caught.value


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert launcher.main(list(words)) == 1
    return capsys.readouterr().err


def test_without_words_the_default_server_is_started_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = launched()
    assert done.command == [sys.executable, "-m", "pulsar.cli.serve", "--config_dir", str(tmp_path), "--server", "default"]
    assert done.environ["PULSAR_CONFIG_DIR"] == str(tmp_path)


@pytest.mark.parametrize(
    ("mode", "module", "server"),
    [
        ("default", "pulsar.cli.serve", "default"),
        ("gunicorn", "pulsar.cli.serve", "gunicorn"),
        ("paste", "pulsar.cli.serve", "paste"),
        ("paster", "pulsar.cli.serve", "paste"),
        ("webless", "pulsar.main", None),
    ],
)
def test_a_mode_names_the_server(tmp_path: Path, mode: str, module: str, server: str | None) -> None:
    (tmp_path / "server.ini").write_text("")
    command = launched("-m", mode, "-c", str(tmp_path), "--other", "word").command
    assert command[2] == module
    assert str(tmp_path / "server.ini") in command
    assert command[-2:] == ["--other", "word"]
    if server is not None:
        assert command[command.index("--server") + 1] == server


def test_mode_comes_from_the_environment_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODE", "webless")
    assert "pulsar.main" in launched("-c", str(tmp_path)).command
    assert "pulsar.cli.serve" in launched("-c", str(tmp_path), "--mode", "default").command


@pytest.mark.parametrize("mode", ["circusd", "chaussette", "nonsense"])
def test_another_mode_ends_with_the_choices(tmp_path: Path, mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "-c", str(tmp_path), "-m", mode)
    assert mode in message
    assert "choose one of default, gunicorn, paste, uwsgi, webless" in message
    assert message.count("\n") == 1


def test_uwsgi_gets_the_ini_and_ends_on_term(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uwsgi").write_text("#!/bin/sh\n")
    (tmp_path / "uwsgi").chmod(0o755)
    (tmp_path / "server.ini").write_text("")
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    monkeypatch.setattr(launcher.sys, "prefix", sys.base_prefix)
    done = launched("--mode", "uwsgi", "-c", str(tmp_path), "--processes", "4")
    assert done.command == [
        str(tmp_path / "uwsgi"),
        "--ini-paste",
        str(tmp_path / "server.ini"),
        "--die-on-term",
        "--need-app",
        "--buffer-size",
        "65535",
        "--logformat",
        launcher._UWSGI_LOG_FORMAT,
        "--py-sys-executable",
        sys.executable,
        "--processes",
        "4",
    ]


def test_uwsgi_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launcher.shutil, "which", lambda *_, **__: None)
    assert "pip install uWSGI" in refused(capsys, "--mode", "uwsgi", "-c", str(tmp_path))


def test_uwsgi_needs_an_ini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(launcher.shutil, "which", lambda *_, **__: "/bin/uwsgi")
    assert "pulsar-config --wsgi_server uwsgi" in refused(capsys, "--mode", "uwsgi", "-c", str(tmp_path))


def test_the_words_of_a_daemon_reach_the_server(tmp_path: Path) -> None:
    words = ("--daemon", "--pid", "p", "--log-file", "l")
    for mode in ("default", "webless"):
        assert launched("-c", str(tmp_path), "-m", mode, *words).command[-5:] == list(words)
        assert launched("-c", str(tmp_path), "-m", mode, "--stop-daemon").command[-1] == "--stop-daemon"


def test_local_env_is_read_before_the_server_starts(tmp_path: Path) -> None:
    (tmp_path / "local_env.sh").write_text('echo noise\nexport A="x\ny" MODE=webless\nunset HOME\nB=not exported\nfalse\n')
    done = launched("-c", str(tmp_path))
    assert done.environ["A"] == "x\ny"
    assert "B" not in done.environ
    assert "HOME" not in done.environ
    assert "pulsar.main" in done.command


def test_another_local_env_may_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.sh").write_text("export A=other\n")
    (tmp_path / "local_env.sh").write_text("export A=usual\n")
    monkeypatch.setenv("PULSAR_LOCAL_ENV", str(tmp_path / "other.sh"))
    assert launched("-c", str(tmp_path)).environ["A"] == "other"
    monkeypatch.setenv("PULSAR_LOCAL_ENV", str(tmp_path / "absent.sh"))
    assert "absent.sh, which does not exist" in refused(capsys, "-c", str(tmp_path))


@pytest.mark.parametrize("text", ["exit 3\n", "if\n"])
def test_a_local_env_that_ends_the_shell_is_an_error(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "local_env.sh").write_text(text)
    assert "local_env.sh ends the shell" in refused(capsys, "-c", str(tmp_path))


def test_another_ini_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.ini").write_text("")
    monkeypatch.setenv("PULSAR_CONFIG_FILE", "other.ini")
    assert str(tmp_path / "other.ini") in launched("-c", str(tmp_path)).command
    monkeypatch.setenv("PULSAR_CONFIG_FILE", "absent.ini")
    assert "absent.ini, which does not exist" in refused(capsys, "-c", str(tmp_path))


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{tmp_path}/absent does not exist" in refused(capsys, "-c", str(tmp_path / "absent"))


def test_the_nodes_own_virtual_environment_is_used(tmp_path: Path) -> None:
    bin_directory = tmp_path / ".venv" / "bin"
    bin_directory.mkdir(parents=True)
    for name in ("python", "pulsar-main"):
        (bin_directory / name).write_text("")
    done = launched("-c", str(tmp_path), "-m", "webless")
    assert done.command == [str(bin_directory / "python"), "-m", "pulsar.cli.launcher", "-c", str(tmp_path), "-m", "webless"]


def test_a_virtual_environment_without_pulsar_is_refused_when_named_and_passed_over_when_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    assert launched("-c", str(tmp_path)).command[0] == sys.executable
    monkeypatch.setenv("PULSAR_VIRTUALENV", str(tmp_path / ".venv"))
    assert "where pulsar is not installed" in refused(capsys, "-c", str(tmp_path))


def test_jobs_find_the_nodes_python_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher.sys, "prefix", "/venv")
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    monkeypatch.setattr(launcher, "_use_virtual_environment", lambda *_: None)
    environ = launched("-c", str(tmp_path)).environ
    assert environ["PATH"] == "/venv/bin:/bin:/usr/bin"
    assert environ["VIRTUAL_ENV"] == "/venv"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        launcher.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"pulsar-node {__version__}\n"


def test_help_names_the_modes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        launcher.main(["-h"])
    out = capsys.readouterr().out
    assert [mode for mode in launcher.MODES if mode not in out] == []
