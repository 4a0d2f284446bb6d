"""The section [server:main] of server.ini."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulsar.config.server import ServerSettings, load_server_settings
from pulsar.errors import ConfigError


def load(tmp_path: Path, text: str) -> ServerSettings:
    path = tmp_path / "server.ini"
    path.write_text(text)
    return load_server_settings(path)


def test_without_a_file_the_node_is_at_its_usual_place() -> None:
    assert load_server_settings(None) == ServerSettings("localhost", 8913)
    assert load_server_settings(None).address == "localhost:8913"


def test_host_port_and_server_are_read(tmp_path: Path) -> None:
    settings = load(
        tmp_path, "[server:main]\nuse = egg:waitress#main\nhost = ::1\nport = 80\nthreads = 4\n[loggers]\nkeys = root\n"
    )
    assert (settings.host, settings.port, settings.use, settings.has_logging) == ("::1", 80, "egg:waitress#main", True)
    assert settings.options == {"threads": "4"}
    assert settings.address == "[::1]:80"


def test_a_certificate_that_exists_gives_tls(tmp_path: Path) -> None:
    (tmp_path / "host.pem").write_text("pem")
    assert load(tmp_path, "[server:main]\nssl_pem = host.pem\n").ssl_pem == str(tmp_path / "host.pem")


def test_a_certificate_that_does_not_exist_is_ignored_aloud(tmp_path: Path) -> None:
    settings = load(tmp_path, "[server:main]\nssl_pem = absent.pem\n")
    assert settings.ssl_pem is None
    assert "absent.pem, which does not exist: this node speaks HTTP without TLS" in settings.warnings[0]


@pytest.mark.parametrize("port", ["x", "70000", "-1"])
def test_a_port_that_cannot_be_is_named(tmp_path: Path, port: str) -> None:
    with pytest.raises(ConfigError, match=r"\[server:main\] port must be a number from 0 to 65535"):
        load(tmp_path, f"[server:main]\nport = {port}\n")
