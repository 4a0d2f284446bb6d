"""Answers: what a handler returns, as status, headers and bytes; the one place where an error becomes a response."""

from __future__ import annotations

import json
import logging
import re
import uuid
from http import HTTPStatus
from typing import Any, NamedTuple

from pulsar.errors import MethodNotAllowed, PulsarError, RequestError, Unauthorized

__all__ = ["OK", "Answer", "error_answer", "json_answer", "json_text_answer"]

log = logging.getLogger(__name__)

_JSON = "application/json"
Headers = tuple[tuple[str, str], ...]


class Answer(NamedTuple):
    """A response whose body is in memory."""

    body: bytes
    content_type: str = _JSON
    status: int = 200
    headers: Headers = ()


#: What the verbs without a result answer (specification 1.1).
OK = Answer(b"OK", "text/plain; charset=utf-8")


def json_text_answer(text: str) -> Answer:
    """Return the answer for a JSON document that is text already."""
    return Answer(text.encode("utf-8"))


def json_answer(document: Any) -> Answer:
    """Return the answer for a JSON document."""
    return Answer(json.dumps(document).encode("ascii"))


def error_answer(error: Exception, request: str) -> Answer:
    """Return the response to an error, and log it: one line, or once with its traceback when nobody expected it.

    ``request`` is method and path without the query, where the token is. The client reads one line of JSON with the message and
    the error's name; of an unexpected error an id only, under which the log has it.
    """
    if not isinstance(error, PulsarError):
        incident = uuid.uuid4().hex[:12]
        log.error("%s: incident %s", request, incident, exc_info=error)
        sentence = f"this node has made a mistake; its log has the details under incident {incident}"
        return _error(500, sentence, "internal_error", ())
    if isinstance(error, RequestError):
        log.info("%s: %s", request, _one_line(error))
    else:
        log.error("%s: %s", request, _one_line(error))
    return _error(error.http_status, _one_line(error), _word(type(error)), _headers(error))


def status_line(status: int) -> str:
    """Return code and reason phrase."""
    return _STATUS_LINES.get(status) or f"{status} Error"


def _error(status: int, sentence: str, reason: str, headers: Headers) -> Answer:
    body = json.dumps({"error": sentence, "reason": reason}) + "\n"
    return Answer(body.encode("ascii"), _JSON, status, headers)


def _headers(error: PulsarError) -> Headers:
    if isinstance(error, Unauthorized):
        return (("WWW-Authenticate", "Bearer"),)
    if isinstance(error, MethodNotAllowed):
        return (("Allow", ", ".join(error.allowed)),)
    return ()


def _word(kind: type[Exception]) -> str:
    """Return the name of an error class in snake case: ``LengthMismatch`` is ``length_mismatch``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
