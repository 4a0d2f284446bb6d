"""What Galaxy tells the client about a job, and what the server tells it afterwards (specification 4.6 and 13.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pulsar.client.staging import DEFAULT_DYNAMIC_COLLECTION_PATTERN
from pulsar.client.staging.dynamic import DynamicRules
from pulsar.client.staging.inputs import ClientInputs

__all__ = ["ClientJobDescription", "ClientOutputs", "PulsarOutputs", "RequiredFiles", "Tool"]


class Tool(Protocol):
    """What is needed of a tool."""

    @property
    def id(self) -> str | None: ...

    @property
    def version(self) -> str | None: ...

    @property
    def tool_dir(self) -> str | None: ...


class RequiredFiles(Protocol):
    """A tool's own list of the files that it needs."""

    def find_required_files(self, tool_directory: str) -> Sequence[str]:
        """Return the files, relative to the directory of the tool."""


class ClientOutputs:
    """The files that the job is to bring home."""

    def __init__(
        self,
        working_directory: str | None = None,
        output_files: Sequence[str] = (),
        work_dir_outputs: Sequence[Sequence[str]] = (),
        version_file: str | None = None,
        dynamic_outputs: Sequence[str] | None = None,
        metadata_directory: str | None = None,
        job_directory: str | None = None,
        dynamic_file_sources: Sequence[Mapping[str, Any]] | None = None,
        dataset_collector_descriptions: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self.working_directory = working_directory
        self.metadata_directory = metadata_directory
        self.job_directory = job_directory
        self.work_dir_outputs = [(source, destination) for source, destination in work_dir_outputs or ()]
        self.output_files = list(output_files or ())
        self.version_file = version_file
        self.dynamic_outputs = list(DEFAULT_DYNAMIC_COLLECTION_PATTERN if dynamic_outputs is None else dynamic_outputs)
        self.dynamic_file_sources = dynamic_file_sources
        self.dataset_collector_descriptions = list(dataset_collector_descriptions or ())

    def to_dict(self) -> dict[str, Any]:
        """Return the ``client_outputs`` object of specification 4.6."""
        return {
            "working_directory": self.working_directory,
            "metadata_directory": self.metadata_directory,
            "job_directory": self.job_directory,
            "work_dir_outputs": [list(pair) for pair in self.work_dir_outputs],
            "output_files": self.output_files,
            "version_file": self.version_file,
            "dynamic_outputs": self.dynamic_outputs,
            "dynamic_file_sources": self.dynamic_file_sources,
            "dataset_collector_descriptions": self.dataset_collector_descriptions,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ClientOutputs:
        """Read the object; keys that are missing are empty."""
        return cls(
            working_directory=document.get("working_directory"),
            output_files=document.get("output_files") or (),
            work_dir_outputs=document.get("work_dir_outputs") or (),
            version_file=document.get("version_file"),
            dynamic_outputs=document.get("dynamic_outputs"),
            metadata_directory=document.get("metadata_directory"),
            job_directory=document.get("job_directory"),
            dynamic_file_sources=document.get("dynamic_file_sources"),
            dataset_collector_descriptions=document.get("dataset_collector_descriptions"),
        )

    def dynamic_rules(self) -> DynamicRules:
        """Return what decides about files that are not named."""
        return DynamicRules.of(self.dynamic_outputs, self.dataset_collector_descriptions)

    def dynamic_match(self, name: str) -> bool:
        """Return whether a file of the working or metadata directory comes home without being named."""
        return self.dynamic_rules().match(name)


@dataclass(frozen=True)
class PulsarOutputs:
    """The files that the server has, by directory; names are relative and have the server's separator."""

    working_directory_contents: Sequence[str] = ()
    output_directory_contents: Sequence[str] = ()
    metadata_directory_contents: Sequence[str] = ()
    job_directory_contents: Sequence[str] = ()
    realized_dynamic_file_sources: Sequence[Mapping[str, Any]] = ()
    remote_separator: str = "/"

    @classmethod
    def from_status_response(cls, complete_response: Mapping[str, Any]) -> PulsarOutputs:
        """Read a terminal status document (specification 1.5); what it does not have is empty."""
        properties = complete_response.get("system_properties") or {}
        return cls(
            tuple(complete_response.get("working_directory_contents") or ()),
            tuple(complete_response.get("outputs_directory_contents") or ()),
            tuple(complete_response.get("metadata_directory_contents") or ()),
            tuple(complete_response.get("job_directory_contents") or ()),
            tuple(complete_response.get("realized_dynamic_file_sources") or ()),
            str(properties.get("separator") or "/"),
        )


@dataclass
class ClientJobDescription:
    """A job as Galaxy describes it. Paths are Galaxy's own.

    ``arbitrary_files`` maps Galaxy paths to names below ``unstructured``. With ``rewrite_paths`` Galaxy's paths in the command
    and in the configuration files are replaced by the server's; without it Galaxy has done so itself.
    """

    command_line: str | None = None
    tool: Tool | None = None
    config_files: Sequence[str] = ()
    input_files: Sequence[str] | None = None
    client_inputs: ClientInputs | None = None
    client_outputs: ClientOutputs | None = None
    working_directory: str | None = None
    metadata_directory: str | None = None
    dependencies_description: Any = None
    env: Sequence[Mapping[str, Any]] = ()
    arbitrary_files: Mapping[str, str] | None = None
    job_directory_files: Sequence[str] | None = None
    tool_directory_required_files: RequiredFiles | None = None
    rewrite_paths: bool = True
    touch_outputs: Sequence[str] | None = None
    #: Kept for clients that run a job in a container of its own.
    container: Any = None
    remote_pulsar_app_config: Mapping[str, Any] | None = None
    guest_ports: Sequence[Any] | None = field(default=None)

    @property
    def inputs(self) -> ClientInputs:
        """The inputs, whichever way they were given."""
        if self.client_inputs is not None:
            return self.client_inputs
        return ClientInputs.for_simple_input_paths(self.input_files or ())

    @property
    def output_files(self) -> Sequence[str]:
        """The paths of the outputs."""
        return self.client_outputs.output_files if self.client_outputs else ()

    @property
    def version_file(self) -> str | None:
        """The path of the file that receives the version of the tool."""
        return self.client_outputs.version_file if self.client_outputs else None
