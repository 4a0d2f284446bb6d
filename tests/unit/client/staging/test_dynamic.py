from __future__ import annotations

import json
import logging

import pytest

from pulsar.client.exceptions import StagingError
from pulsar.client.staging import DEFAULT_DYNAMIC_COLLECTION_PATTERN
from pulsar.client.staging.dynamic import DynamicRules, References


@pytest.mark.parametrize(
    ("name", "matches"),
    [
        ("galaxy.json", True),
        ("primary_1_a.txt", True),
        ("metadata_7", True),
        ("dataset_12.dat", True),
        ("dataset_12_files/a", True),
        ("outputs_populated/x", True),
        ("__instrument_core", True),
        ("tool_stdout", True),
        ("galaxy.json.bak", True),
        ("my_galaxy.json", False),
        ("sub/galaxy.json", False),
        ("dataset_x.dat", False),
    ],
)
def test_patterns_are_anchored_at_the_start_only(name: str, matches: bool) -> None:
    assert DynamicRules.of(DEFAULT_DYNAMIC_COLLECTION_PATTERN, ()).match(name) is matches


@pytest.mark.parametrize(
    ("directory", "pattern", "name", "matches"),
    [
        (None, r".*\.txt", "a.txt", True),
        ("", r".*\.txt", "b/a.txt", True),
        ("sub", r"\w+\.txt", "sub/a.txt", True),
        ("./sub/", r"\w+\.txt", "sub/a.txt", True),
        ("sub", r"\w+\.txt", "sub2/a.txt", False),
        ("sub", r"\w+\.txt", "a.txt", False),
        ("sub", r"a", "sub/b", False),
        (".", r"\w+\.txt", "a.txt", True),
    ],
)
def test_collections_look_into_their_directory(directory: str | None, pattern: str, name: str, matches: bool) -> None:
    rules = DynamicRules.of((), [{"directory": directory, "pattern": pattern, "discover_via": "pattern"}])
    assert rules.match(name) is matches


def test_a_collection_without_a_pattern_says_nothing() -> None:
    assert not DynamicRules.of((), [{"discover_via": "tool_provided_metadata", "directory": "x"}]).match("x/y")


@pytest.mark.parametrize("rules", [(["("], []), ([], [{"pattern": "("}])])
def test_an_expression_that_is_none_is_named(rules: tuple[list[str], list[dict[str, str]]]) -> None:
    with pytest.raises(StagingError, match="regular expression"):
        DynamicRules.of(*rules)


def test_both_styles_of_galaxy_json_name_files_at_any_depth() -> None:
    entries = [{"filename": "a"}, {"x": [{"filename": "./b/c"}], "y": {"extra_files": "extra"}}]
    one = References.of([{"type": "galaxy", "path": "galaxy.json", "contents": json.dumps(entries)}])
    lines = References.of([{"type": "legacy_galaxy", "path": "galaxy.json", "contents": "\n\n".join(map(json.dumps, entries))}])
    for references in (one, lines):
        assert [name for name in ("a", "ab", "b/c", "extra/x", "extra2", "other") if references.match(name)] == [
            "a",
            "b/c",
            "extra/x",
            "extra2",
        ]


def test_a_document_that_cannot_be_parsed_is_logged_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        references = References.of([{"type": "galaxy", "path": "galaxy.json", "contents": "{"}])
    assert references == References()
    assert "galaxy.json" in caplog.text


def test_an_unknown_type_is_an_error() -> None:
    with pytest.raises(StagingError, match="'xml'"):
        References.of([{"type": "xml", "contents": "{}"}])


@pytest.mark.parametrize("contents", [None, "", "3", '["filename"]', '{"filename": 3}', '{"filename": ""}'])
def test_documents_without_names_are_harmless(contents: str | None) -> None:
    assert not References.of([{"type": "galaxy", "contents": contents}]).match("filename")
