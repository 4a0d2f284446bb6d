"""Reading a ``file_action_config`` file: JSON or YAML by its extension (specification 5.3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pulsar.client.exceptions import ActionError

__all__ = ["read_action_file"]


def read_action_file(path: str) -> dict[str, Any]:
    """Return the object in the file; :class:`ActionError` names the file and what is wrong with it."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ActionError(f"cannot read the file_action_config {path}: {exc}") from exc
    document = _parsed_json(path, text) if Path(path).suffix == ".json" else _parsed_yaml(path, text)
    if not isinstance(document, dict):
        raise ActionError(f"the file_action_config {path} must hold an object with the key 'paths'")
    return document


def _parsed_json(path: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as exc:
        raise ActionError(f"the file_action_config {path} is not JSON: {exc}") from exc


def _parsed_yaml(path: str, text: str) -> Any:
    # Imported here: a client that is given its actions as an object, or as JSON, runs on the standard library alone.
    try:
        import yaml
    except ImportError as exc:
        raise ActionError(f"reading {path} needs PyYAML (pip install PyYAML), or write it as JSON") from exc
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ActionError(f"the file_action_config {path} is not YAML: {' '.join(str(exc).split())}") from exc
