"""Staging up: bring a job's files to the server, put the server's paths into the command, and launch (specification 13.3)."""

from __future__ import annotations

import logging
import os
import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pulsar.client.actions import FileAction, Staging
from pulsar.client.client import JobClient
from pulsar.client.exceptions import StagingError
from pulsar.client.files import files_below
from pulsar.client.job_directory import RemoteDirectories
from pulsar.client.staging import COMMAND_VERSION_FILENAME
from pulsar.client.staging.inputs import CLIENT_INPUT_PATH_TYPES, ClientInput, input_name
from pulsar.client.staging.models import ClientJobDescription, ClientOutputs
from pulsar.client.staging.rewriting import paths_below_in_text, rewrite_text
from pulsar.client.staging.unstructured import paths_in_text, unstructured_names

__all__ = ["submit_job"]

log = logging.getLogger(__name__)


def submit_job(
    client: JobClient, client_job_description: ClientJobDescription, remote_job_config: Mapping[str, Any] | None = None
) -> str:
    """Send the job's files, launch it, and return the id by which the server knows it.

    ``remote_job_config`` is the set-up document, if the job was set up before. Raises
    :class:`~pulsar.client.exceptions.StagingError` when a file that the job needs is missing here.
    """
    description = client_job_description
    if remote_job_config is None:
        tool = description.tool
        remote_job_config = client.setup(tool.id if tool else None, tool.version if tool else None)
    stager = FileStager(client, description, remote_job_config)
    stager.stage()
    outputs = description.client_outputs or ClientOutputs()
    client.launch(
        stager.command_line,
        dependencies_description=_as_document(description.dependencies_description),
        env=description.env,
        remote_staging=stager.remote_staging(outputs),
        dynamic_file_sources=outputs.dynamic_file_sources,
        touch_outputs=description.touch_outputs or (),
    )
    return client.job_id


class FileStager:
    """Carries the files of one job to the server, and learns on the way what each path is called there."""

    def __init__(self, client: JobClient, description: ClientJobDescription, remote_job_config: Mapping[str, Any]) -> None:
        self._client = client
        self._description = description
        self._remote = RemoteDirectories.from_setup(remote_job_config)
        self._mapper = client.action_mapper()
        self._configs = {path: _contents(path) for path in description.config_files or ()}
        #: Galaxy path → the path at which the job sees it, for all that is called differently there.
        self._rewrites: dict[str, str] = {}
        #: Tool files move even when Galaxy has rewritten everything else (specification 13.3).
        self._tool_rewrites: dict[str, str] = {}
        self._handled: set[tuple[str, str]] = set()
        self._for_server: list[dict[str, Any]] = []
        self.command_line = description.command_line or ""

    def stage(self) -> None:
        """Do it. Afterwards ``command_line`` is the one for the server."""
        self._stage_tool_files()
        for path in self._description.job_directory_files or ():
            self._bring(path, "jobdir")
        for client_input in self._description.inputs:
            self._stage_input(client_input)
        self._stage_directory(self._description.working_directory, "workdir")
        self._stage_directory(self._description.metadata_directory, "metadata")
        self._stage_unstructured()
        self._rename_outputs()
        rewrites = {**self._rewrites, **self._tool_rewrites} if self._description.rewrite_paths else self._tool_rewrites
        for path in self._configs:
            if self._description.rewrite_paths:
                rewrites[path] = self._remote.path("config", posixpath.basename(path))
        self.command_line = rewrite_text(self.command_line, rewrites)
        for path, contents in self._configs.items():
            text = rewrite_text(contents, rewrites) if isinstance(contents, str) else contents
            self._send_config(path, text)

    def remote_staging(self, outputs: ClientOutputs) -> dict[str, Any]:
        """Return the ``remote_staging`` object of specification 4.3: what is left for the server to do."""
        document: dict[str, Any] = {"setup": self._for_server} if self._for_server else {}
        document["action_mapper"] = self._mapper.to_dict()
        document["client_outputs"] = outputs.to_dict()
        return document

    # -- one kind of file after the other ---------------------------------------------------------------------------------

    def _stage_tool_files(self) -> None:
        tool = self._description.tool
        directory = tool.tool_dir if tool else None
        if not directory:
            return
        directory = posixpath.abspath(directory)
        required = self._description.tool_directory_required_files
        if required is not None:
            paths: Iterable[str] = [os.path.join(directory, name) for name in required.find_required_files(directory)]
        else:
            paths = self._referenced_below(directory)
        for path in paths:
            self._bring(path, "tool", os.path.relpath(path, directory), into=self._tool_rewrites)
        for path in self._mentioned_below(directory):
            if Path(path).is_dir():
                self._tool_rewrites[path] = self._remote.path("tool", os.path.relpath(path, directory))

    def _stage_input(self, client_input: ClientInput) -> None:
        path, kind = client_input.path, client_input.input_type
        if kind == CLIENT_INPUT_PATH_TYPES.INPUT_EXTRA_FILES_PATH:
            self._stage_extra_files(client_input)
        elif self._is_mentioned(path):
            if not Path(path).exists():
                raise StagingError(f"the input {path} does not exist")
            self._bring(path, "input", input_name(path, kind), client_input.object_store_ref)

    def _stage_extra_files(self, client_input: ClientInput) -> None:
        directory = client_input.path.rstrip("/")
        if not self._is_mentioned(directory):
            return
        paths = [os.path.join(directory, name) for name in files_below(directory)]
        if self._description.rewrite_paths and not self._is_mentioned_itself(directory):
            mentioned = set(self._referenced_below(directory))
            paths = [path for path in paths if path in mentioned]
        root = posixpath.dirname(directory)
        for path in paths:
            self._bring(path, "input", os.path.relpath(path, root), client_input.object_store_ref)
        if self._mapper.action(directory, "input").staging is not Staging.NOBODY:
            self._rewrites[directory] = self._remote.path("input", posixpath.basename(directory))

    def _stage_directory(self, directory: str | None, path_type: str) -> None:
        if directory and Path(directory).is_dir():
            for name in files_below(directory):
                self._bring(os.path.join(directory, name), path_type, name)

    def _stage_unstructured(self) -> None:
        for path, name in (self._description.arbitrary_files or {}).items():
            self._bring(path, "unstructured", name)
        if not self._description.rewrite_paths:
            return
        for path, rule in paths_in_text(self._mapper, self._texts()):
            action = self._mapper.action(path, "unstructured", rule=rule)
            if action.staging is Staging.NOBODY:
                self._note(path, action, None)
                continue
            if path in self._rewrites:
                continue  # came with an earlier one
            names = unstructured_names(path, rule.depth)
            for found, name in names.items():
                if found not in self._rewrites:
                    self._bring(found, "unstructured", name)
            self._note_prefix(path, names)

    def _note_prefix(self, path: str, names: Mapping[str, str]) -> None:
        """The path may be a directory, or what the names of several files begin with."""
        if path in self._rewrites:
            return
        for found, name in names.items():
            if found.startswith(path):
                self._rewrites[path] = self._remote.path("unstructured", name[: len(name) - (len(found) - len(path))])
                return

    def _rename_outputs(self) -> None:
        outputs = self._description.client_outputs
        for path in self._description.output_files:
            below_working = outputs is not None and _is_below(path, outputs.working_directory)
            self._rename(path, "output_workdir" if below_working else "output", posixpath.basename(path))
        if self._description.version_file:
            self._rename(self._description.version_file, "output", COMMAND_VERSION_FILENAME)

    def _rename(self, path: str, path_type: str, name: str) -> None:
        action = self._mapper.action(path, path_type)
        self._note(path, action, self._remote.path(path_type, name))

    # -- one file ---------------------------------------------------------------------------------------------------------

    def _bring(
        self,
        path: str,
        path_type: str,
        name: str | None = None,
        object_store_ref: Mapping[str, Any] | None = None,
        into: dict[str, str] | None = None,
    ) -> None:
        """Carry out the action of a path, once, and remember what it is called on the server."""
        name = name or posixpath.basename(path)
        if (path, name) in self._handled:
            return
        self._handled.add((path, name))
        action = self._mapper.action(path, path_type, object_store_ref)
        remote: str | None = None
        if action.staging is Staging.CLIENT:
            if not Path(path).is_file():
                raise StagingError(f"{path} is to be sent to the server, but is not a file here")
            log.debug("job %s: sending %s as %s %s", self._client.job_id, path, path_type, name)
            remote = self._client.put_file(path, path_type, name, action_type=action.action_type)
        elif action.staging is Staging.SERVER:
            self._for_server.append({"name": name, "type": path_type, "action": action.to_dict()})
            remote = self._remote.path(path_type, name)
        self._note(path, action, remote, into)

    def _note(self, path: str, action: FileAction, remote: str | None, into: dict[str, str] | None = None) -> None:
        called = action.rewritten_path() if action.staging is Staging.NOBODY else remote
        if called is not None and called != path:
            (self._rewrites if into is None else into)[path] = called

    def _send_config(self, path: str, contents: str | bytes) -> None:
        """The text is at hand, so it travels as a message: in the launch request if the server is not asked before."""
        name = posixpath.basename(path)
        if self._client.jobs_directory and isinstance(contents, str):
            action = FileAction.message(contents).to_dict()
            self._for_server.append({"name": name, "type": "config", "action": action})
        else:
            self._client.put_file(path, "config", name, contents=contents, action_type="message")

    # -- what the command and the configuration files speak of ------------------------------------------------------------

    def _texts(self) -> list[str]:
        return [self.command_line, *(text for text in self._configs.values() if isinstance(text, str))]

    def _is_mentioned(self, path: str) -> bool:
        """Galaxy may list inputs that the command does not use; with Galaxy's own paths in it, the command shows which."""
        return not self._description.rewrite_paths or any(path in text for text in self._texts())

    def _is_mentioned_itself(self, directory: str) -> bool:
        return any(directory in text.replace(f"{directory}/", "") for text in self._texts())

    def _mentioned_below(self, directory: str) -> list[str]:
        return list(dict.fromkeys(path for text in self._texts() for path in paths_below_in_text(text, directory)))

    def _referenced_below(self, directory: str) -> list[str]:
        """Return the files below ``directory`` that are mentioned, by name or by a directory above them."""
        found: dict[str, None] = {}
        for path in self._mentioned_below(directory):
            if Path(path).is_file():
                found[path] = None
            else:
                found.update(dict.fromkeys(os.path.join(path, name) for name in files_below(path)))
        return list(found)


def _contents(path: str) -> str | bytes:
    """Return the text of a configuration file; bytes that are no text travel as they are."""
    try:
        data = Path(path).read_bytes()
    except OSError as exc:
        raise StagingError(f"the configuration file {path} cannot be read: {exc.strerror}") from exc
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _is_below(path: str, directory: str | None) -> bool:
    return bool(directory) and posixpath.abspath(path).startswith(posixpath.abspath(str(directory)) + os.sep)


def _as_document(dependencies: Any) -> Mapping[str, Any] | None:
    """Galaxy passes its own object, which writes itself."""
    if dependencies is None or isinstance(dependencies, Mapping):
        return dependencies
    document: Mapping[str, Any] = dependencies.to_dict()
    return document
