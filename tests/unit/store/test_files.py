"""What is particular to job directories on a disk: full disks, slow disks, modes, and what is left behind."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pulsar.errors import Forbidden, NodeError, PulsarError, StorageFull
from pulsar.protocol.layout import CREATED_AT_SETUP
from pulsar.store import trash
from pulsar.store.files import DiskJobFiles

MIB = 1 << 20


def endless(size: int) -> bytes:
    return b"x" * size


def of_size(total: int) -> Callable[[int], bytes]:
    left = total

    def source(size: int) -> bytes:
        nonlocal left
        block = bytes(min(size, left))
        left -= len(block)
        return block

    return source


@pytest.fixture
def files(tmp_path: Path) -> DiskJobFiles:
    return DiskJobFiles(None, [str(tmp_path)])


@pytest.fixture
def job(files: DiskJobFiles, tmp_path: Path) -> Path:
    files.create(str(tmp_path / "7"), None)
    return tmp_path / "7"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB with few inodes."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=40", "tmpfs", str(place)]
    subprocess.run(command, check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.service("mount")
def test_a_full_disk_leaves_nothing_and_works_again(small_disk: Path) -> None:
    files = DiskJobFiles(None, [str(small_disk)])
    job = small_disk / "7"
    files.create(str(job), None)
    files.receive(str(job), "input", "x", of_size(MIB))
    with pytest.raises(StorageFull):
        files.receive(str(job), "input", "y", endless)
    with pytest.raises(StorageFull):
        files.receive(str(job), "input", "x", endless)
    assert os.listdir(job / "inputs") == ["x"]
    assert (job / "inputs" / "x").stat().st_size == MIB
    files.receive(str(job), "input", "y", of_size(MIB // 2))
    assert (job / "inputs" / "y").stat().st_size == MIB // 2


@pytest.mark.service("mount")
def test_no_inodes_left_is_a_full_disk_too(small_disk: Path) -> None:
    files = DiskJobFiles(None, [str(small_disk)])
    files.create(str(small_disk / "7"), None)
    with pytest.raises(StorageFull):
        files.touch_outputs(str(small_disk / "7"), [f"o{n}" for n in range(50)])
    with pytest.raises(StorageFull):
        files.write(str(small_disk / "7"), "tool_id", "x")
    with pytest.raises(StorageFull):
        files.create(str(small_disk / "8"), None)


def test_a_job_can_be_removed_from_a_full_disk(small_disk: Path) -> None:
    files = DiskJobFiles(None, [str(small_disk)])
    files.create(str(small_disk / "7"), None)
    with pytest.raises(StorageFull):
        files.touch_outputs(str(small_disk / "7"), [f"deep/o{n}" for n in range(50)])
    files.remove(str(small_disk / "7"))
    assert not files.exists(str(small_disk / "7"))
    files.sweep()
    files.create(str(small_disk / "8"), None)
    assert sorted(os.listdir(small_disk / "8")) == sorted(CREATED_AT_SETUP)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_write_that_finds_no_room_is_told_apart(
    files: DiskJobFiles, job: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(descriptor: int, content: memoryview) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageFull):
        files.receive(str(job), "input", "x", of_size(10))
    with pytest.raises(StorageFull):
        files.write(str(job), "tool_id", "x")
    monkeypatch.undo()
    assert os.listdir(job / "inputs") == []
    assert sorted(os.listdir(job)) == sorted(CREATED_AT_SETUP)


def test_a_file_system_that_writes_in_small_parts_gets_all(
    files: DiskJobFiles, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:7]))
    files.write(str(job), "tool_id", "0123456789" * 10)
    monkeypatch.undo()
    assert (job / "tool_id").read_text() == "0123456789" * 10


def test_a_disk_that_complains_when_the_file_is_closed_leaves_nothing(
    files: DiskJobFiles, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = os.close
    complained: list[int] = []

    def complain(descriptor: int) -> None:
        is_file = os.readlink(f"/proc/self/fd/{descriptor}").rpartition("/")[2].startswith(".pulsar-upload-")
        close(descriptor)
        if is_file:
            complained.append(descriptor)
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "close", complain)
    with pytest.raises(StorageFull):
        files.receive(str(job), "input", "x", of_size(10))
    monkeypatch.undo()
    assert complained
    assert os.listdir(job / "inputs") == []


def test_an_upload_costs_no_memory(files: DiskJobFiles, job: Path) -> None:
    tracemalloc.start()
    try:
        files.receive(str(job), "input", "x", of_size(64 * MIB))
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()


def test_uploads_obey_the_umask(files: DiskJobFiles, job: Path) -> None:
    before = os.umask(0o027)
    try:
        files.receive(str(job), "input", "x", of_size(1))
        files.write(str(job), "tool_id", "x")
    finally:
        os.umask(before)
    assert (job / "inputs" / "x").stat().st_mode & 0o777 == 0o640
    assert (job / "tool_id").stat().st_mode & 0o777 == 0o640


def test_no_descriptor_is_left_open(files: DiskJobFiles, job: Path) -> None:
    (job / "outputs" / "loop").symlink_to("loop")
    (job / "outputs" / "away").symlink_to("/etc")
    os.mkfifo(job / "outputs" / "fifo")
    before = len(os.listdir("/proc/self/fd"))
    for name in ("x", "loop", "away/passwd", "fifo", "../x", "a/b"):
        for call in (
            lambda name=name: files.receive(str(job), "output", name, of_size(3)),
            lambda name=name: files.upload_path(str(job), "output", name),
            lambda name=name: files.open_output(str(job), "output", name).stream.close(),
        ):
            with contextlib.suppress(PulsarError):
                call()
    files.snapshot(str(job), 10, [{"path": "x"}])
    files.set_aside(str(job))
    files.sweep()
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_cannot_be_deleted_is_named_once_and_tried_again(
    files: DiskJobFiles, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (job / "working" / "stubborn").touch()
    (job / "working" / "soft").touch()
    unlink = os.unlink

    def refuse(path: str, *, dir_fd: int | None = None) -> None:
        if path == "stubborn":
            raise OSError(errno.EBUSY, "Device or resource busy")
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refuse)
    files.remove(str(job))
    with caplog.at_level(logging.WARNING):
        files.sweep()
        first = len(caplog.records)
        files.sweep()
    assert first == len(caplog.records) == 1
    assert "busy" in caplog.text
    left = [path.name for path in (tmp_path / trash.TRASH).rglob("*") if path.is_file()]
    assert left == ["stubborn"]
    monkeypatch.undo()
    files.sweep()
    assert os.listdir(tmp_path / trash.TRASH) == []


def test_a_trash_that_is_a_link_is_not_followed(files: DiskJobFiles, job: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    (tmp_path / trash.TRASH).symlink_to(elsewhere)
    with pytest.raises(NodeError):
        files.remove(str(job))
    files.sweep()
    assert (elsewhere / "file").exists()
    assert job.exists()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_two_sweepers_do_not_disturb_each_other(tmp_path: Path) -> None:
    files = DiskJobFiles(None, [str(tmp_path)])
    for number in range(20):
        job = tmp_path / str(number)
        files.create(str(job), None)
        for name in range(20):
            (job / "working" / str(name)).mkdir()
        files.remove(str(job))
    child = os.fork()
    if child == 0:
        os._exit(len(trash.empty_trash(str(tmp_path))))
    problems = trash.empty_trash(str(tmp_path))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert problems == []
    assert os.listdir(tmp_path / trash.TRASH) == []


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[None]:
    """The test runs as a user without rights, as most nodes do."""
    if os.geteuid() != 0:
        yield
        return
    for parent in tmp_path.parents:
        if parent.owner() == "root" and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    os.chown(tmp_path, 65534, 65534)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_what_the_node_may_not_read_is_forbidden(nobody: None, files: DiskJobFiles, job: Path) -> None:
    (job / "outputs" / "x").touch(mode=0)
    (job / "working").chmod(0)
    with pytest.raises(Forbidden):
        files.open_output(str(job), "output", "x")
    with pytest.raises(Forbidden):
        files.open_output(str(job), "output_workdir", "y")
    with pytest.raises(Forbidden):
        files.receive(str(job), "output_workdir", "y", of_size(1))
    assert files.snapshot(str(job), 10, []).exists
    job.chmod(0)
    with pytest.raises(Forbidden):
        files.open_output(str(job), "output", "x")
    assert not files.snapshot(str(job), 10, []).exists


def test_a_tree_without_permissions_is_removed_all_the_same(nobody: None, files: DiskJobFiles, job: Path, tmp_path: Path) -> None:
    inner = job / "working" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    for path in (inner, inner.parent, job / "working", job):
        path.chmod(0)
    files.remove(str(job))
    files.sweep()
    assert os.listdir(tmp_path / trash.TRASH) == []


def test_a_tree_without_permissions_is_set_aside_all_the_same(nobody: None, files: DiskJobFiles, job: Path) -> None:
    job.chmod(0o500)
    assert sorted(os.listdir(files.set_aside(str(job)))) == sorted(CREATED_AT_SETUP)
