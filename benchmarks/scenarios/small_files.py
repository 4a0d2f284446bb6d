"""Many small files through one job: sent as inputs, copied by the job, fetched as outputs."""

from __future__ import annotations

import time

from benchmarks.bench import CONTENDER_COLUMNS, Bench, in_turns
from benchmarks.jobs import JobClient
from benchmarks.measures import Aim, Metric, Section, Target

__all__ = ["SmallFiles", "small_files"]

_COUNT = 2000
_BODY = bytes(range(256)) * 16
_ROUNDS = 3
_TARGET = Target(Aim.RATIO_AT_LEAST, 2.0)


def small_files(port: int, job_id: str, count: int, keep_alive: bool, manager: str | None = None) -> tuple[float, float]:
    """Return files per second up and down, one after the other as Galaxy sends them; run in the client process."""
    names = [f"file_{number:05}.dat" for number in range(count)]
    with JobClient(port, keep_alive=keep_alive, manager=manager) as client:
        client.set_up(job_id)
        uploads = [client.upload_head(job_id, "input", name, len(_BODY)) + _BODY for name in names]
        downloads = [client.download_head(job_id, "output", name) for name in names]
        began = time.perf_counter()
        for request in uploads:
            client.exchange(request)
        up = count / (time.perf_counter() - began)
        client.submit(job_id, "cp ../inputs/* ../outputs/")
        document = client.wait_for(job_id, interval_s=0.05)
        if sorted(document["outputs_directory_contents"]) != names:
            raise RuntimeError(f"job {job_id} has other outputs than it should: {document['status']}, {document['job_stderr']}")
        began = time.perf_counter()
        for name, request in zip(names, downloads, strict=True):
            if client.exchange(request) != _BODY:
                raise RuntimeError(f"{name} came back changed")
        down = count / (time.perf_counter() - began)
    return up, down


class SmallFiles:
    """The scenario."""

    name = "small-files"
    title = f"{_COUNT:,} files of {len(_BODY) // 1024} KiB through one job"
    columns = CONTENDER_COLUMNS
    metrics = tuple(
        Metric(f"small_{direction}_{mode}", f"{title}, {how}", "files/s", _TARGET)
        for mode, how in (("close", "a new connection each"), ("keep", "one connection"))
        for direction, title in (("up", "up"), ("down", "down"))
    )

    def run(self, bench: Bench, section: Section) -> None:
        """Take the samples."""
        count = 100 if bench.is_quick else _COUNT
        with bench.all_running("small") as servers:
            for number, server in in_turns(servers, bench.rounds(_ROUNDS)):
                for mode in ("close", "keep"):
                    up, down = bench.by_client(small_files, server.port, f"files-{mode}-{number}", count, mode == "keep")
                    section.add(f"small_up_{mode}", server.key, up)
                    section.add(f"small_down_{mode}", server.key, down)
                    bench.say(f"{server.key}, {mode}: {up:,.0f} up, {down:,.0f} down")
        section.notes.append("One file after the other, as Galaxy's client sends and fetches them.")
