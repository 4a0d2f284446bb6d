"""What loading a configuration gives: frozen values, complete with their defaults, that nobody needs to ask a dictionary for.

A secret is in no ``repr`` and in no :meth:`Config.describe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pulsar.config.options import find_option

__all__ = ["Config", "ManagerConfig"]


def _empty() -> Mapping[str, Any]:
    return MappingProxyType({})


_DEFAULT_MANAGER = "_default_"
HIDDEN = "(set, not shown)"


@dataclass(frozen=True)
class ManagerConfig:
    """The options of one job manager (specification 9.2), those of the app already filled in."""

    name: str = _DEFAULT_MANAGER
    type: str = "queued_python"
    staging_directory: str = ""
    #: ``galaxy`` or ``uuid``.
    assign_ids: str = "galaxy"
    #: Mode bits of created directories; None leaves it to the umask.
    job_directory_mode: int | None = None
    #: Bytes of a stream in the status document; 0 for all.
    maximum_stream_size: int = 1048576
    #: Shell expression of the jobs' temporary directory; None for ``tmp/`` in the job directory.
    tmp_dir: str | None = None
    #: What ``env_<NAME>`` exports in jobs, in the order of the file.
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    galaxy_home: str | None = None
    galaxy_virtual_env: str | None = None
    galaxy_config_file: str | None = None
    galaxy_dataset_files_path: str | None = None
    galaxy_datatypes_config_file: str | None = None
    debug: bool = False
    num_concurrent_jobs: int = 1
    min_polling_interval: float = 0.5
    cancel_grace_s: float = 10.0
    #: What only this type of manager knows, by name; options of the table are of their kind, others as they were written.
    options: Mapping[str, Any] = field(default_factory=_empty, repr=False)


@dataclass(frozen=True)
class Config:
    """The configuration of one node (specification 10.2). Paths are absolute."""

    staging_directory: str
    #: None keeps the ledger in memory.
    persistence_directory: str | None
    config_dir: str
    managers: tuple[ManagerConfig, ...]
    private_token: str | None = field(default=None, repr=False)
    healthz_public: bool = False
    file_cache_dir: str | None = None
    #: 0 for no limit.
    max_upload_bytes: int = 0
    history_days: float = 30.0
    web_workers: int = 1
    web_threads: int = 1000
    #: ``logging.config.dictConfig`` document of the administrator, or None.
    logging: Mapping[str, Any] | None = field(default=None, repr=False)
    #: Every other option of the app by name, defaults included.
    options: Mapping[str, Any] = field(default_factory=_empty, repr=False)
    #: The ``server.ini`` in use, or None.
    ini_path: str | None = None
    #: The ``app.yml`` in use, or None.
    app_path: str | None = None
    #: Sentences for the log of the start-up: unknown keys, options that this node cannot fulfil yet.
    warnings: tuple[str, ...] = ()
    #: Where each option that was set came from.
    origins: Mapping[str, str] = field(default_factory=_empty, repr=False)

    def manager(self, name: str) -> ManagerConfig:
        """Return the manager called ``name``; :class:`KeyError` when there is none."""
        for manager in self.managers:
            if manager.name == name:
                return manager
        raise KeyError(name)

    def describe(self) -> str:
        """Return the configuration for people, one option per line with where it came from, without secrets."""
        lines = [
            f"configuration directory: {self.config_dir}",
            f"files: {self.ini_path or 'no server.ini'}, {self.app_path or 'no app.yml'}",
        ]
        values = {**self.options, **{name: getattr(self, name) for name in _SHOWN}}
        for name in sorted(set(self.origins) | set(_SHOWN)):
            if name in values and name not in ("managers", "manager"):
                lines.append(f"{name}: {_shown(name, values[name])} ({self.origins.get(name, 'default')})")
        for manager in self.managers:
            lines.append(
                f"manager {manager.name}: {manager.type}, {manager.num_concurrent_jobs} at once, in {manager.staging_directory}"
            )
        return "\n".join(lines)


_SHOWN = (
    "staging_directory",
    "persistence_directory",
    "private_token",
    "healthz_public",
    "file_cache_dir",
    "max_upload_bytes",
    "history_days",
    "web_workers",
    "web_threads",
)


def _shown(name: str, value: Any) -> str:
    option = find_option(name)
    if value is None or value == ():
        return "not set"
    if option is None or option.secret or isinstance(value, Mapping):
        return HIDDEN
    return str(value)
