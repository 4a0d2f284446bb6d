"""What the client library raises.

::

    PulsarError
    └── ClientError                     the client could not do what it was asked to do
        ├── PulsarClientTransportError  no answer, or one that is an error; ``transient`` says whether asking again can help
        ├── OutputNotFoundException     the server does not have a file that it was asked for
        ├── StagingError                a local file that the job needs is missing, or a name leads where it must not
        └── ActionError                 the file actions of the destination are wrong

Messages never hold the private token: they are built from the address without its query string.
"""

from __future__ import annotations

from pulsar.errors import PulsarError

__all__ = [
    "ActionError",
    "ClientError",
    "OutputNotFoundException",
    "PulsarClientTransportError",
    "StagingError",
]

#: Answers after which the same request may succeed (specification 6.2).
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class ClientError(PulsarError):
    """The client could not do what it was asked to do."""


class PulsarClientTransportError(ClientError):
    """The server did not answer, or answered with an error (specification 13.1).

    ``code`` is one of the three words below. ``transport_code`` is the HTTP status if there was one, else the number that
    the transport itself gives to the failure; ``status`` is the HTTP status or None.
    """

    TIMEOUT = "timeout"
    CONNECTION_REFUSED = "connection_refused"
    UNKNOWN = "unknown"

    _MESSAGES = {  # noqa: RUF012 - a constant table
        TIMEOUT: "Connection timed out",
        CONNECTION_REFUSED: "Connection refused",
        UNKNOWN: "Unknown transport error",
    }

    def __init__(
        self,
        code: str | None = None,
        message: str | None = None,
        transport_code: int | None = None,
        transport_message: str | None = None,
        *,
        status: int | None = None,
    ) -> None:
        self.code = code or self.UNKNOWN
        answered = "The server answered with an error" if status is not None else None
        self.message = message or answered or self._MESSAGES.get(self.code, self._MESSAGES[self.UNKNOWN])
        self.transport_code = transport_code if transport_code is not None else status
        self.transport_message = transport_message
        self.status = status
        # Without a status nobody has refused anything: the network or the server was away.
        self.transient = status is None or status in _TRANSIENT_STATUS
        super().__init__(self._text())

    def _text(self) -> str:
        parts = []
        if self.transport_code is not None:
            parts.append(f"transport code: {self.transport_code}")
        if self.transport_message:
            parts.append(f"transport message: {self.transport_message}")
        return f"{self.message} ({', '.join(parts)})" if parts else self.message


class OutputNotFoundException(ClientError):
    """The server does not have the file at ``path``."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"No remote output found for path {path}")


class StagingError(ClientError):
    """A file cannot be sent or received; the message names it and says why."""


class ActionError(ClientError):
    """The file actions of the destination contradict themselves or the specification; the message names the key."""
