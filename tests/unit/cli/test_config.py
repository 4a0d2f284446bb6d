"""pulsar-config: its flags, its files, and that it writes all of them or none."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pulsar.cli import config as command
from pulsar.config import load_config


def run(directory: Path, *words: str) -> int:
    return command.main(["--directory", str(directory), *words])


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_files_of_a_plain_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 0
    assert names(tmp_path) == ["app.yml", "dependencies", "local_env.sh", "server.ini"]
    assert "whoever reaches the port can run commands" in capsys.readouterr().out


def test_a_file_with_the_token_is_for_its_owner_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--private_token", "hunter2") == 0
    assert mode(tmp_path / "app.yml") == 0o600
    assert load_config(tmp_path, environ={}).private_token == "hunter2"
    assert "hunter2" not in "".join(capsys.readouterr())
    for name in ("server.ini", "local_env.sh"):
        assert "hunter2" not in (tmp_path / name).read_text()


def test_every_file_there_is(tmp_path: Path) -> None:
    assert run(tmp_path / "new" / "node", "--supervisor", "--systemd") == 0
    assert names(tmp_path / "new" / "node") == [
        "app.yml",
        "dependencies",
        "local_env.sh",
        "pulsar.service",
        "pulsar.user.service",
        "server.ini",
        "supervisor.conf",
    ]


def test_a_node_of_a_message_queue_has_no_server(tmp_path: Path) -> None:
    assert run(tmp_path, "--mq", "--supervisor") == 0
    assert names(tmp_path) == ["app.yml", "dependencies", "local_env.sh", "supervisor.conf"]
    assert "--mode webless" in (tmp_path / "supervisor.conf").read_text()
    assert mode(tmp_path / "app.yml") == 0o600


@pytest.mark.parametrize("existing", ["app.yml", "server.ini", "local_env.sh", "supervisor.conf"])
def test_nothing_is_written_when_one_file_exists(tmp_path: Path, existing: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / existing).write_text("mine")
    assert run(tmp_path, "--supervisor") == 1
    assert names(tmp_path) == [existing]
    assert (tmp_path / existing).read_text() == "mine"
    assert f"{existing} exists in {tmp_path}, so nothing was written; replace with --force" in capsys.readouterr().err


def test_force_replaces(tmp_path: Path) -> None:
    (tmp_path / "app.yml").write_text("mine")
    assert run(tmp_path, "--private_token", "x", "--force") == 0
    assert load_config(tmp_path, environ={}).private_token == "x"
    assert mode(tmp_path / "app.yml") == 0o600


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run(tmp_path / "file" / "node") == 1
    assert "cannot be written" in capsys.readouterr().err


def test_nothing_is_left_when_one_file_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = command._write_beside

    def failing(path: Path, file: Any) -> None:
        if file.name == "local_env.sh":
            raise OSError(28, "No space left on device", str(path))
        written(path, file)

    monkeypatch.setattr(command, "_write_beside", failing)
    assert run(tmp_path) == 1
    assert names(tmp_path) == ["dependencies"]


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("default", "--mode default"),
        ("gunicorn", "--mode gunicorn"),
        ("uwsgi", "--mode uwsgi"),
        ("paste", "--mode paste"),
        ("paster", "--mode paste"),
    ],
)
def test_the_web_server_of_the_supervisor(tmp_path: Path, flag: str, expected: str) -> None:
    assert run(tmp_path, "--supervisor", "--wsgi_server", flag) == 0
    assert expected in (tmp_path / "supervisor.conf").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("--login", "--relay-url", "https://relay"),
        ("--login-only", "--relay-url", "https://relay"),
        ("--relay-url", "https://relay", "--mq"),
        ("--register-with-galaxy", "https://galaxy", "--galaxy-token", "hunter2"),
    ],
)
def test_what_this_node_cannot_do_yet_ends_with_one_line(
    tmp_path: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, *words) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "does not talk to yet" in err
    assert "hunter2" not in err
    assert names(tmp_path) == []


@pytest.mark.parametrize("words", [("--port", "0"), ("--port", "65536"), ("--private_token", "a\nb: c"), ("--host", "a\nb")])
def test_a_value_that_cannot_be_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert run(tmp_path, *words) == 1
    assert names(tmp_path) == []


def test_install_brings_what_the_set_up_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def fake_run(words: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        calls.append(words)
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(command.subprocess, "run", fake_run)
    assert run(tmp_path, "--supervisor", "--wsgi_server", "uwsgi", "--libdrmaa_path", "/l.so", "--install") == 0
    ((*start, _drmaa, _supervisor, _uwsgi),) = calls
    assert start[1:] == ["-m", "pip", "install"]
    assert (_drmaa, _supervisor, _uwsgi) == ("drmaa", "supervisor>=4.2", "uWSGI>=2.0.22")


def test_nothing_is_written_when_the_installation_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.subprocess, "run", lambda words, **_: subprocess.CompletedProcess(words, 1))
    assert run(tmp_path, "--wsgi_server", "uwsgi", "--install") == 1
    assert names(tmp_path) == []


def test_both_spellings_of_a_flag_are_understood(tmp_path: Path) -> None:
    assert run(tmp_path, "--private-token", "a", "--wsgi-server", "uwsgi", "--no-logging", "--auto-conda") == 0
    assert "[loggers]" not in (tmp_path / "server.ini").read_text()
    assert "conda_auto_init: true" in (tmp_path / "app.yml").read_text()
