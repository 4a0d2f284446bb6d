"""From a path to a command: a tree of the segments in :data:`pulsar.protocol.commands.COMMANDS`, walked once per request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pulsar.errors import MethodNotAllowed, NotFound
from pulsar.protocol.commands import ANY, Command

__all__ = ["Routes", "Target"]

#: More segments than any route has; the rest of a longer path need not be split.
_MOST_SEGMENTS = 9


class Target(NamedTuple):
    """What a request is for. ``manager`` is None when the path names none."""

    command: Command
    manager: str | None
    variables: dict[str, str]


@dataclass
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    #: Where any segment leads that is not in ``children``.
    variable: _Node | None = None
    #: Names of the variables on the way here.
    names: tuple[str, ...] = ()
    commands: dict[str, Command] = field(default_factory=dict)


class Routes:
    """Every route twice: alone, and behind ``/managers/{manager_name}`` (specification 1.1)."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self._root = _Node()
        for command in commands:
            self._leaf(command).commands[command.method] = command

    def find(self, method: str, path: str) -> Target:
        """Return the target of a decoded path; :class:`NotFound` and :class:`MethodNotAllowed` are different answers."""
        segments = path.split("/", _MOST_SEGMENTS)
        if segments[0]:
            raise NotFound("no such route")
        first, manager = 1, None
        if len(segments) > 3 and segments[1] == "managers":
            first, manager = 3, segments[2]
        node, values = self._root, []
        for segment in segments[first:]:
            child = node.children.get(segment)
            if child is None:
                child = node.variable
                if child is None or not segment:
                    raise NotFound("no such route")
                values.append(segment)
            node = child
        if not node.commands or manager == "":
            raise NotFound("no such route")
        return Target(_by_method(node.commands, method), manager, dict(zip(node.names, values, strict=True)))

    def _leaf(self, command: Command) -> _Node:
        node = self._root
        for segment in command.path.split("/")[1:]:
            if segment.startswith("{"):
                if node.variable is None:
                    node.variable = _Node(names=(*node.names, segment[1:-1]))
                node = node.variable
            else:
                node = node.children.setdefault(segment, _Node(names=node.names))
        return node


def _by_method(commands: dict[str, Command], method: str) -> Command:
    command = commands.get(method) or commands.get(ANY) or (commands.get("GET") if method == "HEAD" else None)
    if command is None:
        allowed = sorted({*commands, *(["HEAD"] if "GET" in commands else [])})
        raise MethodNotAllowed(f"this route takes {', '.join(allowed)}", tuple(allowed))
    return command
