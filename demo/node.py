"""A node for the length of a ``with`` statement, started by the commands that an administrator would use."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DemoFailed", "RunningNode", "running_node"]

_START_S = 30.0
_STOP_S = 35.0


class DemoFailed(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True)
class RunningNode:
    """A node that answers."""

    url: str
    token: str
    log: Path


@contextlib.contextmanager
def running_node(directory: Path, token: str) -> Iterator[RunningNode]:
    """Configure a node in ``directory``, start it on a free port, and end it, whatever happens in between."""
    log = directory / "node.log"
    port = _free_port()
    _command(["pulsar.cli.config", "--directory", str(directory), "--host", "127.0.0.1", "--port", str(port)], token)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pulsar.cli.launcher", "--config", str(directory)],
            cwd=directory,
            env={name: value for name, value in os.environ.items() if not name.startswith("PULSAR_")},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    node = RunningNode(f"http://127.0.0.1:{port}/", token, log)
    try:
        _await_answer(node, process)
        yield node
    finally:
        _stop(process)


def _command(words: list[str], token: str) -> None:
    done = subprocess.run([sys.executable, "-m", *words, "--private_token", token], capture_output=True, text=True)
    if done.returncode != 0:
        raise DemoFailed(f"the node could not be configured: {done.stderr.strip() or done.stdout.strip()}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _await_answer(node: RunningNode, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoFailed(f"the node ended with status {process.returncode} as soon as it was started:\n{_tail(node.log)}")
        try:
            with urllib.request.urlopen(f"{node.url}healthz?private_token={node.token}", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise DemoFailed(f"the node does not answer on {node.url} after {_START_S:g} seconds:\n{_tail(node.log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the node and everything of its session."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        print("the node did not end when it was asked to; it is killed", file=sys.stderr)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
