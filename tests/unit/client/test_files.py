from __future__ import annotations

import os
from pathlib import Path

import pytest

from pulsar.client.exceptions import StagingError
from pulsar.client.files import copy_file, files_below, inside, replacing
from tests.unit.client.conftest import write


def test_a_file_appears_with_its_directories(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.txt"
    with replacing(str(target)) as part:
        part.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert files_below(str(tmp_path)) == ["a/b.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "b.txt"
    target.write_text("old")

    def break_off() -> None:
        with replacing(str(target)) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert target.read_text() == "old"
    assert files_below(str(tmp_path)) == ["b.txt"]


def test_what_a_link_points_to_is_replaced_and_its_mode_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "store" / "real.dat", tmp_path / "link.dat"
    write(real, "old")
    real.chmod(0o640)
    link.symlink_to(real)
    with replacing(str(link)) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o640


def test_what_the_file_system_refuses_is_told_with_the_path(tmp_path: Path) -> None:
    blocked = write(tmp_path / "file")
    with pytest.raises(StagingError, match="file/under"), replacing(f"{blocked}/under"):
        pass


def test_copying_a_file_onto_itself_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "kept")
    copy_file(path, path)
    assert Path(path).read_text() == "kept"


def test_only_a_file_can_be_copied(tmp_path: Path) -> None:
    with pytest.raises(StagingError, match="missing"):
        copy_file(str(tmp_path / "missing"), str(tmp_path / "b"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StagingError, match="pipe"):
        copy_file(str(tmp_path / "pipe"), str(tmp_path / "b"))


def test_files_are_listed_in_a_stable_order(tmp_path: Path) -> None:
    for name in ("b", "a/z", "a/b/c", "c"):
        write(tmp_path / name)
    assert files_below(str(tmp_path)) == ["b", "c", "a/z", "a/b/c"]
    assert files_below(str(tmp_path / "no such")) == []


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "a\0b", ".."])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(StagingError):
        inside("/galaxy", name)


def test_a_name_inside_is_joined() -> None:
    assert inside("/galaxy", "a/b..c") == "/galaxy/a/b..c"
