"""Every error of the project, in one tree.

::

    PulsarError
    ├── RequestError                 the caller is to blame                       400
    │   ├── UnsafePath               a name that would leave its directory        400
    │   ├── Unauthorized             no token, or a wrong one                     401
    │   ├── Forbidden                a known caller, not allowed this             403
    │   ├── NotFound                 no such job, file, manager or route          404
    │   ├── MethodNotAllowed         the route exists, the method does not        405
    │   ├── Conflict                 the job is not in a state for this           409
    │   ├── LengthMismatch           the body was shorter or longer than said     400
    │   └── TooLarge                 more bytes than this node accepts            413
    ├── NodeError                    this node is to blame                        500
    │   ├── Unavailable              try again in a moment          (transient)   503
    │   ├── StorageFull              no space, quota or inodes left (transient)   507
    │   └── LedgerError              the ledger cannot be read or written         503
    │       └── StaleRevision        somebody else changed the job    (transient)
    ├── ManagerError                 the job backend
    │   ├── SubmitRefused            it said no: asking again will not help
    │   └── CannotAsk                it did not answer: says nothing  (transient)
    └── ConfigError                  the administrator's files: named with the remedy, exit status 1

``http_status`` is what a request answers with; ``transient`` says whether the same call may succeed later. Messages name the
thing and the remedy, fit on one line and never hold a secret.
"""

from __future__ import annotations

import errno

__all__ = [
    "CannotAsk",
    "ConfigError",
    "Conflict",
    "Forbidden",
    "LedgerError",
    "LengthMismatch",
    "ManagerError",
    "MethodNotAllowed",
    "NodeError",
    "NotFound",
    "PulsarError",
    "RequestError",
    "StaleRevision",
    "StorageFull",
    "SubmitRefused",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "UnsafePath",
    "translate_os_error",
]


class PulsarError(Exception):
    """Root of all errors that this package raises on purpose."""

    http_status = 500
    transient = False


class RequestError(PulsarError):
    """The request cannot be carried out as it was made."""

    http_status = 400


class UnsafePath(RequestError):
    """A name leads outside the directory it belongs to (specification 2.3 fixes the text)."""

    MESSAGE = "Attempt to read or write file outside an authorized directory."

    def __init__(self, message: str = MESSAGE) -> None:
        super().__init__(message)


class Unauthorized(RequestError):
    """The private token is missing or wrong."""

    http_status = 401


class Forbidden(RequestError):
    """The caller is known and not allowed to do this."""

    http_status = 403


class NotFound(RequestError):
    """There is no such job, file, manager or route."""

    http_status = 404


class MethodNotAllowed(RequestError):
    """The route exists, but not for this method; ``allowed`` names those it has."""

    http_status = 405

    def __init__(self, message: str, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.allowed = allowed


class Conflict(RequestError):
    """The job is in a state in which this cannot be done."""

    http_status = 409


class LengthMismatch(RequestError):
    """A request body ended before, or went on after, the length that was announced."""


class TooLarge(RequestError):
    """The body is larger than this node accepts."""

    http_status = 413


class NodeError(PulsarError):
    """The node could not do what it should be able to do."""


class Unavailable(NodeError):
    """Not now; the same request may succeed in a moment."""

    http_status = 503
    transient = True


class StorageFull(NodeError):
    """The disk, the quota or the inodes of the node are used up."""

    http_status = 507
    transient = True


class LedgerError(NodeError):
    """The ledger cannot be read or written."""

    http_status = 503


class StaleRevision(LedgerError):
    """The job was changed by somebody else since it was read; read it again."""

    transient = True


class ManagerError(PulsarError):
    """A job backend refused or could not be reached."""


class SubmitRefused(ManagerError):
    """The backend refused the job; the same job will be refused again."""


class CannotAsk(ManagerError):
    """The backend did not answer; this says nothing about any job."""

    transient = True


class ConfigError(PulsarError):
    """A configuration file, option or environment variable is wrong; the message says which and what to do."""


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def translate_os_error(error: OSError, what: str) -> PulsarError:
    """Return the error of this tree for an :class:`OSError` met while doing ``what`` (a short phrase, no secret)."""
    reason = error.strerror or type(error).__name__
    if error.errno in _FULL:
        return StorageFull(f"{what}: {reason}; free some space on the node and try again")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFound(f"{what}: {reason}")
    if error.errno in (errno.ENAMETOOLONG, errno.EISDIR, errno.ELOOP, errno.EINVAL):
        return RequestError(f"{what}: {reason}")
    return NodeError(f"{what}: {reason}")
