from __future__ import annotations

import pytest

from pulsar.client.staging.rewriting import paths_below_in_text, rewrite_text


def test_the_longer_of_two_paths_wins() -> None:
    rewrites = {"/g/dataset_1": "/R/short", "/g/dataset_1_files/a": "/R/long"}
    assert rewrite_text("x /g/dataset_1_files/a /g/dataset_1", rewrites) == "x /R/long /R/short"


def test_what_was_put_in_is_not_searched_again() -> None:
    assert rewrite_text("/g/a", {"/g/a": "/R/g/a/g/b", "/g/b": "/wrong"}) == "/R/g/a/g/b"


def test_a_path_inside_a_longer_word_is_replaced_too() -> None:
    assert rewrite_text("sort -o /g/out.dat.tmp", {"/g/out.dat": "/R/out.dat"}) == "sort -o /R/out.dat.tmp"


def test_characters_that_mean_something_in_patterns_are_plain() -> None:
    assert rewrite_text("/g/a+b(1).dat /g/aab1.dat", {"/g/a+b(1).dat": r"/R/\1"}) == r"/R/\1 /g/aab1.dat"


def test_without_rewrites_a_text_is_left_alone() -> None:
    assert rewrite_text("/g/a", {}) == "/g/a"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python /t/script.py x", ["/t/script.py"]),
        ("python '/t/sub/a.py' \"/t/b.py\";/t/c.py|cat", ["/t/sub/a.py", "/t/b.py", "/t/c.py"]),
        ("/t/a.py /t/a.py", ["/t/a.py"]),
        ("cd /t && ls /tt/x", []),
        ("ls /t/sub/", ["/t/sub"]),
    ],
)
def test_paths_of_a_tool_in_a_command(text: str, expected: list[str]) -> None:
    assert paths_below_in_text(text, "/t/") == expected
