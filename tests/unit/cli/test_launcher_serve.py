"""pulsar-serve: which server it starts, where, and with what."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import pulsar.web.server as servers
from pulsar.cli import serve
from pulsar.config.server import ServerSettings
from pulsar.errors import ConfigError
from pulsar.web.httpd.listening import listen_at


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Replace the servers; what they were given ends up here."""
    given: dict[str, Any] = {}

    def gunicorn(load: object, settings: ServerSettings, workers: int, threads: int, ready: object) -> int:
        given.update(server="gunicorn", settings=settings, workers=workers, threads=threads)
        return 0

    def built_in(load: object, settings: ServerSettings, threads: int, ready: object) -> int:
        given.update(server="default", settings=settings, threads=threads)
        return 0

    def paste(load: object, settings: ServerSettings, ini_path: str | None, use: str | None, ready: object) -> int:
        given.update(server="paste", settings=settings, ini=ini_path, use=use)
        return 0

    monkeypatch.setattr(servers, "serve_by_gunicorn", gunicorn)
    monkeypatch.setattr(servers, "serve_built_in", built_in)
    monkeypatch.setattr(servers, "serve_by_paste_deploy", paste)
    monkeypatch.setattr(serve, "configure_logging", lambda *_: None)
    monkeypatch.delenv("PULSAR_CONFIG_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    return given


def ini(tmp_path: Path, *lines: str) -> None:
    (tmp_path / "server.ini").write_text("[server:main]\n" + "\n".join(lines) + "\n")


def test_without_any_file_the_default_server_is_at_the_usual_place(
    started: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve.main([]) == 0
    assert started["server"] == "default"
    assert (started["settings"].host, started["settings"].port) == ("localhost", 8913)
    assert capsys.readouterr().out == "Starting Pulsar on localhost:8913\n"


def test_the_numbers_of_processes_and_threads_are_options(started: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "app.yml").write_text("web_workers: 3\nweb_threads: 5\n")
    assert serve.main([]) == 0
    assert started["threads"] == 5
    assert serve.main(["--server", "gunicorn"]) == 0
    assert (started["workers"], started["threads"]) == (3, 5)


@pytest.mark.parametrize(
    ("line", "server", "expected", "use"),
    [
        ("", "default", "default", None),
        ("", "gunicorn", "gunicorn", None),
        ("", "paste", "paste", "egg:Paste#http"),
        ("use = egg:Paste#http", "default", "paste", None),
        ("use = egg:Paste#http", "paste", "paste", None),
        ("use = egg:Paste#http", "gunicorn", "gunicorn", None),
        ("use = egg:waitress#main", "default", "paste", None),
        ("use = egg:waitress#main", "paste", "paste", "egg:Paste#http"),
        ("use = egg:gunicorn#main", "default", "gunicorn", None),
        ("use = egg:pulsar-node#main", "default", "default", None),
        ("paste.server_factory = a:b", "default", "paste", None),
    ],
)
def test_which_server_serves(
    started: dict[str, Any], tmp_path: Path, line: str, server: str, expected: str, use: str | None
) -> None:
    ini(tmp_path, line)
    assert serve.main(["--server", server]) == 0
    assert started["server"] == expected
    assert started.get("use") == use


def test_gunicorn_takes_the_place_of_a_server_that_does_not_run_here(
    started: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "has_built_in", lambda: False)
    assert serve.main([]) == 0
    assert started["server"] == "gunicorn"


def test_a_missing_gunicorn_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "gunicorn.app.base", None)
    monkeypatch.setattr(servers, "has_built_in", lambda: False)
    with pytest.raises(ConfigError, match=r"runs on Linux only, and gunicorn is not installed; .*pulsar-node\[gunicorn\]"):
        servers.serve_by_gunicorn(dict, ServerSettings(), 1, 1, lambda: None)


def test_a_directory_may_have_any_name() -> None:
    assert servers._config_uri("/a b/100%/#1/server.ini") == "config:/a%20b/100%25/%231/server.ini"


def test_a_configuration_that_cannot_be_read_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main(["absent.ini"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("pulsar-serve: ")
    assert "absent.ini does not exist" in err
    assert err.count("\n") == 1


def test_a_broken_configuration_does_not_keep_a_daemon_from_ending(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "app.yml").write_text("debug: [1]\n")
    assert serve.main(["--stop-daemon"]) == 1
    assert "no daemon to stop" in capsys.readouterr().err


@pytest.mark.parametrize(("host", "port"), [("no-such-host.invalid", 0), ("192.0.2.1", 0)])
def test_an_address_that_is_not_ours_is_named(host: str, port: int) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen at .*; correct host and port in server.ini"):
        servers._once_the_address_is_free(ServerSettings(host, port), lambda: listen_at(host, port, 1.0))
