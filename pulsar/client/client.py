"""A client for one job (specification 1.4 and 13.2)."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from pulsar.client.action_mapper import FileActionMapper
from pulsar.client.destination import submit_params
from pulsar.client.exceptions import ClientError, PulsarClientTransportError, StagingError
from pulsar.client.files import copy_file
from pulsar.client.interface import ServerInterface
from pulsar.client.job_directory import RemoteJobDirectory, local_setup_document
from pulsar.protocol.status import WireStatus
from pulsar.retry import Backoff

__all__ = ["BaseJobClient", "InputCachingJobClient", "JobClient"]

T = TypeVar("T")

#: Questions and downloads are asked this many times (specification 1.4); what changes something on the server is asked once.
_TRIES = 5
_RETRY = Backoff(start=0.1, factor=2.0, maximum=1.0)


class BaseJobClient:
    """What every client of a job is and has, however it talks to the server.

    ``env`` is the list of the destination itself: Galaxy extends it in place.
    """

    def __init__(self, destination_params: dict[str, Any], job_id: str) -> None:
        self.destination_params = destination_params
        self.job_id = uuid.uuid4().hex if destination_params.get("assign_ids") == "uuid" else job_id
        self.env: list[dict[str, Any]] = destination_params.setdefault("env", [])
        self.files_endpoint: str | None = destination_params.get("files_endpoint")
        self.token_endpoint: str | None = destination_params.get("token_endpoint")
        self.default_file_action: str = destination_params.get("default_file_action") or "transfer"
        self.file_actions: Mapping[str, Any] = destination_params.get("file_actions") or {}
        self.action_config_path: str | None = destination_params.get("file_action_config")
        self.ssh_key: str | None = destination_params.get("ssh_key")
        self.jobs_directory: str | None = destination_params.get("jobs_directory")
        #: Whether the client rather than the server should move files when both could.
        self.prefer_local_staging = self.jobs_directory is None

    @property
    def job_directory(self) -> RemoteJobDirectory | None:
        """The job's directory as this client computes it; None when only the server knows where it is."""
        if not self.jobs_directory:
            return None
        separator = str(self.destination_params.get("remote_sep") or "/")
        return RemoteJobDirectory(self.jobs_directory, self.job_id, separator)

    def action_mapper(self) -> FileActionMapper:
        """Return the file actions of the destination."""
        return FileActionMapper.from_params(self.destination_params, files_endpoint=self.files_endpoint)

    def assign_job_id(self) -> str:
        """Give the job a new id that nobody else has, and return it (specification 14.28)."""
        self.job_id = uuid.uuid4().hex
        return self.job_id

    def job_ip(self) -> str | None:
        """The address of a job that runs in a container of its own; None for all others."""
        return None


class JobClient(BaseJobClient):
    """A client that talks to a server command by command."""

    def __init__(
        self,
        destination_params: dict[str, Any],
        job_id: str,
        interface: ServerInterface,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(destination_params, job_id)
        self._interface = interface
        self._sleep = sleep
        self._setup_params: dict[str, Any] | None = None

    # -- set-up and launch ------------------------------------------------------------------------------------------------

    def setup(
        self,
        tool_id: str | None = None,
        tool_version: str | None = None,
        preserve_galaxy_python_environment: bool | None = None,
    ) -> dict[str, Any]:
        """Make the job on the server and return the document of specification 1.3.

        The job's id is afterwards the one that the server gave it. With ``jobs_directory`` nothing is asked: the document is
        computed, and the server makes the job when it is launched.
        """
        args = {"job_id": self.job_id, "tool_id": tool_id, "tool_version": tool_version, "use_metadata": "true"}
        if preserve_galaxy_python_environment:
            args["preserve_galaxy_python_environment"] = "True"
        directory = self.job_directory
        if directory is not None:
            self._setup_params = {
                "job_id": self.job_id,
                "tool_id": tool_id,
                "tool_version": tool_version,
                "use_metadata": True,
                "preserve_galaxy_python_environment": preserve_galaxy_python_environment,
            }
            return local_setup_document(directory, tool_id, tool_version, preserve_galaxy_python_environment)
        document = self._object("setup", args)
        self.job_id = str(document.get("job_id") or self.job_id)
        return document

    def launch(
        self,
        command_line: str,
        *,
        dependencies_description: Mapping[str, Any] | None = None,
        env: Sequence[Mapping[str, Any]] = (),
        remote_staging: Mapping[str, Any] | None = None,
        dynamic_file_sources: Sequence[Mapping[str, Any]] | None = None,
        touch_outputs: Sequence[str] = (),
    ) -> None:
        """Ask the server to run ``command_line``. On return the request is accepted, not carried out."""
        self._call(
            "submit",
            {
                "command_line": command_line,
                "job_id": self.job_id,
                "params": _json_or_none(submit_params(self.destination_params)),
                "dependencies_description": _json_or_none(dependencies_description),
                "env": _json_or_none(env),
                "remote_staging": _json_or_none(remote_staging),
                "submit_extras": _json_or_none({"touch_outputs": list(touch_outputs)}),
                "dynamic_file_sources": _json_or_none(dynamic_file_sources),
                "token_endpoint": _json_or_none({"token_endpoint": self.token_endpoint} if self.token_endpoint else None),
                "setup_params": _json_or_none(self._setup_params),
            },
        )

    # -- asking and ending --------------------------------------------------------------------------------------------------

    def get_status(self) -> str:
        """Return the job's status word."""
        return str(self.full_status().get("status") or WireStatus.LOST.value)

    def full_status(self) -> dict[str, Any]:
        """Return the status document (specification 1.5)."""
        return self._persistently(lambda: self._object("status", {"job_id": self.job_id}))

    def kill(self) -> None:
        """Ask the server to end the job."""
        self._call("cancel", {"job_id": self.job_id})

    def clean(self) -> None:
        """Ask the server to remove the job's directory; repeatable."""
        self._call("clean", {"job_id": self.job_id})

    # -- files ------------------------------------------------------------------------------------------------------------

    def put_file(
        self,
        path: str | None,
        input_type: str,
        name: str | None = None,
        contents: str | bytes | None = None,
        action_type: str = "transfer",
    ) -> str:
        """Bring a file to the job and return the path at which the job sees it (specification 1.4).

        ``contents``, when given, are what is sent; otherwise the file ``path`` is sent (``transfer``), or copied on the file
        system that both sides share (``copy``).
        """
        args = {"job_id": self.job_id, "name": name or _basename(path), "type": input_type}
        if contents is not None:
            data = contents.encode("utf-8") if isinstance(contents, str) else contents
            return _path_in(self._object("upload_file", args, content=data))
        if path is None:
            raise StagingError(f"nothing to send as {args['name']!r}: neither a path nor contents were given")
        if action_type == "copy":
            target = _path_in(self._object("path", args))
            copy_file(path, target)
            return target
        return self._send(path, args)

    def fetch_output(self, path: str, name: str, output_type: str = "output", action_type: str = "transfer") -> None:
        """Bring the job's file ``name`` to the local ``path``, whole or not at all; parent directories are made."""
        args = {"name": name, "job_id": self.job_id, "type": output_type}
        if action_type == "copy":
            copy_file(_path_in(self._persistently(lambda: self._object("path", args))), path)
        else:
            self._persistently(lambda: self._call("download_output", args, target=path))

    def _send(self, path: str, args: Mapping[str, str | None]) -> str:
        return _path_in(self._object("upload_file", args, source=path))

    # -- shared -----------------------------------------------------------------------------------------------------------

    def _call(
        self,
        name: str,
        args: Mapping[str, str | None],
        *,
        content: bytes | None = None,
        source: str | None = None,
        target: str | None = None,
    ) -> bytes:
        return self._interface.execute(name, args, content=content, source=source, target=target)

    def _answer(
        self, name: str, args: Mapping[str, str | None], *, content: bytes | None = None, source: str | None = None
    ) -> Any:
        return decoded(self._call(name, args, content=content, source=source), name)

    def _object(
        self, name: str, args: Mapping[str, str | None], *, content: bytes | None = None, source: str | None = None
    ) -> dict[str, Any]:
        answer = self._answer(name, args, content=content, source=source)
        if not isinstance(answer, dict):
            raise _not_pulsar(name)
        return answer

    def _persistently(self, ask: Callable[[], T]) -> T:
        """Return what ``ask`` returns, asking again when that can help."""
        for pause in islice(_RETRY.pauses(), _TRIES - 1):
            try:
                return ask()
            except PulsarClientTransportError as exc:
                if not exc.transient:
                    raise
                self._sleep(pause)
        return ask()


class InputCachingJobClient(JobClient):
    """A client that lets the server keep uploaded files for other jobs (specification 1.6).

    Of all clients that want a file in the cache at the same time, one sends it and the others wait for it.
    """

    #: A sender that dies leaves a promise that nobody keeps; after this time the file is sent past the cache.
    MAX_WAIT_S = 600.0

    def _send(self, path: str, args: Mapping[str, str | None]) -> str:
        key = {"path": path}
        if self._answer("cache_required", key):
            self._call("cache_insert", key, source=path)
        token = self._cached(key)
        if token is None:
            return super()._send(path, args)
        return _path_in(self._object("upload_file", {**args, "cache_token": token}))

    def _cached(self, key: Mapping[str, str | None]) -> str | None:
        waited = 0.0
        for pause in Backoff(start=0.1, factor=1.5, maximum=5.0).pauses():
            answer = self._persistently(lambda: self._object("file_available", key))
            if answer.get("ready"):
                return str(answer.get("token"))
            if waited > self.MAX_WAIT_S:
                return None
            self._sleep(pause)
            waited += pause
        raise AssertionError("the pauses have no end")


def decoded(text: bytes, name: str) -> Any:
    """Return the JSON document in the answer to command ``name``; :class:`ClientError` for anything else."""
    try:
        return json.loads(text)
    except ValueError as exc:
        raise _not_pulsar(name) from exc


def _not_pulsar(name: str) -> ClientError:
    return ClientError(f"the answer to {name!r} is not the document of a Pulsar server; is the URL that of one?")


def _path_in(answer: Mapping[str, Any]) -> str:
    path = answer.get("path")
    if not isinstance(path, str):
        raise ClientError("the server did not say where the file is")
    return path


def _json_or_none(value: Any) -> str | None:
    return json.dumps(value) if value else None


def _basename(path: str | None) -> str:
    if path is None:
        raise StagingError("a file without a path needs a name")
    return path.rstrip("/").rpartition("/")[2]
