"""Names from outside: which are allowed, and where they lead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pulsar.errors import RequestError, UnsafePath
from pulsar.protocol.layout import BOOKKEEPING, JobDirectory, checked_job_id, open_inside, split_name

JOB = JobDirectory("/staging/1")


@pytest.mark.parametrize("job_id", ["1", "a b", "$(x)", "é", "..x", "1.2", "-", "a" * 200])
def test_a_job_id_may_be_any_plain_name(job_id: str) -> None:
    assert checked_job_id(job_id) == job_id


@pytest.mark.parametrize(
    "job_id", ["", ".", "..", "a/b", "/", "a\\b", "a\nb", "a\0b", "\x7f", ".pulsar-trash", "a" * 250, "é" * 120]
)
def test_a_job_id_is_never_more_than_a_name(job_id: str) -> None:
    with pytest.raises(RequestError):
        checked_job_id(job_id)


@pytest.mark.parametrize("name", ["", "/", ".", "..", "../x", "a/../../x", "/etc/passwd", "a\0b", "a/..", "./.."])
def test_a_name_never_climbs(name: str) -> None:
    with pytest.raises(UnsafePath, match="outside an authorized directory"):
        split_name(name)


@pytest.mark.parametrize(
    ("name", "segments"), [("a", ("a",)), ("a/b.txt", ("a", "b.txt")), ("./a//b", ("a", "b")), ("..a", ("..a",))]
)
def test_a_name_is_split(name: str, segments: tuple[str, ...]) -> None:
    assert split_name(name) == segments


@pytest.mark.parametrize(
    ("path_type", "name", "expected"),
    [
        ("input", "a/b", ("/staging/1/inputs", ("a", "b"))),
        ("unstructured", "md5/x", ("/staging/1/unstructured", ("md5", "x"))),
        ("config", "../x", ("/staging/1/configs", ("x",))),
        ("config", "a/b/c", ("/staging/1/configs", ("c",))),
        ("tool", "t/x.py", ("/staging/1/tool_files", ("t", "x.py"))),
        ("workdir", "/abs/x", ("/staging/1/working", ("x",))),
        ("jobdir", "tool_script.sh", ("/staging/1", ("tool_script.sh",))),
        ("output_metadata", "m", ("/staging/1/metadata", ("m",))),
        ("output_workdir", "d/x", ("/staging/1/working", ("d", "x"))),
    ],
)
def test_an_upload_goes_to_the_directory_of_its_type(path_type: str, name: str, expected: tuple[str, tuple[str, ...]]) -> None:
    assert JOB.upload_segments(path_type, name) == expected


@pytest.mark.parametrize("name", sorted(BOOKKEEPING))
def test_no_upload_may_write_what_belongs_to_the_node(name: str) -> None:
    for spelling in (name, f"x/{name}", f"./{name}"):
        with pytest.raises(RequestError):
            JOB.upload_segments("jobdir", spelling)


def test_an_unknown_type_is_named_with_those_there_are() -> None:
    with pytest.raises(RequestError, match="input"):
        JOB.upload_segments("nonsense", "x")


def test_a_download_of_any_other_type_looks_below_outputs() -> None:
    assert JOB.output_segments("input", "x") == ("/staging/1/outputs", ("x",))
    assert JOB.output_segments("output_workdir", "x/y") == ("/staging/1/working", ("x", "y"))


def test_links_are_resolved_inside_and_refused_outside(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "real").write_text("x")
    (tmp_path / "in" / "good").symlink_to("real")
    (tmp_path / "in" / "bad").symlink_to("/etc/passwd")
    (tmp_path / "in" / "loop").symlink_to("loop")
    directory = JobDirectory(str(tmp_path))
    root = str(tmp_path / "in")
    assert directory.resolved(root, ("good",)) == (root, ("real",))
    with pytest.raises(UnsafePath):
        directory.resolved(root, ("bad",))


@pytest.mark.parametrize("segments", [("link",), ("dir-link", "passwd"), ("dir-link", "x", "y")])
def test_nothing_is_opened_through_a_link(tmp_path: Path, segments: tuple[str, ...]) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "dir-link").symlink_to("/etc")
    with pytest.raises(UnsafePath):
        os.close(open_inside(str(tmp_path), segments, os.O_RDONLY))


def test_contents_are_files_only_and_uploads_under_way_are_hidden(tmp_path: Path) -> None:
    (tmp_path / "a" / "empty").mkdir(parents=True)
    (tmp_path / "a" / "x").touch()
    (tmp_path / ".pulsar-upload-1").touch()
    (tmp_path / "link").symlink_to("a/x")
    (tmp_path / "dir-link").symlink_to("a")
    assert sorted(JobDirectory.contents(str(tmp_path))) == ["a/x", "link"]
    assert list(JobDirectory.contents(str(tmp_path / "missing"))) == []
