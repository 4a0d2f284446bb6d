"""The kinds of values: the same option reads the same from YAML, an ini file and the environment."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pulsar.config.values import (
    CONCURRENCY,
    COUNT,
    FRACTION,
    MAPPING,
    MODE,
    NESTED,
    PATHS,
    RETRIES,
    SECONDS,
    SIZE,
    TEMPORARY,
    TEXT,
    YES_NO,
    BadValue,
    Kind,
    is_unset,
    kind_of,
)
from pulsar.config.yaml_text import Scalar, parse_yaml


def yaml_value(text: str) -> Any:
    document, _ = parse_yaml(f"key: {text}", "test")
    return document["key"]


@pytest.mark.parametrize("text", ["true", "True", "YES", "on", "1", " true "])
def test_words_for_true(text: str) -> None:
    assert YES_NO.read(text) is True


@pytest.mark.parametrize("text", ["false", "False", "NO", "off", "0"])
def test_text_false_from_the_environment_is_false(text: str) -> None:
    assert YES_NO.read(text) is False


@pytest.mark.parametrize("written", ["no", "'no'", "false", '"false"', "0", "off"])
def test_yaml_says_false_with_and_without_quotes(written: str) -> None:
    assert YES_NO.read(yaml_value(written)) is False


@pytest.mark.parametrize(
    "written", ["0770", "'0770'", '"0770"', "770", "'770'", "0o770", "'0o770'", "504"], ids=lambda text: f"yaml {text}"
)
def test_a_mode_means_the_same_however_it_is_written(written: str) -> None:
    assert MODE.read(yaml_value(written)) == 0o770


@pytest.mark.parametrize("written", ["0777", "'0777'", "511", "777"])
def test_the_unquoted_octal_that_yaml_turns_into_511_is_0777(written: str) -> None:
    assert MODE.read(yaml_value(written)) == 0o777


def test_no_number_makes_a_useful_mode_in_both_readings() -> None:
    both = []
    for number in range(0o10000):
        as_bits = number & 0o700 == 0o700
        digits = str(number)
        as_digits = set(digits) <= set("01234567") and int(digits, 8) & 0o700 == 0o700
        if as_bits and as_digits and int(digits, 8) <= 0o7777:
            both.append(number)
    assert both == []


@pytest.mark.parametrize("raw", ["rwx", "0999", "0077", 63, True, "-1", 10**9, [], "0", ""])
def test_a_mode_that_would_lock_the_node_out_is_refused(raw: object) -> None:
    with pytest.raises(BadValue):
        MODE.read(raw)


def test_concurrency_is_a_count_or_one_per_cpu() -> None:
    assert CONCURRENCY.read(3) == CONCURRENCY.read("3") == 3
    assert CONCURRENCY.read("*") == CONCURRENCY.read(yaml_value('"*"')) == os.cpu_count()


@pytest.mark.parametrize("raw", [0, -1, "many", "", 1.5, True, None, "**", [4]])
def test_a_bad_concurrency_is_refused(raw: object) -> None:
    with pytest.raises(BadValue):
        CONCURRENCY.read(raw)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (COUNT, -1),
        (COUNT, True),
        (COUNT, "1_000"),
        (SIZE, "1M"),
        (SECONDS, 0),
        (SECONDS, "nan"),
        (SECONDS, "inf"),
        (SECONDS, False),
        (FRACTION, -0.1),
        (RETRIES, -2),
        (YES_NO, "maybe"),
        (YES_NO, 2),
        (YES_NO, []),
        (TEXT, {}),
        (TEXT, ["a"]),
        (MAPPING, "a: b: c"),
        (MAPPING, ["a"]),
        (MAPPING, "just text"),
    ],
)
def test_a_value_of_another_kind_is_refused(kind: Kind, raw: object) -> None:
    with pytest.raises(BadValue):
        kind.read(raw)


def test_text_keeps_what_stands_in_the_file() -> None:
    assert [TEXT.read(yaml_value(text)) for text in ("0123", "1.10", "yes", "2026-01-02", "1e3", "abc", "'x y'")] == [
        "0123",
        "1.10",
        "yes",
        "2026-01-02",
        "1e3",
        "abc",
        "x y",
    ]


def test_native_values_of_an_embedding_program_are_understood() -> None:
    assert TEXT.read(5) == "5"
    assert TEXT.read(True) == "true"
    assert SIZE.read(1024.0) == 1024
    assert SECONDS.read("0.5") == SECONDS.read(0.5) == 0.5


def test_lists_come_as_lists_or_with_commas() -> None:
    assert PATHS.read("a, b,,c ") == PATHS.read(["a", "b", "c"]) == ("a", "b", "c")


def test_a_mapping_may_be_yaml_in_a_text() -> None:
    assert MAPPING.read("{a: 1, b: [yes]}") == {"a": 1, "b": [True]}
    assert NESTED.read("{a: 0770}") == {"a": Scalar(0o770, "0770")}


@pytest.mark.parametrize("raw", [True, False, "true", "True", "no"])
def test_a_truth_value_for_tmp_dir_is_the_jobs_own_directory(raw: object) -> None:
    assert TEMPORARY.read(raw) is None


def test_another_text_for_tmp_dir_is_kept_for_the_shell() -> None:
    assert TEMPORARY.read("$(mktemp -d /scratch/XXXX)") == "$(mktemp -d /scratch/XXXX)"


def test_nothing_and_empty_text_are_unset() -> None:
    assert [is_unset(raw) for raw in (None, "", "  ", 0, False, [], "x")] == [True, True, True, False, False, False, False]


def test_kinds_have_words() -> None:
    assert [kind_of(raw) for raw in (True, 1, 1.5, "a", [], {}, None)] == [
        "a truth value",
        "a number",
        "a number",
        "text",
        "a list",
        "a mapping",
        "nothing",
    ]
