from __future__ import annotations

import ast
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pulsar.cli import check_payload
from pulsar.cli.check_workspace import OPTION, Workspace


def test_every_workspace_is_another_job(tmp_path: Path) -> None:
    assert Workspace(tmp_path / "a").nonce != Workspace(tmp_path / "b").nonce


def test_the_command_survives_the_shell(tmp_path: Path) -> None:
    words = shlex.split(Workspace(tmp_path).description().command_line or "")
    assert words[words.index("--option") + 1] == OPTION
    assert words[-4:] == [">", "../metadata/tool_stdout", "2>", "../metadata/tool_stderr"]


def test_every_file_of_the_job_exists_before_it_runs(tmp_path: Path) -> None:
    description = Workspace(tmp_path, explicit_tool_files=True).description()
    assert all(Path(client_input.path).exists() for client_input in description.inputs)
    assert all(Path(path).is_file() for path in description.config_files)
    assert description.tool is not None
    assert description.tool_directory_required_files is not None
    declared = description.tool_directory_required_files.find_required_files("")
    assert all((tmp_path / "tool" / name).is_file() for name in declared)


@pytest.mark.parametrize(("legacy", "documents"), [(False, 1), (True, 2)])
def test_the_tool_writes_galaxy_json_in_the_style_that_was_asked_for(tmp_path: Path, legacy: bool, documents: int) -> None:
    space = Workspace(tmp_path, legacy_galaxy_json=legacy)
    command = space.description().command_line or ""
    (ended,) = [subprocess.run(["bash", "-c", command], cwd=space.working, check=False).returncode]
    assert ended == check_payload.EXIT_CODE
    lines = (space.working / "galaxy.json").read_text().splitlines()
    assert [bool(json.loads(line)) for line in lines] == [True] * documents
    assert json.loads(space.facts.read_text())["input"] == space.input_text
    assert {source["type"] for source in space.outputs().dynamic_file_sources or ()} == {"legacy_galaxy" if legacy else "galaxy"}


def test_the_tool_needs_the_standard_library_only_and_an_old_python() -> None:
    source = Path(check_payload.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 7))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= sys.stdlib_module_names
    assert "__future__" not in imported
