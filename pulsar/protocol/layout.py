"""The job directory: what lies where, and the rule that nothing named by others leaves its place (specification 2).

This module computes and checks paths. It changes nothing on disk, except that :func:`open_inside` may open a file.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pulsar.errors import RequestError, UnsafePath, translate_os_error

__all__ = [
    "BOOKKEEPING",
    "CREATED_AT_SETUP",
    "OUTPUT_TYPES",
    "PATH_TYPES",
    "UPLOAD_PREFIX",
    "JobDirectory",
    "PathType",
    "checked_job_id",
    "open_inside",
    "split_name",
]


@dataclass(frozen=True)
class PathType:
    """One row of specification 2.3: the directory of a path type, and what its names may be."""

    directory: str
    nested: bool = False
    glob: bool = False


PATH_TYPES: dict[str, PathType] = {
    "input": PathType("inputs", nested=True),
    "unstructured": PathType("unstructured", nested=True),
    "config": PathType("configs"),
    "tool": PathType("tool_files", nested=True),
    "jobdir": PathType(""),
    "workdir": PathType("working"),
    "metadata": PathType("metadata", nested=True),
    "output": PathType("outputs", nested=True),
    "output_workdir": PathType("working", nested=True, glob=True),
    "output_metadata": PathType("metadata", nested=True),
    "output_jobdir": PathType(""),
}

#: Types of which a download or ``path`` is a simple join; everything else reads from ``outputs`` (specification 1.2, quirk).
OUTPUT_TYPES: dict[str, str] = {"output": "outputs", "output_workdir": "working", "output_metadata": "metadata"}

CREATED_AT_SETUP = ("inputs", "working", "outputs", "configs", "tool_files", "metadata")

#: Names in the job directory that belong to the node or to the job script; no upload may write them.
BOOKKEEPING = frozenset(
    {
        "tool_id",
        "tool_version",
        "launch_config",
        "command.sh",
        "command_line",
        "submitted",
        "pid",
        "cancelled",
        "preprocessed",
        "preprocessing_failed",
        "running",
        "final_status",
        "postprocessed",
        "external_id",
        "return_code",
        "exit_status",
        "stderr",
        "stdout",
        "jt.json",
        "job.condor.submit",
        "job_condor.log",
        "live_output_state",
        "status.lock",
        ".state.lock",
        "unstructured",
        "home",
        "tmp",
        "working.orig",
        "outputs.orig",
        "configs.orig",
        *CREATED_AT_SETUP,
    }
)

#: First characters of the temporary name of an upload under way; such names are shown to nobody.
UPLOAD_PREFIX = ".pulsar-upload-"

_MAX_NAME_BYTES = 255
_NOT_IN_JOB_ID = re.compile(r"[\x00-\x1f\x7f/\\]")


def checked_job_id(job_id: str) -> str:
    """Return ``job_id`` if it can be the name of a directory and nothing else; :class:`RequestError` otherwise.

    Rejected: empty, ``.`` and ``..``, names with a separator, NUL, line breaks or other control characters, names that start
    with ``.pulsar-`` (the node's own) and names longer than a file name may be.
    """
    if not job_id or job_id in (".", ".."):
        raise RequestError("job_id is empty or a relative directory; give the job's own name")
    if _NOT_IN_JOB_ID.search(job_id):
        raise RequestError("job_id has a path separator or a control character; give the job's own name")
    if job_id.startswith(".pulsar-"):
        raise RequestError("job_id starts with '.pulsar-', which is reserved for the node")
    if _encoded_length(job_id) > _MAX_NAME_BYTES - 32:
        raise RequestError("job_id is too long for a directory name")
    return job_id


def split_name(name: str) -> tuple[str, ...]:
    """Return the segments of a ``/``-separated relative name; :class:`UnsafePath` if one would climb or be hidden from sight."""
    if "\0" in name:
        raise UnsafePath
    if name.startswith("/"):
        raise UnsafePath
    segments = tuple(segment for segment in name.split("/") if segment not in ("", "."))
    if not segments or ".." in segments:
        raise UnsafePath
    if any(segment.startswith(UPLOAD_PREFIX) for segment in segments):
        raise RequestError(f"names that start with {UPLOAD_PREFIX!r} are reserved for the node")
    if any(_encoded_length(segment) > _MAX_NAME_BYTES for segment in segments):
        raise RequestError("a part of the file name is longer than 255 bytes")
    return segments


def open_inside(root: str | int, segments: tuple[str, ...], flags: int, mode: int = 0o666, *, make_parents: bool = False) -> int:
    """Open ``root/segments`` without following a symbolic link on the way and return the file descriptor.

    ``root`` is a path, or the descriptor of an open directory, which stays open.

    Each directory is opened relative to its parent, so a link that a job puts in the way between a check and the opening
    leads nowhere: :class:`UnsafePath`. Other failures leave as :class:`OSError`. ``make_parents`` creates missing directories.
    """
    parent = os.dup(root) if isinstance(root, int) else os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for segment in segments[:-1]:
            if make_parents:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(segment, dir_fd=parent)
            child = _open_at(parent, segment, os.O_RDONLY | os.O_DIRECTORY, 0)
            os.close(parent)
            parent = child
        return _open_at(parent, segments[-1], flags, mode) if segments else os.dup(parent)
    finally:
        os.close(parent)


def _open_at(parent: int, name: str, flags: int, mode: int) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=parent)
    except OSError as exc:
        if exc.errno == errno.ELOOP or (exc.errno == errno.ENOTDIR and _is_link(parent, name)):
            raise UnsafePath from exc
        raise


def _is_link(parent: int, name: str) -> bool:
    try:
        return (os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode & 0o170000) == 0o120000
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a loop of links
        return False


def _encoded_length(name: str) -> int:
    try:
        return len(os.fsencode(name))
    except UnicodeEncodeError as exc:  # a lone surrogate, which JSON can spell
        raise RequestError("a name has a character that no file name can have") from exc


@dataclass(frozen=True)
class JobDirectory:
    """The tree ``<staging_directory>/<job_id>`` of one job."""

    path: str

    @classmethod
    def of(cls, staging_directory: str, job_id: str) -> JobDirectory:
        """Return the directory of ``job_id``; :class:`RequestError` for an id that cannot name one."""
        return cls(f"{staging_directory.rstrip('/')}/{checked_job_id(job_id)}")

    @property
    def job_id(self) -> str:
        """The job's id as it names the directory."""
        return Path(self.path).name

    def file(self, name: str) -> str:
        """Return the path of one of the node's own names in the top of the directory."""
        return f"{self.path}/{name}"

    def directory_of(self, path_type: str) -> str:
        """Return the absolute directory of a path type; :class:`RequestError` for a type that does not exist."""
        row = PATH_TYPES.get(path_type)
        if row is None:
            known = ", ".join(PATH_TYPES)
            raise RequestError(f"unknown file type {path_type[:40]!r}; it must be one of {known}")
        return f"{self.path}/{row.directory}" if row.directory else self.path

    def upload_segments(self, path_type: str, name: str) -> tuple[str, tuple[str, ...]]:
        """Return ``(directory, segments)`` at which a file of this type and name is written (specification 2.3).

        Types that do not nest keep the last segment only. The node's own files in the top directory are refused.
        """
        directory = self.directory_of(path_type)
        row = PATH_TYPES[path_type]
        if not row.nested:
            name = name.rsplit("/", 1)[-1]
        segments = split_name(name)
        if not row.directory and segments[0] in BOOKKEEPING:
            raise RequestError(f"{segments[0]!r} in the job directory belongs to the node and cannot be written by an upload")
        if row.glob and any(char in name for char in "*?"):
            segments = self._expanded(directory, segments)
        return directory, segments

    def output_segments(self, path_type: str, name: str) -> tuple[str, tuple[str, ...]]:
        """Return ``(directory, segments)`` from which a download of this type and name is read (specification 1.2)."""
        return f"{self.path}/{OUTPUT_TYPES.get(path_type, 'outputs')}", split_name(name)

    def resolved(self, directory: str, segments: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """Return the same place with links resolved; :class:`UnsafePath` when they lead out of ``directory``.

        A job may link one of its outputs to another; that is allowed as long as the target stays inside.
        """
        root = os.path.realpath(directory)
        try:
            real = os.path.realpath(os.path.join(root, *segments))
        except (OSError, ValueError) as exc:
            raise UnsafePath from exc
        if real == root:
            return root, ()
        if os.path.commonpath((root, real)) != root:
            raise UnsafePath
        return root, Path(os.path.relpath(real, root)).parts

    def _expanded(self, directory: str, segments: tuple[str, ...]) -> tuple[str, ...]:
        pattern = re.compile(fnmatch.translate("/".join(segments)))
        matches = sorted(name for name in self.contents(directory) if pattern.match(name))
        if not matches:
            raise RequestError(f"no file of the job matches {'/'.join(segments)[:80]!r}")
        return tuple(matches[0].split("/"))

    @staticmethod
    def contents(directory: str) -> Iterator[str]:
        """Yield the files below ``directory``, relative, in a stable order; nothing when it does not exist.

        Links to files count as files. Links to directories, dangling links, pipes, sockets and devices are left out, as nobody
        could download them; so are uploads under way.
        """
        stack = [("", directory)]
        while stack:
            prefix, path = stack.pop()
            try:
                with os.scandir(path) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                continue
            except OSError as exc:
                if exc.errno == errno.ENAMETOOLONG:  # deeper than anybody could name
                    continue
                raise translate_os_error(exc, "cannot list a job's files") from exc
            for entry in found:
                name = prefix + entry.name
                if entry.name.startswith(UPLOAD_PREFIX):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    stack.append((name + "/", entry.path))
                elif _is_file(entry):
                    yield name
