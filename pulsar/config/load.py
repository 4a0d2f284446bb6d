"""Loading: server.ini, app.yml, environment and base64 become one frozen :class:`Config` (specification 10.1).

Of several sources the first that says something counts::

    PULSAR_CONFIG_OVERRIDE_<KEY>  >  app.yml (or base64)  >  [app:main] of server.ini  >  PULSAR_CONFIG_<KEY>  >  default

Nothing is created and nothing is logged here; what is worth saying is in :attr:`Config.warnings`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pulsar.config.files import existing_or_sample, read_app_file, read_base64, read_ini
from pulsar.config.managers import build_managers
from pulsar.config.model import Config
from pulsar.config.options import NO_PERSISTENCE, OPTIONS, find_option
from pulsar.config.reader import Found, Warnings, read_value, resolved_path
from pulsar.config.values import is_unset
from pulsar.errors import ConfigError

__all__ = ["config_from", "load_config"]

_OVERRIDE = "PULSAR_CONFIG_OVERRIDE_"
_DEFAULT = "PULSAR_CONFIG_"
#: Variables of that form which are no options: they say where the files are.
_PLACES = frozenset({"PULSAR_CONFIG_DIR", "PULSAR_CONFIG_FILE"})
_BASE64_SOURCE = "--app_conf_base64"
#: Keys of an ``[app:...]`` section that PasteDeploy itself reads.
_PASTE_KEYS = frozenset({"use", "filter-with", "require", "app_config"})
_BUILT_APART = frozenset({"managers", "manager", "job_managers_config", "config_dir"})


@dataclass
class _Sources:
    """What the files hold: keys of the ini's section and of app.yml, with where they stand."""

    config_dir: Path
    ini_path: Path | None = None
    app_path: Path | None = None
    ini: dict[str, Found] = field(default_factory=dict)
    app: dict[str, Found] = field(default_factory=dict)


def load_config(
    config_dir: str | os.PathLike[str] | None = None,
    ini_path: str | os.PathLike[str] | None = None,
    app_conf_path: str | os.PathLike[str] | None = None,
    app_conf_base64: str | None = None,
    app: str = "main",
    local_conf: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """Return the node's configuration. Without any file or variable that is a node with one local queue.

    ``local_conf`` are the keys of an ``[app:...]`` section that somebody else (PasteDeploy) has already read; the ini is then not
    read again. Raises :class:`ConfigError` that names the file, the key and the remedy.
    """
    warnings = Warnings()
    sources = _gather(config_dir, ini_path, app_conf_path, app_conf_base64, app, local_conf, environ, warnings)
    return _built(sources, environ, warnings)


def config_from(
    options: Mapping[str, Any], config_dir: str | os.PathLike[str] | None = None, environ: Mapping[str, str] = os.environ
) -> Config:
    """Return the configuration of a node embedded in another program, which gives the options of ``app.yml`` itself."""
    sources = _Sources(_given_directory(config_dir, environ) or Path.cwd())
    sources.app = _layer(options, "the embedding program")
    return _built(sources, environ, Warnings())


def _built(sources: _Sources, environ: Mapping[str, str], warnings: Warnings) -> Config:
    found = _merged(sources, environ, warnings)
    base = _config_dir(found, sources.config_dir)
    values = {option.name: option.default for option in OPTIONS if option.is_for_app}
    _fill_defaults(values, base, environ)
    origins: dict[str, str] = {}
    for name, entry in found.items():
        option = find_option(name)
        assert option is not None
        origins[name] = entry.origin
        if name not in _BUILT_APART:
            default = values.get(name)
            values[name] = _read(name, entry, base)
            warnings.later(option, name, values[name], default, entry.origin)
    if not values["private_token"]:
        warnings.add(
            "no private_token is set: whoever reaches the port of this node can run commands on it; set one in app.yml, or let "
            "nobody reach the port who may not"
        )
    managers = build_managers(found, values, base, warnings)
    own = {f.name for f in fields(Config)} & values.keys() - _BUILT_APART
    return Config(
        config_dir=str(base),
        managers=managers,
        ini_path=_text_or_none(sources.ini_path),
        app_path=_text_or_none(sources.app_path),
        warnings=tuple(warnings.sentences),
        origins=MappingProxyType(origins),
        options=MappingProxyType({name: value for name, value in values.items() if name not in own | _BUILT_APART}),
        **{name: values[name] for name in own},
    )


def _text_or_none(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _read(name: str, entry: Found, base: Path) -> Any:
    option = find_option(name)
    assert option is not None
    if name == "persistence_directory" and isinstance(entry.raw, str) and entry.raw.strip() == NO_PERSISTENCE:
        return None
    value = read_value(option, name, entry, base)
    return MappingProxyType(value) if isinstance(value, dict) else value


def _fill_defaults(values: dict[str, Any], base: Path, environ: Mapping[str, str]) -> None:
    """Make default paths absolute, and take defaults that stand in a variable of their own."""
    for option in OPTIONS:
        if not option.is_for_app or option.is_prefix:
            continue
        default = environ.get(option.variable) or option.default if option.variable else option.default
        if option.kind.is_path and isinstance(default, str):
            default = resolved_path(default, base)
        values[option.name] = default
    for option in OPTIONS:
        if option.is_prefix:
            values.pop(option.name, None)


def _config_dir(found: Mapping[str, Found], config_dir: Path) -> Path:
    """Return the directory from which paths count; the option ``config_dir`` may move it."""
    entry = found.get("config_dir")
    if entry is None:
        return config_dir
    option = find_option("config_dir")
    assert option is not None
    return Path(read_value(option, "config_dir", entry, config_dir))


def _merged(sources: _Sources, environ: Mapping[str, str], warnings: Warnings) -> dict[str, Found]:
    """Return what was written for each option, from the source that counts; unknown keys become warnings."""
    merged: dict[str, Found] = {}
    for layer in (_environment(environ, overrides=False), sources.ini, sources.app, _environment(environ, overrides=True)):
        for name, entry in layer.items():
            option = find_option(name)
            if option is None or not option.is_for_app:
                warnings.unknown(name, entry.origin, for_manager=False)
            elif not is_unset(entry.raw):
                merged[name if option.is_prefix else option.name] = entry
    return merged


def _environment(environ: Mapping[str, str], *, overrides: bool) -> dict[str, Found]:
    layer: dict[str, Found] = {}
    for variable, value in environ.items():
        is_override = variable.startswith(_OVERRIDE)
        if not variable.startswith(_DEFAULT) or variable in _PLACES or is_override is not overrides:
            continue
        key = variable[len(_OVERRIDE if is_override else _DEFAULT) :].lower()
        layer[key] = Found(value, f"environment variable {variable}")
    return layer


def _gather(
    config_dir: str | os.PathLike[str] | None,
    ini_path: str | os.PathLike[str] | None,
    app_conf_path: str | os.PathLike[str] | None,
    app_conf_base64: str | None,
    app: str,
    local_conf: Mapping[str, Any] | None,
    environ: Mapping[str, str],
    warnings: Warnings,
) -> _Sources:
    given_dir = _given_directory(config_dir, environ)
    if app_conf_base64 is not None:
        sources = _Sources(given_dir or Path.cwd())
        sources.app = _layer(read_base64(app_conf_base64, _BASE64_SOURCE), _BASE64_SOURCE)
        return sources
    if local_conf is not None:
        ini = None if ini_path is None else Path(ini_path).absolute()
        sources = _Sources(given_dir or (ini.parent if ini else Path.cwd()), ini)
        section: Mapping[str, Any] = local_conf
    else:
        ini = _find_ini(ini_path, given_dir, needed=app_conf_path is None)
        sources = _Sources(given_dir or (ini.parent if ini else Path.cwd()), ini)
        section = _app_section(ini, app)
    sources.ini = _layer(
        {key: value for key, value in section.items() if key not in _PASTE_KEYS and not key.startswith("paste.")},
        str(sources.ini_path or f"[app:{app}]"),
    )
    sources.app_path = _find_app_file(app_conf_path, section, sources)
    if sources.app_path is not None:
        if app_conf_path is not None and sources.ini_path is None and given_dir is None:
            sources.config_dir = sources.app_path.parent
        keys, file_warnings = read_app_file(sources.app_path)
        warnings.extend(file_warnings)
        sources.app = _layer(keys, str(sources.app_path))
    return sources


def _layer(keys: Mapping[str, Any], origin: str) -> dict[str, Found]:
    return {name: Found(raw, origin) for name, raw in keys.items()}


def _given_directory(config_dir: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Path | None:
    given = config_dir or environ.get("PULSAR_CONFIG_DIR")
    if not given:
        return None
    path = Path(given).expanduser().absolute()
    if not path.is_dir():
        raise ConfigError(f"the configuration directory {path} does not exist; create it, or name another one")
    return path


def _find_ini(ini_path: str | os.PathLike[str] | None, given_dir: Path | None, *, needed: bool) -> Path | None:
    """Return the ini to read: the one named, else ``server.ini`` or its sample in the configuration directory, else None."""
    if ini_path is not None:
        return _named(ini_path, given_dir, "the configuration file")
    return existing_or_sample((given_dir or Path.cwd()) / "server.ini") if needed else None


def _named(path: str | os.PathLike[str], given_dir: Path | None, what: str) -> Path:
    """Return the file that was named on the command line: from the current directory, else from the configuration directory."""
    for base in (Path.cwd(), given_dir):
        existing = existing_or_sample(base / Path(path).expanduser()) if base is not None else None
        if existing is not None:
            return existing.absolute()
    raise ConfigError(f"{what} {Path(path).expanduser()} does not exist; create it (pulsar-config does), or correct the path")


def _app_section(ini: Path | None, app: str) -> dict[str, str]:
    if ini is None:
        return {}
    parsed = read_ini(ini)
    section = f"app:{app}"
    if section not in parsed and app != "main":
        raise ConfigError(f"{ini} has no section [{section}]; name one that it has with --app")
    return parsed.section(section)


def _find_app_file(app_conf_path: str | os.PathLike[str] | None, section: Mapping[str, Any], sources: _Sources) -> Path | None:
    """Return the app.yml to read, or its sample; None when nobody named one and there is none in the usual place."""
    if app_conf_path is not None:
        return _named(app_conf_path, sources.config_dir, "the configuration file")
    named = section.get("app_config")
    if is_unset(named):
        beside = sources.ini_path.parent if sources.ini_path else sources.config_dir
        return existing_or_sample(beside / "app.yml")
    path = Path(resolved_path(str(named), sources.config_dir))
    existing = existing_or_sample(path)
    if existing is None:
        raise ConfigError(
            f"{sources.ini_path or 'server.ini'}: app_config names {path}, which does not exist; create it, or correct the path"
        )
    return existing
