from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from pulsar.client.action_mapper import FileActionMapper
from pulsar.client.staging.unstructured import paths_in_text, unstructured_names
from tests.unit.client.conftest import write


def mapper(*rules: dict[str, Any]) -> FileActionMapper:
    paths = [{"path_types": "unstructured", **rule} for rule in rules]
    return FileActionMapper.from_params({"file_actions": {"paths": paths}})


def found(rules: FileActionMapper, *texts: str) -> list[tuple[str, str]]:
    return [(path, rule.action) for path, rule in paths_in_text(rules, texts)]


def test_each_path_is_found_once_with_the_rule_that_decides() -> None:
    rules = mapper({"path": "/i/fast", "action": "copy"}, {"path": "/i", "action": "transfer"})
    assert found(rules, "x /i/fast/a /i/b", "/i/b") == [("/i/fast/a", "copy"), ("/i/b", "transfer")]


def test_a_rule_that_leaves_alone_hides_later_ones() -> None:
    rules = mapper({"path": "/i/shared", "action": "none"}, {"path": "/i", "action": "transfer"})
    assert found(rules, "/i/shared/a /i/b") == [("/i/b", "transfer")]


@pytest.mark.parametrize("rule", [{"action": "copy"}, {"path": r"\w+", "match_type": "regex", "action": "copy"}])
def test_words_that_are_no_absolute_paths_are_not_found(rule: dict[str, Any]) -> None:
    assert found(mapper(rule), "some words") == []


def test_a_directory_travels_whole(tmp_path: Path) -> None:
    for name in ("d/a", "d/b/c", "e"):
        write(tmp_path / name)
    path = str(tmp_path / "d")
    digest = hashlib.md5(path.encode()).hexdigest()
    assert unstructured_names(path, 0) == {f"{path}/a": f"{digest}/d/a", f"{path}/b/c": f"{digest}/d/b/c"}


def test_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert unstructured_names(str(tmp_path / "missing"), 0) == {}
