"""The commands of the REST API: typed arguments in, a :class:`JobService` call, an answer out (specification 1.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pulsar.errors import NotFound
from pulsar.jobs.ports import OpenedFile
from pulsar.jobs.service import JobService
from pulsar.protocol.commands import COMMANDS
from pulsar.store.cache import UploadCache
from pulsar.web.answers import OK, Answer, json_answer, json_text_answer
from pulsar.web.bodies import RequestBody
from pulsar.web.params import launch_request

__all__ = ["Handler", "Handlers"]

#: Called with the manager's name, the path variables and the values of the query as keywords; those of a command that takes a
#: body, or that depends on who asks, with ``body`` and ``client_ip`` besides.
Handler = Callable[..., Answer | OpenedFile]


class Handlers:
    """One method per command, named like it. A query value that is absent is not passed, so defaults are the method's own."""

    def __init__(self, service: JobService, file_cache: UploadCache | None, health: Callable[[], dict[str, Any]]) -> None:
        self._service = service
        self._cache = file_cache
        self._health = health

    def table(self) -> dict[str, Handler]:
        """Return the handler of every command."""
        return {name: getattr(self, "object_store" if name.startswith("object_store_") else name) for name in COMMANDS}

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def setup(self, manager: str, job_id: str, tool_id: str = "", tool_version: str = "", use_metadata: str = "") -> Answer:
        """Make a job; ``use_metadata`` is sent by clients and means nothing here."""
        del use_metadata
        return json_answer(self._service.setup(manager, job_id, tool_id, tool_version))

    def submit(self, manager: str, job_id: str, **values: str) -> Answer:
        """Launch a job; how it fares, also when it cannot be started, is told by its status."""
        self._service.submit(manager, job_id, launch_request(values))
        return OK

    def status(self, manager: str, job_id: str) -> Answer:
        """Tell how a job stands; one that is unknown is ``lost``, not missing."""
        return json_text_answer(self._service.status(manager, job_id))

    def cancel(self, manager: str, job_id: str) -> Answer:
        """End a job."""
        self._service.cancel(manager, job_id)
        return OK

    def clean(self, manager: str, job_id: str) -> Answer:
        """End a job and remove its directory."""
        self._service.clean(manager, job_id)
        return OK

    # -- files --------------------------------------------------------------------------------------------------------

    def upload_file(self, manager: str, job_id: str, body: RequestBody, name: str, type: str, cache_token: str = "") -> Answer:
        """Store the body, or what the upload cache has under ``cache_token``, as a file of the job."""
        if cache_token:
            with self._file_cache().open(cache_token) as cached:
                path = self._service.upload(manager, job_id, type, name, cached.read)
        else:
            body.require_size()
            path = self._service.upload(manager, job_id, type, name, body.read)
        return json_answer({"path": path})

    def path(self, manager: str, job_id: str, name: str, type: str) -> Answer:
        """Tell where a file of the job is, for clients that see the same file system."""
        return json_answer({"path": self._service.path(manager, job_id, type, name)})

    def download_output(self, manager: str, job_id: str, name: str, type: str = "output") -> OpenedFile:
        """Send an output of the job."""
        return self._service.open_output(manager, job_id, type, name)

    # -- the upload cache ---------------------------------------------------------------------------------------------

    def file_available(self, manager: str, client_ip: str, path: str) -> Answer:
        """Tell the token of a client's file, and whether the cache has it."""
        del manager
        cache = self._file_cache()
        token = cache.token(client_ip, path)
        return json_answer({"token": token, "ready": cache.is_ready(token)})

    def cache_required(self, manager: str, client_ip: str, path: str) -> Answer:
        """Tell one of all who ask that it should send the file."""
        del manager
        cache = self._file_cache()
        return json_answer(cache.claim(cache.token(client_ip, path)))

    def cache_insert(self, manager: str, client_ip: str, body: RequestBody, path: str) -> Answer:
        """Put the body into the cache."""
        del manager
        cache = self._file_cache()
        body.require_size()
        cache.insert(cache.token(client_ip, path), body.read)
        return json_answer(None)

    def _file_cache(self) -> UploadCache:
        if self._cache is None:
            raise NotFound("this node has no upload cache; set file_cache_dir in app.yml, or switch caching off in the client")
        return self._cache

    # -- the node -----------------------------------------------------------------------------------------------------

    def healthz(self, manager: str) -> Answer:
        """Tell how the node is."""
        del manager
        return json_answer(self._health())

    def object_store(self, manager: str, **values: str) -> Answer:
        """Refuse what needs an object store."""
        del manager, values
        raise NotFound("no object store is configured on this node")
