"""Removing job directories: renamed away at once, deleted later, never beyond the staging directory.

A job may leave anything: trees deeper than a path may be long, directories without permissions, links to anywhere. So nothing
is followed and nothing recurses: a directory found inside the trash is first moved up to the top of the trash, under a name of
its own, and emptied from there.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pulsar.errors import NodeError, PulsarError, StorageFull, translate_os_error

__all__ = ["empty_trash", "put_away", "set_aside"]

log = logging.getLogger(__name__)

TRASH = ".pulsar-trash"
ASIDE = ".pulsar-aside"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: Entries of one directory that are read before they are deleted: bounds the memory that a million files cost.
_BATCH = 1000


def put_away(directory: str) -> None:
    """Free the name of ``directory`` by moving what has it into the trash beside it; a link is unlinked. Repeatable."""
    staging, name = os.path.split(directory)
    try:
        with _opened(staging) as parent:
            found = _lstat(parent, name)
            if found is None:
                return
            if not stat.S_ISDIR(found.st_mode):
                os.unlink(name, dir_fd=parent)
                return
            try:
                with _subdirectory(parent, TRASH) as trash:
                    _move(parent, name, trash, uuid.uuid4().hex)
            except OSError as exc:
                if exc.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EXDEV):
                    raise
                # No room for one more directory entry: make room. A moment longer, and as good.
                _delete_here(parent, name)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise _node_error(exc, f"cannot remove the directory of job {name}") from exc


def set_aside(directory: str) -> str:
    """Rename ``directory`` into the place for what the node does not know, and return its path there."""
    staging, name = os.path.split(directory)
    stamp = time.strftime("%Y%m%dT%H%M%S")
    try:
        with _opened(staging) as parent, _subdirectory(parent, ASIDE) as aside:
            for suffix in itertools.chain([""], (f"-{n}" for n in itertools.count(2))):
                kept = f"{name}.{stamp}{suffix}"
                # Claimed by a directory, because renaming over an empty one is allowed and atomic, over another is not.
                try:
                    os.mkdir(kept, 0o700, dir_fd=aside)
                except FileExistsError:
                    continue
                try:
                    _claim(parent, name, aside, kept)
                except BaseException:
                    with contextlib.suppress(OSError):
                        os.rmdir(kept, dir_fd=aside)
                    raise
                return f"{staging}/{ASIDE}/{kept}"
    except OSError as exc:
        raise _node_error(exc, f"cannot set the directory of job {name} aside") from exc
    raise AssertionError("unreachable: the names do not end")


def empty_trash(staging: str) -> list[str]:
    """Delete what is in the trash of ``staging``; return what could not be, as sentences. Several may do so at once."""
    try:
        with _opened(staging) as parent, _opened(TRASH, parent) as trash:
            return _empty(trash)
    except FileNotFoundError:
        return []
    except OSError as exc:
        return [f"{staging}/{TRASH}: {exc.strerror}"]


# -- the parts ----------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(name: str, parent: int | None = None) -> Iterator[int]:
    nofollow = 0 if parent is None else os.O_NOFOLLOW
    descriptor = os.open(name, _DIRECTORY | nofollow, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _subdirectory(parent: int, name: str) -> Iterator[int]:
    """Give one of the node's own directories in the staging directory, made when missing."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    with _opened(name, parent) as descriptor:
        yield descriptor


def _node_error(error: OSError, what: str) -> PulsarError:
    """Whatever is wrong here, the client is not to blame."""
    translated = translate_os_error(error, what)
    return translated if isinstance(translated, StorageFull) else NodeError(str(translated))


def _lstat(parent: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _claim(parent: int, name: str, aside: int, kept: str) -> None:
    """Move ``name`` to the claimed place ``kept``; what is not a directory cannot take a directory's place."""
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        os.rmdir(kept, dir_fd=aside)
    _move(parent, name, aside, kept)


def _move(parent: int, name: str, target: int, new_name: str) -> None:
    try:
        os.rename(name, new_name, src_dir_fd=parent, dst_dir_fd=target)
    except PermissionError:
        # A directory changes its ".." when it moves: it must be writable, and a job may have made it read-only.
        _make_writable(parent, name)
        os.rename(name, new_name, src_dir_fd=parent, dst_dir_fd=target)


def _make_writable(parent: int, name: str) -> None:
    """Give the owner all permissions on a directory, never through a link."""
    if hasattr(os, "O_PATH"):
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
        try:
            Path(f"/proc/self/fd/{descriptor}").chmod(0o700)
        finally:
            os.close(descriptor)
    else:  # pragma: no cover - not Linux
        os.chmod(name, 0o700, dir_fd=parent, follow_symlinks=False)


def _empty(trash: int) -> list[str]:
    """Delete everything in the open directory ``trash``; return what went wrong, a line for each kind of entry."""
    kept: dict[str, str] = {}
    while True:
        names = [name for name in _names(trash, len(kept) + _BATCH) if name not in kept]
        if not names:
            return [f"{name}: {reason}" for name, reason in sorted(kept.items())]
        for name in names:
            try:
                _delete(trash, name, trash)
            except FileNotFoundError:
                continue  # somebody else was quicker
            except OSError as exc:
                kept[name] = exc.strerror or type(exc).__name__


def _delete_here(parent: int, name: str) -> None:
    """Delete the tree ``name``; directories inside are moved to the top of it, as :func:`_empty` does."""
    with contextlib.suppress(PermissionError):
        _make_writable(parent, name)
    with _opened(name, parent) as top:
        problems = _empty(top)
    if problems:
        log.warning("while deleting %s: %s", name, "; ".join(problems[:5]))
    os.rmdir(name, dir_fd=parent)


def _delete(parent: int, name: str, top: int) -> None:
    """Delete one entry of ``parent``. Directories inside it go up to ``top``, where the caller finds them."""
    try:
        os.unlink(name, dir_fd=parent)
        return
    except (IsADirectoryError, PermissionError):  # what unlink of a directory says depends on the system
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            raise
    try:
        os.rmdir(name, dir_fd=parent)  # empty, most of the time: one call instead of a dozen
        return
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES):
            raise
    if found.st_mode & 0o700 != 0o700:
        _make_writable(parent, name)
    with _opened(name, parent) as directory:
        _delete_entries(directory, top)
    os.rmdir(name, dir_fd=parent)


def _delete_entries(directory: int, top: int) -> None:
    """Delete what is in ``directory``; one entry that resists does not save the others. Raises what the first one said."""
    kept: dict[str, OSError] = {}
    while True:
        names = [name for name in _names(directory, len(kept) + _BATCH) if name not in kept]
        if not names:
            break
        for name in names:
            try:
                _unlink_or_hoist(directory, name, top)
            except OSError as exc:
                kept[name] = exc
    for error in kept.values():
        raise error


def _unlink_or_hoist(directory: int, name: str, top: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        found = _lstat(directory, name)
        if found is None:
            return
        if not stat.S_ISDIR(found.st_mode):
            raise
    with contextlib.suppress(OSError):
        os.rmdir(name, dir_fd=directory)  # empty, most of the time: one call instead of a dozen
        return
    with contextlib.suppress(FileNotFoundError):
        _move(directory, name, top, uuid.uuid4().hex)


def _names(directory: int, most: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in itertools.islice(entries, most)]
