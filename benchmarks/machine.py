"""Where the measurements are taken."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from benchmarks.peer import ROOT
from pulsar import __version__

__all__ = ["describe"]


def describe(scratch: Path) -> dict[str, str]:
    """Return what matters of the machine, one line for each."""
    memory = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{int(memory) / (1 << 20):.1f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "file system": _output("stat", "--file-system", "--format=%T", str(scratch)),
        "this node": f"pulsar-node {__version__}, commit {_output('git', '-C', str(ROOT), 'describe', '--always', '--dirty')}",
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _output(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stdout.strip() if ended.returncode == 0 else "unknown"
