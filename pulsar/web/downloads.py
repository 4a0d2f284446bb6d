"""Sending a file: with its length, in part when asked for a part, by the server's own sendfile where it has one (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from email.utils import formatdate, parsedate_to_datetime
from typing import Any, BinaryIO

from pulsar.jobs.ports import OpenedFile
from pulsar.web.answers import status_line

__all__ = ["send_file"]

_BLOCK = 256 * 1024
_LAST_SECOND = int(datetime(9999, 12, 31, tzinfo=timezone.utc).timestamp())
#: One range of bytes: from a first to a last, from a first to the end, or so many of the last.
_ONE_RANGE = re.compile(r"\s*bytes\s*=\s*(?:([0-9]+)-([0-9]*)|-([0-9]+))\s*\Z", re.IGNORECASE | re.ASCII)
_MOST_DIGITS = 20

StartResponse = Callable[..., Any]


def send_file(opened: OpenedFile, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the file, or the part of it that ``Range`` asks for; 304 and 416 where they are due. Closes the file.

    A ``Range`` that is malformed or names several parts is ignored, as it may be: the answer is the whole file.
    """
    try:
        return _send(opened, environ, start_response)
    except BaseException:
        opened.stream.close()
        raise


def _send(opened: OpenedFile, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    etag = f'W/"{opened.size:x}-{int(opened.modified_at * 1e6):x}"'
    # A job may date its files beyond what a calendar holds.
    modified = min(max(int(opened.modified_at), 0), _LAST_SECOND)
    headers = [
        ("Content-Type", "application/octet-stream"),
        ("Accept-Ranges", "bytes"),
        ("ETag", etag),
        ("Last-Modified", formatdate(modified, usegmt=True)),
    ]
    if _is_unchanged(environ, etag, modified):
        return _without_body(opened, 304, headers[1:], start_response)
    status, start, stop = 200, 0, opened.size
    asked = _asked_range(environ, modified)
    if asked is not None:
        first, last, count = asked
        start = max(opened.size - count, 0) if first is None else first
        stop = opened.size if last is None else min(last + 1, opened.size)
        if start >= opened.size:
            headers += [("Content-Range", f"bytes */{opened.size}"), ("Content-Length", "0")]
            return _without_body(opened, 416, headers, start_response)
        status = 206
        headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{opened.size}"))
    headers.append(("Content-Length", str(stop - start)))
    if environ["REQUEST_METHOD"] == "HEAD" or start == stop:
        return _without_body(opened, status, headers, start_response)
    if start:
        opened.stream.seek(start)
    wrapper = environ.get("wsgi.file_wrapper")
    blocks: Iterable[bytes]
    # A wrapper sends from where the file is to its end. Only uWSGI's always sends the whole file.
    if wrapper is not None and stop == opened.size and not (start and "uwsgi.version" in environ):
        blocks = wrapper(opened.stream, _BLOCK)
    else:
        blocks = _Blocks(opened.stream, stop - start)
    start_response(status_line(status), headers)
    return blocks


def _without_body(
    opened: OpenedFile, status: int, headers: list[tuple[str, str]], start_response: StartResponse
) -> Iterable[bytes]:
    opened.stream.close()
    start_response(status_line(status), headers)
    return []


def _is_unchanged(environ: dict[str, Any], etag: str, modified: int) -> bool:
    """Whether the client said that it has the file as it is (RFC 9110, 13.1.2 and 13.1.3)."""
    none_match = environ.get("HTTP_IF_NONE_MATCH")
    if none_match is not None:
        # Weak comparison: what is between the quotes counts, and ours has no quote or comma in it.
        tags = {tag.strip().removeprefix("W/") for tag in none_match.split(",")}
        return "*" in tags or etag.removeprefix("W/") in tags
    since = _seconds(environ.get("HTTP_IF_MODIFIED_SINCE"))
    return since is not None and modified <= since


def _asked_range(environ: dict[str, Any], modified: int) -> tuple[int | None, int | None, int] | None:
    """Return ``(first, last, count from the end)``, or None when the whole file is to be sent.

    ``If-Range`` lets a range count by a date only, because our entity tags are weak (RFC 9110, 13.1.5).
    """
    match = _ONE_RANGE.match(environ.get("HTTP_RANGE", ""))
    if match is None or any(digits and len(digits) > _MOST_DIGITS for digits in match.groups()):
        return None
    condition = environ.get("HTTP_IF_RANGE")
    if condition is not None and _seconds(condition) != modified:
        return None
    first, last, count = match.groups()
    if first is None:
        return None, None, int(count)
    if last and int(last) < int(first):
        return None  # invalid, and so ignored (RFC 9110, 14.1.1)
    return int(first), int(last) if last else None, 0


def _seconds(date: str | None) -> int | None:
    if not date:
        return None
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return int(moment.timestamp()) if moment.tzinfo is not None else None


class _Blocks:
    """A number of bytes of a file, in blocks; for servers that cannot send a part of a file themselves."""

    def __init__(self, stream: BinaryIO, count: int) -> None:
        self._stream = stream
        self._left = count

    def __iter__(self) -> Iterator[bytes]:
        while self._left:
            block = self._stream.read(min(_BLOCK, self._left))
            if not block:
                # Only a broken connection tells the client that the length it was told is wrong.
                raise OSError(f"a file became shorter while it was sent; {self._left} bytes are missing")
            self._left -= len(block)
            yield block

    def close(self) -> None:
        self._stream.close()
