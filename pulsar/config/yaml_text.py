"""Reading YAML; the one module that imports PyYAML.

An unquoted scalar keeps its source text beside its value (:class:`Scalar`), because YAML guesses types that administrators did
not mean: a token written ``0123`` is not the number 83, and a version ``1.10`` is not 1.1.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import yaml

from pulsar.errors import ConfigError

__all__ = ["Scalar", "parse_yaml", "plain"]


@dataclass(frozen=True)
class Scalar:
    """An unquoted scalar that YAML takes for a number, a truth value or a date, with the text that stands in the file."""

    value: Any
    text: str


class _Loader(yaml.SafeLoader):
    """The safe loader, with :class:`Scalar` for guessed types and a list of the keys that were written twice."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated_keys: list[tuple[str, int]] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    self.repeated_keys.append((key_node.value, key_node.start_mark.line + 1))
                seen.add(key_node.value)
        built = super().construct_mapping(node, deep)
        return {key.text if isinstance(key, Scalar) else key: value for key, value in built.items()}


def _guessed(loader: _Loader, node: yaml.ScalarNode) -> Scalar:
    tag = node.tag.rpartition(":")[2]
    construct = getattr(yaml.SafeLoader, f"construct_yaml_{tag}")
    return Scalar(construct(loader, node), node.value)


for _tag in ("bool", "int", "float", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _guessed)


def parse_yaml(text: str, source: str) -> tuple[Any, list[str]]:
    """Return the one document in ``text`` and warnings about it; ``source`` is what messages call it.

    Raises :class:`ConfigError` with the line. The text at fault is not quoted: it may be a secret.
    """
    try:
        # The constructor already reads the first characters.
        loader = _Loader(text)
        try:
            document = loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark is not None else "somewhere"
        raise ConfigError(
            f"{source}: not valid YAML at {where}; check the indentation, and quote values with one of : # * & ! % @ [ {{ in them"
        ) from None
    return document, [
        f"{source}: {key} is written twice (again in line {line}); the last one counts" for key, line in loader.repeated_keys
    ]


def plain(raw: Any) -> Any:
    """Return ``raw`` with every :class:`Scalar` in it replaced by its value."""
    match raw:
        case Scalar(value=value):
            return value
        case dict():
            return {key: plain(value) for key, value in raw.items()}
        case list() | tuple():
            return [plain(value) for value in raw]
        case _:
            return raw
