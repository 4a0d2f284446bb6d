"""What a client or a job may try to reach something that is not theirs: refused, and nothing has changed."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from urllib.parse import quote

import pytest

from pulsar.protocol.layout import BOOKKEEPING, PATH_TYPES
from tests.support.web import WebNode

IDS = [
    "..",
    ".",
    "%2e%2e",
    "%2E",
    "..%2Fx",
    "a%2Fb",
    "%2Fetc",
    "..%5Cx",
    "a%5cb",
    "a%00",
    "%00",
    "a%0Ab",
    "a%0d%0aX-Y: z",
    "%7f",
    ".pulsar-trash",
    ".pulsar-aside",
    "%2epulsar-trash",
    "x" * 300,
    "%ff",
    "%c0%ae%c0%ae",
    "%zz",
    "%",
]
RAW_IDS = ["..", ".", "", "../x", "a/b", "/etc", "/", "..\\x", "a\0", "a\nb", "a\r\nX: y", "\x7f", ".pulsar-trash", "x" * 300]
NAMES = [
    "..",
    ".",
    "",
    "/",
    "../x",
    "a/../../x",
    "../../../../../../etc/passwd",
    "/etc/passwd",
    "//etc/passwd",
    "a\0b",
    "../launch_config",
    "..//x",
    "./../x",
    "x/..",
    "a/./../..",
    ".pulsar-upload-x",
    "x" * 300,
    "x/" * 3000,
]


@pytest.fixture
def node(tmp_path: Path) -> WebNode:
    (tmp_path / "secret").write_text("keep out")
    node = WebNode(tmp_path, with_cache=True)
    node.job()
    return node


@pytest.mark.parametrize("job_id", IDS)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/jobs/{}"),
        ("POST", "/jobs/{}/submit?command_line=true&setup_params=%7B%22tool_id%22%3A1%7D"),
        ("GET", "/jobs/{}/status"),
        ("PUT", "/jobs/{}/cancel"),
        ("POST", "/jobs/{}/files?name=x&type=input"),
        ("GET", "/jobs/{}/files/path?name=x&type=input"),
        ("GET", "/jobs/{}/files?name=x"),
    ],
)
@pytest.mark.parametrize("raw_uri_is_told", [True, False])
def test_an_id_names_one_directory_and_nothing_else(
    node: WebNode, job_id: str, method: str, path: str, raw_uri_is_told: bool
) -> None:
    before = node.everything()
    if not raw_uri_is_told and job_id in ("%zz", "%"):
        return  # a server that does not tell how it was spelled has taken it for a name, and one may be called so
    told = {} if raw_uri_is_told else {"RAW_URI": None}
    for prefix in ("", "/managers/other"):
        answer = node.client.request(method, prefix + path.format(job_id), **told)
        assert 400 <= answer.status < 500, answer
        assert answer.json()["error"]
    assert node.everything() == before


@pytest.mark.parametrize("job_id", RAW_IDS)
def test_set_up_takes_no_such_id_either(node: WebNode, job_id: str) -> None:
    before = node.everything()
    assert node.client.call("POST", "/jobs", job_id=job_id).status == 400
    assert node.client.call("POST", "/managers/other/jobs", job_id=job_id).status == 400
    assert node.everything() == before


def test_an_id_in_set_up_parameters_must_be_the_one_of_the_request(node: WebNode) -> None:
    before = node.everything()
    for job_id in ("../x", "9", "/etc"):
        answer = node.client.call("POST", "/jobs/8/submit", command_line="true", setup_params=f'{{"job_id": "{job_id}"}}')
        assert answer.status == 400
    assert node.everything() == before


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("path_type", PATH_TYPES)
def test_a_file_name_stays_inside_its_directory(node: WebNode, path_type: str, name: str) -> None:
    """Types that do not nest keep the last part of a name (specification 2.3), which then is a harmless one."""
    before = node.everything()
    for method, path in (("POST", "/jobs/7/files"), ("GET", "/jobs/7/files/path"), ("GET", "/jobs/7/files")):
        answer = node.client.call(method, path, b"", name=name, type=path_type)
        if answer.status == 200 and not PATH_TYPES[path_type].nested and method != "GET":
            Path(answer.json()["path"]).unlink()
            assert Path(answer.json()["path"]).parent == node.staging / "7" / PATH_TYPES[path_type].directory
        elif answer.status == 200:
            assert not PATH_TYPES[path_type].nested
        else:
            assert 400 <= answer.status < 500, answer
        assert b"root:" not in answer.body
    assert node.everything() == before
    assert (node.staging.parent / "secret").read_text() == "keep out"


@pytest.mark.parametrize(
    "encoded", ["..%2f..%2fsecret", "%2e%2e/secret", "..%252fsecret", "%252e%252e%252fsecret", "%2fetc%2fpasswd"]
)
def test_an_encoded_name_is_decoded_once_and_then_judged(node: WebNode, encoded: str) -> None:
    for query in (f"name={encoded}", f"name={encoded}&type=output_workdir"):
        answer = node.client.request("GET", f"/jobs/7/files?{query}")
        assert answer.status in (400, 404)


@pytest.mark.parametrize("name", sorted(BOOKKEEPING))
def test_no_upload_writes_what_belongs_to_the_node(node: WebNode, name: str) -> None:
    before = {path: (path.is_dir(), path.is_file() and path.read_bytes()) for path in node.staging.rglob("*")}
    for path_type in ("jobdir", "output_jobdir"):
        for method, path in (("POST", "/jobs/7/files"), ("GET", "/jobs/7/files/path")):
            for spelling in (name, f"./{name}", f"a/{name}", f"../{name}"):
                answer = node.client.call(method, path, b"evil", name=spelling, type=path_type)
                assert answer.status == 400, spelling
    assert before == {path: (path.is_dir(), path.is_file() and path.read_bytes()) for path in node.staging.rglob("*")}


@pytest.mark.parametrize("path_type", ["", "Input", "inputs", "../inputs", "container", "x" * 1000, "input\n"])
def test_an_unknown_type_is_refused(node: WebNode, path_type: str) -> None:
    for method, path in (("POST", "/jobs/7/files"), ("GET", "/jobs/7/files/path")):
        assert node.client.call(method, path, b"x", name="x", type=path_type).status == 400


def test_a_download_of_an_unknown_type_looks_below_outputs(node: WebNode) -> None:
    (node.staging / "7" / "outputs" / "x").write_bytes(b"x")
    for path_type in ("input", "nonsense", "output_jobdir"):
        assert node.client.call("GET", "/jobs/7/files", name="x", type=path_type).body == b"x"


# -- what a job leaves ----------------------------------------------------------------------------------------------------


def test_a_job_that_replaced_its_directories_by_links_reaches_nothing(node: WebNode) -> None:
    job = node.staging / "7"
    for name in ("inputs", "outputs", "working", "metadata"):
        (job / name).rmdir()
        (job / name).symlink_to("/etc")
    for path_type in ("input", "output", "output_workdir", "output_metadata", "workdir", "metadata"):
        for method, path in (("POST", "/jobs/7/files"), ("GET", "/jobs/7/files/path"), ("GET", "/jobs/7/files")):
            answer = node.client.call(method, path, b"evil", name="passwd", type=path_type)
            assert answer.status == 400, (path_type, method, answer)
            assert b"root:" not in answer.body
    assert not Path("/etc/evil").exists()
    assert node.client.call("PUT", "/jobs/7/cancel").status == 200
    document = node.client.call("GET", "/jobs/7/status").json()
    assert document["working_directory_contents"] == document["outputs_directory_contents"] == []
    assert node.client.call("DELETE", "/jobs/7").status == 200
    node.files.sweep()
    assert Path("/etc/passwd").exists()


def test_links_in_a_directory_are_followed_inside_the_job_only(node: WebNode) -> None:
    outputs = node.staging / "7" / "outputs"
    (outputs / "real").write_bytes(b"real")
    (outputs / "good").symlink_to("real")
    targets = {
        "passwd": "/etc/passwd",
        "etc": "/etc",
        "secret": "../../../secret",
        "loop": "loop",
        "dangling": "nowhere",
        "own": "../tool_id",
        "up": "..",
    }
    for name, target in targets.items():
        (outputs / name).symlink_to(target)
    assert node.client.call("GET", "/jobs/7/files", name="good").body == b"real"
    for name in (*targets, "etc/passwd", "up/tool_id"):
        answer = node.client.call("GET", "/jobs/7/files", name=name)
        assert answer.status in (400, 404), name
    for name in ("etc/x", "up/x", "loop/x"):
        assert node.client.call("POST", "/jobs/7/files", b"evil", name=name, type="output").status == 400
    for name in ("passwd", "secret", "dangling", "own", "loop"):
        assert node.client.call("POST", "/jobs/7/files", b"new", name=name, type="output").status == 200
        assert (outputs / name).read_bytes() == b"new"
        assert not (outputs / name).is_symlink()
    assert (node.staging.parent / "secret").read_text() == "keep out"
    assert (node.staging / "7" / "tool_id").read_bytes() != b"new"


@pytest.mark.parametrize("kind", ["directory", "fifo", "socket", "device"])
def test_special_files_are_neither_sent_nor_replaced(node: WebNode, kind: str) -> None:
    path = node.staging / "7" / "outputs" / "special"
    match kind:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        case "device":
            try:
                os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
            except PermissionError:
                pytest.skip("only root can make a device")
    for method in ("GET", "POST"):
        answer = node.client.call(method, "/jobs/7/files", b"x", name="special", type="output")
        assert (answer.status, answer.json()["reason"]) == (400, "request_error")
    node.client.call("PUT", "/jobs/7/cancel")
    assert node.client.call("GET", "/jobs/7/status").json()["outputs_directory_contents"] == []
    assert node.client.call("DELETE", "/jobs/7").status == 200
    node.files.sweep()


def test_a_link_in_the_place_of_a_job_directory_is_removed_not_followed(node: WebNode, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "outputs").mkdir(parents=True)
    (elsewhere / "outputs" / "x").write_bytes(b"not yours")
    node.files.remove(str(node.staging / "7"))
    (node.staging / "7").symlink_to(elsewhere)
    assert node.client.call("GET", "/jobs/7/files", name="x").status == 400
    assert node.client.call("POST", "/jobs/7/files", b"x", name="x", type="input").status == 400
    assert node.client.call("POST", "/jobs", job_id="7").status == 400
    assert node.client.call("DELETE", "/jobs/7").status == 200
    node.files.sweep()
    assert (elsewhere / "outputs" / "x").read_bytes() == b"not yours"


def test_touched_outputs_stay_below_outputs(node: WebNode) -> None:
    before = node.everything()
    for name in ("../x", "/etc/x", "a/../../x", "", ".."):
        extras = '{"touch_outputs": ["' + name + '"]}'
        assert node.client.request("POST", f"/jobs/7/submit?command_line=true&submit_extras={quote(extras)}").status == 400
    assert node.everything() == before
