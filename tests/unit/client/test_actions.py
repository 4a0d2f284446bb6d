from __future__ import annotations

import pytest

from pulsar.client.actions import ACTION_TYPES, FileAction, Staging, galaxy_url
from pulsar.client.exceptions import ActionError


def test_who_moves_the_bytes() -> None:
    by_staging = {staging: {name for name, row in ACTION_TYPES.items() if row.staging is staging} for staging in Staging}
    assert by_staging[Staging.NOBODY] == {"none", "rewrite"}
    assert by_staging[Staging.CLIENT] == {"transfer", "copy", "message"}
    assert all(name.startswith("remote_") for name in by_staging[Staging.SERVER])


def test_an_action_names_its_file_twice_for_older_servers() -> None:
    action = FileAction("remote_transfer", "/g/a.dat", {"dataset_id": 1}, {"url": "http://g"})
    assert action.to_dict() == {
        "path": "/g/a.dat",
        "source": {"path": "/g/a.dat", "object_store_ref": {"dataset_id": 1}},
        "action_type": "remote_transfer",
        "url": "http://g",
    }
    assert FileAction("transfer", "/g/a.dat").to_dict()["source"] == {"path": "/g/a.dat", "object_store_ref": None}


def test_a_message_is_its_contents() -> None:
    assert FileAction.message("text").to_dict() == {"contents": "text", "action_type": "message"}


@pytest.mark.parametrize(
    ("source", "destination", "path", "expected"),
    [
        ("/a", "/b", "/a/x/y", "/b/x/y"),
        ("/a/", "/b/", "/a/x", "/b/x"),
        ("/a", "/b", "/a", "/b"),
        ("/a", "/a", "/a/x", None),
    ],
)
def test_a_rewrite_replaces_the_leading_directory(source: str, destination: str, path: str, expected: str | None) -> None:
    options = {"source_directory": source, "destination_directory": destination}
    assert FileAction("rewrite", path, options=options).rewritten_path() == expected


@pytest.mark.parametrize("path", ["/elsewhere/x", "/ab/x"])
def test_a_rewrite_of_another_directory_is_an_error(path: str) -> None:
    action = FileAction("rewrite", path, options={"source_directory": "/a", "destination_directory": "/b"})
    with pytest.raises(ActionError, match=path):
        action.rewritten_path()


def test_what_is_moved_is_not_rewritten() -> None:
    assert FileAction("transfer", "/a").rewritten_path() is None


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://g/files", "http://g/files?path=%2Fg%2Fa+b.dat&file_type=input"),
        ("http://g/files?job_key=1", "http://g/files?job_key=1&path=%2Fg%2Fa+b.dat&file_type=input"),
    ],
)
def test_where_the_server_finds_a_file_of_galaxy(endpoint: str, expected: str) -> None:
    assert galaxy_url(endpoint, "/g/a b.dat", "input") == expected


def test_a_remote_transfer_needs_an_endpoint() -> None:
    with pytest.raises(ActionError, match="without defining a files_endpoint"):
        galaxy_url(None, "/g/a", "input")
