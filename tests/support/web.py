"""The REST API without a server: a real :class:`JobService` on a disk, and a client that calls the WSGI application itself.

Every call goes through :func:`wsgiref.validate.validator`, which fails when an answer breaks a rule of PEP 3333.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes, urlencode
from wsgiref.validate import validator

from pulsar.jobs.job import Killed, advance
from pulsar.jobs.ports import ManagerProfile, Store
from pulsar.jobs.service import JobService
from pulsar.jobs.states import State
from pulsar.staging.client_only import ClientOnlyStager
from pulsar.store.cache import UploadCache
from pulsar.store.files import DiskJobFiles
from pulsar.store.memory import MemoryStore
from pulsar.web.app import WebApp

__all__ = ["Client", "Response", "WebNode"]


@dataclass(frozen=True)
class Response:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the JSON document in the body."""
        return json.loads(self.body)


class Client:
    """Calls a WSGI application as a server would."""

    def __init__(self, app: Callable[..., Any], **environ: Any) -> None:
        self._app = validator(app)
        self._environ = environ

    def request(
        self,
        method: str,
        target: str,
        body: bytes | BinaryIO = b"",
        *,
        length: int | None = None,
        headers: Mapping[str, str] | None = None,
        **environ: Any,
    ) -> Response:
        """Return the answer to ``method target``; the target is as it would stand in the request line, escapes and all."""
        path, _, query = target.partition("?")
        stream = io.BytesIO(body) if isinstance(body, bytes) else body
        whole: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path.encode("latin-1")).decode("latin-1"),
            "QUERY_STRING": query,
            "RAW_URI": target,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8913",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "192.0.2.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": stream,
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if isinstance(body, bytes):
            length = len(body) if length is None else length
        if length is not None:
            whole["CONTENT_LENGTH"] = str(length)
        for name, value in (headers or {}).items():
            whole["HTTP_" + name.upper().replace("-", "_")] = value
        whole |= self._environ | environ
        answered: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
            answered[:] = [status, headers]
            return lambda data: None

        result = self._app({key: value for key, value in whole.items() if value is not None}, start_response)
        try:
            content = b"".join(result)
        finally:
            result.close()
        status, response_headers = answered
        return Response(int(status[:3]), dict(response_headers), content)

    def call(self, method: str, path: str, body: bytes | BinaryIO = b"", /, **query: str) -> Response:
        """Return the answer to a request with these values in its query string."""
        return self.request(method, f"{path}?{urlencode(query)}" if query else path, body)


class WebNode:
    """A node whose jobs never run: its API, what is behind it, and how it can be looked at."""

    def __init__(
        self,
        directory: Path,
        *,
        token: str | None = None,
        healthz_public: bool = False,
        max_upload_bytes: int = 0,
        with_cache: bool = False,
        store: Store | None = None,
        **profile: Any,
    ) -> None:
        self.staging = directory / "staging"
        self.staging.mkdir(parents=True, exist_ok=True)
        self.store = store or MemoryStore()
        self.files = DiskJobFiles(None, [str(self.staging), str(directory / "other")])
        profiles = {
            "_default_": ManagerProfile("_default_", str(self.staging), **profile),
            "other": ManagerProfile("other", str(directory / "other")),
        }
        self.service = JobService(self.store, self.files, ClientOnlyStager(), profiles, self._end_cancelled)
        self.cache = UploadCache(str(directory / "cache")) if with_cache else None
        self.app = WebApp(
            self.service,
            token,
            lambda: {"version": "1", "wire_version": "2", "status": "ok", "jobs": {}},
            healthz_public=healthz_public,
            max_upload_bytes=max_upload_bytes,
            file_cache=self.cache,
            reads_never_wait=True,
        )
        self.client = Client(self.app)

    def job(self, job_id: str = "7") -> Path:
        """Set a job up and return its directory."""
        answer = self.client.call("POST", "/jobs", job_id=job_id)
        assert answer.status == 200, answer
        return Path(answer.json()["job_directory"])

    def _end_cancelled(self) -> None:
        """Do what an engine does for a job that is to end; nothing ever runs here."""
        for job in self.store.unfinished():
            if job.state is State.CANCELLING:
                step = advance(job, Killed())
                assert step is not None
                ended, entry = step
                self.store.save(ended, [entry], self.service.document(ended))

    def everything(self) -> list[str]:
        """Return every name below the staging directories."""
        return sorted(str(path) for path in self.staging.parent.rglob("*"))
