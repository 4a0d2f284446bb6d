"""What the wrapper of a local job leaves in the job directory: its claim, ``pid``, and the outcome.

Jobs can write there too, so a file that is half written, forged, a link, a pipe or far too long is read as if it were not there.
That a file could not be read for want of means (no descriptors, a disk that does not answer) is not an answer, and raises.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulsar.errors import CannotAsk

__all__ = ["Claim", "ExitedWith", "KilledBy", "NotStarted", "Outcome", "is_sealed", "read_claim", "read_outcome", "seal"]

_MAX_BYTES = 4096

#: Where a seal in place of the claim points to: nowhere.
_SEAL = ".sealed"

_RETURN_CODE = re.compile(rb"[ \t]*(-?[0-9]{1,10})\s*", re.ASCII)

#: Errors that say something about the file, not about our means of reading it.
_UNREADABLE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENODEV}
)


@dataclass(frozen=True)
class Claim:
    """The process that owns the job: pid and start time (clock ticks since boot; 0 unknown), boot id, and the node's token."""

    pid: int
    start: int
    boot: str
    token: str


@dataclass(frozen=True)
class ExitedWith:
    """The script ended by itself."""

    code: int


@dataclass(frozen=True)
class KilledBy:
    """A signal ended the script before it could write an exit code."""

    signal_number: int


@dataclass(frozen=True)
class NotStarted:
    """The wrapper had the job but could not run the script."""

    detail: str


Outcome = ExitedWith | KilledBy | NotStarted


def read_claim(job_directory: str) -> Claim | None:
    """Return who claimed the job; None when nobody did, which includes a sealed directory.

    Raises :class:`~pulsar.errors.CannotAsk` when the file may be there but could not be read.
    """
    match _read_object(f"{job_directory}/pid"):
        case {"pid": int(pid), "start": int(start), "boot": str(boot), "token": str(token)} if pid > 0:
            return Claim(pid, start, boot, token)
    return None


def read_outcome(job_directory: str) -> Outcome | None:
    """Return how the script ended; None when nothing tells, because it still runs or was killed with its wrapper.

    ``return_code`` counts first, as it is the command's own; then what the wrapper saw. Raises
    :class:`~pulsar.errors.CannotAsk` when a file may be there but could not be read.
    """
    match = _RETURN_CODE.fullmatch(_read_small(f"{job_directory}/return_code") or b"")
    if match:
        return ExitedWith(int(match[1]))
    match _read_object(f"{job_directory}/exit_status"):
        case {"code": int(code)}:
            return ExitedWith(code)
        case {"signal": int(number)} if number > 0:
            return KilledBy(number)
        case {"error": str(detail)}:
            return NotStarted(detail)
    return None


def seal(job_directory: str) -> bool:
    """Make it impossible to claim the job from now on, and return True; return False when a wrapper has claimed it already.

    Repeatable. A directory that is gone counts as sealed, as nothing can be claimed there. Raises
    :class:`~pulsar.errors.CannotAsk` when neither could be made sure of.
    """
    path = Path(job_directory, "pid")
    try:
        path.symlink_to(_SEAL)  # a link needs no room on a full disk, and is there whole or not at all
    except FileExistsError:
        return _is_sealed(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as exc:
        raise CannotAsk(f"cannot seal {path}: {exc.strerror}") from exc
    return True


def is_sealed(job_directory: str) -> bool:
    """Return whether :func:`seal` has made sure that nobody claims the job any more."""
    path = Path(job_directory, "pid")
    return path.is_symlink() and _is_sealed(path)


def _is_sealed(path: Path) -> bool:
    try:
        return str(path.readlink()) == _SEAL
    except FileNotFoundError:  # the directory was removed this very moment
        return True
    except OSError:
        return False


def _read_object(path: str) -> dict[str, Any]:
    try:
        content = json.loads(_read_small(path) or b"null")
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_small(path: str) -> bytes | None:
    """Return the content of a small regular file; None for anything else. Never waits, never follows a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            content = os.read(descriptor, _MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as exc:
        if exc.errno in _UNREADABLE:
            return None
        raise CannotAsk(f"cannot read {path}: {exc.strerror}") from exc
    return content if len(content) <= _MAX_BYTES else None
