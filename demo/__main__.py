"""``make demo``: a real job, through a real node, with the client library that Galaxy uses.

The node and the client share nothing but HTTP: the reads and the tool go up, the table and the plot come down.
"""

from __future__ import annotations

import csv
import re
import secrets
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from node import DemoFailed, RunningNode, running_node
from reads import write_fastq
from screen import Screen, histogram, table

import pulsar
from pulsar.client import (
    ClientJobDescription,
    ClientOutputs,
    PulsarClientTransportError,
    PulsarOutputs,
    build_client_manager,
    finish_job,
    submit_job,
)
from pulsar.client.client import JobClient
from pulsar.errors import PulsarError

TOOL = Path(__file__).with_name("tool")
RESULTS = Path(__file__).parents[1] / "build" / "demo"
JOB_TIMEOUT_S = 90.0
_PROGRESS = re.compile(rb"^progress (\d+) (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class DemoTool:
    """What the client asks of a tool: its files are sent with the job."""

    tool_dir: str = str(TOOL)
    id: str = "read_statistics"
    version: str = "1.0"


def main() -> int:
    """Run the demo; return the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is taken down on the way out
    with tempfile.TemporaryDirectory(prefix="pulsar-demo-") as directory:
        try:
            run(Path(directory))
        except (DemoFailed, PulsarError, OSError) as exc:
            print(f"\nThe demo failed: {exc}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nThe demo was interrupted.", file=sys.stderr)
            return 130
    return 0


def run(directory: Path) -> None:
    """Do it all below ``directory``; what is worth keeping goes to :data:`RESULTS`."""
    galaxy, home = directory / "galaxy", directory / "node"
    (galaxy / "working").mkdir(parents=True)
    home.mkdir()
    screen = Screen()
    print(f"pulsar-node {pulsar.__version__}: one job, from its files to its results\n")
    with running_node(home, secrets.token_hex(16)) as node:
        screen.step("node ready", f"{node.url} (one process, SQLite ledger, local jobs)")
        reads = galaxy / "reads.fastq"
        count = write_fastq(reads)
        screen.step("reads made", f"{count} reads, {reads.stat().st_size / 1000:.0f} kB of FASTQ")
        run_job(node, galaxy, screen)
    screen.step("node ended", "nothing of it is left running")
    show(galaxy)


def run_job(node: RunningNode, galaxy: Path, screen: Screen) -> None:
    """Send the job to the node, watch it, and bring its results to ``galaxy``."""
    manager = build_client_manager(transport="urllib", transport_timeout=30)
    client = manager.get_client({"url": node.url, "private_token": node.token}, f"demo-{secrets.token_hex(3)}")
    outputs = ClientOutputs(str(galaxy / "working"), [str(galaxy / "table.tsv"), str(galaxy / "plot.svg")])
    words = [f"{TOOL}/read_statistics.py", *(str(galaxy / name) for name in ("reads.fastq", "table.tsv", "plot.svg"))]
    description = ClientJobDescription(
        # As Galaxy does, the command keeps what the tool prints in files that can be read while it runs.
        command_line=f"python3 {' '.join(map(quote, words))} > ../metadata/tool_stdout 2> ../metadata/tool_stderr",
        tool=DemoTool(),
        input_files=[str(galaxy / "reads.fastq")],
        client_outputs=outputs,
        working_directory=str(galaxy / "working"),
    )
    try:
        submit_job(client, description)
        screen.step("sent", f"job {client.job_id}: the reads, the tool and its command line")
        document = watch(client, galaxy / "tool_stdout", screen)
        check(document)
        failures = finish_job(client, "always", True, outputs, PulsarOutputs.from_status_response(document))
        if failures:
            raise DemoFailed(f"a result could not be fetched: {failures[0]}")
        screen.step("fetched", "the table and the plot; the job is removed from the node")
    except BaseException:
        end(client)
        raise


def watch(client: JobClient, live_output: Path, screen: Screen) -> dict[str, Any]:
    """Show each status as it comes and the tool's own progress, and return the last document."""
    shown = ""
    for document in documents(client):
        status = str(document.get("status"))
        if status != shown:
            shown = status
            screen.step(status, f"exit code {document['returncode']}" if document.get("complete") == "true" else "")
        if document.get("complete") == "true":
            return document
        if status == "running":
            show_progress(client, live_output, screen)
    raise DemoFailed(f"the job is still {shown!r} after {JOB_TIMEOUT_S:g} seconds")


def documents(client: JobClient) -> Iterator[dict[str, Any]]:
    """Yield the status document again and again, as long as the job may take."""
    deadline = time.monotonic() + JOB_TIMEOUT_S
    while time.monotonic() < deadline:
        yield client.full_status()
        time.sleep(0.05)


def show_progress(client: JobClient, live_output: Path, screen: Screen) -> None:
    try:
        client.fetch_output(str(live_output), "tool_stdout", "output_metadata")
    except PulsarClientTransportError:
        return  # the tool has not printed anything yet
    found = _PROGRESS.findall(live_output.read_bytes())
    if found:
        done, total = map(int, found[-1])
        screen.progress(done, total, "reads")


def check(document: dict[str, Any]) -> None:
    """Raise :class:`DemoFailed`, with what the tool said, unless the job ended well."""
    if document.get("status") == "complete" and document.get("returncode") == 0:
        return
    said = "\n".join(str(document.get(key) or "").strip() for key in ("stderr", "job_stderr")).strip()
    raise DemoFailed(f"the job ended as {document.get('status')!r} with exit code {document.get('returncode')}:\n{said}")


def end(client: JobClient) -> None:
    """End what may have been begun; why is the caller's to tell."""
    try:
        client.kill()
        client.clean()
    except PulsarError as exc:
        print(f"the job could not be ended: {exc}", file=sys.stderr)


def show(galaxy: Path) -> None:
    """Print the results and keep the files."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in ("reads.fastq", "table.tsv", "plot.svg"):
        shutil.copyfile(galaxy / name, RESULTS / name)
    with (galaxy / "table.tsv").open(encoding="ascii", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    if not (galaxy / "plot.svg").read_text(encoding="ascii").startswith("<svg"):
        raise DemoFailed("the plot that came back is not an SVG")
    alike = [row for row in rows if row["name"].split("_")[0] == row["nearest"].split("_")[0]]
    print(f"\n  {len(rows)} reads; {len(alike)} of them have their nearest relative in the same genome\n")
    print(table([["genome", "reads", "mean length", "GC %", "mean quality", "longest frame"], *map(summary, by_genome(rows))]))
    print("\n" + histogram("Read lengths (bases)", [float(row["length"]) for row in rows], 100))
    print("\n" + histogram("GC content (%)", [float(row["gc_percent"]) for row in rows], 2))
    print(f"\n  table  {RESULTS / 'table.tsv'}\n  plot   {RESULTS / 'plot.svg'}\n")


def by_genome(rows: list[dict[str, str]]) -> list[list[dict[str, str]]]:
    """Return the rows of each genome, which is the first word of a read's name."""
    names = sorted({row["name"].split("_")[0] for row in rows})
    return [[row for row in rows if row["name"].startswith(f"{name}_")] for name in names]


def summary(rows: list[dict[str, str]]) -> list[str]:
    """Return one line of the summary."""

    def mean(column: str) -> str:
        return f"{statistics.fmean(float(row[column]) for row in rows):.1f}"

    longest = max(int(row["longest_frame"]) for row in rows)
    return [rows[0]["name"].split("_")[0], str(len(rows)), mean("length"), mean("gc_percent"), mean("mean_quality"), str(longest)]


if __name__ == "__main__":
    sys.exit(main())
