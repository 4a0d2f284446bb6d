"""The promises of the ``JobFiles`` port, on every implementation, with whatever a job may have left in its directory."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pulsar.errors import NotFound, PulsarError, RequestError, UnsafePath
from pulsar.jobs.ports import JobFiles
from pulsar.protocol.layout import CREATED_AT_SETUP, PATH_TYPES
from pulsar.store.files import DiskJobFiles


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    return tmp_path / "staging"


@pytest.fixture(params=["locks on disk", "locks in memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path, staging: Path) -> JobFiles:
    locks = str(tmp_path / "locks") if request.param == "locks on disk" else None
    return DiskJobFiles(locks, [str(staging)])


@pytest.fixture
def job(files: JobFiles, staging: Path) -> Path:
    files.create(str(staging / "7"), None)
    return staging / "7"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside of every job."""
    path = tmp_path / "secret"
    path.write_text("keep out")
    return path


def body(*blocks: bytes) -> Callable[[int], bytes]:
    left = iter(blocks)
    return lambda size: next(left, b"")


def everything_below(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*"))


# -- the directory as a whole -------------------------------------------------------------------------------------------


def test_create_makes_the_whole_tree_and_accepts_what_is_there(files: JobFiles, staging: Path) -> None:
    for _ in range(2):
        files.create(str(staging / "7"), None)
    assert sorted(os.listdir(staging / "7")) == sorted(CREATED_AT_SETUP)


def test_create_gives_the_mode_in_spite_of_the_umask(files: JobFiles, staging: Path) -> None:
    before = os.umask(0o077)
    try:
        files.create(str(staging / "7"), 0o2775)
    finally:
        os.umask(before)
    for path in (staging / "7", *(staging / "7").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o2775, path


def test_create_refuses_a_link_in_the_place_of_a_directory(files: JobFiles, job: Path, tmp_path: Path) -> None:
    (job / "inputs").rmdir()
    (job / "inputs").symlink_to(tmp_path)
    with pytest.raises(UnsafePath):
        files.create(str(job), None)


def test_remove_frees_the_name_at_once_and_sweep_deletes(files: JobFiles, job: Path, staging: Path) -> None:
    (job / "working" / "big").write_bytes(b"x" * 100)
    files.remove(str(job))
    assert not files.exists(str(job))
    files.create(str(job), None)
    assert everything_below(job) == sorted(CREATED_AT_SETUP)
    files.sweep()
    assert os.listdir(staging / ".pulsar-trash") == []
    assert files.exists(str(job))


def test_remove_may_be_repeated_and_knows_no_missing_job(files: JobFiles, job: Path, staging: Path) -> None:
    for _ in range(2):
        files.remove(str(job))
    files.remove(str(staging / "never"))
    files.sweep()
    files.sweep()


def test_remove_of_a_link_removes_the_link_only(files: JobFiles, staging: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    staging.mkdir()
    (staging / "7").symlink_to(elsewhere)
    files.remove(str(staging / "7"))
    files.sweep()
    assert not files.exists(str(staging / "7"))
    assert (elsewhere / "file").exists()


def test_remove_and_sweep_do_not_follow_links(files: JobFiles, job: Path, secret: Path, tmp_path: Path) -> None:
    (job / "working" / "out").symlink_to(tmp_path)
    (job / "working" / "file").symlink_to(secret)
    (job / "working" / "loop").symlink_to("loop")
    files.remove(str(job))
    files.sweep()
    assert secret.read_text() == "keep out"


def test_sweep_deletes_directories_without_permissions(files: JobFiles, job: Path, staging: Path) -> None:
    inner = job / "working" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    for path in (inner, inner.parent, job / "working", job):
        path.chmod(0)
    files.remove(str(job))
    files.sweep()
    assert os.listdir(staging / ".pulsar-trash") == []


def test_sweep_deletes_trees_deeper_than_a_path_may_be_long(files: JobFiles, job: Path, staging: Path) -> None:
    here = os.open(job / "working", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d" * 10, dir_fd=here)
        below = os.open("d" * 10, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    files.remove(str(job))
    files.sweep()
    assert os.listdir(staging / ".pulsar-trash") == []


def test_only_job_directories_are_removed(files: JobFiles, staging: Path, tmp_path: Path) -> None:
    files.create(str(staging / "7"), None)
    for path in (tmp_path, staging, staging / "7" / "working", staging / ".pulsar-trash", staging / ".."):
        with pytest.raises(UnsafePath):
            files.remove(str(path))
        with pytest.raises(UnsafePath):
            files.set_aside(str(path))
        with pytest.raises(UnsafePath):
            files.create(str(path), None)


def test_set_aside_keeps_everything_under_another_name(files: JobFiles, job: Path) -> None:
    (job / "working" / "old").write_text("old")
    kept = files.set_aside(str(job))
    assert not files.exists(str(job))
    assert (Path(kept) / "working" / "old").read_text() == "old"
    files.create(str(job), None)
    again = files.set_aside(str(job))
    assert again != kept
    assert sorted(os.listdir(again)) == sorted(CREATED_AT_SETUP)


# -- locks --------------------------------------------------------------------------------------------------------------


def test_exclusive_excludes_threads(files: JobFiles, job: Path) -> None:
    inside: list[int] = []

    def work() -> None:
        for _ in range(20):
            with files.exclusive(str(job)):
                inside.append(1)
                assert len(inside) == 1
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside == []


def test_exclusive_is_released_by_an_error(files: JobFiles, job: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.exclusive(str(job)):
        raise ZeroDivisionError
    with files.exclusive(str(job)):
        pass


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_exclusive_excludes_processes(tmp_path: Path, staging: Path) -> None:
    files = DiskJobFiles(str(tmp_path / "locks"), [str(staging)])
    reader, writer = os.pipe()
    with files.exclusive("/a/job"):
        child = os.fork()
        if child == 0:
            with DiskJobFiles(str(tmp_path / "locks"), [str(staging)]).exclusive("/a/job"):
                os.write(writer, b"in")
            os._exit(0)
        os.set_blocking(reader, False)
        time.sleep(0.1)
        with pytest.raises(BlockingIOError):
            os.read(reader, 2)
    os.waitpid(child, 0)
    assert os.read(reader, 2) == b"in"
    os.close(reader)
    os.close(writer)


# -- the node's own files -----------------------------------------------------------------------------------------------


def test_write_replaces_whole_and_gives_the_mode(files: JobFiles, job: Path) -> None:
    files.write(str(job), "launch_config", "long text", mode=0o600)
    files.write(str(job), "launch_config", "ü", mode=0o600)
    assert (job / "launch_config").read_text(encoding="utf-8") == "ü"
    assert stat.S_IMODE((job / "launch_config").stat().st_mode) == 0o600
    assert set(os.listdir(job)) == {*CREATED_AT_SETUP, "launch_config"}


def test_write_replaces_a_link_instead_of_following_it(files: JobFiles, job: Path, secret: Path) -> None:
    (job / "tool_id").symlink_to(secret)
    files.write(str(job), "tool_id", "mine")
    assert secret.read_text() == "keep out"
    assert (job / "tool_id").read_text() == "mine"
    assert not (job / "tool_id").is_symlink()


def test_touch_outputs_creates_and_keeps(files: JobFiles, job: Path) -> None:
    (job / "outputs" / "kept").write_text("kept")
    files.touch_outputs(str(job), ["kept", "new", "nested/new"])
    assert (job / "outputs" / "kept").read_text() == "kept"
    assert (job / "outputs" / "new").read_bytes() == b""
    assert (job / "outputs" / "nested" / "new").read_bytes() == b""


@pytest.mark.parametrize("name", ["../x", "/etc/x", "", ".", "..", "a/../../x", "a\0b", "\ud800"])
def test_touch_outputs_refuses_names_that_lead_away(files: JobFiles, job: Path, name: str) -> None:
    before = everything_below(job.parent)
    with pytest.raises(RequestError):
        files.touch_outputs(str(job), [name])
    assert everything_below(job.parent) == before


# -- uploads ------------------------------------------------------------------------------------------------------------

PLACES = [
    ("input", "a.dat", "inputs/a.dat"),
    ("input", "deep/er/a.dat", "inputs/deep/er/a.dat"),
    ("unstructured", "0123/bwa/human.fa", "unstructured/0123/bwa/human.fa"),
    ("config", "c.txt", "configs/c.txt"),
    ("config", "../c.txt", "configs/c.txt"),
    ("config", "deep/c.txt", "configs/c.txt"),
    ("tool", "lib/t.py", "tool_files/lib/t.py"),
    ("jobdir", "x/galaxy_1.ec", "galaxy_1.ec"),
    ("workdir", "../../w", "working/w"),
    ("metadata", "m/n", "metadata/m/n"),
    ("output", "o", "outputs/o"),
    ("output_workdir", "sub/o", "working/sub/o"),
    ("output_metadata", "o", "metadata/o"),
    ("output_jobdir", "deep/o", "o"),
    ("input", " sp ace+ü%2f", "inputs/ sp ace+ü%2f"),
]


@pytest.mark.parametrize(("path_type", "name", "place"), PLACES)
def test_receive_and_path_agree_on_the_place(files: JobFiles, job: Path, path_type: str, name: str, place: str) -> None:
    assert files.upload_path(str(job), path_type, name) == str(job / place)
    assert (job / place).parent.is_dir()
    assert not (job / place).exists()
    assert files.receive(str(job), path_type, name, body(b"ab", b"c")) == str(job / place)
    assert (job / place).read_bytes() == b"abc"


def test_receive_makes_an_empty_file_of_no_bytes(files: JobFiles, job: Path) -> None:
    files.receive(str(job), "input", "empty", body())
    assert (job / "inputs" / "empty").read_bytes() == b""


def test_receive_replaces_what_was_there(files: JobFiles, job: Path) -> None:
    files.receive(str(job), "input", "x", body(b"a longer text"))
    files.receive(str(job), "input", "x", body(b"short"))
    assert (job / "inputs" / "x").read_bytes() == b"short"
    assert os.listdir(job / "inputs") == ["x"]


def test_glob_names_the_first_match_or_is_an_error(files: JobFiles, job: Path) -> None:
    (job / "working" / "a1").touch()
    (job / "working" / "a2").touch()
    assert files.upload_path(str(job), "output_workdir", "a*") == str(job / "working" / "a1")
    with pytest.raises(RequestError):
        files.upload_path(str(job), "output_workdir", "b*")


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, GeneratorExit, SystemExit])
def test_a_broken_upload_leaves_nothing_and_the_error_goes_on(files: JobFiles, job: Path, error: type[BaseException]) -> None:
    (job / "inputs" / "x").write_text("before")
    sent = iter([b"half"])

    def source(size: int) -> bytes:
        for block in sent:
            return block
        raise error

    with pytest.raises(error):
        files.receive(str(job), "input", "x", source)
    assert (job / "inputs" / "x").read_text() == "before"
    assert os.listdir(job / "inputs") == ["x"]


HOSTILE_NAMES = [
    "",
    ".",
    "..",
    "/",
    "//",
    "../x",
    "a/../../x",
    "/etc/passwd",
    "a\0b",
    "..\0",
    "a/..",
    "x" * 256,
    "\ud800",
    "a//..",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("path_type", [name for name, row in PATH_TYPES.items() if row.nested])
def test_names_that_lead_away_are_refused(files: JobFiles, job: Path, path_type: str, name: str) -> None:
    before = everything_below(job.parent)
    for call in (
        lambda: files.receive(str(job), path_type, name, body(b"x")),
        lambda: files.upload_path(str(job), path_type, name),
        lambda: files.output_path(str(job), path_type, name),
        lambda: files.open_output(str(job), path_type, name),
    ):
        with pytest.raises(RequestError):
            call()
    assert everything_below(job.parent) == before


@pytest.mark.parametrize("name", ["command.sh", "launch_config", "return_code", "inputs", "x/command_line", ".pulsar-upload-1"])
@pytest.mark.parametrize("path_type", ["jobdir", "output_jobdir"])
def test_the_nodes_own_files_are_not_written_by_uploads(files: JobFiles, job: Path, path_type: str, name: str) -> None:
    before = everything_below(job)
    with pytest.raises(RequestError):
        files.receive(str(job), path_type, name, body(b"x"))
    assert everything_below(job) == before


def test_an_unknown_type_is_refused(files: JobFiles, job: Path) -> None:
    with pytest.raises(RequestError, match="unknown file type"):
        files.receive(str(job), "nonsense", "x", body(b"x"))


def test_an_upload_replaces_a_link_and_never_follows_it(files: JobFiles, job: Path, secret: Path) -> None:
    for target in (str(secret), "nowhere", "x", "../launch_config"):
        (job / "inputs" / "x").unlink(missing_ok=True)
        (job / "inputs" / "x").symlink_to(target)
        files.receive(str(job), "input", "x", body(b"new"))
        assert not (job / "inputs" / "x").is_symlink()
    assert secret.read_text() == "keep out"


@pytest.mark.parametrize("target", ["/", "..", "../..", "../working", "loop", "../launch_config"])
def test_an_upload_through_a_linked_directory_outside_is_refused(files: JobFiles, job: Path, target: str) -> None:
    (job / "inputs" / "loop").symlink_to(target)
    before = everything_below(job.parent)
    for call in (
        lambda: files.receive(str(job), "input", "loop/x", body(b"x")),
        lambda: files.upload_path(str(job), "input", "loop/deeper/x"),
    ):
        with pytest.raises(RequestError):
            call()
    assert everything_below(job.parent) == before


def test_an_upload_through_a_link_that_stays_inside_is_good(files: JobFiles, job: Path) -> None:
    (job / "inputs" / "real").mkdir()
    (job / "inputs" / "link").symlink_to("real")
    assert files.receive(str(job), "input", "link/new/x", body(b"x")) == str(job / "inputs" / "link" / "new" / "x")
    assert (job / "inputs" / "real" / "new" / "x").read_bytes() == b"x"


def test_a_linked_type_directory_is_refused(files: JobFiles, job: Path, secret: Path) -> None:
    (job / "outputs").rmdir()
    (job / "outputs").symlink_to(secret.parent)
    for call in (
        lambda: files.receive(str(job), "output", "x", body(b"x")),
        lambda: files.open_output(str(job), "output", "secret"),
        lambda: files.output_path(str(job), "output", "secret"),
        lambda: files.touch_outputs(str(job), ["x"]),
    ):
        with pytest.raises(UnsafePath):
            call()
    assert list(files.snapshot(str(job), 100, []).outputs_directory_contents) == []
    assert not (secret.parent / "x").exists()


@pytest.fixture(params=["directory", "fifo", "socket", "device"])
def special(request: pytest.FixtureRequest, job: Path) -> Path:
    """Something in ``outputs`` that is not a regular file."""
    path = job / "outputs" / "special"
    match request.param:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        case "device":
            try:
                os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero, without end
            except PermissionError:
                pytest.skip("only root can make a device")
    return path


def test_special_files_are_neither_read_nor_replaced(files: JobFiles, job: Path, special: Path) -> None:
    kind = stat.S_IFMT(special.lstat().st_mode)
    with pytest.raises(RequestError):
        files.receive(str(job), "output", "special", body(b"x"))
    with pytest.raises(RequestError):
        files.open_output(str(job), "output", "special")
    assert stat.S_IFMT(special.lstat().st_mode) == kind
    assert os.listdir(job / "outputs") == ["special"]
    assert list(files.snapshot(str(job), 100, []).outputs_directory_contents) == []


def test_a_file_in_the_place_of_a_directory_is_a_mistake_of_the_request(files: JobFiles, job: Path) -> None:
    (job / "inputs" / "file").touch()
    with pytest.raises(RequestError):
        files.receive(str(job), "input", "file/x", body(b"x"))
    with pytest.raises(NotFound):
        files.open_output(str(job), "output", "file/x")


def test_no_directory_springs_up_for_a_job_that_is_gone(files: JobFiles, job: Path, staging: Path) -> None:
    files.remove(str(job))
    for call in (
        lambda: files.receive(str(job), "input", "x", body(b"x")),
        lambda: files.upload_path(str(job), "input", "a/x"),
        lambda: files.open_output(str(job), "output", "x"),
        lambda: files.write(str(job), "tool_id", "x"),
        lambda: files.touch_outputs(str(job), ["x"]),
    ):
        with pytest.raises(NotFound):
            call()
    assert not files.exists(str(job))
    assert not files.snapshot(str(job), 100, []).exists


def test_an_upload_to_a_job_that_is_removed_meanwhile_fails(files: JobFiles, job: Path) -> None:
    def source(size: int) -> bytes:
        if files.exists(str(job)):
            files.remove(str(job))
            return b"x"
        return b""

    with pytest.raises(NotFound):
        files.receive(str(job), "input", "x", source)
    assert not files.exists(str(job))


# -- downloads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path_type", "place"),
    [
        ("output", "outputs"),
        ("output_workdir", "working"),
        ("output_metadata", "metadata"),
        ("input", "outputs"),
        ("output_jobdir", "outputs"),
        ("nonsense", "outputs"),
    ],
)
def test_outputs_are_read_from_where_the_specification_says(files: JobFiles, job: Path, path_type: str, place: str) -> None:
    (job / place / "sub").mkdir()
    (job / place / "sub" / "o").write_bytes(b"12345")
    assert files.output_path(str(job), path_type, "sub/o") == str(job / place / "sub" / "o")
    opened = files.open_output(str(job), path_type, "sub/o")
    with opened.stream:
        assert opened.size == 5
        assert abs(opened.modified_at - time.time()) < 60
        assert opened.stream.read() == b"12345"


def test_a_missing_output_is_not_found(files: JobFiles, job: Path) -> None:
    with pytest.raises(NotFound):
        files.open_output(str(job), "output", "missing")
    with pytest.raises(NotFound):
        files.open_output(str(job), "output", "no/such/directory")
    assert files.output_path(str(job), "output", "missing") == str(job / "outputs" / "missing")


def test_links_inside_the_job_are_followed(files: JobFiles, job: Path) -> None:
    (job / "outputs" / "real").write_text("real")
    (job / "inputs" / "in").write_text("in")
    (job / "outputs" / "one").symlink_to("real")
    (job / "outputs" / "two").symlink_to(job / "outputs" / "one")
    (job / "outputs" / "other").symlink_to("../inputs")
    for name, content in (("one", b"real"), ("two", b"real"), ("other/in", b"in")):
        with files.open_output(str(job), "output", name).stream as stream:
            assert stream.read() == content


def test_links_that_lead_away_are_not_followed(files: JobFiles, job: Path, secret: Path, staging: Path) -> None:
    (job / "launch_config").write_text("a key")
    files.create(str(staging / "8"), None)
    (staging / "8" / "outputs" / "o").write_text("another job's")
    targets = {
        "passwd": "/etc/passwd",
        "etc": "/etc",
        "secret": str(secret),
        "up": "../../../secret",
        "sibling": "../../8/outputs/o",
        "own": "../launch_config",
        "top": "..",
    }
    for name, target in targets.items():
        (job / "outputs" / name).symlink_to(target)
    for name in (*targets, "etc/passwd", "top/launch_config", "top/../8/outputs/o"):
        with pytest.raises(RequestError):
            files.open_output(str(job), "output", name)


def test_dangling_links_and_loops_are_errors_of_the_request(files: JobFiles, job: Path) -> None:
    (job / "outputs" / "dangling").symlink_to("nowhere")
    (job / "outputs" / "loop").symlink_to("loop")
    for name in ("dangling", "loop", "loop/x"):
        with pytest.raises(RequestError):
            files.open_output(str(job), "output", name)


def test_a_link_swapped_during_the_call_leads_nowhere_else(files: JobFiles, job: Path, secret: Path) -> None:
    """A job that changes a link as quickly as it can never gets a file from outside read or written."""
    inside = job / "outputs" / "dir"
    inside.mkdir()
    (inside / "secret").write_text("inside")
    link, good, bad = job / "outputs" / "link", job / "outputs" / "good", job / "outputs" / "bad"
    link.symlink_to(inside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for target, name in ((str(inside), good), (str(secret.parent), bad)):
                name.symlink_to(target)
                name.replace(link)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            with contextlib.suppress(UnsafePath, NotFound), files.open_output(str(job), "output", "link/secret").stream as stream:
                assert stream.read() == b"inside"
            with contextlib.suppress(UnsafePath, NotFound):
                files.receive(str(job), "output", "link/new", body(b"x"))
    finally:
        stop.set()
        thread.join()
    assert sorted(os.listdir(secret.parent)) == sorted({"secret", "staging", *({"locks"} & set(os.listdir(secret.parent)))})


# -- the terminal document ----------------------------------------------------------------------------------------------


def test_snapshot_of_a_missing_job_is_empty(files: JobFiles, staging: Path) -> None:
    found = files.snapshot(str(staging / "never"), 100, [{"path": "x", "type": "galaxy"}])
    assert not found.exists
    assert found.return_code is None


def test_snapshot_lists_files_and_reads_streams(files: JobFiles, job: Path) -> None:
    (job / "working" / "deep").mkdir()
    (job / "working" / "deep" / "file").touch()
    (job / "working" / "link").symlink_to("deep/file")
    (job / "working" / "to_directory").symlink_to("deep")
    (job / "working" / "dangling").symlink_to("nowhere")
    (job / "working" / ".pulsar-upload-x").touch()
    (job / ".pulsar-upload-y").touch()
    (job / "outputs" / "o").touch()
    (job / "metadata" / "tool_stdout").write_text("out")
    (job / "tool_stderr").write_text("old place")
    (job / "metadata" / "job_stderr").write_bytes(b"\xff\xfe bad")
    (job / "return_code").write_text("4\n")
    found = files.snapshot(str(job), 1000, [])
    assert found.exists
    assert found.return_code == 4
    assert (found.stdout, found.stderr, found.job_stdout) == ("out", "old place", "")
    assert found.job_stderr == "\ufffd\ufffd bad"
    assert list(found.working_directory_contents) == ["link", "deep/file"]
    assert list(found.outputs_directory_contents) == ["o"]
    assert sorted(found.metadata_directory_contents) == ["job_stderr", "tool_stdout"]
    assert list(found.job_directory_contents) == sorted([*CREATED_AT_SETUP, "return_code", "tool_stderr"])


def test_a_tree_too_deep_to_name_does_not_hide_the_rest(files: JobFiles, job: Path) -> None:
    here = os.open(job / "outputs", os.O_RDONLY)
    for _ in range(500):
        os.mkdir("d" * 20, dir_fd=here)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    (job / "outputs" / "o").touch()
    (job / "return_code").write_text("0")
    found = files.snapshot(str(job), 100, [])
    assert (found.exists, found.return_code, list(found.outputs_directory_contents)) == (True, 0, ["o"])
    files.remove(str(job))
    files.sweep()


@pytest.mark.parametrize(
    ("text", "code"), [("0", 0), ("-9\n", -9), (" 137 \n", 137), ("", None), ("oops", None), ("1" * 50, None), ("1\n2", None)]
)
def test_return_code_is_a_number_or_none(files: JobFiles, job: Path, text: str, code: int | None) -> None:
    (job / "return_code").write_text(text)
    assert files.snapshot(str(job), 100, []).return_code == code


def test_streams_keep_their_beginning_and_their_end(files: JobFiles, job: Path) -> None:
    (job / "metadata" / "tool_stdout").write_bytes(b"B" * 1000 + b"E" * 1000)
    (job / "metadata" / "tool_stderr").write_bytes(b"x" * 101)
    found = files.snapshot(str(job), 101, [])
    assert found.stdout == "B" * 48 + "\n..\n" + "E" * 49
    assert found.stderr == "x" * 101
    assert files.snapshot(str(job), 0, []).stdout == "B" * 1000 + "E" * 1000


@pytest.mark.parametrize("limit", range(1, 40))
def test_a_cut_goes_through_no_character(files: JobFiles, job: Path, limit: int) -> None:
    (job / "metadata" / "tool_stdout").write_text("aé€😀" * 20, encoding="utf-8")
    found = files.snapshot(str(job), limit, [])
    assert "\ufffd" not in found.stdout
    assert len(found.stdout.encode()) <= max(limit, 4)


def test_a_huge_stream_is_not_read_whole(files: JobFiles, job: Path) -> None:
    with (job / "metadata" / "tool_stdout").open("wb") as stream:
        stream.truncate(1 << 40)
        stream.seek(0)
        stream.write(b"begin")
        stream.seek((1 << 40) - 3)
        stream.write(b"end")
    start = time.monotonic()
    text = files.snapshot(str(job), 1024, []).stdout
    assert text.startswith("begin")
    assert text.endswith("end")
    assert time.monotonic() - start < 1


def test_streams_are_never_read_from_outside(files: JobFiles, job: Path, secret: Path) -> None:
    (job / "metadata" / "tool_stdout").symlink_to(secret)
    os.mkfifo(job / "metadata" / "tool_stderr")
    (job / "return_code").symlink_to(secret)
    found = files.snapshot(str(job), 100, [{"path": "s", "type": "galaxy"}])
    assert (found.exists, found.stdout, found.stderr, found.return_code) == (True, "", "", None)


def test_dynamic_file_sources_bring_their_text(files: JobFiles, job: Path, secret: Path) -> None:
    (job / "working" / "galaxy.json").write_text('{"a": 1}')
    (job / "working" / "out").symlink_to(secret)
    sources = [
        {"path": path, "type": "galaxy"} for path in ("galaxy.json", "missing", "../return_code", "/etc/passwd", "out", "")
    ]
    sources.append({"type": "galaxy"})
    found = files.snapshot(str(job), 100, sources)
    assert [dict(source) for source in found.realized_dynamic_file_sources] == [
        {"path": "galaxy.json", "type": "galaxy", "contents": '{"a": 1}'}
    ]


def test_a_dynamic_file_source_without_end_is_left_out(files: JobFiles, job: Path) -> None:
    with (job / "working" / "galaxy.json").open("wb") as stream:
        stream.truncate(1 << 40)
    assert list(files.snapshot(str(job), 100, [{"path": "galaxy.json", "type": "galaxy"}]).realized_dynamic_file_sources) == []


def test_every_error_is_one_of_the_project(files: JobFiles, job: Path) -> None:
    """What a job leaves never makes an error that nobody expects."""
    (job / "outputs").rmdir()
    (job / "outputs").write_text("a file")
    for call in (
        lambda: files.open_output(str(job), "output", "x"),
        lambda: files.receive(str(job), "output", "x", body(b"x")),
        lambda: files.touch_outputs(str(job), ["x"]),
        lambda: files.write(str(job), "inputs", "x"),
    ):
        with pytest.raises(PulsarError):
            call()
    assert files.snapshot(str(job), 100, []).exists
