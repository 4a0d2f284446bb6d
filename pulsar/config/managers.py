"""The job managers of a node: which of the three ways of writing them counts, and their options (specification 9.1, 9.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pulsar.config.files import existing_or_sample, read_ini
from pulsar.config.model import ManagerConfig
from pulsar.config.options import MANAGER_TYPES, OPTIONS, Option, find_option
from pulsar.config.reader import Found, Warnings, read_value
from pulsar.config.values import is_unset, kind_of
from pulsar.config.yaml_text import plain
from pulsar.errors import ConfigError

__all__ = ["build_managers"]

_DEFAULT_NAME = "_default_"
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECTION = "manager:"

#: Options of every manager that are fields of :class:`ManagerConfig`, except those that are computed.
_FIELDS = (
    "job_directory_mode",
    "maximum_stream_size",
    "tmp_dir",
    "galaxy_home",
    "galaxy_virtual_env",
    "galaxy_config_file",
    "galaxy_dataset_files_path",
    "galaxy_datatypes_config_file",
    "debug",
    "num_concurrent_jobs",
    "min_polling_interval",
    "cancel_grace_s",
)
_COMPUTED = ("type", "name", "staging_directory", "assign_ids")


@dataclass(frozen=True)
class _Written:
    """One manager as it was written."""

    name: str
    options: Mapping[str, Any]
    origin: str


def build_managers(
    found: Mapping[str, Found], defaults: Mapping[str, Any], config_dir: Path, warnings: Warnings
) -> tuple[ManagerConfig, ...]:
    """Return the managers in the order in which they were written; one ``_default_`` when none was.

    ``found`` holds the app's options as written, ``defaults`` the values of those that are managers' defaults.
    """
    return tuple(_build(written, defaults, config_dir, warnings) for written in _written_managers(found, config_dir, warnings))


def _written_managers(found: Mapping[str, Found], config_dir: Path, warnings: Warnings) -> list[_Written]:
    ways = [name for name in ("job_managers_config", "managers", "manager") if name in found]
    for ignored in ways[1:]:
        warnings.add(f"{found[ignored].origin}: {ignored} is ignored, because {ways[0]} is set as well; keep one of them")
    match ways[:1]:
        case ["job_managers_config"]:
            return _from_ini(found["job_managers_config"], config_dir)
        case ["managers"]:
            return _from_mapping(found["managers"])
        case ["manager"]:
            return [_from_single(found["manager"])]
        case _:
            return [_Written(_DEFAULT_NAME, {}, "default")]


def _options_of(raw: Any, where: str) -> Mapping[str, Any]:
    if is_unset(raw):
        return {}
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where} must be a mapping of options, not {kind_of(raw)}; for example: {{type: queued_python}}")
    return {str(key): value for key, value in raw.items()}


def _from_mapping(found: Found) -> list[_Written]:
    option = find_option("managers")
    assert option is not None
    managers = read_value(option, "managers", found, Path())
    written = [
        _Written(str(name), _options_of(raw, f"{found.origin}: managers: {name}"), found.origin) for name, raw in managers.items()
    ]
    return written or [_Written(_DEFAULT_NAME, {}, "default")]


def _from_single(found: Found) -> _Written:
    option = find_option("manager")
    assert option is not None
    options = dict(read_value(option, "manager", found, Path()))
    name = options.pop("name", None)
    return _Written(_DEFAULT_NAME if is_unset(name) else str(plain(name)), options, found.origin)


def _from_ini(found: Found, config_dir: Path) -> list[_Written]:
    option = find_option("job_managers_config")
    assert option is not None
    path = Path(read_value(option, "job_managers_config", found, config_dir))
    existing = existing_or_sample(path)
    if existing is None:
        raise ConfigError(f"{found.origin}: job_managers_config names {path}, which does not exist; correct the path")
    ini = read_ini(existing)
    names = [section for section in ini.sections() if section.startswith(_SECTION)]
    if not names:
        raise ConfigError(f"{existing} has no section [manager:NAME]; write [manager:_default_] for one manager")
    return [_Written(section[len(_SECTION) :].strip(), ini.section(section), str(existing)) for section in names]


def _checked_name(written: _Written) -> str:
    name = written.name
    if not name or name in (".", "..") or any(character in name for character in "/\\\0"):
        raise ConfigError(
            f"{written.origin}: {name!r} cannot be the name of a manager, because it is part of paths and addresses; use "
            "letters, digits, - and _"
        )
    return name


def _build(written: _Written, defaults: Mapping[str, Any], config_dir: Path, warnings: Warnings) -> ManagerConfig:
    name = _checked_name(written)
    origin = f"{written.origin}: manager {name}"
    values: dict[str, Any] = {}
    own: dict[str, Any] = {}
    env: list[tuple[str, str]] = []
    type_name = _type_of(written, origin)
    for key, raw in written.options.items():
        option = find_option(key)
        if is_unset(raw) and not key.startswith("env_"):
            continue
        if option is None or not option.is_for_manager:
            own[key] = plain(raw)
            if type_name in MANAGER_TYPES:
                warnings.unknown(key, origin, for_manager=True)
            continue
        if key.startswith("env_"):
            env.append(_exported(key, raw, option, origin))
            continue
        value = read_value(option, key, Found(raw, origin), config_dir)
        warnings.later(option, key, value, option.default, origin)
        _warn_of_other_type(option, key, type_name, origin, warnings)
        values[option.name if not option.is_prefix else key] = value
    for key, value in values.items():
        if key not in _FIELDS and key not in _COMPUTED:
            own[key] = value
    fields = {key: values.get(key, defaults.get(key, _default(key))) for key in _FIELDS}
    return ManagerConfig(
        name=name,
        type=type_name,
        staging_directory=values.get("staging_directory", defaults["staging_directory"]),
        assign_ids=_assign_ids(values.get("assign_ids", defaults["assign_ids"]), origin, warnings),
        env=tuple(env),
        options=MappingProxyType({**_defaults_of_own(type_name, defaults), **own}),
        **fields,
    )


def _type_of(written: _Written, origin: str) -> str:
    raw = written.options.get("type")
    option = find_option("type")
    assert option is not None
    return str(read_value(option, "type", Found(raw, origin), Path())).strip()


def _default(name: str) -> Any:
    option = find_option(name)
    assert option is not None
    return option.default


def _defaults_of_own(type_name: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults of the options that are no field of the manager: those of the app, else those of the table."""
    return {
        option.name: defaults.get(option.name, option.default)
        for option in OPTIONS
        if option.is_for_manager
        and not option.is_prefix
        and option.name not in _FIELDS
        and option.name not in _COMPUTED
        and (not option.types or type_name in option.types)
    }


def _exported(key: str, raw: Any, option: Option, origin: str) -> tuple[str, str]:
    name = key[len("env_") :]
    if not _VARIABLE_NAME.fullmatch(name):
        raise ConfigError(f"{origin}: {key}: {name!r} cannot be the name of an environment variable; use letters, digits and _")
    return name, "" if raw is None else str(read_value(option, key, Found(raw, origin), Path()) or "")


def _warn_of_other_type(option: Option, key: str, type_name: str, origin: str, warnings: Warnings) -> None:
    if option.types and type_name in MANAGER_TYPES and type_name not in option.types:
        warnings.add(f"{origin}: {key} is not used by a manager of type {type_name}; it is for {', '.join(option.types)}")


def _assign_ids(value: str, origin: str, warnings: Warnings) -> str:
    """Return ``galaxy`` or ``uuid``; any other word means ``galaxy`` (specification 9.2)."""
    word = value.strip()
    if word not in ("galaxy", "uuid"):
        warnings.add(f"{origin}: assign_ids is {word!r}, which is read as galaxy; write galaxy or uuid")
        return "galaxy"
    return word
