"""The job's directory on the server, as a client names it: pure joins with the server's separator (specification 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pulsar.client.exceptions import ClientError
from pulsar.protocol import WIRE_VERSION
from pulsar.protocol.layout import PATH_TYPES

__all__ = ["RemoteDirectories", "RemoteJobDirectory", "local_setup_document"]

#: Path type → the key of its directory in a set-up document (specification 1.3).
_KEYS = {
    "input": "inputs_directory",
    "unstructured": "unstructured_files_directory",
    "config": "configs_directory",
    "tool": "tools_directory",
    "jobdir": "job_directory",
    "workdir": "working_directory",
    "metadata": "metadata_directory",
    "output": "outputs_directory",
    "output_workdir": "working_directory",
    "output_metadata": "metadata_directory",
    "output_jobdir": "job_directory",
}


@dataclass(frozen=True)
class RemoteJobDirectory:
    """The directory ``<jobs_directory>/<job_id>`` of a server that is not asked about it."""

    jobs_directory: str
    job_id: str
    separator: str = "/"

    @property
    def path(self) -> str:
        """The job directory itself."""
        return self.separator.join((self.jobs_directory.rstrip(self.separator), self.job_id))

    def directory_of(self, path_type: str) -> str:
        """Return the directory of a path type."""
        name = PATH_TYPES[path_type].directory
        return self.separator.join((self.path, name)) if name else self.path


@dataclass(frozen=True)
class RemoteDirectories:
    """The directories that a set-up document names."""

    by_type: Mapping[str, str]
    separator: str

    @classmethod
    def from_setup(cls, document: Mapping[str, Any]) -> RemoteDirectories:
        """Read a set-up document; directories that it does not name are missed only when they are needed."""
        properties = document.get("system_properties") or {}
        separator = properties.get("separator") or document.get("path_separator") or "/"
        found = {path_type: str(document[key]) for path_type, key in _KEYS.items() if document.get(key)}
        return cls(found, str(separator))

    def path(self, path_type: str, name: str) -> str:
        """Return where a file of this type and name lies; ``name`` is separated by slashes."""
        directory = self.by_type.get(path_type)
        if directory is None:
            raise ClientError(f"the server did not name its {_KEYS.get(path_type, path_type)} at set-up")
        return self.separator.join((directory.rstrip(self.separator), *name.split("/")))


def local_setup_document(
    directory: RemoteJobDirectory,
    tool_id: str | None,
    tool_version: str | None,
    preserve_galaxy_python_environment: bool | None,
) -> dict[str, Any]:
    """Return the document of specification 1.3 as the server would, without asking it."""
    document: dict[str, Any] = {
        "job_directory": directory.path,
        "working_directory": directory.directory_of("workdir"),
        "metadata_directory": directory.directory_of("metadata"),
        "outputs_directory": directory.directory_of("output"),
        "configs_directory": directory.directory_of("config"),
        "tools_directory": directory.directory_of("tool"),
        "inputs_directory": directory.directory_of("input"),
        "unstructured_files_directory": directory.directory_of("unstructured"),
        "path_separator": directory.separator,
        "job_id": directory.job_id,
        "system_properties": {"separator": directory.separator},
        "pulsar_version": WIRE_VERSION,
        "preserve_galaxy_python_environment": preserve_galaxy_python_environment,
    }
    if tool_id:
        document["tool_id"] = tool_id
    if tool_version:
        document["tool_version"] = tool_version
    return document
