"""Manager types by name. A type is imported when a configuration asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pulsar.errors import ConfigError
from pulsar.jobs.ports import Changed, JobFiles, Manager
from pulsar.managers.launch import LaunchSettings

__all__ = ["MANAGER_TYPES", "Factory", "build_manager"]

#: Makes a manager from ``(files, settings, changed, options)``; ``options`` are the typed values of its configuration.
Factory = Callable[[JobFiles, LaunchSettings, Changed, Mapping[str, Any]], Manager]


def _queued_python(files: JobFiles, settings: LaunchSettings, changed: Changed, options: Mapping[str, Any]) -> Manager:
    from pulsar.managers.local import LocalManager

    return LocalManager(files, settings, changed, slots=options["num_concurrent_jobs"], grace_s=options["cancel_grace_s"])


def _unqueued(files: JobFiles, settings: LaunchSettings, changed: Changed, options: Mapping[str, Any]) -> Manager:
    from pulsar.managers.local import LocalManager

    return LocalManager(files, settings, changed, slots=None, grace_s=options["cancel_grace_s"])


MANAGER_TYPES: dict[str, Factory] = {"queued_python": _queued_python, "unqueued": _unqueued}


def build_manager(
    name: str, kind: str, files: JobFiles, settings: LaunchSettings, changed: Changed, options: Mapping[str, Any]
) -> Manager:
    """Return the manager ``name`` of type ``kind``; :class:`ConfigError` names the types there are."""
    factory = MANAGER_TYPES.get(kind)
    if factory is None:
        known = ", ".join(sorted(MANAGER_TYPES))
        raise ConfigError(f"manager {name!r} has type {kind!r}, which this node does not have; choose one of {known}")
    return factory(files, settings, changed, options)
