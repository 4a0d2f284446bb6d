"""The picture of the layers in docs/architecture.md, read off the imports."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pulsar"

#: What each part may import of ours, itself aside. A part is a package or a module directly below ``pulsar``.
BOTTOM = {"protocol", "errors", "retry", "__init__"}
ALLOWED: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "retry": set(),
    "protocol": {"errors"},
    "jobs": BOTTOM,
    "config": BOTTOM,
    "store": BOTTOM | {"jobs"},
    "managers": BOTTOM | {"jobs"},
    "staging": BOTTOM | {"jobs"},
    "client": BOTTOM,
    "web": BOTTOM | {"jobs", "config", "store", "core"},
    "core": BOTTOM | {"jobs", "config", "store", "managers", "staging"},
    "main": BOTTOM | {"config", "core", "cli"},
    "cli": BOTTOM | {"config", "jobs", "core", "main", "web", "client"},
}

#: Third-party libraries and the only parts that may import them.
LIBRARIES = {
    "yaml": {"config", "client"},
    "psutil": {"managers", "cli"},
    "gunicorn": {"web"},
    "httptools": {"web"},
    "paste": {"web", "cli"},
    "pycurl": {"client"},
    "uwsgi": {"web"},
    "sqlite3": {"store"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imports(path: Path) -> frozenset[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found.add(node.module or "")
            if node.module == "pulsar":
                found.update(f"pulsar.{alias.name}" for alias in node.names)
    return frozenset(found)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_down(path: Path) -> None:
    part = part_of(path)
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("pulsar.") and not name.startswith("pulsar.__")}
    assert ours - {part} <= ALLOWED[part]


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_a_library_is_imported_in_one_part(library: str) -> None:
    importers = {part_of(path) for path in modules() if any(name.split(".")[0] == library for name in imports(path))}
    assert importers <= LIBRARIES[library]


def test_the_job_machine_touches_no_file_socket_or_process() -> None:
    forbidden = {"os", "pathlib", "socket", "subprocess", "sqlite3", "shutil", "tempfile"}
    for path in (PACKAGE / "jobs").glob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & forbidden, path.name
