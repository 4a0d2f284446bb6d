"""Files that a job uses without Galaxy having named them: indices and other reference data (specification 2.3 and 5.3)."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterable
from pathlib import Path

from pulsar.client.action_mapper import FileActionMapper, Rule
from pulsar.client.files import files_below

__all__ = ["paths_in_text", "unstructured_names"]


def paths_in_text(mapper: FileActionMapper, texts: Iterable[str]) -> list[tuple[str, Rule]]:
    """Return the paths that rules for unstructured files find in the texts, each with the first rule that speaks of it."""
    found: dict[str, Rule] = {}
    for text in texts:
        for rule in mapper.unstructured_rules():
            if rule.in_text is None:
                continue
            for match in rule.in_text.finditer(text):
                path = match.group(0)
                decisive = mapper.rule_for_unstructured(path) if posixpath.isabs(path) else None
                if decisive is not None:
                    found.setdefault(path, decisive)
    return list(found.items())


def unstructured_names(path: str, depth: int) -> dict[str, str]:
    """Return Galaxy path → name below ``unstructured`` for everything that travels with ``path``.

    With ``depth`` 0 that is the file itself, or all of a directory; else the tree that begins ``depth`` levels above it. A
    prefix of file names, such as that of an index, need not exist itself when ``depth`` is at least 1. Names begin with the MD5
    digest of the path, so that equal base names do not meet.
    """
    # A name, not a protection; the digest is what other clients and servers expect.
    digest = hashlib.md5(path.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()
    root = path
    for _ in range(depth):
        root = posixpath.dirname(root)
    if depth == 0:
        if Path(path).is_file():
            return {path: f"{digest}/{posixpath.basename(path)}"}
        root = posixpath.dirname(path)
        within = posixpath.basename(path)
        return {os.path.join(path, name): f"{digest}/{within}/{name}" for name in files_below(path)}
    return {os.path.join(root, name): f"{digest}/{name}" for name in files_below(root)}
