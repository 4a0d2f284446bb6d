"""Whatever is asked of whichever route: no answer is a mistake of the node, and nothing outside of the jobs changes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pulsar.protocol.commands import COMMANDS
from pulsar.protocol.layout import PATH_TYPES
from pulsar.store.sqlite import SqliteStore
from tests.support.web import WebNode

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
HOSTILE = [
    "..",
    ".",
    "",
    "/",
    "../x",
    "/etc/passwd",
    "a\0b",
    "%",
    "\n",
    "é",
    "😀",
    "x" * 300,
    "-rf",
    "*",
    "a?b",
    "$(id)",
    "{}",
    "[]",
    "null",
]

names = st.one_of(st.sampled_from(["7", "8", "o", "deep/o", "link", "away/passwd", "fifo", *HOSTILE]), st.text(max_size=12))
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.sampled_from(["name", "value", "path"]), inner)
    ),
    max_leaves=6,
)
extras = st.dictionaries(
    st.sampled_from(["touch_outputs", "command_line", "env", "remote_staging", "setup_params", "job_id", "submit_params"]),
    documents,
)
values = st.one_of(names, documents.map(json.dumps), extras.map(json.dumps), st.sampled_from(list(PATH_TYPES)))
own_keys = {key for row in COMMANDS.values() for key in (*row.required, *row.optional)}
keys = st.sampled_from(sorted(own_keys | {"manager", "job_id", "body", "private_token", "", "x"}))
headers = st.dictionaries(
    st.sampled_from(["Range", "If-Range", "If-None-Match", "If-Modified-Since", "Authorization", "X-Forwarded-For"]),
    st.sampled_from(
        ["bytes=0-1", "bytes=5-", "bytes=-9", 'W/"1"', "*", "Bearer x", "Sun, 06 Nov 1994 08:49:37 GMT", "", "é", "::1"]
    ),
)


def escaped(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


@st.composite
def targets(draw: st.DrawFn) -> tuple[str, str]:
    row = draw(st.sampled_from(list(COMMANDS.values())))
    method = draw(st.sampled_from([row.client_method, row.client_method, *METHODS]))
    spelled = draw(st.sampled_from([escaped, lambda text: text.encode("utf-8", "replace").decode("latin-1").replace("?", "")]))
    path = row.path.format(job_id=spelled(draw(names)), object_id=spelled(draw(names)))
    path = draw(st.sampled_from(["", "", "/managers/other", "/managers/" + spelled(draw(names))])) + path
    fields = [(key, draw(values)) for key in row.required if draw(st.integers(0, 9))]
    fields += draw(st.lists(st.tuples(keys, values), max_size=4))
    query = "&".join(f"{escaped(key)}={escaped(value)}" for key, value in fields)
    if not draw(st.integers(0, 9)):
        query += draw(st.text(alphabet="%&=+az09é\xff", max_size=20)).encode("latin-1", "replace").decode("latin-1")
    return method, f"{path}?{query}"


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which nothing but the node's own may change."""
    path = tmp_path_factory.mktemp("outside")
    (path / "secret").write_text("keep out")
    return path


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def node(request: pytest.FixtureRequest, outside: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebNode]:
    if request.param == "memory":
        yield WebNode(outside / "node", with_cache=True)
        return
    store = SqliteStore(tmp_path_factory.mktemp("ledger") / "ledger.sqlite3")
    yield WebNode(outside / "node", with_cache=True, store=store)
    store.close()


def furnish(node: WebNode) -> None:
    """Have a job with all kinds of things in it."""
    node.client.call("POST", "/jobs", job_id="7")
    outputs = node.staging / "7" / "outputs"
    if not outputs.is_dir() or (outputs / "fifo").exists():
        return
    (outputs / "deep").mkdir(exist_ok=True)
    for name, content in (("o", b"12345"), ("deep/o", b"")):
        if not (outputs / name).is_dir():
            (outputs / name).write_bytes(content)
    for name, target in (("link", "o"), ("away", "/etc"), ("loop", "loop")):
        if not os.path.lexists(outputs / name):
            (outputs / name).symlink_to(target)
    os.mkfifo(outputs / "fifo")


@settings(max_examples=400, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(target=targets(), body=st.binary(max_size=20), head=headers, length=st.integers(0, 30) | st.none())
def test_no_request_makes_the_node_fail(
    node: WebNode, outside: Path, target: tuple[str, str], body: bytes, head: dict[str, str], length: int | None
) -> None:
    furnish(node)
    method, uri = target
    answer = node.client.request(method, uri, body, length=length, headers={name: value for name, value in head.items() if value})
    assert answer.status in (200, 206, 304, 400, 401, 404, 405, 409, 413, 416), (method, uri, answer)
    assert b"Traceback" not in answer.body
    if answer.status >= 400 and answer.status != 416 and method != "HEAD":
        document: dict[str, Any] = answer.json()
        assert set(document) == {"error", "reason"}
        assert answer.body.count(b"\n") == 1
    assert sorted(os.listdir(outside)) == ["node", "secret"]
    assert set(os.listdir(outside / "node")) <= {"staging", "other", "cache"}


def test_the_node_is_as_good_as_new(node: WebNode, outside: Path) -> None:
    """Runs after the property: jobs can still be set up, listed and removed, and no upload under way was left."""
    left = list((outside / "node").rglob(".pulsar-upload-*"))
    assert left == []
    for job in [path.name for path in node.staging.iterdir() if not path.name.startswith(".pulsar-")]:
        assert node.client.request("DELETE", f"/jobs/{escaped(job)}").status == 200
    node.files.sweep()
    assert [name for name in os.listdir(node.staging) if not name.startswith(".pulsar-")] == []
    node.client.call("POST", "/jobs", job_id="7")
    assert (node.staging / "7" / "inputs").is_dir()
