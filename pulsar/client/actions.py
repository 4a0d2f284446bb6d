"""File actions: how one path travels between Galaxy and the server (specification 5.1). Pure.

=========================== ========= ==================================================
action                      who       how
=========================== ========= ==================================================
none, rewrite               nobody    the path is valid on both sides, perhaps under another name
transfer, copy              client    HTTP to the server; file system both sides share
message                     client    the content is at hand and is sent as it is
remote_*                    server    it comes for the bytes, or brings them
=========================== ========= ==================================================

A client only carries out its own part; the ``remote_*`` actions it writes into the launch request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import urlencode

from pulsar.client.exceptions import ActionError

__all__ = ["ACTION_TYPES", "UNSET", "ActionType", "FileAction", "Staging", "galaxy_url"]

#: In a rule: take this ssh option from the destination (specification 5.3).
UNSET = "__UNSET__"


class Staging(str, Enum):
    """Who moves the bytes."""

    NOBODY = "none"
    CLIENT = "local"
    SERVER = "remote"


@dataclass(frozen=True)
class ActionType:
    """One row of the table: who moves the bytes, and which options belong to the action."""

    staging: Staging
    #: Options that a rule must give.
    required: tuple[str, ...] = ()
    #: Options that are :data:`UNSET` when a rule does not give them.
    optional: tuple[str, ...] = ()
    needs_url: bool = False


_SSH = ("ssh_key", "ssh_user", "ssh_host", "ssh_port")

ACTION_TYPES: dict[str, ActionType] = {
    "none": ActionType(Staging.NOBODY),
    "rewrite": ActionType(Staging.NOBODY, ("source_directory", "destination_directory")),
    "transfer": ActionType(Staging.CLIENT),
    "copy": ActionType(Staging.CLIENT),
    "message": ActionType(Staging.CLIENT),
    "remote_copy": ActionType(Staging.SERVER),
    "remote_transfer": ActionType(Staging.SERVER, needs_url=True),
    "remote_transfer_tus": ActionType(Staging.SERVER, needs_url=True),
    "remote_object_store_copy": ActionType(Staging.SERVER),
    "remote_rsync_transfer": ActionType(Staging.SERVER, optional=_SSH),
    "remote_scp_transfer": ActionType(Staging.SERVER, optional=_SSH),
}


@dataclass(frozen=True)
class FileAction:
    """What happens to one path. ``path`` is None for a message, whose text is in ``options["contents"]``."""

    action_type: str
    path: str | None = None
    object_store_ref: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def message(cls, contents: str) -> FileAction:
        """Return the action that writes ``contents`` to the target."""
        return cls("message", options={"contents": contents})

    @property
    def staging(self) -> Staging:
        """Who moves the bytes."""
        return ACTION_TYPES[self.action_type].staging

    @property
    def source(self) -> dict[str, Any]:
        """The object that says which Galaxy file is meant."""
        return {"path": self.path, "object_store_ref": dict(self.object_store_ref) if self.object_store_ref else None}

    def rewritten_path(self) -> str | None:
        """Return what the path is called on the server when nobody moves it; None when it is called the same.

        Raises :class:`ActionError` for a path that does not start with the source directory of a ``rewrite``.
        """
        if self.action_type != "rewrite" or self.path is None:
            return None
        source = str(self.options["source_directory"]).rstrip("/")
        if self.path != source and not self.path.startswith(f"{source}/"):
            raise ActionError(f"cannot rewrite {self.path}: it is not below the source_directory {source}")
        destination = str(self.options["destination_directory"]).rstrip("/") + self.path[len(source) :]
        return destination if destination != self.path else None

    def to_dict(self) -> dict[str, Any]:
        """Return the object of specification 5.1; ``path`` stands beside ``source`` for older servers."""
        if self.action_type == "message":
            return {"contents": self.options["contents"], "action_type": "message"}
        return {"path": self.path, "source": self.source, "action_type": self.action_type, **self.options}


def galaxy_url(files_endpoint: str | None, path: str, path_type: str) -> str:
    """Return where the server gets or puts a Galaxy file over HTTP (specification 5.1)."""
    if not files_endpoint:
        raise ActionError("Attempted to use remote_transfer action without defining a files_endpoint.")
    joint = "&" if "?" in files_endpoint else "?"
    return f"{files_endpoint}{joint}{urlencode({'path': path, 'file_type': path_type})}"
