"""A Pulsar server as a function from request to response: what the client needs to talk to when there is no network."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pulsar.client.transport import Request, Response
from pulsar.protocol.commands import COMMANDS
from pulsar.protocol.layout import CREATED_AT_SETUP, OUTPUT_TYPES, PATH_TYPES
from pulsar.protocol.messages import LaunchRequest, env_statement

DOCUMENTS = {
    "params",
    "dependencies_description",
    "setup_params",
    "remote_staging",
    "env",
    "submit_extras",
    "dynamic_file_sources",
    "token_endpoint",
}


@dataclass(frozen=True)
class Call:
    """One request, taken apart."""

    command: str
    method: str
    path: str
    args: dict[str, str]
    body: bytes | None


@dataclass
class FakeServer:
    """Answers like a server whose jobs lie below ``root``. Jobs run when they are submitted, if ``runs_jobs``."""

    root: Path
    token: str | None = None
    runs_jobs: bool = False
    #: Words that ``status`` answers before the job's own end.
    statuses: list[str] = field(default_factory=list)
    #: Command → what answers in its place.
    answers: dict[str, Callable[[Call], Response]] = field(default_factory=dict)
    #: Last changes to the terminal document.
    change_document: Callable[[dict[str, Any]], dict[str, Any]] = lambda document: document
    #: Done with the job directory when the job has run.
    after_job: Callable[[Path], None] = lambda directory: None
    calls: list[Call] = field(default_factory=list)
    launches: dict[str, dict[str, Any]] = field(default_factory=dict)
    return_codes: dict[str, int] = field(default_factory=dict)
    cache: dict[str, bytes | None] = field(default_factory=dict)

    def __call__(self, request: Request) -> Response:
        call = self._taken_apart(request)
        self.calls.append(call)
        if self.token is not None and call.args.get("private_token") != self.token:
            return Response(401, "Unauthorized")
        if call.command in self.answers:
            response = self.answers[call.command](call)
        else:
            response = getattr(self, f"_{call.command}", _not_here)(call)
        if request.sink is not None and response.status == 200:
            request.sink.write(response.body)
            return Response(200, response.reason)
        return response

    def commands(self) -> list[str]:
        return [call.command for call in self.calls]

    def uploads(self) -> list[tuple[str, str]]:
        return [(call.args["type"], call.args["name"]) for call in self.calls if call.command == "upload_file"]

    def launch(self) -> dict[str, Any]:
        """The one launch request that came, its documents parsed."""
        (launch,) = self.launches.values()
        return launch

    def job(self, job_id: str) -> Path:
        return self.root / job_id

    def _taken_apart(self, request: Request) -> Call:
        parts = urlsplit(request.url)
        args = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        body = None
        if request.body is not None:
            body = request.body.read(-1)
            assert len(body) == request.length
        for name, row in COMMANDS.items():
            match = row.pattern.match(parts.path)
            if match and row.client_method == request.method:
                found = {key: value for key, value in match.groupdict().items() if value is not None}
                return Call(name, request.method, parts.path, {**args, **found}, body)
        return Call("unknown", request.method, parts.path, args, body)

    # -- commands -----------------------------------------------------------------------------------------------------

    def _healthz(self, call: Call) -> Response:
        return _json({"version": "0.15.16"})

    def _setup(self, call: Call) -> Response:
        job_id = call.args["job_id"]
        for name in CREATED_AT_SETUP:
            (self.job(job_id) / name).mkdir(parents=True, exist_ok=True)
        return _json(setup_document(str(self.root), job_id))

    def _upload_file(self, call: Call) -> Response:
        path = self._place(call)
        path.parent.mkdir(parents=True, exist_ok=True)
        token = call.args.get("cache_token")
        content = self.cache[token] if token is not None else call.body
        path.write_bytes(content or b"")
        return _json({"path": str(path)})

    def _path(self, call: Call) -> Response:
        path = self._place(call)
        path.parent.mkdir(parents=True, exist_ok=True)
        return _json({"path": str(path)})

    def _place(self, call: Call) -> Path:
        directory = PATH_TYPES[call.args["type"]].directory
        path = self.job(call.args["job_id"]) / directory / call.args["name"]
        return Path(os.path.normpath(path))

    def _download_output(self, call: Call) -> Response:
        directory = OUTPUT_TYPES.get(call.args.get("type", "output"), "outputs")
        path = self.job(call.args["job_id"]) / directory / call.args["name"]
        return Response(200, "OK", path.read_bytes()) if path.is_file() else Response(404, "Not Found")

    def _submit(self, call: Call) -> Response:
        launch = {key: json.loads(value) if key in DOCUMENTS else value for key, value in call.args.items()}
        self.launches[call.args["job_id"]] = launch
        if self.runs_jobs:
            self._run(call.args["job_id"], launch)
        return Response(200, "OK", b"OK")

    def _run(self, job_id: str, launch: dict[str, Any]) -> None:
        directory = self.job(job_id)
        request = LaunchRequest(launch["command_line"], env=launch.get("env", []))
        for name in ("home", "tmp"):
            (directory / name).mkdir(exist_ok=True)
        script = "\n".join([*map(env_statement, request.env), request.command_line])
        environ = {**os.environ, "_GALAXY_JOB_HOME_DIR": str(directory / "home"), "_GALAXY_JOB_TMP_DIR": str(directory / "tmp")}
        ended = subprocess.run(["bash", "-c", script], cwd=directory / "working", env=environ, check=False)
        self.return_codes[job_id] = ended.returncode
        self.after_job(directory)

    def _status(self, call: Call) -> Response:
        job_id = call.args["job_id"]
        directory = self.job(job_id)
        if self.statuses and directory.is_dir():
            return _json({"complete": "false", "status": self.statuses.pop(0), "job_id": job_id})
        return _json(self.change_document(self._document(job_id, directory)))

    def _document(self, job_id: str, directory: Path) -> dict[str, Any]:
        sources = self.launches.get(job_id, {}).get("dynamic_file_sources") or []
        return {
            "job_id": job_id,
            "complete": "true",
            "status": "complete" if directory.is_dir() else "lost",
            "returncode": self.return_codes.get(job_id),
            "stdout": _text(directory / "metadata" / "tool_stdout") or "",
            "stderr": _text(directory / "metadata" / "tool_stderr") or "",
            "job_directory": str(directory),
            "working_directory_contents": names_below(directory / "working"),
            "outputs_directory_contents": names_below(directory / "outputs"),
            "metadata_directory_contents": names_below(directory / "metadata"),
            "job_directory_contents": sorted(entry.name for entry in directory.iterdir()) if directory.is_dir() else [],
            "system_properties": {"separator": "/"},
            "pulsar_version": "0.15.16",
            "realized_dynamic_file_sources": [
                {**source, "contents": _text(directory / "working" / source["path"])}
                for source in sources
                if (directory / "working" / source["path"]).is_file()
            ],
        }

    def _cancel(self, call: Call) -> Response:
        return Response(200, "OK", b"OK")

    def _clean(self, call: Call) -> Response:
        shutil.rmtree(self.job(call.args["job_id"]), ignore_errors=True)
        return Response(200, "OK", b"OK")

    def _cache_required(self, call: Call) -> Response:
        token = _cache_token(call)
        required = token not in self.cache
        self.cache.setdefault(token, None)
        return _json(required)

    def _cache_insert(self, call: Call) -> Response:
        self.cache[_cache_token(call)] = call.body
        return _json(None)

    def _file_available(self, call: Call) -> Response:
        token = _cache_token(call)
        return _json({"token": token, "ready": self.cache.get(token) is not None})


def setup_document(jobs_directory: str, job_id: str, separator: str = "/") -> dict[str, Any]:
    """Return what a server answers to set-up."""

    def place(*names: str) -> str:
        return separator.join((jobs_directory, job_id, *names))

    return {
        "job_directory": place(),
        "working_directory": place("working"),
        "metadata_directory": place("metadata"),
        "outputs_directory": place("outputs"),
        "configs_directory": place("configs"),
        "tools_directory": place("tool_files"),
        "inputs_directory": place("inputs"),
        "unstructured_files_directory": place("unstructured"),
        "path_separator": separator,
        "job_id": job_id,
        "system_properties": {"separator": separator},
        "pulsar_version": "0.15.16",
    }


def names_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def _text(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def _json(document: Any) -> Response:
    return Response(200, "OK", json.dumps(document).encode())


def _not_here(call: Call) -> Response:
    return Response(404, "Not Found")


def _cache_token(call: Call) -> str:
    return hashlib.sha256(call.args["path"].encode()).hexdigest()
