"""What pulsar-config writes is read again as what was asked for, whatever characters are in it."""

from __future__ import annotations

import configparser
import shlex
import subprocess
from pathlib import Path

import pytest

from pulsar.cli.config_files import Plan, app_yml, local_env, server_ini, supervisor_conf, systemd_unit
from pulsar.config import load_config
from pulsar.config.server import load_server_settings

AWKWARD = ["foo", "0123", "yes", "a: b # c", "100%", "%(here)s", "'\"\\", "ü😀", "*x", "{a}", " space ", "!x"]


@pytest.mark.parametrize("token", AWKWARD)
def test_a_token_is_read_as_it_was_given(tmp_path: Path, token: str) -> None:
    (tmp_path / "app.yml").write_text(app_yml(Plan(tmp_path, private_token=token)), encoding="utf-8")
    config = load_config(tmp_path, environ={})
    assert config.private_token == token
    assert config.warnings == ()


def test_app_yml_without_anything_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "app.yml").write_text(app_yml(Plan(tmp_path)))
    config = load_config(tmp_path, environ={})
    assert config.private_token is None
    assert config.managers[0].type == "queued_python"


def test_app_yml_of_a_cluster_with_conda_and_a_queue(tmp_path: Path) -> None:
    plan = Plan(tmp_path, private_token="x", libdrmaa_path="/l.so", auto_conda=True, message_queue=True)
    (tmp_path / "app.yml").write_text(app_yml(plan))
    config = load_config(tmp_path, environ={})
    assert config.managers[0].type == "queued_drmaa"
    assert config.options["conda_auto_init"] is True
    assert config.options["conda_auto_install"] is True
    assert config.options["message_queue_url"] == "amqp://guest:guest@localhost:5672//"


@pytest.mark.parametrize("host", ["localhost", "::1", "0.0.0.0"])
def test_server_ini_serves_where_it_was_asked_to(tmp_path: Path, host: str) -> None:
    path = tmp_path / "server.ini"
    path.write_text(server_ini(Plan(tmp_path, host=host, port=81)))
    settings = load_server_settings(path)
    assert (settings.host, settings.port, settings.has_logging) == (host, 81, True)
    (tmp_path / "app.yml").write_text("private_token: x\n")
    config = load_config(tmp_path, environ={})
    assert config.app_path == str(tmp_path / "app.yml")
    assert config.warnings == ()


def test_the_section_of_uwsgi_is_the_classic_one(tmp_path: Path) -> None:
    parser = configparser.RawConfigParser()
    parser.read_string(server_ini(Plan(tmp_path)))
    assert dict(parser["uwsgi"]) == {
        "master": "True",
        "paste-logger": "True",
        "http": "localhost:8913",
        "processes": "1",
        "enable-threads": "True",
        "buffer-size": "16384",
    }


def test_without_logging_uwsgi_is_not_told_to_look_for_it(tmp_path: Path) -> None:
    parser = configparser.RawConfigParser()
    parser.read_string(server_ini(Plan(tmp_path, logging=False)))
    assert "paste-logger" not in parser["uwsgi"]
    assert "loggers" not in parser


@pytest.mark.parametrize("library", ["/usr/lib/libdrmaa.so", "/a b/$x`y`'z.so"])
def test_local_env_exports_the_library_as_given(tmp_path: Path, library: str) -> None:
    script = tmp_path / "local_env.sh"
    script.write_text(local_env(Plan(tmp_path, libdrmaa_path=library)))
    done = subprocess.run(["sh", "-c", '. "$1"; printf %s "$DRMAA_LIBRARY_PATH"', "-", script], capture_output=True, text=True)
    assert done.stdout == library


def test_the_supervisor_ends_the_node_and_not_its_jobs(tmp_path: Path) -> None:
    directory = tmp_path / "100% of it"
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    parser.read_string(supervisor_conf(Plan(directory, command=("/v e/pulsar",), mode="uwsgi", user="lab")))
    program = parser["program:pulsar"]
    assert (program["stopasgroup"], program["killasgroup"], program["user"]) == ("false", "false", "lab")
    words = shlex.split(program["command"] % {})
    assert words == ["/v e/pulsar", "--mode", "uwsgi", "--config", str(directory)]


@pytest.mark.parametrize("of_user", [True, False])
def test_a_unit_of_systemd_ends_the_node_and_not_its_jobs(tmp_path: Path, of_user: bool) -> None:
    unit = systemd_unit(Plan(tmp_path / "a b", command=("/v/pulsar",), user="lab"), of_user=of_user)
    assert "\nKillMode=process\n" in unit
    assert "\nRestart=on-failure\n" in unit
    assert f'ExecStart="/v/pulsar" "--mode" "default" "--config" "{tmp_path}/a b"\n' in unit
    assert ("\nUser=lab\n" in unit) is not of_user
    assert ("enable-linger lab" in unit) is of_user
    assert f"WantedBy={'default' if of_user else 'multi-user'}.target" in unit
