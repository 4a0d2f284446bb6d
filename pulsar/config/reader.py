"""From what was written to values: layers of sources, and reading one option with an error that names its place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulsar.config.options import Later, Option, closest, find_option
from pulsar.config.values import BadValue, is_unset, kind_of
from pulsar.config.yaml_text import plain
from pulsar.errors import ConfigError

__all__ = ["Found", "Warnings", "read_value", "resolved_path"]

_SHOWN_LENGTH = 60


@dataclass(frozen=True)
class Found:
    """A value as it was written, and where: ``origin`` is a file or an environment variable."""

    raw: Any
    origin: str


@dataclass
class Warnings:
    """Sentences for the administrator, each once, in the order in which they came up."""

    sentences: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        """Keep ``sentence`` unless it was said before."""
        if sentence not in self.sentences:
            self.sentences.append(sentence)

    def extend(self, sentences: Iterable[str]) -> None:
        """Keep several."""
        for sentence in sentences:
            self.add(sentence)

    def unknown(self, name: str, origin: str, *, for_manager: bool) -> None:
        """Say that nothing is called ``name`` there, and what was probably meant."""
        other = find_option(name)
        if other is not None and for_manager:
            remedy = "it is an option of the node: write it at the top level"
        elif other is not None:
            remedy = "it is an option of a manager: write it below manager, or below its name in managers"
        else:
            guess = closest(name, for_manager=for_manager)
            remedy = f"did you mean {guess}?" if guess else "see docs/configuration.md for all options"
        self.add(f"{origin}: {name} is not an option here and is ignored; {remedy}")

    def later(self, option: Option, name: str, value: Any, default: Any, origin: str) -> None:
        """Say that ``option`` is set and its feature is not there yet; :class:`ConfigError` where silence would be unsafe."""
        if option.later is None or value == default:
            return
        if option.later is Later.REFUSE and value:
            raise ConfigError(
                f"{origin}: {name} is set, but this node does not {option.feature} yet and would run without that check; remove "
                "the option to start without it"
            )
        self.add(f"{origin}: {name} is set, but this node does not {option.feature} yet; the option is ignored")


def resolved_path(path: str, base: Path) -> str:
    """Return ``path`` as an absolute one: ``~`` is the home directory, a relative path counts from ``base``."""
    return os.path.abspath(base / Path(path.strip()).expanduser())  # noqa: PTH100 - symbolic links stay as they were written


def read_value(option: Option, name: str, found: Found, base: Path) -> Any:
    """Return the value of ``option`` written as ``name``; the default when it was left empty. Paths come back absolute.

    Raises :class:`ConfigError` that names file, key, what was found and an example. The value itself is not shown when secret.
    """
    if is_unset(found.raw):
        return option.default
    try:
        value = option.kind.read(found.raw)
    except BadValue:
        raise ConfigError(
            f"{found.origin}: {name} must be {option.kind.phrase}, not {_what(option, found.raw)}; "
            f"for example: {option.kind.example}"
        ) from None
    if option.kind.is_path:
        return tuple(resolved_path(part, base) for part in value) if isinstance(value, tuple) else resolved_path(value, base)
    return value


def _what(option: Option, raw: Any) -> str:
    value = plain(raw)
    if option.secret or isinstance(value, Mapping | list | tuple):
        return kind_of(raw)
    shown = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    if len(shown) > _SHOWN_LENGTH:
        return kind_of(raw)
    return f"{kind_of(raw)} {shown}"
