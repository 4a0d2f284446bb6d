"""What the test run itself does about services that are not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CONFTEST = """
from tests.conftest import *
from tests.conftest import SERVICES
SERVICES["absent"] = lambda: False
SERVICES["present"] = lambda: True
"""
TESTS = """
import pytest
@pytest.mark.service("absent")
def test_a(): pass
@pytest.mark.service("absent")
@pytest.mark.service("present")
def test_b(): pass
@pytest.mark.service("present")
def test_c(): pass
"""


def run(directory: Path, **environ: str) -> tuple[int, list[str]]:
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_x.py").write_text(TESTS)
    (directory / "pytest.ini").write_text("[pytest]\nmarkers =\n    service(name)\n")
    clean = {name: value for name, value in os.environ.items() if name not in ("CI", "SERVICES")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(directory)],
        cwd=directory,
        env={**clean, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout.strip().splitlines()


def test_tests_without_their_service_are_left_out_and_named_last(tmp_path: Path) -> None:
    status, lines = run(tmp_path)
    assert status == 0
    assert lines[-3].startswith("1 passed, 2 deselected")
    assert lines[-2:] == [
        "left out: 2 tests that need absent, which is not installed",
        "to run them as well: SERVICES=1 make test",
    ]


@pytest.mark.parametrize("environ", [{"CI": "true"}, {"SERVICES": "1"}])
def test_where_services_have_to_be_there_a_missing_one_is_a_failure(tmp_path: Path, environ: dict[str, str]) -> None:
    status, lines = run(tmp_path, **environ)
    assert status == 1
    assert "absent is not there; make services brings it" in "\n".join(lines)
    assert "1 passed, 2 errors" in lines[-1]


def test_a_service_that_nobody_knows_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "test_y.py").write_text("import pytest\n@pytest.mark.service('misspelt')\ndef test_d(): pass\n")
    status, _ = run(tmp_path)
    assert status not in (0, 1)
