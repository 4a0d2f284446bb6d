"""The launch request (specification 4): one object, whether it came as a query string or as a message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pulsar.errors import RequestError

__all__ = ["LaunchRequest", "env_statement"]

_JSON = dict[str, Any]


@dataclass(frozen=True)
class LaunchRequest:
    """What the client wants to be run. Every part has the type that the specification gives it; see :meth:`from_dict`."""

    command_line: str
    submit_params: _JSON = field(default_factory=dict)
    dependencies_description: _JSON | None = None
    env: list[_JSON] = field(default_factory=list)
    remote_staging: _JSON = field(default_factory=dict)
    dynamic_file_sources: list[_JSON] | None = None
    token_endpoint: str | None = None
    setup_params: _JSON = field(default_factory=dict)
    touch_outputs: list[str] = field(default_factory=list)
    cvmfsexec: _JSON | None = None

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> LaunchRequest:
        """Read a request tolerantly: unknown keys are ignored, null means the default.

        Raises :class:`RequestError` that names the key when a value has the wrong type or an ``env`` entry no known form.
        """
        values: _JSON = {}
        for row in fields(cls):
            value = document.get(row.name)
            if value is not None:
                values[row.name] = _CHECKS[row.name](row.name, value)
        if "command_line" not in values:
            raise RequestError("command_line is missing")
        return cls(**values)

    def to_dict(self) -> _JSON:
        """Write every key, so that what was stored is read back the same."""
        return {row.name: getattr(self, row.name) for row in fields(self)}

    @property
    def client_outputs(self) -> _JSON:
        """The ``client_outputs`` object of ``remote_staging``; empty when there is none."""
        outputs = self.remote_staging.get("client_outputs")
        return outputs if isinstance(outputs, dict) else {}

    @property
    def stage_in(self) -> list[_JSON]:
        """The files that the node itself has to fetch before the job may start."""
        return self.remote_staging.get("setup") or []

    @property
    def all_dynamic_file_sources(self) -> list[_JSON]:
        """The dynamic file sources, from the request itself or from ``client_outputs``."""
        return self.dynamic_file_sources or self.client_outputs.get("dynamic_file_sources") or []


def env_statement(entry: Mapping[str, Any]) -> str:
    """Return the shell statement of one ``env`` entry (specification 4.4).

    ``file`` wins over ``execute``, which wins over ``name``/``value``. Raises :class:`RequestError` naming the allowed forms.
    """
    if entry.get("file"):
        path = str(entry["file"])
        return f". {path}" if entry.get("raw") else f'. "{_escaped(path)}"'
    if entry.get("execute"):
        return str(entry["execute"])
    name = entry.get("name")
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii() or "value" not in entry:
        raise RequestError('an env entry must be {"name": N, "value": V}, {"file": F} or {"execute": C}, N being a shell name')
    value = entry["value"]
    text = "" if value is None else str(value)
    if "\0" in text:
        raise RequestError(f"the value of env {name} has a NUL character")
    return f"{name}={text}; export {name}" if entry.get("raw") else f'{name}="{_escaped(text)}"; export {name}'


def _escaped(text: str) -> str:
    return text.replace('"', '\\"')


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise RequestError(f"{key} must be a string")
    if "\0" in value:
        raise RequestError(f"{key} has a NUL character")
    return value


def _object(key: str, value: Any) -> _JSON:
    if not isinstance(value, dict):
        raise RequestError(f"{key} must be a JSON object")
    return value


def _objects(key: str, value: Any) -> list[_JSON]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise RequestError(f"{key} must be a list of JSON objects")
    return value


def _names(key: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RequestError(f"{key} must be a list of names")
    return value


def _env(key: str, value: Any) -> list[_JSON]:
    entries = _objects(key, value)
    for entry in entries:
        env_statement(entry)
    return entries


def _dynamic_sources(key: str, value: Any) -> list[_JSON]:
    sources = _objects(key, value)
    for source in sources:
        if not isinstance(source.get("path"), str) or source.get("type") not in ("galaxy", "legacy_galaxy"):
            raise RequestError(f'each of {key} must have a "path" and the "type" galaxy or legacy_galaxy')
    return sources


def _remote_staging(key: str, value: Any) -> _JSON:
    staging = _object(key, value)
    if staging.get("setup") is not None:
        _objects(f"{key}.setup", staging["setup"])
    for part in ("action_mapper", "client_outputs"):
        if staging.get(part) is not None:
            _object(f"{key}.{part}", staging[part])
    sources = (staging.get("client_outputs") or {}).get("dynamic_file_sources")
    if sources is not None:
        _dynamic_sources(f"{key}.client_outputs.dynamic_file_sources", sources)
    return staging


_CHECKS = {
    "command_line": _text,
    "submit_params": _object,
    "dependencies_description": _object,
    "env": _env,
    "remote_staging": _remote_staging,
    "dynamic_file_sources": _dynamic_sources,
    "token_endpoint": _text,
    "setup_params": _object,
    "touch_outputs": _names,
    "cvmfsexec": _object,
}


def canonical_json(document: Any) -> str:
    """Return the one text by which two documents are compared and stored."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
