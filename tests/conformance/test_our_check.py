"""Our ``pulsar-check`` passes against the real Pulsar, and against our own node in every mode."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conformance.conftest import StartNode, each_mode, each_peer
from tests.conformance.peers import Peer

TOKEN = "open sesame/&ü"

FLAGS = [
    (),
    ("--explicit_tool_declarations",),
    ("--legacy_galaxy_json",),
    ("--test_errors",),
    ("--cache",),
    ("--manager", "_default_"),
]


def check(url: str, *flags: str, token: str | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pulsar.cli.check", "--url", url, *flags]
    if token is not None:
        command += ["--private_token", token]
    environ = {**os.environ, **(env or {})}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=180, check=False)


def assert_passed(ended: subprocess.CompletedProcess[str]) -> None:
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    assert ended.stderr == ""
    assert ended.stdout.splitlines()[-1].startswith("all ")


@pytest.mark.parametrize("peer", each_peer())
@pytest.mark.parametrize("transport", ["urllib", "curl"])
@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
def test_the_real_server_passes(
    running_peer: Callable[[Peer, str | None], str], peer: Peer, transport: str, flags: tuple[str, ...]
) -> None:
    assert_passed(check(running_peer(peer, TOKEN), "--transport", transport, *flags, token=TOKEN))


@pytest.mark.parametrize("mode", each_mode())
@pytest.mark.parametrize("transport", ["urllib", "curl"])
def test_our_node_passes_in_every_mode(running_node: StartNode, mode: str, transport: str) -> None:
    url = running_node(mode, TOKEN).url
    assert_passed(check(url, "--transport", transport, "--test_errors", "--explicit_tool_declarations", token=TOKEN))


@pytest.mark.parametrize("flags", [*FLAGS, ("--manager", "second")], ids=" ".join)
def test_our_node_passes_with_every_flag(running_node: StartNode, flags: tuple[str, ...]) -> None:
    assert_passed(check(running_node("default", TOKEN).url, *flags, token=TOKEN))


def test_it_prints_in_any_locale(running_node: StartNode) -> None:
    assert_passed(check(running_node("default", TOKEN).url, token=TOKEN, env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}))


@pytest.mark.parametrize(
    ("path", "flags", "token", "remedy"),
    [
        ("", (), "wrong", "does not accept the private token"),
        ("", (), None, "wants a private token"),
        ("/nothing/here", (), TOKEN, "correct --url"),
        ("", ("--manager", "no_such"), TOKEN, "'no_such' does not exist"),
    ],
)
@pytest.mark.parametrize("transport", ["urllib", "curl"])
def test_what_is_wrong_is_told_in_one_line(
    running_node: StartNode, transport: str, path: str, flags: tuple[str, ...], token: str | None, remedy: str
) -> None:
    url = f"{running_node('default', TOKEN).url}{path}"
    ended = check(url, "--transport", transport, *flags, token=token)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1
    assert remedy in ended.stderr
