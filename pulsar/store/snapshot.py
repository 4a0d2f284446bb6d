"""What a terminal document tells of a job directory. A job may have left anything there: reading it never fails for that.

Streams and dynamic file sources are read through :mod:`pulsar.store.inside`; a file that may not be read is as good as missing
and is named in the log.
"""

from __future__ import annotations

import codecs
import logging
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pulsar.errors import NotFound, PulsarError, RequestError
from pulsar.jobs.ports import DirectorySnapshot
from pulsar.protocol.layout import PATH_TYPES, UPLOAD_PREFIX, JobDirectory, split_name
from pulsar.store.inside import opened_job, opened_regular

__all__ = ["shortened", "take_snapshot"]

log = logging.getLogger(__name__)

#: Between the beginning and the end of a stream whose middle is left out (specification 1.5).
_GAP = b"\n..\n"
#: What "no limit" means for a stream: a document has to fit into memory, and into the ledger.
_MOST_STREAM_BYTES = 256 * 1024 * 1024
#: Bytes that all dynamic file sources of one job may bring together.
_MOST_SOURCE_BYTES = 100 * 1024 * 1024
_RETURN_CODE = re.compile(rb"\s*([+-]?[0-9]{1,10})\s*\Z")


def take_snapshot(directory: str, stream_limit: int, dynamic_file_sources: Sequence[Mapping[str, Any]]) -> DirectorySnapshot:
    """Return what is in the job directory now; the empty snapshot when it is gone."""
    try:
        with opened_job(directory) as root:
            reader = _Reader(root, directory)
            return DirectorySnapshot(
                exists=True,
                return_code=reader.return_code(),
                stdout=reader.stream("tool_stdout", stream_limit),
                stderr=reader.stream("tool_stderr", stream_limit),
                job_stdout=reader.stream("job_stdout", stream_limit),
                job_stderr=reader.stream("job_stderr", stream_limit),
                working_directory_contents=_contents(directory, "workdir"),
                outputs_directory_contents=_contents(directory, "output"),
                metadata_directory_contents=_contents(directory, "metadata"),
                job_directory_contents=_names(root),
                realized_dynamic_file_sources=reader.dynamic_sources(dynamic_file_sources),
            )
    except (NotFound, RequestError):
        return DirectorySnapshot()


def shortened(descriptor: int, size: int, limit: int) -> bytes | tuple[bytes, bytes]:
    """Return the first ``size`` bytes of an open file, or their beginning and end when they are more than ``limit``.

    The two parts and the gap between them are ``limit`` bytes together; an odd byte goes to the end.
    """
    if size <= limit:
        return _read(descriptor, size, 0)
    head = max(limit - len(_GAP), 0) // 2
    tail = max(limit - len(_GAP), 0) - head
    return _read(descriptor, head, 0), _read(descriptor, tail, size - tail)


class _Reader:
    """Reads from one open job directory."""

    def __init__(self, root: int, directory: str) -> None:
        self._root = root
        self._directory = directory

    def return_code(self) -> int | None:
        """Return the exit code that the job script has left; None when there is no readable number."""
        text = self._bytes(("return_code",), 64)
        match = _RETURN_CODE.match(text) if text is not None else None
        return int(match[1]) if match else None

    def stream(self, name: str, limit: int) -> str:
        """Return the stream from ``metadata/`` or, by older habit, from the top of the job directory; empty when missing."""
        most = min(limit, _MOST_STREAM_BYTES) if limit > 0 else _MOST_STREAM_BYTES
        for parts in (("metadata", name), (name,)):
            opened = self._open(parts)
            if opened is None:
                continue
            descriptor, size = opened
            with closing(_Descriptor(descriptor)):
                content = shortened(descriptor, size, most)
            if isinstance(content, bytes):
                return content.decode("utf-8", "replace")
            return _joined(*content)
        return ""

    def dynamic_sources(self, sources: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return each source that exists, with its text as ``contents`` (specification 4.6)."""
        realized = []
        left = _MOST_SOURCE_BYTES
        for source in sources:
            contents = self._source(source, left)
            if contents is not None:
                left -= len(contents)
                realized.append({**source, "contents": contents.decode("utf-8", "replace")})
        return realized

    def _source(self, source: Mapping[str, Any], left: int) -> bytes | None:
        path = source.get("path")
        try:
            parts = ("working", *split_name(path if isinstance(path, str) else ""))
        except RequestError as exc:
            log.warning("%s: the dynamic file source %.80r is left out: %s", self._directory, path, exc)
            return None
        opened = self._open(parts)
        if opened is None:
            return None
        descriptor, size = opened
        with closing(_Descriptor(descriptor)):
            if size > left:
                log.warning("%s: the dynamic file source %.80r is left out: %d bytes are too many", self._directory, path, size)
                return None
            return _read(descriptor, size, 0)

    def _bytes(self, parts: tuple[str, ...], most: int) -> bytes | None:
        opened = self._open(parts)
        if opened is None:
            return None
        with closing(_Descriptor(opened[0])):
            return _read(opened[0], min(opened[1], most), 0)

    def _open(self, parts: tuple[str, ...]) -> tuple[int, int] | None:
        try:
            descriptor, found = opened_regular(self._root, self._directory, parts)
        except NotFound:
            return None
        except PulsarError as exc:
            log.warning("%s: %s is not read: %s", self._directory, "/".join(parts), exc)
            return None
        return descriptor, found.st_size


class _Descriptor:
    """A file descriptor that :func:`contextlib.closing` can close."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        os.close(self._descriptor)


def _read(descriptor: int, count: int, offset: int) -> bytes:
    """Return up to ``count`` bytes at ``offset``; fewer when the file has become shorter or cannot be read on."""
    blocks = []
    while count > 0:
        try:
            block = os.pread(descriptor, min(count, 1 << 20), offset)
        except OSError as exc:
            log.warning("a file of a job cannot be read on: %s", exc.strerror)
            break
        if not block:
            break
        blocks.append(block)
        count -= len(block)
        offset += len(block)
    return b"".join(blocks)


def _joined(head: bytes, tail: bytes) -> str:
    """Join the two ends of a stream; a character that a cut went through is left out, not shown as junk."""
    # An incremental decoder keeps an unfinished character to itself instead of replacing it.
    beginning = codecs.getincrementaldecoder("utf-8")("replace").decode(head)
    skipped = 0
    while skipped < min(3, len(tail)) and 0x80 <= tail[skipped] < 0xC0:
        skipped += 1
    return beginning + _GAP.decode() + tail[skipped:].decode("utf-8", "replace")


def _contents(directory: str, path_type: str) -> list[str]:
    path = f"{directory}/{PATH_TYPES[path_type].directory}"
    # A job may have put a link in the place of its directory; what is behind it is not the job's.
    return [] if Path(path).is_symlink() else list(JobDirectory.contents(path))


def _names(root: int) -> list[str]:
    return sorted(name for name in os.listdir(root) if not name.startswith(UPLOAD_PREFIX))
