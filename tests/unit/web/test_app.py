"""The REST API as a client sees it (specification 1): routes, answers, errors, the token."""

from __future__ import annotations

import inspect
import io
import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from pulsar.errors import LedgerError, StorageFull
from pulsar.jobs.job import JobKey
from pulsar.protocol.commands import ANY, COMMANDS
from pulsar.web.app import WebApp
from pulsar.web.handlers import Handlers
from tests.support.web import WebNode


@pytest.fixture
def node(tmp_path: Path) -> WebNode:
    return WebNode(tmp_path)


def test_every_command_has_a_handler_that_takes_its_parameters(node: WebNode) -> None:
    for name, handler in Handlers(node.service, None, dict).table().items():
        parameters = inspect.signature(handler).parameters
        assert "manager" in parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            continue
        row = COMMANDS[name]
        variables = {"job_id"} if "{job_id}" in row.path else set()
        assert parameters.keys() - {"manager", "body", "client_ip"} == {*row.required, *row.optional, *variables}, name
        assert ("body" in parameters) is row.takes_body, name
        for key in row.optional:
            assert parameters[key].default is not parameters[key].empty, name


# -- a job's way --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/managers/_default_", "/managers/other"])
def test_a_job_from_set_up_to_clean(node: WebNode, prefix: str) -> None:
    client = node.client
    setup = client.call("POST", f"{prefix}/jobs", job_id="7", tool_id="cat1", tool_version="1.0", use_metadata="true")
    assert (setup.status, setup.headers["Content-Type"]) == (200, "application/json")
    document = setup.json()
    assert list(document)[:10] == [
        "job_directory",
        "working_directory",
        "metadata_directory",
        "outputs_directory",
        "configs_directory",
        "tools_directory",
        "inputs_directory",
        "unstructured_files_directory",
        "path_separator",
        "job_id",
    ]
    assert document["tool_id"] == "cat1"
    job = Path(document["job_directory"])

    upload = client.call("POST", f"{prefix}/jobs/7/files", b"a\0b\xff=&%", job_id="7", name="x.dat", type="input")
    assert upload.json() == {"path": str(job / "inputs" / "x.dat")}
    assert (job / "inputs" / "x.dat").read_bytes() == b"a\0b\xff=&%"
    path = client.call("GET", f"{prefix}/jobs/7/files/path", job_id="7", name="y/z", type="unstructured")
    assert path.json() == {"path": str(job / "unstructured" / "y" / "z")}
    assert (job / "unstructured" / "y").is_dir()

    assert client.call("GET", f"{prefix}/jobs/7/status", job_id="7").json() == {
        "complete": "false",
        "status": "preprocessing",
        "job_id": "7",
    }
    submit = client.call("POST", f"{prefix}/jobs/7/submit", command_line="echo ü", job_id="7", params="{}", env="[]")
    assert (submit.status, submit.body) == (200, b"OK")
    stored = node.store.get(JobKey(prefix.rpartition("/")[2] or "_default_", "7"))
    assert stored is not None
    assert stored.request is not None
    assert stored.request.command_line == "echo ü"

    (job / "outputs" / "o").write_bytes(b"output")
    assert client.call("GET", f"{prefix}/jobs/7/files", job_id="7", name="o").body == b"output"
    assert client.call("GET", f"{prefix}/jobs/7/files", name="o", type="output").body == b"output"


def test_cancel_and_clean_answer_ok_for_whatever_job(node: WebNode) -> None:
    node.job()
    for method, path in (("PUT", "/jobs/7/cancel"), ("PUT", "/jobs/8/cancel"), ("DELETE", "/jobs/7"), ("DELETE", "/jobs/8")):
        for _ in range(2):
            answer = node.client.call(method, path, job_id="7")
            assert (answer.status, answer.body) == (200, b"OK")
    assert not (node.staging / "7").exists()
    assert not (node.staging / "8").exists()


def test_status_of_an_unknown_job_is_lost_and_makes_no_directory(node: WebNode) -> None:
    answer = node.client.call("GET", "/jobs/unknown/status")
    assert answer.status == 200
    assert answer.json()["status"] == "lost"
    assert answer.json()["complete"] == "true"
    assert node.everything() == [str(node.staging)]


def test_nothing_springs_up_for_a_job_that_was_never_set_up(node: WebNode) -> None:
    before = node.everything()
    for method, path, query in (
        ("POST", "/jobs/8/files", {"name": "x", "type": "input"}),
        ("GET", "/jobs/8/files/path", {"name": "x", "type": "input"}),
        ("GET", "/jobs/8/files/path", {"name": "x", "type": "output"}),
        ("GET", "/jobs/8/files", {"name": "x"}),
        ("POST", "/jobs/8/submit", {"command_line": "true"}),
    ):
        answer = node.client.call(method, path, b"", **query)
        assert (answer.status, answer.json()["reason"]) == (404, "not_found"), path
    assert node.everything() == before


def test_submit_and_set_up_may_come_twice(node: WebNode) -> None:
    job = node.job()
    (job / "inputs" / "x").touch()
    node.job()
    assert (job / "inputs" / "x").exists()
    for command_line in ("first", "second"):
        assert node.client.call("POST", "/jobs/7/submit", command_line=command_line).body == b"OK"
    stored = node.store.get(JobKey("_default_", "7"))
    assert stored is not None
    assert stored.request is not None
    assert stored.request.command_line == "first"


def test_assigned_ids_are_told_and_count(tmp_path: Path) -> None:
    node = WebNode(tmp_path, assigns_uuids=True)
    job_id = node.client.call("POST", "/jobs", job_id="7").json()["job_id"]
    assert len(job_id) == 32
    assert node.client.call("GET", f"/jobs/{job_id}/status").json()["status"] == "preprocessing"
    assert node.client.call("GET", "/jobs/7/status").json()["status"] == "lost"


# -- parameters ---------------------------------------------------------------------------------------------------------


def test_the_path_wins_over_the_query_and_the_first_of_repeated_keys_counts(node: WebNode) -> None:
    node.job("7")
    answer = node.client.request("GET", "/jobs/7/status?job_id=8&job_id=9&manager=x&unknown=%zz")
    assert answer.json()["status"] == "preprocessing"
    answer = node.client.request("POST", "/jobs?job_id=first&job_id=second")
    assert answer.json()["job_id"] == "first"


@pytest.mark.parametrize(
    "name", ["manager", "file_cache", "object_store", "ip", "client_ip", "body", "self", "service", "environ", "manager_name"]
)
def test_names_inside_the_server_cannot_be_set_by_a_query(node: WebNode, name: str) -> None:
    node.job()
    for method, path in (("POST", "/jobs?job_id=7"), ("GET", "/jobs/7/status?x="), ("POST", "/jobs/7/files?name=x&type=input")):
        assert node.client.request(method, f"{path}&{name}=evil").status == 200


@pytest.mark.parametrize(
    ("method", "path", "missing"),
    [(row.method, row.path.format(job_id="7", object_id="7"), key) for row in COMMANDS.values() for key in row.required],
)
def test_a_missing_parameter_is_named(tmp_path: Path, method: str, path: str, missing: str) -> None:
    node = WebNode(tmp_path, with_cache=True)
    node.job()
    answer = node.client.call(method, path)
    assert (answer.status, answer.json()["reason"]) == (400, "request_error")
    assert "is missing from the query" in answer.json()["error"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("command_line", "a%00b"),
        ("command_line", "%ff"),
        ("command_line", "%zz"),
        ("command_line", "%"),
        ("params", "%7B"),
        ("params", "[]"),
        ("params", "1"),
        ("env", "{}"),
        ("env", "[1]"),
        ("env", quote('[{"name": "a b", "value": 1}]')),
        ("env", quote('[{"unknown": 1}]')),
        ("remote_staging", "[]"),
        ("remote_staging", quote('{"setup": 1}')),
        ("remote_staging", quote('{"client_outputs": []}')),
        ("setup_params", "[]"),
        ("submit_extras", "[]"),
        ("submit_extras", quote('{"touch_outputs": "x"}')),
        ("submit_extras", quote('{"command_line": 1}')),
        ("submit_extras", quote('{"command_line": "\\ud800"}')),
        ("dynamic_file_sources", "{}"),
        ("dynamic_file_sources", quote('[{"path": "x"}]')),
        ("dependencies_description", "[]"),
        ("cvmfsexec", "[]"),
        ("token_endpoint", quote('{"token_endpoint": 1}')),
        ("params", quote('{"a": NaN}')),
        ("params", "[" * 500 + "]" * 500),
        ("params", "[" * 200000),
        ("params", quote('{"a":') * 50000),
        ("params", "1" * 5000),
    ],
)
def test_malformed_parameters_are_errors_of_the_request(node: WebNode, key: str, value: str) -> None:
    job = node.job()
    query = f"{key}={value}" if key == "command_line" else f"command_line=true&{key}={value}"
    answer = node.client.request("POST", f"/jobs/7/submit?{query}")
    assert answer.status == 400, answer
    assert node.client.call("GET", "/jobs/7/status").json()["status"] == "preprocessing"
    assert not (job / "launch_config").exists()


def test_a_submit_is_read_whole(node: WebNode) -> None:
    job = node.job()
    values: dict[str, Any] = {
        "params": {"native_specification": "-p x"},
        "env": [{"name": "A", "value": "b", "extra": 1}, {"file": "/x"}, {"execute": "y"}],
        "remote_staging": {"action_mapper": {}, "client_outputs": {"working_directory": "/g"}},
        "dependencies_description": {"requirements": []},
        "submit_extras": {"touch_outputs": ["a", "b/c"], "command_line": "from extras", "unknown": 1},
        "setup_params": None,
        "cvmfsexec": None,
    }
    query = {key: json.dumps(value) for key, value in values.items()}
    query["token_endpoint"] = '{"token_endpoint": "https://g/token?x=1"}'
    assert node.client.call("POST", "/jobs/7/submit", b"", command_line="from query", job_id="7", **query).body == b"OK"
    stored = node.store.get(JobKey("_default_", "7"))
    assert stored is not None
    request = stored.request
    assert request is not None
    assert request.command_line == "from extras"
    assert request.submit_params == {"native_specification": "-p x"}
    assert len(request.env) == 3
    assert request.dynamic_file_sources is None
    assert request.token_endpoint == "https://g/token?x=1"
    assert request.touch_outputs == ["a", "b/c"]
    assert (job / "outputs" / "b" / "c").exists()
    assert json.loads((job / "launch_config").read_text())["command_line"] == "from extras"


def test_a_submit_of_four_mebibytes_is_quick(node: WebNode) -> None:
    import time

    node.job()
    document = {"x": [{"name": "A", "value": "é\"'/%=&+ "} for _ in range(60000)]}
    target = "/jobs/7/submit?" + urlencode({"params": json.dumps(document), "command_line": "true"})
    assert len(target) > 4 << 20
    start = time.monotonic()
    assert node.client.request("POST", target).body == b"OK"
    assert time.monotonic() - start < 3
    stored = node.store.get(JobKey("_default_", "7"))
    assert stored is not None
    assert stored.request is not None
    assert stored.request.submit_params == document


# -- routes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/jobs/",
        "/jobs/7/status/",
        "/jobs//status",
        "//jobs/7/status",
        "/jobs/7/files/path/x",
        "/jobs/7/unknown",
        "/managers",
        "/managers/",
        "/managers/_default_",
        "/managers/_default_/",
        "/managers//jobs/7/status",
        "/managers/_default_/managers/_default_/jobs/7/status",
        "/managers/_default_/nothing",
        "/x/jobs/7/status",
        "/JOBS/7/status",
        "/healthz/",
        "*",
        "jobs/7/status",
        "/" + "a/" * 1000,
    ],
)
def test_an_unknown_path_is_not_found_with_and_without_a_token(tmp_path: Path, path: str) -> None:
    for token in (None, "secret"):
        client = WebNode(tmp_path, token=token).client
        answer = client.request("GET", "/", PATH_INFO=path if path.startswith("/") else "", RAW_URI=path)
        assert (answer.status, answer.json()["reason"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/jobs", "POST"),
        ("PATCH", "/jobs/7", "DELETE"),
        ("GET", "/jobs/7/submit", "POST"),
        ("POST", "/jobs/7/cancel", "PUT"),
        ("PUT", "/jobs/7/files", "GET, HEAD, POST"),
        ("DELETE", "/healthz", "GET, HEAD"),
        ("GET", "/cache", "POST, PUT"),
    ],
)
def test_a_wrong_method_is_told_apart_with_what_is_allowed(node: WebNode, method: str, path: str, allowed: str) -> None:
    for prefix in ("", "/managers/other"):
        answer = node.client.request(method, prefix + path)
        assert (answer.status, answer.json()["reason"], answer.headers["Allow"]) == (405, "method_not_allowed", allowed)


@pytest.mark.parametrize("path", ["/managers/x/jobs/7/status", "/managers/x/healthz", "/managers/..%2Fx/healthz"])
def test_an_unknown_manager_is_not_found(node: WebNode, path: str) -> None:
    assert node.client.request("GET", path).status in (400, 404)
    assert node.client.request("GET", "/managers/x/healthz").json()["reason"] == "not_found"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"])
def test_status_answers_to_any_method(node: WebNode, method: str) -> None:
    assert node.client.request(method, "/jobs/7/status").status == 200


def test_head_is_get_without_its_body(node: WebNode) -> None:
    job = node.job()
    (job / "outputs" / "o").write_bytes(b"12345")
    for path in ("/healthz", "/jobs/7/status", "/jobs/7/files?name=o", "/jobs/7/files/path?name=o&type=output", "/nothing"):
        got, head = node.client.request("GET", path), node.client.request("HEAD", path)
        assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")
        assert int(head.headers["Content-Length"]) == len(got.body) > 0


@pytest.mark.parametrize(
    "row", [row for row in COMMANDS.values() if row.name.startswith("object_store")], ids=lambda row: row.name
)
def test_object_routes_say_that_there_is_no_object_store(node: WebNode, row: Any) -> None:
    method = "GET" if row.method == ANY else row.method
    answer = node.client.request(method, row.path.format(object_id="o1"))
    assert (answer.status, answer.json()["error"]) == (404, "no object store is configured on this node")


def test_healthz_tells_what_core_says(node: WebNode) -> None:
    for path in ("/healthz", "/managers/other/healthz"):
        assert node.client.call("GET", path).json() == {"version": "1", "wire_version": "2", "status": "ok", "jobs": {}}


@pytest.mark.parametrize(
    ("path", "is_quick"),
    [
        ("/jobs/7/status", True),
        ("/managers/other/jobs/7/status", True),
        ("/cache/status", False),
        ("/jobs/7", False),
        ("/jobs/7/files", False),
        ("/healthz", True),
        ("", False),
    ],
)
def test_only_what_reads_a_few_rows_is_called_quick(node: WebNode, path: str, is_quick: bool) -> None:
    assert node.app.is_quick({"REQUEST_METHOD": "GET", "PATH_INFO": path}) is is_quick
    assert node.app.is_quick({"REQUEST_METHOD": "POST", "PATH_INFO": path}) is False
    assert node.app.is_quick({"REQUEST_METHOD": "GET", "PATH_INFO": path, "CONTENT_LENGTH": "1"}) is False


def test_nothing_is_called_quick_when_reads_of_the_ledger_may_wait(node: WebNode) -> None:
    app = WebApp(node.service, None, dict)
    assert app.is_quick({"REQUEST_METHOD": "GET", "PATH_INFO": "/jobs/7/status"}) is False


# -- the token ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> WebNode:
    return WebNode(tmp_path, token="secret ü/%")


def targets() -> list[tuple[str, str]]:
    found = []
    for row in COMMANDS.values():
        path = row.path.format(job_id="7", object_id="7")
        found += [
            (row.client_method, path),
            (row.client_method, f"/managers/other{path}"),
            (row.client_method, f"/managers/x{path}"),
        ]
    return found


@pytest.mark.parametrize(("method", "path"), targets())
def test_every_route_is_behind_the_token(guarded: WebNode, method: str, path: str) -> None:
    before = guarded.everything()
    wrong = ["", "private_token=", "private_token=secret", "private_token=%zz", "private_token=%ff", "private_token=a%00"]
    wrong += ["Private_Token=" + quote("secret ü/%"), "private_token=x&private_token=" + quote("secret ü/%")]
    for query in wrong:
        answer = guarded.client.request(method, f"{path}?job_id=7&name=x&type=input&command_line=x&path=x&{query}")
        if path.startswith("/managers/x") and answer.status == 404:
            raise AssertionError("the names of managers are told to somebody without a token")
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert answer.json()["reason"] == "unauthorized"
    assert guarded.everything() == before


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer wrong", "Basic secret", "secret ü/%", ""])
def test_a_wrong_header_is_no_token(guarded: WebNode, header: str) -> None:
    assert guarded.client.request("GET", "/healthz", headers={"Authorization": header}).status == 401


def test_the_token_is_taken_from_query_or_header(tmp_path: Path) -> None:
    node = WebNode(tmp_path, token="t0ken")
    for target, header in (
        ("/jobs?job_id=7&private_token=t0ken", None),
        ("/jobs?job_id=7", "Bearer t0ken"),
        ("/jobs?job_id=7", "bearer  t0ken "),
        ("/jobs?job_id=7&private_token=wrong", "Bearer t0ken"),
        ("/jobs?%70rivate_token=t0ken&job_id=7", "Bearer t0ken"),
    ):
        answer = node.client.request("POST", target, headers={"Authorization": header} if header else {})
        assert answer.status == 200, target
    strange = WebNode(tmp_path / "2", token="secret ü/%")
    assert strange.client.call("GET", "/healthz", private_token="secret ü/%").status == 200


def test_a_public_healthz_tells_the_world_that_the_node_lives_and_no_more(tmp_path: Path) -> None:
    client = WebNode(tmp_path, token="t", healthz_public=True).client
    assert client.call("GET", "/healthz").json() == {"version": "1", "status": "ok"}
    assert client.call("GET", "/healthz", private_token="t").json()["wire_version"] == "2"
    assert client.call("GET", "/jobs/7/status").status == 401


def test_the_token_is_in_no_log_and_no_answer(guarded: WebNode, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = quote("secret ü/%")
    for target in ("/jobs/7/files?name=x", "/jobs/%ff?", "/nothing?", "/jobs/7/submit?command_line=%zz", "/jobs?job_id=a/b"):
        for method in ("GET", "POST", "PATCH"):
            answer = guarded.client.request(
                method, f"{target}&private_token={token}", headers={"Authorization": "Bearer secret ü"}
            )
            assert b"secret" not in answer.body
    guarded.service.status = _broken  # type: ignore[method-assign]
    assert guarded.client.request("GET", f"/jobs/7/status?private_token={token}").status == 500
    assert "secret" not in caplog.text
    assert "private_token" not in caplog.text


def _broken(*_args: object) -> str:
    raise ZeroDivisionError("something inside")


# -- errors -------------------------------------------------------------------------------------------------------------


def test_what_nobody_expected_is_logged_once_and_told_by_its_number(node: WebNode, caplog: pytest.LogCaptureFixture) -> None:
    node.service.cancel = _broken  # type: ignore[assignment,method-assign]
    answer = node.client.request("PUT", "/jobs/7/cancel")
    assert answer.status == 500
    assert answer.body.count(b"\n") == 1
    document = answer.json()
    assert document["reason"] == "internal_error"
    assert "something inside" not in document["error"]
    assert "Traceback" not in document["error"]
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None
    incident = document["error"].rpartition(" ")[2]
    assert incident in record.getMessage()


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [(StorageFull("full\nof it"), 507, "storage_full"), (LedgerError("locked"), 503, "ledger_error")],
)
def test_errors_of_the_node_have_their_status_and_one_line(
    node: WebNode, error: Exception, status: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise error

    monkeypatch.setattr(node.service, "clean", fail)
    answer = node.client.request("DELETE", "/jobs/7")
    assert answer.status == status
    assert answer.json() == {"error": " ".join(str(error).split()), "reason": reason}
    assert answer.body.count(b"\n") == 1


# -- bodies -------------------------------------------------------------------------------------------------------------

UPLOAD = "/jobs/7/files?name=x&type=input"


class Wire(io.RawIOBase):
    """A connection that counts what is read from it, and may break."""

    def __init__(self, size: int, error: Exception | None = None) -> None:
        self.left = size
        self.taken = 0
        self.error = error

    def read(self, size: int = -1) -> bytes:
        assert size > 0
        block = bytes(min(size, self.left))
        self.left -= len(block)
        self.taken += len(block)
        if not block and self.error is not None:
            raise self.error
        return block

    def readline(self, size: int = -1) -> bytes:  # type: ignore[override]
        raise NotImplementedError

    readlines = __iter__ = readline  # type: ignore[assignment]


def test_a_form_content_type_does_not_matter(node: WebNode) -> None:
    job = node.job()
    answer = node.client.request("POST", UPLOAD, b"a=1&b=2", CONTENT_TYPE="application/x-www-form-urlencoded")
    assert answer.status == 200
    assert (job / "inputs" / "x").read_bytes() == b"a=1&b=2"


def test_an_empty_upload_makes_an_empty_file(node: WebNode) -> None:
    job = node.job()
    for length in ("0", None, ""):
        (job / "inputs" / "x").unlink(missing_ok=True)
        assert node.client.request("POST", UPLOAD, b"", CONTENT_LENGTH=length).status == 200
        assert (job / "inputs" / "x").read_bytes() == b""


@pytest.mark.parametrize("error", [None, OSError("reset"), ConnectionResetError(), ValueError("no chunk")])
def test_a_truncated_upload_leaves_nothing(node: WebNode, error: Exception | None) -> None:
    job = node.job()
    answer = node.client.request("POST", UPLOAD, Wire(1000, error), length=1001)
    assert (answer.status, answer.json()["reason"]) == (400, "length_mismatch")
    assert list((job / "inputs").iterdir()) == []


def test_what_comes_after_the_announced_length_is_not_read(node: WebNode) -> None:
    job = node.job()
    wire = Wire(5000)
    assert node.client.request("POST", UPLOAD, wire, length=1000).status == 200
    assert wire.taken == 1000
    assert (job / "inputs" / "x").stat().st_size == 1000


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "0x10", "+5", "1 000", "²", "9" * 30])
def test_a_length_that_is_none_is_refused(node: WebNode, length: str) -> None:
    job = node.job()
    # The validator reads the length as well, so the application is called without it.
    from tests.support.web import Client

    client = Client.__new__(Client)
    client._app = lambda environ, start: _Closing(node.app(environ, start))
    client._environ = {}
    assert client.request("POST", UPLOAD, b"abc", CONTENT_LENGTH=length).status == 400
    assert list((job / "inputs").iterdir()) == []


class _Closing(list[bytes]):
    def close(self) -> None:
        pass


def test_chunks_are_taken_where_the_server_knows_their_end(node: WebNode) -> None:
    job = node.job()
    chunked: dict[str, Any] = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": None}
    assert node.client.request("POST", UPLOAD, b"abc", **chunked, **{"wsgi.input_terminated": True}).status == 200
    assert (job / "inputs" / "x").read_bytes() == b"abc"
    answer = node.client.request("POST", UPLOAD, b"abc", **chunked)
    assert answer.status == 400
    assert "Content-Length" in answer.json()["error"]
    wire = Wire(100, OSError("chunk broken"))
    answer = node.client.request("POST", UPLOAD, wire, **chunked, **{"wsgi.input_terminated": True})
    assert answer.json()["reason"] == "length_mismatch"
    assert (job / "inputs" / "x").read_bytes() == b"abc"


def test_more_than_the_node_takes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    node = WebNode(tmp_path, max_upload_bytes=2 << 20)
    job = node.job()
    wire = Wire(1 << 40)
    answer = node.client.request("POST", UPLOAD, wire, length=1 << 40)
    assert (answer.status, answer.json()["reason"]) == (413, "too_large")
    assert wire.taken == 0
    chunked: dict[str, Any] = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    answer = node.client.request("POST", UPLOAD, wire, **chunked)
    assert answer.status == 413
    assert wire.taken < 5 << 20
    assert list((job / "inputs").iterdir()) == []
    assert node.client.request("POST", UPLOAD, Wire(2 << 20), length=2 << 20).status == 200


@pytest.mark.parametrize(
    ("target", "status"),
    [("/jobs/8/files?name=x&type=input", 404), ("/jobs/7/files?name=x", 400), ("/nothing", 404), ("/jobs/7/status", 401)],
)
def test_a_refused_body_is_read_away_when_it_is_small_and_left_when_it_is_not(tmp_path: Path, target: str, status: int) -> None:
    node = WebNode(tmp_path, token="t")
    token = "" if status == 401 else "&private_token=t"
    for size, taken in ((1000, 1000), (1 << 20, 1 << 20), ((1 << 20) + 1, 0), (1 << 40, 0)):
        wire = Wire(size)
        target_with_token = target + ("&" if "?" in target else "?") + token.lstrip("&")
        assert node.client.request("POST", target_with_token, wire, length=size).status == status
        assert wire.taken == taken
    broken = Wire(10, OSError("gone"))
    assert node.client.request("POST", target, broken, length=100).status in (status, 401)


def test_uploads_to_a_job_that_has_ended_conflict(node: WebNode) -> None:
    job = node.job()
    node.client.call("PUT", "/jobs/7/cancel")
    for method, path in (("POST", UPLOAD), ("GET", "/jobs/7/files/path?name=x&type=input")):
        answer = node.client.request(method, path, b"abc")
        assert (answer.status, answer.json()["reason"]) == (409, "conflict")
    assert list((job / "inputs").iterdir()) == []


def test_a_full_disk_answers_507_and_works_again(node: WebNode, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    job = node.job()

    def full(descriptor: int, content: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        answer = node.client.request("POST", UPLOAD, b"abc")
        assert (answer.status, answer.json()["reason"]) == (507, "storage_full")
        assert node.client.call("POST", "/jobs", job_id="8").status == 507
        assert node.client.call("POST", "/jobs/7/submit", command_line="true").status == 507
    assert list((job / "inputs").iterdir()) == []
    assert node.client.request("POST", UPLOAD, b"abc").status == 200
    assert node.client.call("POST", "/jobs", job_id="8").status == 200
    assert node.client.call("POST", "/jobs/7/submit", command_line="true").body == b"OK"


# -- the upload cache ---------------------------------------------------------------------------------------------------


def test_the_cache_in_the_order_of_the_specification(tmp_path: Path) -> None:
    import hashlib

    node = WebNode(tmp_path, with_cache=True)
    job = node.job()
    client = node.client
    token = hashlib.sha256(b"IP:192.0.2.1:/data/x").hexdigest()
    assert client.call("GET", "/cache/status", path="/data/x").json() == {"token": token, "ready": False}
    assert [client.call("PUT", "/cache", path="/data/x").json() for _ in range(3)] == [True, False, False]
    assert client.call("POST", "/cache", b"content", path="/data/x").body == b"null"
    assert client.call("PUT", "/managers/other/cache", path="/data/x").json() is False
    assert client.call("GET", "/cache/status", path="/data/x").json()["ready"] is True
    answer = client.call("POST", "/jobs/7/files", name="x", type="input", cache_token=token)
    assert answer.json() == {"path": str(job / "inputs" / "x")}
    assert (job / "inputs" / "x").read_bytes() == b"content"
    elsewhere = client.request("GET", "/cache/status?path=/data/x", headers={"X-Forwarded-For": "192.0.2.1, 198.51.100.9"})
    assert elsewhere.json() == {"token": hashlib.sha256(b"IP:198.51.100.9:/data/x").hexdigest(), "ready": False}


def test_a_cache_token_that_is_none_is_refused(tmp_path: Path) -> None:
    node = WebNode(tmp_path, with_cache=True)
    job = node.job()
    for token, status in (("../../etc/passwd", 400), ("x", 400), ("a" * 64, 404), ("A" * 64, 400), ("a" * 64 + "\n", 400)):
        assert node.client.call("POST", "/jobs/7/files", name="x", type="input", cache_token=token).status == status
    assert list((job / "inputs").iterdir()) == []


def test_without_a_cache_its_routes_say_how_to_get_one(node: WebNode) -> None:
    node.job()
    for method, path in (("GET", "/cache/status"), ("PUT", "/cache"), ("POST", "/cache")):
        answer = node.client.call(method, path, path="x")
        assert answer.status == 404
        assert "file_cache_dir" in answer.json()["error"]
    assert node.client.call("POST", "/jobs/7/files", name="x", type="input", cache_token="a" * 64).status == 404
