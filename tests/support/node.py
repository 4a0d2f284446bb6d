"""A real node for tests: its files, its processes, and the ways in which it may end."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pulsar

__all__ = ["RunningNode", "free_port", "processes_of_session", "start_node", "wait_until"]

ROOT = Path(pulsar.__file__).resolve().parent.parent
START_S = 60.0
STOP_S = 60.0


def free_port() -> int:
    """Return a port of the loopback interface that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(holds: Callable[[], Any], what: str, timeout_s: float = 30.0, interval_s: float = 0.02) -> Any:
    """Return the first true value of ``holds``; fail with ``what`` when none came in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(interval_s)


def processes_of_session(session: int) -> list[int]:
    """Return the living processes of a session. Jobs are sessions of their own, so of a node these are its own processes."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                state, _, _, sid = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(sid) == session and state not in "ZX":
                    found.append(int(entry.name))
    return sorted(found)


@dataclass
class RunningNode:
    """A node that was started by :func:`start_node`."""

    directory: Path
    mode: str
    port: int
    token: str | None
    env: Mapping[str, str] = field(repr=False)
    scheme: str = "http"
    process: subprocess.Popen[bytes] | None = None
    #: Certificate of the authority that signed the node's own.
    ca_file: str | None = None

    # -- where it is --------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its first process."""
        assert self.process is not None
        return self.process.pid

    @property
    def log_path(self) -> Path:
        """What it wrote to standard output and error, over all its starts."""
        return self.directory / "node.log"

    def log_text(self) -> str:
        """Return what it wrote so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def pids(self) -> list[int]:
        """Return its own living processes, those of jobs left out."""
        return processes_of_session(self.pid)

    # -- talking to it ------------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: bytes | None = None, timeout_s: float = 30.0, **query: str) -> bytes:
        """Return the body of the answer; :class:`urllib.error.HTTPError` for any status but 200. The token goes along."""
        if self.token is not None:
            query.setdefault("private_token", self.token)
        url = f"{self.url}{path}?{urllib.parse.urlencode(query)}" if query else f"{self.url}{path}"
        request = urllib.request.Request(url, data=body if body is not None or method == "GET" else b"", method=method)
        context = ssl.create_default_context(cafile=self.ca_file) if self.scheme == "https" else None
        try:
            with urllib.request.urlopen(request, timeout=timeout_s, context=context) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as exc:
            with exc:  # the connection is closed, the body can still be read
                raise urllib.error.HTTPError(exc.url, exc.code, exc.reason, exc.headers, io.BytesIO(exc.read())) from None

    def json(self, method: str, path: str, **query: str) -> Any:
        """Return the JSON document of the answer."""
        return json.loads(self.request(method, path, **query))

    def set_up_job(self, job_id: str) -> dict[str, Any]:
        """Set a job up and return the answer."""
        answer: dict[str, Any] = self.json("POST", "/jobs", job_id=job_id)
        return answer

    def submit_job(self, job_id: str, command_line: str) -> None:
        """Set a job up and submit it."""
        self.set_up_job(job_id)
        assert self.request("POST", f"/jobs/{job_id}/submit", command_line=command_line) == b"OK"

    def status(self, job_id: str) -> dict[str, Any]:
        """Return the status document of a job."""
        document: dict[str, Any] = self.json("GET", f"/jobs/{job_id}/status")
        return document

    def wait_for_end(self, job_id: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Return the status document of a job that has ended."""
        document: dict[str, Any] = wait_until(
            lambda: (lambda found: found if found["complete"] == "true" else None)(self.status(job_id)),
            f"the end of job {job_id}",
            timeout_s,
        )
        return document

    # -- its life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it and wait until it answers; fail with the end of its log when it does not."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pulsar.cli.launcher", "--mode", self.mode, "--config", str(self.directory)],
                cwd=self.directory,
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    def _wait_until_it_answers(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self.process.poll() is not None:
                raise AssertionError(f"the node ended with status {self.process.returncode}:\n{self._tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"the node does not answer within {START_S:g} s:\n{self._tail()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        if self.mode == "webless":
            return f"process {self.pid} is the engine" in self.log_text()
        try:
            self.request("GET", "/healthz", timeout_s=5.0)
        except urllib.error.HTTPError as exc:
            raise AssertionError(f"/healthz answers {exc.code}:\n{self._tail()}") from exc
        except OSError:
            return False
        return True

    def _tail(self) -> str:
        return "\n".join(self.log_text().splitlines()[-40:])

    def stop(self, timeout_s: float = STOP_S) -> int:
        """Ask it to end (SIGTERM), wait until its last process has, and return the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            tail = self._tail()
            self.kill()
            raise AssertionError(f"the node did not end within {timeout_s:g} s of SIGTERM:\n{tail}") from None
        try:
            wait_until(lambda: not self.pids(), "the end of the node's last process", timeout_s)
        except AssertionError:
            self.kill()
            raise
        return status

    def kill(self) -> None:
        """Kill all its own processes at once, as a loss of power to them alone would; jobs go on."""
        assert self.process is not None
        while pids := self.pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        self.process.wait()

    def restart(self) -> None:
        """End it, unless it has ended, and start it again at the same place."""
        assert self.process is not None
        if self.process.poll() is None:
            self.stop()
        self.start()

    def __enter__(self) -> RunningNode:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            sys.stderr.write(f"---- log of the node\n{self._tail()}\n")
        if self.process is not None and (self.process.poll() is None or self.pids()):
            if kind is None:
                self.stop()
            else:
                self.kill()


def node_environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a node under test: this one's, without what is meant for another node."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PULSAR_") and name != "MODE"}
    clean["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), clean.get("PYTHONPATH"))))
    return {**clean, **(env or {})}


def write_node_files(
    directory: Path,
    port: int,
    *,
    token: str | None = None,
    processes: int = 1,
    app: Mapping[str, Any] | None = None,
    server: Mapping[str, str] | None = None,
) -> None:
    """Write ``app.yml`` and ``server.ini`` of a node on the loopback port; the section of uWSGI is the classic one."""
    options: dict[str, Any] = {"web_workers": processes, **(app or {})}
    if token is not None:
        options["private_token"] = token
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "app.yml").write_text(json.dumps(options, indent=2))  # JSON is YAML
    (directory / "server.ini").write_text("\n".join(_ini_lines(port, processes, server or {})) + "\n")


def _ini_lines(port: int, processes: int, server: Mapping[str, str]) -> Iterator[str]:
    yield from ("[server:main]", "host = 127.0.0.1", f"port = {port}")
    yield from (f"{name} = {value}" for name, value in server.items())
    yield from ("[app:main]", "paste.app_factory = pulsar.web.wsgi:app_factory", "app_config = %(here)s/app.yml")
    yield from ("[uwsgi]", "master = True", "paste-logger = True", f"http = 127.0.0.1:{port}", f"processes = {processes}")
    yield from ("enable-threads = True", "buffer-size = 16384")
    yield from ("[loggers]", "keys = root", "[handlers]", "keys = console", "[formatters]", "keys = generic")
    yield from ("[logger_root]", "level = INFO", "handlers = console")
    yield from ("[handler_console]", "class = StreamHandler", "args = (sys.stderr,)", "formatter = generic")
    yield from ("[formatter_generic]", "format = %(asctime)s %(levelname)s %(process)d [%(name)s] %(message)s")


def start_node(
    directory: Path,
    mode: str = "default",
    token: str | None = None,
    processes: int = 1,
    app: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    server: Mapping[str, str] | None = None,
    ca_file: str | None = None,
) -> RunningNode:
    """Start a node in ``directory`` through the real launcher, on a free loopback port; it answers when this returns.

    ``app`` are options of app.yml, ``server`` keys of ``[server:main]``. The node is the leader of a session of its own.
    """
    node = RunningNode(
        directory,
        mode,
        free_port(),
        token,
        node_environment(env),
        scheme="https" if server and "ssl_pem" in server else "http",
        ca_file=ca_file,
    )
    write_node_files(directory, node.port, token=token, processes=processes, app=app, server=server)
    node.start()
    return node
