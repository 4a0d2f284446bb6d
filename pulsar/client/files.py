"""Local files that appear whole or not at all, and names that stay where they belong."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pulsar.client.exceptions import StagingError

__all__ = ["DOWNLOAD_PREFIX", "copy_file", "files_below", "inside", "replacing"]

#: First characters of the temporary name of a file under way.
DOWNLOAD_PREFIX = ".pulsar-download-"


@contextmanager
def replacing(target: str) -> Iterator[Path]:
    """Give a new path beside ``target``; what is written there takes the place of ``target`` when the block ends well.

    Parent directories are made. When the block fails nothing is left. Raises :class:`StagingError` for what the file system
    refuses.
    """
    # A data set may be a link into an object store: what it points to is replaced, not the link.
    place = Path(os.path.realpath(target))
    part = place.with_name(f"{DOWNLOAD_PREFIX}{secrets.token_hex(8)}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if place.exists():
            part.chmod(place.stat().st_mode & 0o7777)
        part.replace(place)
    except OSError as exc:
        raise StagingError(f"cannot write {target}: {exc.strerror or exc}") from exc
    finally:
        with suppress(OSError):
            part.unlink()


def copy_file(source: str, target: str) -> None:
    """Copy the bytes of ``source``; on return ``target`` is whole. A file is never copied onto itself."""
    if os.path.realpath(source) == os.path.realpath(target):
        return
    if not Path(source).is_file():
        raise StagingError(f"cannot copy {source}: it is not there, or is not a file")
    with replacing(target) as part:
        shutil.copyfile(source, part)


def files_below(directory: str) -> list[str]:
    """Return the files below ``directory``, relative, in a stable order; none when it does not exist."""
    found = []
    for path, directories, names in os.walk(directory):
        directories.sort()
        found += [os.path.relpath(os.path.join(path, name), directory) for name in sorted(names)]
    return found


def inside(directory: str, name: str) -> str:
    """Return ``directory/name``; :class:`StagingError` when a server's name would lead elsewhere."""
    segments = name.split("/")
    if not name or name.startswith("/") or ".." in segments or "\0" in name:
        raise StagingError(f"the server lists a file {name[:80]!r}, which leads out of its directory; it is not collected")
    return os.path.join(directory, *segments)
