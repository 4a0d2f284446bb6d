"""Finding and reading the administrator's files: ``server.ini``, ``app.yml``, their samples, and base64 (specification 10.1)."""

from __future__ import annotations

import base64
import binascii
import configparser
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulsar.config.values import kind_of
from pulsar.config.yaml_text import parse_yaml
from pulsar.errors import ConfigError

__all__ = ["Ini", "existing_or_sample", "read_app_file", "read_base64", "read_ini"]


def existing_or_sample(path: Path) -> Path | None:
    """Return ``path``, or the ``.sample`` beside it when only that exists, or None."""
    for candidate in (path, path.with_name(path.name + ".sample")):
        if candidate.is_file():
            return candidate
    return None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}; check the path and its permissions") from exc
    except UnicodeDecodeError:
        # The bytes at fault may be a secret's, so the cause is not chained.
        raise ConfigError(f"{path} is not UTF-8 text; save it in that encoding") from None


@dataclass(frozen=True)
class Ini:
    """A parsed ini file. Names keep their case; ``%(here)s`` is the directory of the file."""

    path: Path
    parser: configparser.ConfigParser

    def __contains__(self, section: object) -> bool:
        return isinstance(section, str) and self.parser.has_section(section)

    def sections(self) -> list[str]:
        """Return the names of the sections, in the order of the file."""
        return self.parser.sections()

    def section(self, name: str) -> dict[str, str]:
        """Return the keys written in a section, those of ``[DEFAULT]`` left out; empty when there is no such section."""
        if name not in self:
            return {}
        defaults = self.parser.defaults()
        try:
            return {
                key: value
                for key, value in self.parser.items(name)
                if key not in defaults or self.parser.get(name, key, raw=True) != defaults[key]
            }
        except configparser.InterpolationError as exc:
            raise ConfigError(
                f"{self.path}: [{name}] {exc.option}: a name in %(...)s is not defined, or a lone % has to be written %%"
            ) from None


def read_ini(path: Path) -> Ini:
    """Return the ini file at ``path``; :class:`ConfigError` names the line at fault, without its text."""
    here = path.absolute().parent
    escaped = {"here": str(here).replace("%", "%%"), "__file__": str(path.absolute()).replace("%", "%%")}
    parser = configparser.ConfigParser(defaults=escaped, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(_read_text(path), source=str(path))
    except configparser.MissingSectionHeaderError as exc:
        raise ConfigError(f"{path}: line {exc.lineno} stands before the first [section]") from None
    except configparser.ParsingError as exc:
        line = exc.errors[0][0] if exc.errors else "?"
        raise ConfigError(f"{path}: line {line} is neither a [section] nor key = value") from None
    return Ini(path, parser)


def read_app_file(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the mapping in an ``app.yml`` (empty for an empty file) and warnings about it."""
    document, warnings = parse_yaml(_read_text(path), str(path))
    if document is None:
        return {}, warnings
    if not isinstance(document, Mapping):
        raise ConfigError(f"{path} must hold options as 'name: value' lines, not {kind_of(document)}")
    return {str(key): value for key, value in document.items()}, warnings


def read_base64(text: str, source: str) -> dict[str, Any]:
    """Return the JSON object that ``text`` holds in base64."""
    try:
        document = json.loads(base64.b64decode(text, validate=False))
    except (binascii.Error, ValueError):
        raise ConfigError(f"{source} is not base64 of a JSON document; make it with: base64 -w0 FILE.json") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{source} must hold a JSON object of options, not {kind_of(document)}")
    return document
