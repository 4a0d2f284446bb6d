"""Replacing Galaxy's paths by the server's in a command line and in configuration files (specification 13.3). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["paths_below_in_text", "rewrite_text"]


def rewrite_text(text: str, rewrites: Mapping[str, str]) -> str:
    """Return ``text`` with every key of ``rewrites`` replaced by its value.

    Of two keys that begin alike the longer one wins, and what was put in is not searched again: a server's path may well
    contain one of Galaxy's.
    """
    if not rewrites:
        return text
    longest_first = sorted(rewrites, key=len, reverse=True)
    pattern = re.compile("|".join(re.escape(path) for path in longest_first))
    return pattern.sub(lambda match: rewrites[match.group(0)], text)


def paths_below_in_text(text: str, directory: str) -> list[str]:
    """Return the paths below ``directory`` that stand in ``text``, in their order, none of them twice."""
    pattern = re.compile(re.escape(directory.rstrip("/")) + r"""/[^\s,;"'|&<>()]+""")
    return list(dict.fromkeys(match.group(0).rstrip("/") for match in pattern.finditer(text)))
