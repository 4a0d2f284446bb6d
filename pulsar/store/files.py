"""Job directories on disk: the :class:`~pulsar.jobs.ports.JobFiles` of the node.

What others name is opened through :mod:`pulsar.store.inside`, so that nothing outside the job's directory is touched. A file is
either there as a whole or not at all: bytes go to a temporary name beside it, which is renamed when the last one is written.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from pulsar.errors import NodeError, PulsarError, RequestError, UnsafePath, translate_os_error
from pulsar.jobs.ports import DirectorySnapshot, OpenedFile
from pulsar.protocol.layout import CREATED_AT_SETUP, PATH_TYPES, UPLOAD_PREFIX, JobDirectory, split_name
from pulsar.store import trash
from pulsar.store.inside import opened_job, opened_parent, opened_regular, require_job_in_place, resolved
from pulsar.store.locks import JobLocks
from pulsar.store.snapshot import take_snapshot

__all__ = ["DiskJobFiles"]

log = logging.getLogger(__name__)

#: Bytes asked of the source of an upload at a time: large enough that system calls do not count, small enough for memory.
_BLOCK = 512 * 1024

#: What Linux takes as a path (PATH_MAX, with the NUL at its end).
_MOST_PATH_BYTES = 4095

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class DiskJobFiles:
    """Job directories in ``staging_directories``; locks in ``lock_directory``, in memory when that is None."""

    def __init__(self, lock_directory: str | None, staging_directories: Sequence[str]) -> None:
        self._locks = JobLocks(lock_directory)
        self._staging = tuple(dict.fromkeys(os.path.normpath(path) for path in staging_directories))
        self._complained: set[str] = set()

    # -- the directory as a whole ---------------------------------------------------------------------------------------

    def exclusive(self, directory: str) -> AbstractContextManager[None]:
        """Hold the job's lock, across threads and processes; a thread holds one at a time."""
        return self._locks.exclusive(directory)

    def create(self, directory: str, mode: int | None) -> None:
        """Create the tree of specification 2.1, each directory with ``mode``; those that exist are accepted."""
        self._require_staged(directory)
        try:
            try:
                _make_directory(directory, None, mode)
            except FileNotFoundError:
                Path(directory).parent.mkdir(parents=True, exist_ok=True)
                _make_directory(directory, None, mode)
            with opened_job(directory) as root:
                for name in CREATED_AT_SETUP:
                    _make_directory(name, root, mode)
        except OSError as exc:
            raise translate_os_error(exc, f"cannot create the directory of job {Path(directory).name}") from exc

    def exists(self, directory: str) -> bool:
        """Return whether something has the name of the job directory, be it a link or a file."""
        return os.path.lexists(directory)

    def remove(self, directory: str) -> None:
        """Free the name at once; the bytes go with the next :meth:`sweep`. A link is removed, not what it leads to."""
        self._require_staged(directory)
        trash.put_away(directory)

    def set_aside(self, directory: str) -> str:
        """Rename the directory to ``<staging>/.pulsar-aside/<id>.<time>`` and return that path."""
        self._require_staged(directory)
        return trash.set_aside(directory)

    def sweep(self) -> None:
        """Delete what :meth:`remove` put away; what cannot be deleted is named in the log once and tried again next time."""
        for staging in self._staging:
            for problem in trash.empty_trash(staging):
                if problem not in self._complained:
                    self._complained.add(problem)
                    log.warning("cannot delete from %s/%s: %s", staging, trash.TRASH, problem)

    # -- the node's own files -------------------------------------------------------------------------------------------

    def write(self, directory: str, name: str, text: str, *, mode: int = 0o666) -> None:
        """Replace ``directory/name`` whole; other processes read the old text or the new."""
        content = memoryview(text.encode("utf-8"))
        with opened_job(directory) as root, _replaced(root, name, mode) as descriptor:
            _write_all(descriptor, content)

    def touch_outputs(self, directory: str, names: Sequence[str]) -> None:
        """Create the named files below ``outputs/`` where nothing has the name yet."""
        if not names:
            return
        with opened_job(directory) as root:
            for name in names:
                segments = split_name(name)
                _usable_path(f"{directory}/outputs", segments)
                *parents, last = segments
                with opened_parent(root, directory, "outputs", tuple(parents)) as parent:
                    try:
                        os.close(os.open(last, _CREATE, 0o666, dir_fd=parent))
                    except FileExistsError:
                        continue
                    except OSError as exc:
                        raise translate_os_error(exc, f"cannot create the output {name[:80]!r}") from exc

    # -- files that clients name ----------------------------------------------------------------------------------------

    def receive(self, directory: str, path_type: str, name: str, source: Callable[[int], bytes]) -> str:
        """Store all that ``source`` gives, or nothing; return the path at which the job will see it (specification 2.3)."""
        place, segments = JobDirectory(directory).upload_segments(path_type, name)
        path = _usable_path(place, segments)
        *parents, last = segments
        with (
            opened_job(directory) as root,
            opened_parent(root, directory, PATH_TYPES[path_type].directory, tuple(parents)) as parent,
        ):
            _require_replaceable(parent, last)
            with _replaced(parent, last, 0o666) as descriptor:
                while block := source(_BLOCK):
                    _write_all(descriptor, memoryview(block))
            # The job may have been cleaned while its file was on the way; then the file has gone with it.
            require_job_in_place(root, directory)
        return path

    def upload_path(self, directory: str, path_type: str, name: str) -> str:
        """Return where a file of this type and name belongs; its parent directories exist on return (specification 1.2)."""
        place, segments = JobDirectory(directory).upload_segments(path_type, name)
        path = _usable_path(place, segments)
        base = PATH_TYPES[path_type].directory
        with opened_job(directory) as root, opened_parent(root, directory, base, segments[:-1]) as parent:
            _require_replaceable(parent, segments[-1])
        return path

    def output_path(self, directory: str, path_type: str, name: str) -> str:
        """Return where an output of this type and name is read from; :class:`UnsafePath` when a link there leads away."""
        place, segments = JobDirectory(directory).output_segments(path_type, name)
        resolved(directory, (Path(place).name, *segments))
        return _usable_path(place, segments)

    def open_output(self, directory: str, path_type: str, name: str) -> OpenedFile:
        """Open an output; only regular files inside the job directory can be, whatever links the job left or swaps."""
        place, segments = JobDirectory(directory).output_segments(path_type, name)
        with opened_job(directory) as root:
            descriptor, found = opened_regular(root, directory, (Path(place).name, *segments))
        return OpenedFile(open(descriptor, "rb", buffering=0), found.st_size, found.st_mtime)

    def snapshot(self, directory: str, stream_limit: int, dynamic_file_sources: Sequence[Mapping[str, Any]]) -> DirectorySnapshot:
        """Return what the terminal document tells of the directory; the empty snapshot when there is none."""
        return take_snapshot(directory, stream_limit, dynamic_file_sources)

    def _require_staged(self, directory: str) -> None:
        """The last guard before whole trees move: only a child of a staging directory is a job directory."""
        staging, name = os.path.split(directory)
        if os.path.normpath(staging) not in self._staging or name in ("", ".", "..") or name.startswith(".pulsar-"):
            raise UnsafePath


def _usable_path(place: str, segments: tuple[str, ...]) -> str:
    """Return the whole path; :class:`RequestError` when it is longer than a job could use, though we could, part by part."""
    path = os.path.join(place, *segments)
    if len(os.fsencode(path)) > _MOST_PATH_BYTES:
        raise RequestError(f"the path of the file would have more than {_MOST_PATH_BYTES} bytes")
    return path


def _make_directory(name: str, parent: int | None, mode: int | None) -> None:
    """Make a directory unless it is there. ``mode`` is set by chmod, because the umask has a say in mkdir."""
    try:
        os.mkdir(name, dir_fd=parent)
    except FileExistsError:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            raise UnsafePath from None
        if mode is None or stat.S_IMODE(found.st_mode) == mode:
            return
        # Made before, maybe by a set-up that was cut off; maybe of another owner by now, who may keep the mode.
        with contextlib.suppress(PermissionError):
            os.chmod(name, mode, dir_fd=parent)
        return
    if mode is not None:
        os.chmod(name, mode, dir_fd=parent)


@contextmanager
def _replaced(parent: int, name: str, mode: int) -> Iterator[int]:
    """Give a descriptor to write the new content of ``name`` to; it takes the name when the block ends well.

    Whatever else happens, KeyboardInterrupt included, nothing of it is left.
    """
    temporary = UPLOAD_PREFIX + uuid.uuid4().hex
    try:
        descriptor = os.open(temporary, _CREATE, mode, dir_fd=parent)
    except OSError as exc:
        raise _cannot_store(exc, name) from exc
    try:
        try:
            yield descriptor
        finally:
            # NFS tells of a full disk or quota as late as here.
            _translated(name, os.close, descriptor)
        _translated(name, _rename, temporary, name, parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=parent)
        raise


def _rename(temporary: str, name: str, parent: int) -> None:
    os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)


def _translated(name: str, function: Callable[..., None], *args: Any) -> None:
    try:
        function(*args)
    except OSError as exc:
        raise _cannot_store(exc, name) from exc


def _write_all(descriptor: int, content: memoryview) -> None:
    try:
        while content:
            content = content[os.write(descriptor, content) :]
    except OSError as exc:
        raise _cannot_store(exc, "") from exc


def _cannot_store(error: OSError, name: str) -> PulsarError:
    if error.errno == errno.EFBIG:
        return RequestError("the file is larger than the node's file system allows")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NodeError(f"cannot store {name[:80]!r}: {error.strerror}")
    return translate_os_error(error, f"cannot store {name[:80]!r}" if name else "cannot store a file of the job")


def _require_replaceable(parent: int, name: str) -> None:
    """Refuse, before any byte is taken, a name that has something else than a regular file or a link."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise _cannot_store(exc, name) from exc
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        raise RequestError(f"{name[:80]!r} exists and is not a regular file; it cannot be replaced by an upload")
