"""From a query string to typed arguments (specification 1.1): every parameter of this API travels in the URL.

A query string may hold a whole job description of several MiB, so the work is left to functions that run at the speed of C, and
only the values that a command knows are decoded.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Collection, Iterable
from typing import Any, NoReturn

from pulsar.errors import RequestError
from pulsar.protocol.messages import LaunchRequest

__all__ = ["decoded_path", "launch_request", "query_values", "token_endpoint_of"]

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
#: Levels of JSON that a value may have. Deeper ones would end the recursion of whoever reads them next.
_MOST_LEVELS = 100


def query_values(query: str, wanted: Collection[str]) -> dict[str, str]:
    """Return the decoded values of the keys that are ``wanted``, the first of repeated ones; others are not looked at.

    ``query`` is the ``QUERY_STRING`` of WSGI: bytes in the guise of Latin-1. Raises :class:`RequestError` that names the key
    when a value is not percent-encoded UTF-8 or has a NUL character.
    """
    found: dict[str, str] = {}
    for field in query.split("&"):
        name, _, value = field.partition("=")
        if name not in wanted and ("%" in name or "+" in name):
            name = _lenient(name)
        if name in wanted and name not in found:
            found[name] = _decoded(value, name)
    return found


def decoded_path(path_info: str, raw_uri: str | None) -> str:
    """Return the path as text. ``path_info`` is what WSGI gives: unquoted once, in the guise of Latin-1.

    ``raw_uri`` is the request line's own spelling where the server tells it: only there can be seen that a slash was
    encoded, that is, meant as a part of a name; no name of this API has one. Raises :class:`RequestError`.
    """
    if raw_uri is not None and "%" in raw_uri:
        end = raw_uri.find("?")
        spelling = raw_uri if end < 0 else raw_uri[:end]
        if _BROKEN_ESCAPE.search(spelling.encode("latin-1", "replace")):
            raise RequestError("the path of the URL has a % that is not followed by two hexadecimal digits")
        if "%2f" in spelling.lower():
            raise RequestError("a name in the path of the URL has an encoded slash, which no name can have")
    if path_info.isascii():
        text = path_info
    else:
        try:
            text = path_info.encode("latin-1").decode("utf-8")
        except UnicodeError as exc:
            raise RequestError("the path of the URL is not UTF-8") from exc
    if "\0" in text:
        raise RequestError("the path of the URL has a NUL character")
    return text


def _lenient(name: str) -> str:
    try:
        return _decoded(name, "")
    except RequestError:
        return name


def _decoded(value: str, name: str) -> str:
    if "+" in value:
        value = value.replace("+", " ")
    if "%" not in value and value.isascii():
        text = value
    else:
        try:
            content = value.encode("latin-1")
            if _BROKEN_ESCAPE.search(content):
                raise RequestError(f"{name} has a % that is not followed by two hexadecimal digits; percent-encode it")
            # Percent-encoding is quoted-printable with another sign, which the standard library decodes ten times as fast.
            text = binascii.a2b_qp(content.replace(b"=", b"%3D").replace(b"%", b"=")).decode("utf-8")
        except UnicodeError as exc:
            raise RequestError(f"{name} is not UTF-8") from exc
    if "\0" in text:
        raise RequestError(f"{name} has a NUL character")
    return text


# -- JSON ---------------------------------------------------------------------------------------------------------------


def json_value(name: str, text: str | None) -> Any:
    """Return the JSON document in a query value; None when the key is absent, empty or ``null``."""
    if not text:
        return None
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError as exc:
        raise RequestError(f"{name} is nested too deeply") from exc
    except ValueError as exc:
        raise RequestError(f"{name} must be a JSON document; {exc}") from exc
    # Most documents have so few brackets that they cannot be deep.
    if text.count("{") + text.count("[") > _MOST_LEVELS:
        _require_shallow(name, value)
    if "\\ud" in text.lower():
        _require_characters(name, value)
    return value


def _require_characters(name: str, value: Any) -> None:
    """JSON can spell half a character; no file and no database can hold one."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as exc:
        raise RequestError(f"{name} has half a surrogate pair, which is no character") from exc


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _require_shallow(name: str, value: Any) -> None:
    level = [value]
    for _ in range(_MOST_LEVELS):
        level = [part for container in level for part in _parts(container) if isinstance(part, dict | list)]
        if not level:
            return
    raise RequestError(f"{name} is nested too deeply")


def _parts(container: Any) -> Iterable[Any]:
    if isinstance(container, dict):
        return container.values()
    return container if isinstance(container, list) else ()


# -- the launch request ---------------------------------------------------------------------------------------------------


def launch_request(values: dict[str, str]) -> LaunchRequest:
    """Return the request that a query of ``submit`` holds (specification 1.2); :class:`RequestError` names what is malformed.

    ``submit_extras`` is an object of further keys of a launch request, which win over those of the query.
    """
    extras = json_value("submit_extras", values.get("submit_extras"))
    if extras is not None and not isinstance(extras, dict):
        raise RequestError("submit_extras must be a JSON object")
    document: dict[str, Any] = {
        "command_line": values["command_line"],
        "submit_params": json_value("params", values.get("params")),
        "token_endpoint": token_endpoint_of(values.get("token_endpoint")),
    }
    for name in ("dependencies_description", "setup_params", "remote_staging", "env", "dynamic_file_sources", "cvmfsexec"):
        document[name] = json_value(name, values.get(name))
    return LaunchRequest.from_dict({**document, **(extras or {})})


def token_endpoint_of(text: str | None) -> str | None:
    """Return the URL, which clients send as plain text or as ``{"token_endpoint": URL}``."""
    if text is None or not text.startswith(("{", '"', "null")):
        return text or None
    value = json_value("token_endpoint", text)
    if isinstance(value, dict):
        value = value.get("token_endpoint")
    if value is not None and not isinstance(value, str):
        raise RequestError("token_endpoint must be a URL")
    return value
