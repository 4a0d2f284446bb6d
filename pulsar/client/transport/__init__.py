"""The ways over which HTTP requests travel. A transport is a function, so a test passes one of its own.

Each implementation is imported when it is asked for: ``curl`` needs pycurl, which the library does not require.
"""

from __future__ import annotations

import importlib

from pulsar.client.transport.base import Request, Response, Transport
from pulsar.errors import ConfigError

__all__ = ["TRANSPORTS", "Request", "Response", "Transport", "open_transport"]

TRANSPORTS = {
    "urllib": ("pulsar.client.transport.standard", "UrllibTransport"),
    "curl": ("pulsar.client.transport.curl", "CurlTransport"),
}


def open_transport(name: str | None = None, timeout: float | None = None) -> Transport:
    """Return the transport called ``name`` (``urllib`` when None).

    ``timeout`` is how long, in seconds, the server may be silent; None waits for ever. Raises
    :class:`~pulsar.errors.ConfigError` for a name that does not exist or a transport whose library is not installed.
    """
    row = TRANSPORTS.get(name or "urllib")
    if row is None:
        raise ConfigError(f"there is no transport {name!r}; it must be one of {', '.join(TRANSPORTS)}")
    module, attribute = row
    factory = getattr(importlib.import_module(module), attribute)
    transport: Transport = factory(timeout)
    return transport
