"""Opening things inside a job directory, and nowhere else, whatever links a job has left there or swaps meanwhile.

The way in is one open descriptor of the job directory. From there each part is opened relative to the one before without
following links. Only when a link is met is it resolved, and then the place it leads to is opened in the same way: a link that
is changed after its check leads to an error, not to a file.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pulsar.errors import Forbidden, NotFound, RequestError, UnsafePath, translate_os_error
from pulsar.protocol.layout import BOOKKEEPING, open_inside

__all__ = ["opened_job", "opened_parent", "opened_regular", "require_job_in_place", "resolved"]

Parts = tuple[str, ...]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_DENIED = (errno.EACCES, errno.EPERM)
#: O_NONBLOCK: a pipe that a job left must not hold up the node; it is told apart after the opening.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


@contextmanager
def opened_job(directory: str) -> Iterator[int]:
    """Give a descriptor of the job directory itself.

    Raises :class:`NotFound` when it does not exist and :class:`UnsafePath` when it is anything but a directory.
    """
    try:
        root = os.open(directory, _DIRECTORY | os.O_NOFOLLOW)
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENOTDIR) and os.path.lexists(directory):
            raise UnsafePath from exc
        if exc.errno in _DENIED:
            raise Forbidden(f"the node may not enter the directory of job {Path(directory).name}") from exc
        raise translate_os_error(exc, f"directory of job {Path(directory).name}") from exc
    try:
        yield root
    finally:
        os.close(root)


@contextmanager
def opened_parent(root: int, directory: str, base: str, parents: Parts, *, make: bool = True) -> Iterator[int]:
    """Give a descriptor of ``directory/base/parents`` for writing; missing directories are made when ``make``.

    ``root`` is the open ``directory``. Links among the parts are good as long as they stay inside ``base``.
    """
    parts = (base, *parents) if base else parents
    try:
        parent = _open(root, directory, (*parts, "."), _DIRECTORY, make=make, base=base)
    except FileExistsError as exc:
        raise RequestError("a part of the file's path exists and is not a directory") from exc
    except OSError as exc:
        if exc.errno == errno.ENOTDIR:
            raise RequestError("a part of the file's path exists and is not a directory") from exc
        if exc.errno in _DENIED:
            raise Forbidden("the job has left the file's directory without permissions") from exc
        raise translate_os_error(exc, "cannot open the directory of a job's file") from exc
    try:
        yield parent
    finally:
        os.close(parent)


def opened_regular(root: int, directory: str, parts: Parts) -> tuple[int, os.stat_result]:
    """Open the regular file ``directory/parts`` for reading and return its descriptor and what fstat says of it.

    Links are good as long as they lead into the job directory, the node's own files excepted. Raises :class:`NotFound`,
    :class:`UnsafePath`, :class:`Forbidden` for a file that the job made unreadable, and :class:`RequestError` for anything
    that is not a regular file.
    """
    try:
        descriptor = _open(root, directory, parts, _READ)
    except OSError as exc:
        if exc.errno in (errno.ENXIO, errno.ENODEV):  # a socket, or a device without a driver
            raise RequestError(f"{parts[-1]!r} is not a regular file") from exc
        if exc.errno in _DENIED:
            raise Forbidden(f"the node may not read {parts[-1]!r}; the job has left it without read permission") from exc
        raise translate_os_error(exc, f"cannot read {'/'.join(parts)!r} of the job") from exc
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise RequestError(f"{parts[-1]!r} is not a regular file")
    return descriptor, found


def _open(root: int, directory: str, parts: Parts, flags: int, *, make: bool = False, base: str | None = None) -> int:
    """Open without following links; where one is in the way, open the place that it leads to in the same way."""
    try:
        return open_inside(root, parts, flags, make_parents=make)
    except UnsafePath:
        return open_inside(root, resolved(directory, parts, base), flags, make_parents=make)


def resolved(directory: str, parts: Parts, base: str | None = None) -> Parts:
    """Return where ``directory/parts`` leads, relative to ``directory``; :class:`UnsafePath` when it leads out.

    ``base``: the place must be below this part of the job directory. None: anywhere but the node's own files.
    """
    staging, job_id = os.path.split(directory)
    job = os.path.join(os.path.realpath(staging), job_id)
    real = os.path.realpath(os.path.join(job, *parts))
    limit = os.path.join(job, base) if base else job
    if real != limit and not real.startswith(limit + "/"):
        raise UnsafePath
    target = Path(real).relative_to(job).parts
    if base is None and len(target) < 2 and (not target or target[0] in BOOKKEEPING):
        raise UnsafePath
    return (*target, ".") if parts[-1] == "." else target


def require_job_in_place(root: int, directory: str) -> None:
    """Raise :class:`NotFound` when ``directory`` is no longer the one that ``root`` was opened from: removed meanwhile."""
    mine = os.fstat(root)
    try:
        now = os.lstat(directory)
    except OSError as exc:
        raise translate_os_error(exc, f"directory of job {Path(directory).name}") from exc
    if (mine.st_dev, mine.st_ino) != (now.st_dev, now.st_ino):
        raise NotFound(f"the directory of job {Path(directory).name} was removed meanwhile")
