"""The one seam for I/O over HTTP: a transport takes a :class:`Request` and returns a :class:`Response`.

A transport judges nothing: every status is an answer. When there is no answer it raises
:class:`~pulsar.client.exceptions.PulsarClientTransportError`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["MAX_ERROR_BYTES", "Request", "Response", "Transport", "is_success"]

#: No more of an error page than this is kept.
MAX_ERROR_BYTES = 64 * 1024


@dataclass(frozen=True)
class Request:
    """One HTTP request. ``url`` holds the private token, so it is for the wire and never for a message."""

    method: str
    url: str
    #: What is sent: exactly ``length`` bytes. None sends no body at all.
    body: BinaryIO | None = None
    length: int = 0
    #: Receives the body of a successful answer as it comes; None keeps it in memory.
    sink: BinaryIO | None = None


@dataclass(frozen=True)
class Response:
    """An answer. ``body`` is empty when it went to the sink of the request."""

    status: int
    reason: str = ""
    body: bytes = b""
    content_type: str = ""


Transport = Callable[[Request], Response]


def is_success(status: int) -> bool:
    """Return whether the body of an answer with this status is what was asked for."""
    return 200 <= status < 300
