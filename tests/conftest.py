"""Tests that need a real service: left out and named when it is not there, failures when it has to be.

A test says which with ``@pytest.mark.service("nginx")``. Where ``CI`` or ``SERVICES=1`` is set, a missing service is a failure.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HOW_TO_BRING_THEM = "SERVICES=1 make test"


def _has_command(name: str) -> bool:
    beside_python = Path(sys.executable).parent / name
    return (
        beside_python.is_file() or shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))) is not None
    )


#: How each service is recognised.
SERVICES: dict[str, Callable[[], bool]] = {
    # Not a program, but as rare on a laptop: a small disk of one's own, to be filled up.
    "mount": lambda: os.geteuid() == 0 and _has_command("mount"),
    "nginx": lambda: _has_command("nginx"),
    "openssl": lambda: _has_command("openssl"),
    "paste": lambda: importlib.util.find_spec("paste.httpserver") is not None,
    "supervisor": lambda: _has_command("supervisord") and _has_command("supervisorctl"),
    "uwsgi": lambda: _has_command("uwsgi"),
}

_left_out: dict[str, int] = {}


def _missing_services(item: pytest.Item) -> list[str]:
    names = [str(name) for mark in item.iter_markers("service") for name in mark.args]
    unknown = [name for name in names if name not in SERVICES]
    if unknown:
        raise pytest.UsageError(f"{item.nodeid}: tests/conftest.py knows no service {', '.join(unknown)}")
    return [name for name in names if not SERVICES[name]()]


def _are_needed() -> bool:
    return bool(os.environ.get("CI")) or os.environ.get("SERVICES") == "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot run, unless it has to."""
    if _are_needed():
        return
    kept, left_out = [], []
    for item in items:
        missing = _missing_services(item)
        for name in missing:
            _left_out[name] = _left_out.get(name, 0) + 1
        (left_out if missing else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail where a service has to be there and is not."""
    missing = _missing_services(item)
    if missing:
        pytest.fail(f"{', '.join(missing)} is not there; make services brings it", pytrace=False)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Say as the last thing what was left out, and how it is brought in."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if _left_out and reporter is not None:
        for name, count in sorted(_left_out.items()):
            reporter.write_line(f"left out: {count} {'test' if count == 1 else 'tests'} that need {name}, which is not installed")
        reporter.write_line(f"to run them as well: {HOW_TO_BRING_THEM}")
