"""Job destinations: where a server is, and what a destination's parameters mean (specification 1.4 and 13.4). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

__all__ = ["SUBMIT_PREFIX", "base_url", "submit_params", "url_to_destination_params", "without_token"]

#: Destination parameters that begin with this are for the job manager of the server.
SUBMIT_PREFIX = "submit_"

_LEGACY_SCHEME = "pulsar://"


def url_to_destination_params(url: str) -> dict[str, Any]:
    """Return ``{"url", "private_token"}`` for a legacy URL such as ``pulsar://https://TOKEN@host:8914/managers/q``.

    The scheme word is optional; what stands before the ``@`` is the private token (None when there is none). The URL returned
    ends in a slash.
    """
    url = url.removeprefix(_LEGACY_SCHEME)
    parts = urlsplit(url)
    token, at, host = parts.netloc.rpartition("@")
    if at:
        url = urlunsplit(parts._replace(netloc=host))
    return {"url": _with_slash(url), "private_token": token or None}


def base_url(url: str, manager: str | None = None) -> str:
    """Return the address that all commands are relative to: with a scheme, the manager if one is named, and a last slash.

    A URL that names a manager already keeps it.
    """
    if not url.startswith("http"):
        url = f"http://{url}"
    url = _with_slash(url)
    if manager and "/managers/" not in url:
        url = urljoin(url, f"managers/{manager}/")
    return url


def submit_params(destination_params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters meant for the server's job manager, without their prefix (specification 4.1)."""
    return {key[len(SUBMIT_PREFIX) :]: value for key, value in destination_params.items() if key.startswith(SUBMIT_PREFIX)}


def without_token(url: str) -> str:
    """Return ``url`` fit for people: without user information and without its query string."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _with_slash(url: str) -> str:
    return url if url.endswith("/") else f"{url}/"
