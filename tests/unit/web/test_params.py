"""Reading query strings and paths: the same as the standard library reads them, quickly, and errors that name the key."""

from __future__ import annotations

import contextlib
import json
import time
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulsar.errors import RequestError
from pulsar.web.params import decoded_path, json_value, launch_request, query_values, token_endpoint_of

texts = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"))


@given(st.dictionaries(texts, texts), st.sampled_from([quote, quote_plus]))
def test_values_are_read_as_they_were_written(values: dict[str, str], quoting: object) -> None:
    query = urlencode(values, quote_via=quoting)  # type: ignore[call-overload]
    assert query_values(query, values.keys()) == values


@given(st.text(alphabet="%&=+ab0Cé\xff\n;~_\t?/#[]-", max_size=60))
def test_any_query_is_read_as_the_standard_library_reads_it_or_refused(query: str) -> None:
    expected: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, encoding="latin-1"):
        try:
            expected.setdefault(name, value.encode("latin-1").decode("utf-8"))
        except UnicodeDecodeError:
            return
    try:
        found = query_values(query, {"a", "b", "ab", ""})
    except RequestError:
        return
    found.pop("", None)
    assert found == {name: value for name, value in expected.items() if name in ("a", "b", "ab")}


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_comes_the_only_error_is_one_of_the_request(path: str, uri: str) -> None:
    for text in (path, uri):
        try:
            decoded_path(text.encode("utf-8", "replace").decode("latin-1"), uri)
            query_values(text, {"a"})
            json_value("a", text)
        except RequestError:
            pass


@pytest.mark.parametrize(
    "value", ["%", "%f", "%zz", "a%", "%%41", "%u0041", "%ff", "%c3", "%ed%a0%80", "%00", "a%00", "\xff", "\0"]
)
def test_what_is_no_encoded_text_is_refused_with_the_name_of_the_key(value: str) -> None:
    with pytest.raises(RequestError, match="key"):
        query_values(f"other=%zz&key={value}", {"key"})


def test_first_of_repeated_keys_blank_values_and_escaped_names() -> None:
    assert query_values("a=1&a=2&b=&c&%61=3&d=x=y", {"a", "b", "c", "d"}) == {"a": "1", "b": "", "c": "", "d": "x=y"}
    assert query_values("%61=3", {"a"}) == {"a": "3"}
    assert query_values("", {"a"}) == {}


def test_four_mebibytes_take_a_fraction_of_a_second() -> None:
    for query in (
        "a=" + "%41" * (4 * 2**20 // 3),
        "a=" + "%" * (4 * 2**20),
        "a=" + "x" * (4 * 2**20),
        "&" * (4 * 2**20),
        "a=1&" * 2**20,
        "=" * (4 * 2**20),
        "%61=" * 2**20,
    ):
        start = time.monotonic()
        with contextlib.suppress(RequestError):
            query_values(query, {"a"})
        assert time.monotonic() - start < 2, query[:20]


@pytest.mark.parametrize(
    ("path", "uri", "text"),
    [
        ("/jobs/7", "/jobs/7", "/jobs/7"),
        ("/jobs/a b", "/jobs/a%20b", "/jobs/a b"),
        ("/jobs/\xc3\xbc", "/jobs/%C3%BC?x=%zz%2F", "/jobs/ü"),
        ("/jobs/\xc3\xbc", None, "/jobs/ü"),
        ("/jobs/%2F", "/jobs/%252F", "/jobs/%2F"),
        ("/jobs/7", "http://host/jobs/7?%", "/jobs/7"),
    ],
)
def test_paths_are_decoded_once(path: str, uri: str | None, text: str) -> None:
    assert decoded_path(path, uri) == text


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("/jobs/a/b", "/jobs/a%2Fb"),
        ("/jobs/a/b", "/jobs/a%2fb?x"),
        ("/jobs/%", "/jobs/%"),
        ("/jobs/%zz", "/jobs/%zz"),
        ("/jobs/\xff", "/jobs/%ff"),
        ("/jobs/\xff", None),
        ("/jobs/\0", "/jobs/%00"),
        ("/jobs/7\0", None),
    ],
)
def test_paths_that_are_none_are_refused(path: str, uri: str | None) -> None:
    with pytest.raises(RequestError):
        decoded_path(path, uri)


@pytest.mark.parametrize("text", [None, "", "null"])
def test_an_absent_json_value_is_none(text: str | None) -> None:
    assert json_value("key", text) is None


@pytest.mark.parametrize(
    "text", ["{", "nul", "[1,]", "NaN", "[Infinity]", "1" * 5000, "[" * 101 + "]" * 101, '"\\ud800"', "\ufeff{}"]
)
def test_json_that_is_none_is_refused_with_the_name_of_the_key(text: str) -> None:
    with pytest.raises(RequestError, match="key"):
        json_value("key", text)


def test_json_is_read() -> None:
    wide = json.dumps([{"a": [1]}] * 1000)
    assert json_value("key", wide) == json.loads(wide)
    assert json_value("key", "[" * 100 + "]" * 100) == json.loads("[" * 100 + "]" * 100)
    assert json_value("key", '"\\ud83d\\ude00"') == "😀"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (None, None),
        ("", None),
        ("null", None),
        ("https://g/x", "https://g/x"),
        ('{"token_endpoint": "https://g/x"}', "https://g/x"),
        ('{"token_endpoint": null}', None),
        ("{}", None),
        ('"https://g/x"', "https://g/x"),
    ],
)
def test_the_token_endpoint_has_two_spellings(text: str | None, url: str | None) -> None:
    assert token_endpoint_of(text) == url


def test_the_defaults_of_a_launch_request() -> None:
    request = launch_request({"command_line": "true"})
    assert (request.submit_params, request.dependencies_description, request.setup_params) == ({}, None, {})
    assert (request.remote_staging, request.env, request.dynamic_file_sources, request.cvmfsexec) == ({}, [], None, None)
    assert (request.touch_outputs, request.token_endpoint) == ([], None)
