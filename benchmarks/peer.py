"""The peer's environments: the release as an administrator installs it, and one more that has uWSGI for the third column."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["PEER_VERSION", "ROOT", "peer_bin", "uwsgi_bin"]

PEER_VERSION = "0.16.0"
ROOT = Path(__file__).resolve().parent.parent
_PEERS = ROOT / ".peers"
#: uWSGI has an environment of its own, because the peer's launcher prefers uWSGI wherever it finds it.
_UWSGI = _PEERS / f"{PEER_VERSION}-uwsgi"
#: What ``pulsar --mode uwsgi`` of the peer needs.
_UWSGI_REQUIREMENTS = (f"pulsar-app=={PEER_VERSION}", "uWSGI>=2.0.22", "PasteDeploy>=3.1")


def peer_bin() -> Path:
    """Return the directory of the peer's commands, installed first if need be."""
    subprocess.run([sys.executable, str(ROOT / "scripts" / "peers"), PEER_VERSION], check=True)
    return _PEERS / PEER_VERSION / "bin"


def uwsgi_bin() -> Path:
    """Return the directory of the commands of the peer with uWSGI, installed first if need be."""
    complete = _UWSGI / "complete"
    _PEERS.mkdir(exist_ok=True)
    with (_PEERS / "lock-uwsgi").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.is_file():
            print(f"installing pulsar-app {PEER_VERSION} with uWSGI", flush=True)
            shutil.rmtree(_UWSGI, ignore_errors=True)
            venv.create(_UWSGI, with_pip=True)
            pip = [str(_UWSGI / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, *_UWSGI_REQUIREMENTS], check=True)
            complete.write_text("\n".join(_UWSGI_REQUIREMENTS) + "\n")
    return _UWSGI / "bin"
