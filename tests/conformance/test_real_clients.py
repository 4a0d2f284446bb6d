"""The ``pulsar-check`` of the real Pulsar passes against our node: its client library is the one inside Galaxy."""

from __future__ import annotations

import subprocess

import pytest

from tests.conformance.conftest import StartNode, each_mode, each_peer
from tests.conformance.peers import Peer
from tests.support.node import RunningNode

TOKEN = "open sesame/&ü"

#: The job of the real pulsar-check, unless it is told another.
JOB_ID = "123456"


def assert_passed(ended: subprocess.CompletedProcess[str], node: RunningNode) -> None:
    said = f"{ended.stdout}\n{ended.stderr[-4000:]}\n---- node\n{node.log_text()[-4000:]}"
    assert ended.returncode == 0, said
    assert "Traceback" not in ended.stderr, said


def assert_is_gone(node: RunningNode, job_id: str = JOB_ID) -> None:
    assert node.status(job_id)["status"] == "lost"


@pytest.mark.parametrize("peer", each_peer())
@pytest.mark.parametrize("transport", ["urllib", "curl"])
@pytest.mark.parametrize("mode", each_mode())
def test_it_passes_in_every_mode(running_node: StartNode, peer: Peer, transport: str, mode: str) -> None:
    node = running_node(mode, TOKEN)
    assert_passed(peer.check(f"{node.url}/", "--transport", transport, token=TOKEN), node)
    assert_is_gone(node)


@pytest.mark.parametrize("peer", each_peer())
@pytest.mark.parametrize("transport", ["urllib", "curl"])
def test_it_passes_without_a_token(running_node: StartNode, peer: Peer, transport: str) -> None:
    node = running_node()
    assert_passed(peer.check(node.url, "--transport", transport), node)
    assert_is_gone(node)


@pytest.mark.parametrize("peer", each_peer())
@pytest.mark.parametrize("manager", ["_default_", "second"])
def test_it_passes_with_a_manager_in_the_address(running_node: StartNode, peer: Peer, manager: str) -> None:
    node = running_node("default", TOKEN)
    assert_passed(peer.check(f"{node.url}/managers/{manager}/", token=TOKEN), node)


@pytest.mark.parametrize("peer", each_peer())
@pytest.mark.parametrize(
    "flags",
    [
        ("--cache",),
        ("--cache", "--transport", "curl"),
        ("--explicit_tool_declarations",),
        ("--legacy_galaxy_json",),
        ("--suppress_output", "--debug"),
        ("--explicit_tool_declarations", "--legacy_galaxy_json", "--transport", "curl"),
    ],
    ids=" ".join,
)
def test_it_passes_with_its_flags(running_node: StartNode, peer: Peer, flags: tuple[str, ...]) -> None:
    node = running_node("default", TOKEN)
    assert_passed(peer.check(f"{node.url}/", *flags, token=TOKEN), node)
    assert_is_gone(node)


@pytest.mark.parametrize("peer", each_peer())
def test_an_output_that_is_missing_is_an_error_that_it_survives(running_node: StartNode, peer: Peer) -> None:
    """With ``--test_errors`` it asks for a name that does not exist, prints the error and goes on."""
    node = running_node("default", TOKEN)
    ended = peer.check(f"{node.url}/", "--test_errors", token=TOKEN)
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert "PulsarClientTransportError" in ended.stderr


@pytest.mark.parametrize("peer", each_peer())
def test_a_job_that_is_not_cleaned_stays_and_its_id_can_be_used_again(running_node: StartNode, peer: Peer) -> None:
    node = running_node("default", TOKEN)
    job_id = f"kept-{peer.version}"
    for _ in range(2):
        assert_passed(peer.check(f"{node.url}/", "--disable_cleanup", "--job_id", job_id, token=TOKEN), node)
        document = node.status(job_id)
        assert (document["status"], document["returncode"]) == ("complete", 4)


@pytest.mark.parametrize("peer", each_peer())
@pytest.mark.parametrize("token", ["wrong", None])
def test_it_fails_without_the_right_token(running_node: StartNode, peer: Peer, token: str | None) -> None:
    node = running_node("default", TOKEN)
    ended = peer.check(f"{node.url}/", token=token)
    assert ended.returncode != 0
    assert "transport code: 401" in ended.stderr
    assert_is_gone(node)
