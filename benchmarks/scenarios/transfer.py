"""One large file up and down: rates beside the peer's, ``cp`` and nginx, and what it takes of the node's memory."""

from __future__ import annotations

import contextlib
import filecmp
import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import CONTENDER_COLUMNS, Bench, in_turns
from benchmarks.jobs import JobClient
from benchmarks.measures import Aim, Metric, Section, Target, number
from benchmarks.processes import MIB, MemoryWatch
from benchmarks.servers import Server, free_port
from benchmarks.wire import HOST, ProtocolError, body_of_head, connect, find_head, request_head

__all__ = ["LargeFile"]

_SIZE = 1 << 30
_QUICK_SIZE = 64 << 20
_ROUNDS = 3
_BLOCK = 1 << 20
_NAME = "large.dat"
_MOST_GROWTH_MIB = 16.0


class LargeFile:
    """The scenario."""

    name = "large-file"
    title = "One file of 1 GiB"
    columns = CONTENDER_COLUMNS
    metrics: tuple[Metric, ...] = (
        Metric("large_up", "upload", "MiB/s", Target(Aim.RATIO_AT_LEAST, 2.0)),
        Metric("large_down", "download", "MiB/s", Target(Aim.RATIO_AT_LEAST, 3.0)),
        Metric("large_up_memory", "memory grows by, during upload (PSS)", "MiB", Target(Aim.VALUE_BELOW, _MOST_GROWTH_MIB)),
        Metric("large_down_memory", "memory grows by, during download (PSS)", "MiB", Target(Aim.VALUE_BELOW, _MOST_GROWTH_MIB)),
    )

    def run(self, bench: Bench, section: Section) -> None:
        """Take the samples."""
        size = _QUICK_SIZE if bench.is_quick else _SIZE
        source = _source_file(bench.scratch / "source", size)
        with bench.all_running("large") as servers, _nginx(bench.scratch / "nginx", source.parent) as nginx_port:
            for server in servers:
                _warm_up(server)
            for turn, server in in_turns(servers, bench.rounds(_ROUNDS)):
                _one_turn(bench, section, server, source, turn)
                if server.key == "ours":
                    section.add("large_cp", "ours", size / MIB / _copy_seconds(source))
                    if nginx_port is not None:
                        seconds = bench.by_client(download, nginx_port, f"/{source.name}", {}, size)
                        section.add("large_nginx", "ours", size / MIB / seconds)
        source.unlink()
        section.notes += _notes(section, has_nginx=nginx_port is not None)


def _one_turn(bench: Bench, section: Section, server: Server, source: Path, turn: int) -> None:
    size = source.stat().st_size
    job_id = f"large-{turn}"
    query = {"job_id": job_id, "name": _NAME, "type": "output"}
    with JobClient(server.port) as client:
        client.set_up(job_id)
        with MemoryWatch(server.pids()).watching() as memory:
            seconds = bench.by_client(upload, server.port, f"/jobs/{job_id}/files", query, str(source))
        section.add("large_up", server.key, size / MIB / seconds)
        section.add("large_up_memory", server.key, memory.growth_mib)
        if turn == 0 and not filecmp.cmp(source, server.staging / job_id / "outputs" / _NAME, shallow=False):
            raise RuntimeError(f"{server.contender.title} stored something else than was sent")
        with MemoryWatch(server.pids()).watching() as memory:
            seconds = bench.by_client(download, server.port, f"/jobs/{job_id}/files", query, size)
        section.add("large_down", server.key, size / MIB / seconds)
        section.add("large_down_memory", server.key, memory.growth_mib)
        client.clean(job_id)
    up, down = section.samples["large_up"][server.key][-1], section.samples["large_down"][server.key][-1]
    bench.say(f"{server.key}: {up:,.0f} MiB/s up, {down:,.0f} MiB/s down")
    time.sleep(0.5)  # what was removed is deleted in the background


def _warm_up(server: Server) -> None:
    """Send and fetch a little, so that growth is not what every first request costs."""
    with JobClient(server.port) as client:
        client.set_up("warm")
        for _ in range(5):
            client.upload("warm", "output", "small.dat", bytes(100_000))
            client.download("warm", "output", "small.dat")
        client.clean("warm")


def upload(port: int, path: str, query: dict[str, str], source: str) -> float:
    """Send a file by sendfile; return the seconds until it was answered. Run in the client process."""
    with open(source, "rb") as stream, connect(port) as sock:
        size = os.fstat(stream.fileno()).st_size
        began = time.perf_counter()
        sock.sendall(request_head("POST", path, query, body_length=size))
        sock.sendfile(stream)
        answer = sock.recv(_BLOCK)
        seconds = time.perf_counter() - began
    if body_of_head(answer[: find_head(answer)]).status != 200:
        raise ProtocolError(f"the upload was answered by {answer[:300]!r}")
    return seconds


def download(port: int, path: str, query: dict[str, str], size: int) -> float:
    """Fetch a file and drop its bytes; return the seconds until the last one. Run in the client process."""
    buffer = bytearray(_BLOCK)
    with connect(port) as sock:
        began = time.perf_counter()
        sock.sendall(request_head("GET", path, query))
        data = bytearray()
        while (start := find_head(data)) < 0:
            data += sock.recv(_BLOCK)
        end = body_of_head(bytes(data[: start - 4]))
        count = len(data) - start
        while end.length is None or count < end.length:
            received = sock.recv_into(buffer)
            if not received:
                break
            count += received
        seconds = time.perf_counter() - began
    # Chunks come with their sizes, which are not taken apart here: the client shall cost nothing.
    if end.status != 200 or count < size or (not end.is_chunked and count != size):
        raise ProtocolError(f"the download had status {end.status} and {count} of {size} bytes")
    return seconds


def _source_file(directory: Path, size: int) -> Path:
    directory.mkdir()
    path = directory / _NAME
    block = os.urandom(_BLOCK)
    with open(path, "wb") as stream:
        for index in range(size // _BLOCK):
            stream.write(index.to_bytes(8, "big") + block[8:])
    os.sync()
    return path


def _copy_seconds(source: Path) -> float:
    target = source.with_suffix(".copy")
    began = time.perf_counter()
    subprocess.run(["cp", "--reflink=never", str(source), str(target)], check=True)
    seconds = time.perf_counter() - began
    target.unlink()
    return seconds


@contextlib.contextmanager
def _nginx(directory: Path, root: Path) -> Iterator[int | None]:
    """Have nginx serve the files in ``root`` and give its port; None where nginx is not installed."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        yield None
        return
    directory.mkdir()
    port = free_port()
    paths = "\n".join(f"{name}_temp_path {directory}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (directory / "nginx.conf").write_text(
        f"user {getpass.getuser()};\ndaemon off;\nworker_processes 1;\npid {directory}/pid;\nerror_log {directory}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\nsendfile on;\n{paths}\n"
        f"server {{ listen {HOST}:{port}; location / {{ root {root}; }} }}\n}}\n"
    )
    process = subprocess.Popen([program, "-c", str(directory / "nginx.conf")], stderr=subprocess.DEVNULL)
    try:
        _wait_for_port(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            connect(port).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _notes(section: Section, *, has_nginx: bool) -> list[str]:
    up, down, copy = (section.median(key, "ours") for key in ("large_up", "large_down", "large_cp"))
    notes = ["Both ends are in memory: the source and the file that was just written are in the page cache."]
    if up and copy:
        notes.append(f"`cp` of the same file on the same disk: {number(copy)} MiB/s; our upload is {up / copy:.2f} x that.")
    nginx = section.median("large_nginx", "ours")
    if down and nginx:
        notes.append(f"nginx (sendfile) serving it: {number(nginx)} MiB/s; our download is {down / nginx:.2f} x that.")
    elif not has_nginx:
        notes.append("nginx is not installed, so there is no figure for it.")
    return notes
