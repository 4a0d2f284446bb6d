"""Certificates for tests: an authority of one's own, and what it signs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Certificates", "make_certificates"]


@dataclass(frozen=True)
class Certificates:
    """PEM files: the authority's certificate, the server's key and certificate, and both in one file."""

    authority: Path
    key: Path
    certificate: Path
    both: Path


def make_certificates(directory: Path, name: str = "IP:127.0.0.1") -> Certificates:
    """Make a certificate for ``name`` (``IP:...`` or ``DNS:...``), signed by a new authority."""
    directory.mkdir(parents=True, exist_ok=True)
    files = Certificates(directory / "ca.pem", directory / "key.pem", directory / "cert.pem", directory / "host.pem")
    authority_key, request, extension = directory / "ca-key.pem", directory / "request.pem", directory / "extension"
    extension.write_text(f"subjectAltName={name}\n")
    days = ("-days", "2")
    new_key = ("-newkey", "rsa:2048", "-nodes")
    _openssl(
        "req", "-x509", *new_key, *days, "-subj", "/CN=authority", "-keyout", authority_key, "-out", files.authority,
        "-addext", "keyUsage=critical,keyCertSign",
    )  # fmt: skip
    _openssl("req", *new_key, "-subj", "/CN=node", "-keyout", files.key, "-out", request)
    _openssl(
        "x509", "-req", *days, "-in", request, "-CA", files.authority, "-CAkey", authority_key, "-set_serial", "1",
        "-extfile", extension, "-out", files.certificate,
    )  # fmt: skip
    files.both.write_text(files.certificate.read_text() + files.key.read_text())
    files.both.chmod(0o600)
    return files


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
