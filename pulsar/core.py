"""PulsarApp: the only place where the concrete parts of a node meet."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pulsar import __version__
from pulsar.config.load import config_from
from pulsar.config.model import Config, ManagerConfig
from pulsar.errors import ConfigError, PulsarError
from pulsar.jobs.engine import Engine
from pulsar.jobs.job import JobKey
from pulsar.jobs.ports import Manager, ManagerProfile, Store
from pulsar.jobs.service import JobService
from pulsar.managers.launch import LaunchSettings
from pulsar.managers.registry import MANAGER_TYPES, build_manager
from pulsar.protocol import WIRE_VERSION
from pulsar.staging.client_only import ClientOnlyStager
from pulsar.store.engine_lock import EngineLock, WakeListener, send_wake_up
from pulsar.store.files import DiskJobFiles
from pulsar.store.memory import MemoryStore
from pulsar.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from pulsar.store.cache import UploadCache

__all__ = ["PulsarApp", "open_ledger"]

log = logging.getLogger(__name__)

_LEDGER = "pulsar.sqlite3"

#: How soon another process of the node notices that the engine's process has died, in seconds.
_TAKE_OVER_INTERVAL_S = 0.5


def open_ledger(config: Config) -> Store:
    """Return the ledger of a node that may run beside us, to be read; :class:`ConfigError` when there is none."""
    if config.persistence_directory is None:
        raise ConfigError("persistence_directory is __none__: such a node keeps its ledger in its own memory only")
    path = Path(config.persistence_directory, _LEDGER)
    if not path.exists():
        raise ConfigError(f"there is no ledger {path}; name the node's configuration directory with -c")
    return SqliteStore(path)


class PulsarApp:
    """One node, in one of its processes.

    Any number of processes may have an app on the same ``persistence_directory``; each answers requests through ``service``,
    and :meth:`start` makes exactly one of them the engine. An app that was made before a fork (uWSGI loads it in its master)
    is started in each child.
    """

    def __init__(self, **conf: Any) -> None:
        """Build a node from the keys of ``app.yml``, as Galaxy's embedded runner does (specification 10.2)."""
        self._build(config_from(conf))
        self.start()

    @classmethod
    def from_config(cls, config: Config) -> PulsarApp:
        """Build a node, not yet started, from a loaded configuration.

        Raises :class:`ConfigError` for what cannot work, such as a manager type that does not exist.
        """
        app = cls.__new__(cls)
        app._build(config)
        return app

    def _build(self, config: Config) -> None:
        self.config = config
        self.private_token = config.private_token
        self.staging_directory = config.staging_directory
        self._check_managers()
        persistence = config.persistence_directory
        for directory in {config.staging_directory, *(manager.staging_directory for manager in config.managers)}:
            _make_directory(directory, "staging_directory")
        if persistence is not None:
            _make_directory(persistence, "persistence_directory", mode=0o700)
        self._store: Store = SqliteStore(Path(persistence, _LEDGER)) if persistence else MemoryStore()
        self._files = DiskJobFiles(
            str(Path(persistence, "locks")) if persistence else None,
            sorted({manager.staging_directory for manager in config.managers}),
        )
        self._stager = ClientOnlyStager()
        self.service = JobService(
            self._store, self._files, self._stager, {manager.name: _profile(manager) for manager in config.managers}, self._wake
        )
        self.file_cache = _upload_cache(config.file_cache_dir) if config.file_cache_dir else None
        self._lock = EngineLock(persistence) if persistence else None
        self._forget_threads()

    def _check_managers(self) -> None:
        for manager in self.config.managers:
            if manager.type not in MANAGER_TYPES:
                known = ", ".join(sorted(MANAGER_TYPES))
                raise ConfigError(
                    f"manager {manager.name!r}: type {manager.type!r} does not exist on this node; choose one of {known}"
                )

    def _forget_threads(self) -> None:
        """Begin anew in this process; what another process has started is not ours."""
        self._pid = os.getpid()
        self._engine: Engine | None = None
        self._managers: dict[str, Manager] = {}
        self._listener: WakeListener | None = None
        self._stopping = threading.Event()
        self._keeper: threading.Thread | None = None
        self._starting = threading.Lock()

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take part in the node: become its engine now, or as soon as the one there is has died. Returns at once; repeatable."""
        if self._pid != os.getpid():
            self._store.reset_after_fork()
            if self._lock is not None:
                self._lock.release()
            self._forget_threads()
        with self._starting:
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._keep_engine, name="pulsar-engine-keeper", daemon=True)
                self._keeper.start()

    def shutdown(self, timeout: float | None = None) -> None:
        """Stop what this process does for the node. Jobs go on. ``timeout`` (seconds) bounds the wait for the keeper."""
        if self._pid != os.getpid():
            return
        self._stopping.set()
        if self._keeper is not None:
            self._keeper.join(timeout)
        self._store.close()

    def __enter__(self) -> PulsarApp:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.shutdown()

    def _keep_engine(self) -> None:
        try:
            while self._lock is not None and not self._lock.try_to_take():
                if self._stopping.wait(_TAKE_OVER_INTERVAL_S):
                    return
            self._become_engine()
        except Exception:
            log.exception("this process cannot be the engine of the node")
            return
        self._stopping.wait()
        self._stop_engine()

    def _become_engine(self) -> None:
        for manager in self.config.managers:
            options = {
                **manager.options,
                "num_concurrent_jobs": manager.num_concurrent_jobs,
                "cancel_grace_s": manager.cancel_grace_s,
            }
            self._managers[manager.name] = build_manager(
                manager.name, manager.type, self._files, _launch_settings(manager), self._job_changed, options
            )
        self._engine = Engine(
            self._store, self._files, self._stager, self._managers, self.service, history_s=self.config.history_days * 86400.0
        )
        if self.config.persistence_directory is not None:
            self._listener = WakeListener(self.config.persistence_directory, self._engine.wake)
        self._engine.start()
        log.info("process %d is the engine of the node", os.getpid())

    def _stop_engine(self) -> None:
        if self._engine is not None:
            self._engine.stop()
        for manager in self._managers.values():
            manager.close()
        if self._listener is not None:
            self._listener.close()
        if self._lock is not None:
            self._lock.release()

    # -- joints -------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._engine is not None:
            self._engine.wake()
        elif self.config.persistence_directory is not None:
            send_wake_up(self.config.persistence_directory)

    def _job_changed(self, key: JobKey) -> None:
        if self._engine is not None:
            self._engine.nudge(key)

    # -- what others look at ------------------------------------------------------------------------------------------

    @property
    def managers(self) -> dict[str, ManagerConfig]:
        """The managers of this node by name."""
        return {manager.name: manager for manager in self.config.managers}

    @property
    def only_manager(self) -> ManagerConfig:
        """The manager of a node that has just one."""
        (manager,) = self.config.managers
        return manager

    @property
    def reads_never_wait(self) -> bool:
        """Whether the ledger can be read at once whoever is writing."""
        return self._store.reads_never_wait

    def health(self) -> dict[str, Any]:
        """Return what ``/healthz`` tells: versions, who is the engine, and how many jobs are in which state."""
        here = self._engine is not None and self._engine.is_alive
        engine = "this process" if here else "another process" if self._lock is not None and self._lock.is_taken() else "none"
        document: dict[str, Any] = {"version": __version__, "wire_version": WIRE_VERSION, "status": "ok", "engine": engine}
        try:
            jobs: dict[str, dict[str, int]] = {name: {} for name in self.managers}
            for (manager, state), count in self._store.counts().items():
                jobs.setdefault(manager, {})[state.value] = count
            document["jobs"] = jobs
        except PulsarError as exc:
            document["status"] = "the ledger cannot be read"
            log.error("healthz: %s", exc)
        if engine == "none":
            document["status"] = "no engine: jobs wait"
        return document


def _upload_cache(directory: str) -> UploadCache:
    from pulsar.store.cache import UploadCache  # most nodes have none

    return UploadCache(directory)


def _make_directory(path: str, option: str, mode: int = 0o777) -> None:
    try:
        Path(path).mkdir(parents=True, exist_ok=True, mode=mode)
    except OSError as exc:
        raise ConfigError(f"{option} {path} cannot be made: {exc.strerror}; make it, or name another in app.yml") from exc


def _profile(manager: ManagerConfig) -> ManagerProfile:
    properties = {"separator": "/"}
    for name in (
        "galaxy_home",
        "galaxy_virtual_env",
        "galaxy_config_file",
        "galaxy_dataset_files_path",
        "galaxy_datatypes_config_file",
    ):
        value = getattr(manager, name)
        if value:
            properties[name] = value
    return ManagerProfile(
        name=manager.name,
        staging_directory=manager.staging_directory,
        assigns_uuids=manager.assign_ids == "uuid",
        keeps_directories=manager.debug,
        directory_mode=manager.job_directory_mode,
        stream_limit=manager.maximum_stream_size,
        system_properties=properties,
    )


def _launch_settings(manager: ManagerConfig) -> LaunchSettings:
    return LaunchSettings(
        tmp_dir=manager.tmp_dir,
        env=manager.env,
        galaxy_home=manager.galaxy_home,
        galaxy_virtual_env=manager.galaxy_virtual_env,
    )
