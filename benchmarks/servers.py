"""The servers that are measured: each configured by its own ``pulsar-config`` and started by its own ``pulsar``."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peer import PEER_VERSION, peer_bin, uwsgi_bin
from benchmarks.processes import processes_of_session, processor_seconds
from benchmarks.wire import HOST, Connection, ProtocolError

__all__ = ["CONTENDERS", "SLOTS", "Contender", "Server", "free_port"]

#: ``num_concurrent_jobs`` of the manager, the same for all.
SLOTS = 2
#: The second manager of a node with a full ledger (see :mod:`benchmarks.scenarios.full_ledger`).
FREE_MANAGER = "free"

_START_S = 60.0
_STOP_S = 40.0
_HEALTH_INTERVAL_S = 0.002


@dataclass(frozen=True)
class Contender:
    """A kind of server. ``ini_changes`` are applied to the ``server.ini`` that its ``pulsar-config`` wrote."""

    key: str
    title: str
    bin: Callable[[], Path]
    config_words: tuple[str, ...] = ()
    launch_words: tuple[str, ...] = ()
    ini_changes: tuple[tuple[str, str], ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM


def _our_bin() -> Path:
    return Path(sys.executable).parent


CONTENDERS: dict[str, Contender] = {
    contender.key: contender
    for contender in (
        Contender("ours", "ours", _our_bin),
        # What its launcher chooses where it does not find uWSGI; named, because there may be one in /usr/bin.
        Contender("peer", f"peer {PEER_VERSION}", peer_bin, launch_words=("--mode", "gunicorn")),
        Contender(
            "uwsgi",
            "peer under uWSGI",
            uwsgi_bin,
            config_words=("--wsgi_server", "uwsgi"),
            launch_words=("--mode", "uwsgi"),
            ini_changes=(
                # What is written there waits for a web server in front that speaks uWSGI's protocol.
                # Loaded by the master and then forked, as uWSGI does unless told, the peer has no threads that would run jobs.
                (r"^socket = .*$", f"http = {HOST}:PORT\nbuffer-size = 65535\nlazy-apps = True"),
                # uWSGI loads it by PasteDeploy, which has to be told what the application is.
                (r"^\[app:main\]$", "[app:main]\npaste.app_factory = pulsar.web.wsgi:app_factory"),
            ),
            stop_signal=signal.SIGINT,  # by SIGTERM uWSGI starts again
        ),
    )
}


def free_port() -> int:
    """Return a port of the loopback interface that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Server:
    """One server in a directory of its own; a session of its own while it runs."""

    contender: Contender
    directory: Path
    #: A second manager with slots of its own.
    has_free_manager: bool = False
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def key(self) -> str:
        """The contender's."""
        return self.contender.key

    @property
    def staging(self) -> Path:
        """Where its job directories are."""
        return self.directory / "files" / "staging"

    @property
    def log(self) -> Path:
        """What it wrote to its standard output and error."""
        return self.directory / "server.log"

    @property
    def command(self) -> list[str]:
        """The words that start it."""
        return [str(self.contender.bin() / "pulsar"), *self.contender.launch_words, "--config", str(self.directory)]

    # -- its files ----------------------------------------------------------------------------------------------------

    def configure(self) -> Server:
        """Write its configuration as its administrator would, and give all servers the same managers."""
        words = ["--directory", str(self.directory), "--host", HOST, "--port", str(self.port), *self.contender.config_words]
        self.directory.mkdir(parents=True)
        command = [str(self.contender.bin() / "pulsar-config"), *words, "--force"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=self._environment())
        managers = ["_default_", FREE_MANAGER] if self.has_free_manager else ["_default_"]
        lines = ["", "staging_directory: files/staging", "persistence_directory: files/persisted_data", "managers:"]
        lines += [f"  {name}: {{type: queued_python, num_concurrent_jobs: {SLOTS}}}" for name in managers]
        app = self.directory / "app.yml"
        app.write_text(app.read_text() + "\n".join(lines) + "\n")
        ini = self.directory / "server.ini"
        text = ini.read_text()
        for pattern, replacement in self.contender.ini_changes:
            text, count = re.subn(pattern, replacement.replace("PORT", str(self.port)), text, flags=re.MULTILINE)
            if count != 1:
                raise RuntimeError(f"{ini}: {pattern!r} was found {count} times")
        ini.write_text(text)
        return self

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR", "USER", "LOGNAME") if name in os.environ}
        path = f"{self.contender.bin()}:/usr/local/bin:/usr/bin:/bin"
        return {**kept, "PATH": path, "HOME": str(self.directory)}

    # -- its life -----------------------------------------------------------------------------------------------------

    def start(self) -> float:
        """Start it and return the seconds from there to its first healthy answer."""
        environment, command = self._environment(), self.command
        with open(self.log, "ab") as log:
            began = time.perf_counter()
            self.process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not self.is_healthy():
            if self.process.poll() is not None or time.perf_counter() - began > _START_S:
                self.stop()
                raise RuntimeError(f"{self.contender.title} did not start:\n{self.log_tail()}")
            time.sleep(_HEALTH_INTERVAL_S)
        return time.perf_counter() - began

    def is_healthy(self) -> bool:
        """Whether ``/healthz`` answers 200."""
        with contextlib.suppress(OSError, ProtocolError), Connection(self.port) as connection:
            return connection.request("GET", "/healthz").status == 200
        return False

    def log_tail(self) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:]) if self.log.exists() else ""

    def pids(self) -> list[int]:
        """Return its own processes, without those of jobs that made sessions of their own."""
        assert self.process is not None
        return processes_of_session(self.process.pid)

    def processor_seconds(self) -> float:
        """Return the processor time that its processes have taken so far."""
        return processor_seconds(self.pids())

    def stop(self) -> None:
        """End it: by its signal to all of its processes, and SIGKILL to what is left of them after a time."""
        if self.process is None:
            return
        deadline = time.monotonic() + _STOP_S
        # To all: the peer's launcher is a shell that does not pass it on.
        signal_number = self.contender.stop_signal
        while pids := self.pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal_number)
            if time.monotonic() > deadline:
                signal_number = signal.SIGKILL
            self._wait(2.0)
        self.process.wait()
        self.process = None

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        assert self.process is not None
        while time.monotonic() < deadline:
            self.process.poll()  # reaps it
            if not self.pids():
                return
            time.sleep(0.02)

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        """Run it while the block runs."""
        self.start()
        try:
            yield self
        finally:
            self.stop()
