"""Which action a path gets: the first rule that matches it, else a default (specification 5.2 and 5.3). Pure."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pulsar.client.action_file import read_action_file
from pulsar.client.actions import ACTION_TYPES, UNSET, FileAction, galaxy_url
from pulsar.client.exceptions import ActionError

__all__ = ["ALL_PATH_TYPES", "DEFAULT_PATH_TYPES", "FileActionMapper", "Rule"]

#: The order of the wire.
DEFAULT_PATH_TYPES = (
    "input",
    "config",
    "tool",
    "workdir",
    "jobdir",
    "metadata",
    "output",
    "output_workdir",
    "output_metadata",
    "output_jobdir",
)
ALL_PATH_TYPES = (*DEFAULT_PATH_TYPES, "unstructured")
_MACROS = {"*defaults*": DEFAULT_PATH_TYPES, "*any*": ALL_PATH_TYPES}

#: Directories that are never the same on both sides: what would be left alone there is copied.
_ALWAYS_DIFFERENT = frozenset({"workdir", "jobdir", "metadata", "output_workdir", "output_metadata", "output_jobdir"})

#: Types that are left alone unless a rule names them.
_OPT_IN_TYPES = frozenset({"unstructured", "container"})

_MATCH_TYPES = ("prefix", "glob", "regex", "path_type_only")

#: What a path in a command line is made of, for rules that search one.
_PATH_CHAR = r"""[^\s,'"]"""


@dataclass(frozen=True)
class Rule:
    """One entry of ``paths``: these paths of these types get that action."""

    action: str = "transfer"
    path_types: tuple[str, ...] = DEFAULT_PATH_TYPES
    match_type: str = "prefix"
    path: str | None = None
    #: For unstructured files: how many levels above the file the tree begins that travels with it.
    depth: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Rule:
        """Read an entry of ``paths`` or its serialised form; :class:`ActionError` names the key that is wrong."""
        action = _known_action(document.get("action") or "transfer", "action")
        path = document.get("path")
        match_type = document.get("match_type") or "prefix"
        if path is None:
            match_type = "path_type_only"
        if match_type not in _MATCH_TYPES:
            raise ActionError(f"match_type {match_type!r} is none of {', '.join(_MATCH_TYPES)}")
        if path is not None and match_type == "prefix":
            path = posixpath.abspath(path)
        if match_type == "regex":
            _compiled(str(path))
        try:
            depth = int(document.get("depth") or 0)
        except (TypeError, ValueError) as exc:
            raise ActionError("depth must be a whole number") from exc
        return cls(action, _path_types(document.get("path_types")), match_type, path, depth, _options(action, document))

    def to_dict(self) -> dict[str, Any]:
        """Return the serialised form that servers read."""
        document: dict[str, Any] = {
            "action": self.action,
            "path_types": ",".join(self.path_types),
            "match_type": self.match_type,
            "depth": self.depth,
            **self.options,
        }
        if self.path is not None:
            document["path"] = self.path
        return document

    def matches(self, path: str, path_type: str) -> bool:
        """Return whether the rule speaks of this absolute path of this type."""
        if path_type not in self.path_types:
            return False
        match self.match_type:
            case "path_type_only":
                return True
            case "prefix":
                # Textual, as every other implementation does it: /data matches /database too.
                return path.startswith(self.path or "")
            case "glob":
                return fnmatch.fnmatch(path, self.path or "")
            case _:
                return _compiled(self.path or "").match(path) is not None

    @cached_property
    def in_text(self) -> re.Pattern[str] | None:
        """What finds the paths of this rule in a command line or a configuration file; None for rules without a path."""
        match self.match_type:
            case "prefix":
                return re.compile(f"{re.escape((self.path or '').rstrip('/'))}/{_PATH_CHAR}+")
            case "glob":
                words = re.split(r"(\*|\?)", self.path or "")
                return re.compile("".join({"*": f"{_PATH_CHAR}*", "?": _PATH_CHAR}.get(word, re.escape(word)) for word in words))
            case "regex":
                return _compiled(self.path or "")
            case _:
                return None


class FileActionMapper:
    """The rules of one destination, with the default and what ``remote_*`` actions need to know."""

    def __init__(
        self,
        rules: tuple[Rule, ...] = (),
        default_action: str = "transfer",
        *,
        files_endpoint: str | None = None,
        ssh: Mapping[str, Any] | None = None,
    ) -> None:
        self.rules = rules
        self.default_action = _known_action(default_action, "default_file_action")
        self.files_endpoint = files_endpoint
        self._ssh = {name: (ssh or {}).get(name) for name in ("ssh_key", "ssh_user", "ssh_port", "ssh_host")}

    @classmethod
    def from_params(
        cls,
        destination_params: Mapping[str, Any],
        *,
        files_endpoint: str | None = None,
    ) -> FileActionMapper:
        """Return the mapper of a destination: ``file_action_config`` names a file, ``file_actions`` is one written out."""
        config = destination_params.get("file_actions")
        path = destination_params.get("file_action_config")
        if not config and path:
            config = read_action_file(path)
        return cls(
            _rules(config or {}),
            destination_params.get("default_file_action") or "transfer",
            files_endpoint=files_endpoint,
            ssh=destination_params,
        )

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> FileActionMapper:
        """Read the serialised form."""
        default = document.get("default_action") or "transfer"
        return cls(_rules(document), default, files_endpoint=document.get("files_endpoint"), ssh=document)

    def to_dict(self) -> dict[str, Any]:
        """Return the ``action_mapper`` object of specification 4.3."""
        return {
            "default_action": self.default_action,
            "files_endpoint": self.files_endpoint,
            **self._ssh,
            "paths": [rule.to_dict() for rule in self.rules],
        }

    def action(
        self, path: str, path_type: str, object_store_ref: Mapping[str, Any] | None = None, rule: Rule | None = None
    ) -> FileAction:
        """Return what happens to ``path``; ``rule``, when given, has been chosen already."""
        path = posixpath.abspath(path)
        rule = rule or self._rule(path, path_type)
        name = rule.action if rule else self._default(path_type)
        options: dict[str, Any] = dict(rule.options if rule else dict.fromkeys(ACTION_TYPES[name].optional, UNSET))
        if name == "none" and path_type in _ALWAYS_DIFFERENT:
            name, options = "copy", {}
        for key, value in options.items():
            if value == UNSET:
                options[key] = self._ssh.get(key)
        if ACTION_TYPES[name].needs_url:
            options["url"] = galaxy_url(self.files_endpoint, path, path_type)
        return FileAction(name, path, object_store_ref, options)

    def unstructured_rules(self) -> Iterator[Rule]:
        """Yield the rules that speak of unstructured files and do something with them."""
        for rule in self.rules:
            if "unstructured" in rule.path_types and rule.action != "none":
                yield rule

    def rule_for_unstructured(self, path: str) -> Rule | None:
        """Return the rule for an absolute path that is no known file of the job; None when it is left alone."""
        rule = self._rule(path, "unstructured")
        return None if rule is None or rule.action == "none" else rule

    def _rule(self, path: str, path_type: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.matches(path, path_type)), None)

    def _default(self, path_type: str) -> str:
        return "none" if path_type in _OPT_IN_TYPES else self.default_action


def _rules(config: Mapping[str, Any]) -> tuple[Rule, ...]:
    entries = config.get("paths") or []
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ActionError('the file actions must be {"paths": [{...}, ...]}')
    return tuple(Rule.from_dict(entry) for entry in entries)


def _known_action(name: Any, key: str) -> str:
    if name not in ACTION_TYPES:
        raise ActionError(f"{key} {name!r} is none of {', '.join(ACTION_TYPES)}")
    return str(name)


def _path_types(text: Any) -> tuple[str, ...]:
    if not text:
        return DEFAULT_PATH_TYPES
    found: list[str] = []
    for word in str(text).split(","):
        name = word.strip()
        found.extend(_MACROS.get(name, (name,)))
    return tuple(found)


def _options(action: str, document: Mapping[str, Any]) -> dict[str, Any]:
    row = ACTION_TYPES[action]
    options: dict[str, Any] = {}
    for key in row.required:
        if not document.get(key):
            raise ActionError(f"the action {action!r} needs {key}")
        options[key] = document[key]
    for key in row.optional:
        options[key] = document.get(key, UNSET)
    return options


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as exc:
        raise ActionError(f"the path {pattern!r} is not a regular expression: {exc}") from exc
