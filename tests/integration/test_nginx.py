"""nginx in front of the node, for TLS, with the server that etc/nginx.conf shows."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import make_certificates
from tests.support.node import ROOT, RunningNode, free_port, start_node, wait_until

pytestmark = [pytest.mark.service("nginx"), pytest.mark.service("openssl")]
TOKEN = "a-secret-of-the-tests"


def _nginx_server(upstream: int, port: int, certificate: Path, key: Path) -> str:
    """Return the shipped server, at the ports and with the certificate of the test."""
    text = (ROOT / "etc" / "nginx.conf").read_text()
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("server_name pulsar.example.org", "server_name localhost"),
        ("/etc/ssl/certs/pulsar.example.org.pem", str(certificate)),
        ("/etc/ssl/private/pulsar.example.org.key", str(key)),
        ("http://localhost:8913", f"http://127.0.0.1:{upstream}"),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[RunningNode]:
    """A node behind nginx; what is yielded talks to nginx."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    assert nginx is not None
    certificates = make_certificates(tmp_path / "tls")
    port = free_port()
    directory = tmp_path / "nginx"
    directory.mkdir()
    with start_node(tmp_path / "node", "default", TOKEN) as node:
        temporary = "".join(
            f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (directory / "nginx.conf").write_text(
            f"daemon off; pid {directory}/pid; error_log {directory}/error.log info;\n"
            f"events {{}}\nhttp {{\naccess_log {directory}/access.log;\n{temporary}"
            + _nginx_server(node.port, port, certificates.certificate, certificates.key)
            + "}\n"
        )
        process = subprocess.Popen(
            [nginx, "-p", str(directory), "-c", str(directory / "nginx.conf"), "-e", f"{directory}/error.log"]
        )
        front = RunningNode(node.directory, "nginx", port, TOKEN, {}, "https", ca_file=str(certificates.authority))
        try:
            wait_until(front._answers, "an answer through nginx")
            yield front
        finally:
            process.terminate()
            process.wait()


def test_jobs_and_files_pass_through(proxied: RunningNode, tmp_path: Path) -> None:
    body = bytes(range(256)) * 4096 * 30
    job = proxied.set_up_job("1")
    proxied.request("POST", "/jobs/1/files", body, name="big", type="input")
    stored = Path(job["inputs_directory"], "big")
    assert hashlib.sha256(stored.read_bytes()).digest() == hashlib.sha256(body).digest()
    command = f"cp {stored} ../outputs/copy; : {'x' * 60_000}"
    assert proxied.request("POST", "/jobs/1/submit", command_line=command) == b"OK"
    assert proxied.wait_for_end("1")["returncode"] == 0
    assert proxied.request("GET", "/jobs/1/files", name="copy", type="output") == body


def test_an_empty_file_passes(proxied: RunningNode) -> None:
    job = proxied.set_up_job("1")
    proxied.request("POST", "/jobs/1/files", b"", name="empty", type="input")
    assert Path(job["inputs_directory"], "empty").read_bytes() == b""


def test_a_line_of_a_megabyte_passes(proxied: RunningNode) -> None:
    proxied.request("GET", "/healthz", ignored="x" * 1_000_000)


def test_the_token_is_asked_for_and_in_no_log(proxied: RunningNode, tmp_path: Path) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        proxied.request("GET", "/healthz", private_token="wrong")
    assert caught.value.code == 401
    logs = [path for path in (tmp_path / "nginx").iterdir() if path.name.endswith(".log")]
    assert logs
    assert [path.name for path in logs if TOKEN in path.read_text()] == []
