"""What an option's value may be: one :class:`Kind` each, which reads what YAML, JSON, an ini file or the environment gives.

A value from an ini file or the environment is always text; ``"false"`` is false for a truth value. A message of :class:`BadValue`
completes the sentence "<option> ...", and never repeats the value: the caller does, when it is no secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pulsar.config.yaml_text import Scalar, parse_yaml, plain
from pulsar.errors import ConfigError

__all__ = [
    "ANYTHING",
    "CONCURRENCY",
    "COUNT",
    "FRACTION",
    "MAPPING",
    "MODE",
    "NESTED",
    "PATH",
    "PATHS",
    "POSITIVE",
    "RETRIES",
    "SECONDS",
    "SIZE",
    "TEMPORARY",
    "TEXT",
    "TEXTS",
    "YES_NO",
    "BadValue",
    "Kind",
    "is_unset",
    "kind_of",
]


class BadValue(ValueError):
    """A value is not of its option's kind."""


@dataclass(frozen=True)
class Kind:
    """A kind of value: the phrase for people, an example to show in a remedy, and the reader."""

    phrase: str
    example: str
    read: Callable[[Any], Any]
    #: Values are paths: relative ones count from the configuration directory, ``~`` is the home directory.
    is_path: bool = False


def is_unset(raw: Any) -> bool:
    """Whether ``raw`` says nothing: ``null`` or an empty text. The next source or the default then counts."""
    return raw is None or (isinstance(raw, str) and not raw.strip())


def kind_of(raw: Any) -> str:
    """Return what ``raw`` is, for a message."""
    match plain(raw):
        case bool():
            return "a truth value"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a mapping"
        case None:
            return "nothing"
        case other:
            return f"a {type(other).__name__}"


def _text(raw: Any) -> str:
    match raw:
        case str():
            return raw
        case Scalar(text=text):
            return text
        case bool():
            return "true" if raw else "false"
        case int() | float():
            return str(raw)
        case os.PathLike():
            return os.fsdecode(raw)
        case _:
            raise BadValue


_TRUE = frozenset({"true", "yes", "on", "1", "t", "y"})
_FALSE = frozenset({"false", "no", "off", "0", "f", "n"})


def _yes_no(raw: Any) -> bool:
    word = _text(raw).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise BadValue


def _whole(raw: Any) -> int:
    value = plain(raw)
    if isinstance(value, bool):
        raise BadValue
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]+\s*", value):
        return int(value)
    raise BadValue


def _at_least(minimum: int) -> Callable[[Any], int]:
    def read(raw: Any) -> int:
        value = _whole(raw)
        if value < minimum:
            raise BadValue
        return value

    return read


def _number(raw: Any) -> float:
    value = plain(raw)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadValue
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise BadValue from None
    if number != number or number in (float("inf"), float("-inf")):
        raise BadValue
    return number


def _more_than_zero(raw: Any) -> float:
    number = _number(raw)
    if number <= 0:
        raise BadValue
    return number


def _not_negative(raw: Any) -> float:
    number = _number(raw)
    if number < 0:
        raise BadValue
    return number


def _texts(raw: Any) -> tuple[str, ...]:
    if isinstance(raw, list | tuple):
        return tuple(_text(part) for part in raw)
    return tuple(part.strip() for part in _text(raw).split(",") if part.strip())


def _mapping(raw: Any) -> dict[str, Any]:
    if isinstance(raw, str):
        try:
            raw, _ = parse_yaml(raw, "the value")
        except ConfigError:
            raise BadValue from None
    if not isinstance(raw, Mapping):
        raise BadValue
    return {str(key): value for key, value in raw.items()}


def _plain_mapping(raw: Any) -> dict[str, Any]:
    mapping: dict[str, Any] = plain(_mapping(raw))
    return mapping


def _concurrency(raw: Any) -> int:
    if isinstance(raw, str) and raw.strip() == "*":
        return os.cpu_count() or 1
    return _at_least(1)(raw)


_OWNER_ALL = 0o700


def _is_useful_mode(mode: int) -> bool:
    """Whether the owner may do everything: the node itself could not work in any other job directory."""
    return 0 <= mode <= 0o7777 and mode & _OWNER_ALL == _OWNER_ALL


def _mode(raw: Any) -> int:
    """Read a mode given as octal text (``"0770"``), or as a number.

    YAML 1.1 has already turned an unquoted ``0770`` into the number 504; an unquoted ``770`` is the number 770. No number makes a
    useful mode both as bits and as octal digits, so both are understood without doubt.
    """
    value = plain(raw)
    if isinstance(value, bool):
        raise BadValue
    readings: list[int] = []
    if isinstance(value, int):
        readings.append(value)
    digits = re.fullmatch(r"\s*(?:0[oO])?([0-7]{1,5})\s*", str(value))
    if digits:
        readings.append(int(digits[1], 8))
    for mode in readings:
        if _is_useful_mode(mode):
            return mode
    raise BadValue


def _temporary(raw: Any) -> str | None:
    """Read ``tmp_dir``: None for true, false or nothing, else the shell expression as it stands."""
    try:
        _yes_no(raw)
    except BadValue:
        return _text(raw)
    return None


TEXT = Kind("text", '"some text"', _text)
TEXTS = Kind("a list, or text with commas", "one, two", _texts)
YES_NO = Kind("true or false", "true", _yes_no)
COUNT = Kind("a whole number of at least 0", "4", _at_least(0))
POSITIVE = Kind("a whole number of at least 1", "4", _at_least(1))
SIZE = Kind("a whole number of bytes, 0 for no limit", "1048576", _at_least(0))
SECONDS = Kind("a number of seconds above 0", "30", _more_than_zero)
FRACTION = Kind("a number of at least 0", "2.5", _not_negative)
RETRIES = Kind("a whole number: -1 never, 0 without end, else how often", "3", _at_least(-1))
PATH = Kind("a path", "/some/directory", _text, is_path=True)
PATHS = Kind("one path or several with commas", "/one/file, /another/file", _texts, is_path=True)
MODE = Kind("an octal mode that leaves the owner all rights, in quotes", '"0770"', _mode)
MAPPING = Kind("a mapping of names to values", "{name: value}", _plain_mapping)
#: As MAPPING, with each unquoted scalar's text kept, for options whose values are options again.
NESTED = Kind("a mapping of names to values", "{name: value}", _mapping)
CONCURRENCY = Kind('a whole number of at least 1, or "*" for one per CPU', "4", _concurrency)
TEMPORARY = Kind("true, or a shell expression", "/scratch/$USER", _temporary)
ANYTHING = Kind("a value", "value", plain)
