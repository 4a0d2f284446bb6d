"""Which unnamed files of a job come home (specification 4.6 and 6.3). Pure."""

from __future__ import annotations

import json
import logging
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pulsar.client.exceptions import StagingError

__all__ = ["DynamicRules", "References"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DynamicRules:
    """Regular expressions, anchored at the start, on the name of a file; and those of Galaxy's collection descriptions."""

    patterns: tuple[re.Pattern[str], ...] = ()
    #: Pairs of a directory (or None) and what is matched inside it.
    collectors: tuple[tuple[str | None, re.Pattern[str]], ...] = ()

    @classmethod
    def of(cls, dynamic_outputs: Sequence[str], collector_descriptions: Sequence[Mapping[str, Any]]) -> DynamicRules:
        """Return the rules; :class:`StagingError` for an expression that is none."""
        collectors = tuple(
            (description.get("directory"), _compiled(str(description["pattern"])))
            for description in collector_descriptions
            if description.get("pattern")
        )
        return cls(tuple(_compiled(pattern) for pattern in dynamic_outputs), collectors)

    def match(self, name: str) -> bool:
        """Return whether the file ``name``, relative and separated by slashes, is one of those meant."""
        return any(pattern.match(name) for pattern in self.patterns) or any(
            _collects(directory, pattern, name) for directory, pattern in self.collectors
        )


def _collects(directory: str | None, pattern: re.Pattern[str], name: str) -> bool:
    if not directory:
        return pattern.match(name) is not None
    root = posixpath.normpath(directory)
    path = posixpath.normpath(name)
    if root != ".":
        if not path.startswith(f"{root}/"):
            return False
        path = path[len(root) + 1 :]
    return pattern.match(path) is not None


@dataclass(frozen=True)
class References:
    """The working-directory files that a job's own ``galaxy.json`` (in either style) speaks of."""

    names: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, realized_sources: Iterable[Mapping[str, Any]]) -> References:
        """Read the realised dynamic file sources; a document that cannot be parsed is logged and says nothing."""
        names: set[str] = set()
        prefixes: list[str] = []
        for source in realized_sources:
            for document in _documents(source):
                for key, value in _texts(document):
                    if key == "filename":
                        names.add(posixpath.normpath(value))
                    elif key == "extra_files":
                        prefixes.append(value)
        return cls(frozenset(names), tuple(prefixes))

    def match(self, name: str) -> bool:
        """Return whether the file is spoken of, by its name or as one of the extra files."""
        return name in self.names or any(name.startswith(prefix) for prefix in self.prefixes)


def _documents(source: Mapping[str, Any]) -> list[Any]:
    contents = source.get("contents") or ""
    kind = source.get("type")
    if kind not in ("galaxy", "legacy_galaxy"):
        raise StagingError(f"a dynamic file source has the unknown type {kind!r}")
    texts = [contents] if kind == "galaxy" else contents.splitlines()
    try:
        return [json.loads(text) for text in texts if text.strip()]
    except ValueError as exc:
        log.warning("%s of the job is not JSON, and what it may speak of is not collected: %s", source.get("path"), exc)
        return []


def _texts(document: Any) -> Iterator[tuple[str, str]]:
    """Yield every key with its text, at any depth."""
    if isinstance(document, Mapping):
        for key, value in document.items():
            if isinstance(value, str) and value:
                yield str(key), value
            else:
                yield from _texts(value)
    elif isinstance(document, list):
        for item in document:
            yield from _texts(item)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as exc:
        raise StagingError(f"the dynamic output {pattern!r} is not a regular expression: {exc}") from exc
