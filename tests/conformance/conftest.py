from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conformance.peers import PEERS, Peer
from tests.conftest import SERVICES
from tests.support.node import RunningNode, start_node

SERVICES.update({peer.service: peer.is_installed for peer in PEERS})

#: Modes of a node, each with the service that it needs.
MODES = {"default": None, "uwsgi": "uwsgi", "paste": "paste"}

StartNode = Callable[..., RunningNode]


def each_peer() -> list[object]:
    """Parameters: the peers, each marked with its service."""
    return [pytest.param(peer, id=peer.version, marks=pytest.mark.service(peer.service)) for peer in PEERS]


def each_mode() -> list[object]:
    """Parameters: the modes of a node, each marked with the service that it needs."""
    return [
        pytest.param(mode, id=mode, marks=[pytest.mark.service(service)] if service else []) for mode, service in MODES.items()
    ]


@pytest.fixture(scope="module")
def running_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartNode]:
    """Return a function that gives the node of a mode and token, which is started when it is first asked for."""
    nodes: dict[tuple[str, str | None], RunningNode] = {}
    with ExitStack() as stack:

        def give(mode: str = "default", token: str | None = None) -> RunningNode:
            if (mode, token) not in nodes:
                directory = tmp_path_factory.mktemp(f"node-{mode}")
                managers = {"_default_": {"type": "queued_python"}, "second": {"type": "queued_python"}}
                app = {"managers": managers, "file_cache_dir": str(directory / "cache")}
                nodes[mode, token] = stack.enter_context(start_node(directory, mode, token=token, app=app))
            return nodes[mode, token]

        yield give


@pytest.fixture(scope="module")
def running_peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Peer, str | None], str]]:
    """Return a function that gives the address of a peer's server, which is started when it is first asked for."""
    urls: dict[tuple[Peer, str | None], str] = {}
    with ExitStack() as stack:

        def give(peer: Peer, token: str | None = None) -> str:
            if (peer, token) not in urls:
                directory: Path = tmp_path_factory.mktemp(f"peer-{peer.version}")
                # This server does not make the directory of its cache itself.
                (directory / "cache").mkdir()
                server = peer.serving(directory, token=token, file_cache_dir=str(directory / "cache"))
                urls[peer, token] = stack.enter_context(server).url
            return urls[peer, token]

        yield give
