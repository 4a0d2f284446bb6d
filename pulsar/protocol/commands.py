"""The REST commands, one row each (specification 1.2). Server routes and client URLs both come from this table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

__all__ = ["ANY", "COMMANDS", "Command", "command"]

#: The method of a route that answers to every HTTP method.
ANY = "ANY"


@dataclass(frozen=True)
class Command:
    """One row: its name, method, path with ``{variables}`` of one segment each, and the keys of its query string."""

    name: str
    method: str
    path: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    #: The request body is raw bytes, whatever its content type says (specification 14.2).
    takes_body: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Match the whole path, alone or behind ``/managers/{manager_name}``; a trailing slash does not match."""
        route = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path)
        return re.compile(rf"(?:/managers/(?P<manager_name>[^/]+))?{route}\Z", re.DOTALL)

    def url_path(self, **variables: str) -> str:
        """Return the path with its variables filled in and quoted, without a leading slash."""
        path = self.path.lstrip("/")
        for name, value in variables.items():
            path = path.replace("{" + name + "}", quote(value, safe=""))
        return path

    @property
    def client_method(self) -> str:
        """The HTTP method that a client uses."""
        return "GET" if self.method == ANY else self.method


_OBJECT_KEYS = ("base_dir", "dir_only", "extra_dir", "extra_dir_at_root", "alt_name")
_JOB = "/jobs/{job_id}"
_OBJECT = "/objects/{object_id}"

_ROWS = (
    Command("setup", "POST", "/jobs", ("job_id",), ("tool_id", "tool_version", "use_metadata")),
    Command("clean", "DELETE", _JOB),
    Command(
        "submit",
        "POST",
        _JOB + "/submit",
        ("command_line",),
        (
            "params",
            "dependencies_description",
            "setup_params",
            "remote_staging",
            "env",
            "submit_extras",
            "dynamic_file_sources",
            "cvmfsexec",
            "token_endpoint",
        ),
    ),
    Command("status", ANY, _JOB + "/status"),
    Command("cancel", "PUT", _JOB + "/cancel"),
    Command("upload_file", "POST", _JOB + "/files", ("name", "type"), ("cache_token",), takes_body=True),
    Command("path", "GET", _JOB + "/files/path", ("name", "type")),
    Command("download_output", "GET", _JOB + "/files", ("name",), ("type",)),
    Command("file_available", "GET", "/cache/status", ("path",)),
    Command("cache_required", "PUT", "/cache", ("path",)),
    Command("cache_insert", "POST", "/cache", ("path",), takes_body=True),
    Command("healthz", "GET", "/healthz"),
    Command("object_store_exists", ANY, _OBJECT + "/exists", (), _OBJECT_KEYS),
    Command("object_store_file_ready", ANY, _OBJECT + "/file_ready", (), _OBJECT_KEYS),
    Command("object_store_create", "POST", _OBJECT, (), _OBJECT_KEYS),
    Command("object_store_empty", ANY, _OBJECT + "/empty", (), _OBJECT_KEYS),
    Command("object_store_size", ANY, _OBJECT + "/size", (), _OBJECT_KEYS),
    Command("object_store_delete", "DELETE", _OBJECT, (), ("entire_dir", *_OBJECT_KEYS)),
    Command("object_store_get_data", "GET", _OBJECT, (), ("start", "count", *_OBJECT_KEYS)),
    Command("object_store_get_filename", ANY, _OBJECT + "/filename", (), _OBJECT_KEYS),
    Command("object_store_update_from_file", "PUT", _OBJECT, (), ("file_name", "create", *_OBJECT_KEYS)),
    Command("object_store_get_store_usage_percent", ANY, "/object_store_usage_percent"),
)

COMMANDS: dict[str, Command] = {row.name: row for row in _ROWS}


def command(name: str) -> Command:
    """Return the row called ``name``; a :class:`KeyError` is a mistake in the program."""
    return COMMANDS[name]
