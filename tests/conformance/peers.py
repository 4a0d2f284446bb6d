"""The real Pulsar, installed by ``scripts/peers``: its ``pulsar-check`` as a client, and itself as a server.

It is used as it is delivered, through its commands only.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.support.node import ROOT, free_port, processes_of_session, wait_until

__all__ = ["PEERS", "Peer", "RunningPeer"]

VERSIONS = ("0.15.15", "0.16.0")
#: A run takes about three seconds; one that waits for a job that has failed does so for minutes.
CHECK_S = 60.0


@dataclass(frozen=True)
class Peer:
    """One release."""

    version: str

    @property
    def service(self) -> str:
        """What tests that need it are marked with."""
        return f"pulsar-app {self.version}"

    @property
    def commands(self) -> Path:
        """Where its commands are."""
        return ROOT / ".peers" / self.version / "bin"

    def is_installed(self) -> bool:
        """Whether ``scripts/peers`` has finished with it."""
        return (self.commands.parent / "complete").is_file()

    def check(
        self, url: str, *flags: str, token: str | None = None, timeout_s: float = 180.0
    ) -> subprocess.CompletedProcess[str]:
        """Run its ``pulsar-check`` against a server and return how that ended."""
        command = [str(self.commands / "pulsar-check"), "--url", url, *flags]
        if token is not None:
            command += ["--private_token", token]
        return subprocess.run(command, env=self._environment(), capture_output=True, text=True, timeout=CHECK_S, check=False)

    def _environment(self) -> dict[str, str]:
        """Its own commands first, and nothing of ours that Python would import."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PULSAR_", "PYTHON", "VIRTUAL_ENV"))}
        return {**kept, "PATH": f"{self.commands}{os.pathsep}{kept.get('PATH', os.defpath)}"}

    @contextmanager
    def serving(self, directory: Path, *, token: str | None = None, **app: Any) -> Iterator[RunningPeer]:
        """Run its server in ``directory`` while the block runs. ``app`` are options of its app.yml."""
        server = RunningPeer(self, directory, free_port(), token)
        directory.mkdir(parents=True, exist_ok=True)
        server.write_files(app)
        with (directory / "server.log").open("wb") as log:
            process = subprocess.Popen(
                [str(self.commands / "pulsar-serve"), "server.ini"],
                cwd=directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until(lambda: server.answers(process), f"an answer of pulsar-app {self.version}", 60.0)
            yield server
        finally:
            _end(process)


@dataclass(frozen=True)
class RunningPeer:
    """A server of a peer."""

    peer: Peer
    directory: Path
    port: int
    token: str | None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}/"

    def log_text(self) -> str:
        """Return what it wrote so far."""
        return (self.directory / "server.log").read_text(errors="replace")

    def write_files(self, app: Mapping[str, Any]) -> None:
        options = {"conda_auto_init": False, "conda_auto_install": False, **app}
        if self.token is not None:
            options["private_token"] = self.token
        (self.directory / "app.yml").write_text(json.dumps(options))  # JSON is YAML
        ini = ["[server:main]", "host = 127.0.0.1", f"port = {self.port}", "[app:main]", "app_config = %(here)s/app.yml"]
        (self.directory / "server.ini").write_text("\n".join(ini) + "\n")

    def answers(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, f"it ended with status {process.returncode}:\n{self.log_text()[-3000:]}"
        query = f"?{urlencode({'private_token': self.token})}" if self.token is not None else ""
        try:
            with urllib.request.urlopen(f"{self.url}healthz{query}", timeout=5.0) as answer:
                return bool(json.load(answer)["version"])
        except urllib.error.HTTPError:
            raise
        except OSError:
            return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and what it has started in its session; it need not do so gently."""
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10.0)
    while pids := processes_of_session(process.pid):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.poll()
    process.wait()


PEERS = tuple(Peer(version) for version in VERSIONS)
