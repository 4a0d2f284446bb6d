"""TLS in the node itself, by ssl_pem."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.certificates import make_certificates
from tests.support.node import RunningNode, free_port, node_environment, start_node, write_node_files

TOKEN = "a-secret-of-the-tests"


@pytest.mark.service("openssl")
def test_a_node_with_a_certificate_speaks_tls_only(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "tls")
    node = start_node(tmp_path, "default", TOKEN, server={"ssl_pem": "tls/host.pem"}, ca_file=str(certificates.authority))
    with node:
        node.submit_job("1", "true")
        assert node.wait_for_end("1")["returncode"] == 0
        body = b"x" * 5_000_000
        node.set_up_job("2")
        node.request("POST", "/jobs/2/files", body, name="in", type="input")
        node.request("GET", "/healthz", ignored="x" * 1_000_000)
        with pytest.raises(OSError, match=r".*"):
            urllib.request.urlopen(f"http://127.0.0.1:{node.port}/healthz?private_token={TOKEN}", timeout=5)


@pytest.mark.service("openssl")
def test_a_client_that_does_not_trust_the_authority_refuses(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "tls")
    others = make_certificates(tmp_path / "others")
    with start_node(tmp_path, "default", TOKEN, server={"ssl_pem": "tls/host.pem"}, ca_file=str(certificates.authority)) as node:
        context = ssl.create_default_context(cafile=str(others.authority))
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(f"{node.url}/healthz?private_token={TOKEN}", timeout=5, context=context)


@pytest.mark.service("openssl")
def test_a_client_refuses_a_certificate_for_another_name(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "tls", "DNS:elsewhere.example.org")
    write_node_files(tmp_path, port := free_port(), token=TOKEN, server={"ssl_pem": "tls/host.pem"})
    node = RunningNode(tmp_path, "default", port, TOKEN, node_environment(), "https", ca_file=str(certificates.authority))
    node._answers = lambda: "Listening at" in node.log_text()  # type: ignore[method-assign]
    node.start()
    with node, pytest.raises(urllib.error.URLError, match="certificate is not valid"):
        node.request("GET", "/healthz")


@pytest.mark.service("paste")
def test_paste_is_not_asked_to_speak_tls(tmp_path: Path) -> None:
    (tmp_path / "host.pem").write_text("")
    with pytest.raises(AssertionError, match="Paste's server speaks no TLS that clients of today accept"):
        start_node(tmp_path, "paste", TOKEN, server={"ssl_pem": "host.pem"})


def test_a_certificate_that_is_not_there_leaves_plain_http_with_a_warning(tmp_path: Path) -> None:
    write_node_files(tmp_path, port := free_port(), token=TOKEN, server={"ssl_pem": "absent.pem"})
    node = RunningNode(tmp_path, "default", port, TOKEN, node_environment())
    node.start()
    with node:
        node.request("GET", "/healthz")
        assert "absent.pem, which does not exist: this node speaks HTTP without TLS" in node.log_text()
