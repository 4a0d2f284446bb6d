from __future__ import annotations

import pytest

from pulsar.client.destination import base_url, submit_params, url_to_destination_params, without_token


@pytest.mark.parametrize(
    ("url", "expected", "token"),
    [
        ("pulsar://http://host:8913/", "http://host:8913/", None),
        ("https://TOKEN@host:8914/managers/q", "https://host:8914/managers/q/", "TOKEN"),
        ("pulsar://https://tok@h:1/managers/a/", "https://h:1/managers/a/", "tok"),
        ("http://host:8913", "http://host:8913/", None),
        ("https://a@b@h:1/", "https://h:1/", "a@b"),
    ],
)
def test_a_legacy_url_holds_address_and_token(url: str, expected: str, token: str | None) -> None:
    assert url_to_destination_params(url) == {"url": expected, "private_token": token}


@pytest.mark.parametrize(
    ("url", "manager", "expected"),
    [
        ("http://h:8913", None, "http://h:8913/"),
        ("h:8913/", None, "http://h:8913/"),
        ("https://h/pulsar", None, "https://h/pulsar/"),
        ("http://h:8913", "q", "http://h:8913/managers/q/"),
        ("http://h/pulsar", "q", "http://h/pulsar/managers/q/"),
        ("http://h/managers/a", "q", "http://h/managers/a/"),
    ],
)
def test_the_base_of_all_commands(url: str, manager: str | None, expected: str) -> None:
    assert base_url(url, manager) == expected


def test_submit_params_lose_their_prefix() -> None:
    assert submit_params({"submit_user": "u", "submit_native_specification": "-q", "url": "x"}) == {
        "user": "u",
        "native_specification": "-q",
    }


def test_an_address_for_people_has_no_token() -> None:
    assert without_token("https://secret@h:1/jobs?private_token=secret#x") == "https://h:1/jobs"
