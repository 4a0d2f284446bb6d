"""What ``server.ini`` says about the web server: ``[server:main]`` (specification 10.1). Without the file: ``localhost:8913``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from pulsar.config.files import read_ini
from pulsar.config.reader import resolved_path
from pulsar.errors import ConfigError

__all__ = ["DEFAULT_HOST", "DEFAULT_PORT", "ServerSettings", "load_server_settings"]

DEFAULT_HOST = "localhost"
DEFAULT_PORT = 8913
_SECTION = "server:main"
_MAX_PORT = 65535


def _no_options() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True)
class ServerSettings:
    """Where and by which server the node answers."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    #: A PEM file with certificate and key that exists, or None for plain HTTP.
    ssl_pem: str | None = None
    #: The server that the section names for PasteDeploy (``egg:...``), or None for the default server.
    use: str | None = None
    #: The other keys of the section.
    options: Mapping[str, str] = field(default_factory=_no_options)
    #: Whether the ini configures Python's logging.
    has_logging: bool = False
    #: Sentences for the log of the start-up.
    warnings: tuple[str, ...] = ()

    @property
    def names_another_server(self) -> bool:
        """Whether the section names a server for PasteDeploy, and not one that the node sets up itself."""
        factories = ("paste.server_factory", "paste.server_runner")
        own = ("egg:gunicorn", "egg:pulsar-node", "egg:pulsar_node")
        return bool(self.use and not self.use.startswith(own)) or any(name in self.options for name in factories)

    @property
    def names_gunicorn(self) -> bool:
        """Whether the section names gunicorn."""
        return bool(self.use and self.use.startswith("egg:gunicorn"))

    @property
    def address(self) -> str:
        """``host:port``, an IPv6 host in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def load_server_settings(ini_path: str | os.PathLike[str] | None) -> ServerSettings:
    """Return what the ini says; the defaults when there is none. :class:`ConfigError` names a key that cannot be."""
    if ini_path is None:
        return ServerSettings()
    ini = read_ini(Path(ini_path))
    keys = ini.section(_SECTION)
    warnings: list[str] = []
    return ServerSettings(
        host=keys.pop("host", "").strip() or DEFAULT_HOST,
        port=_port(keys.pop("port", ""), ini.path),
        ssl_pem=_ssl_pem(keys.pop("ssl_pem", ""), ini.path, warnings),
        use=keys.pop("use", "").strip() or None,
        options=MappingProxyType(keys),
        has_logging="loggers" in ini,
        warnings=tuple(warnings),
    )


def _port(text: str, path: Path) -> int:
    if not text.strip():
        return DEFAULT_PORT
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= _MAX_PORT:
        raise ConfigError(
            f"{path}: [{_SECTION}] port must be a number from 0 to {_MAX_PORT}, not {text!r}; for example: {DEFAULT_PORT}"
        )
    return port


def _ssl_pem(text: str, path: Path, warnings: list[str]) -> str | None:
    """Return the path of the certificate. One that does not exist is ignored, aloud: the node then speaks plain HTTP."""
    if not text.strip():
        return None
    pem = resolved_path(text, path.absolute().parent)
    if Path(pem).is_file():
        return pem
    warnings.append(f"{path}: ssl_pem names {pem}, which does not exist: this node speaks HTTP without TLS until it does")
    return None
