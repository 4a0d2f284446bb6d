"""A long, bounded load of mixed requests and small jobs on our node, to see whether anything of it grows."""

from __future__ import annotations

import contextlib
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable

from benchmarks.bench import Bench
from benchmarks.jobs import JobClient, long_job
from benchmarks.measures import Column, Metric, Section, number
from benchmarks.processes import Usage, usage
from benchmarks.wire import Connection, connect, request_head

__all__ = ["DEFAULT_SECONDS", "SOAK", "soak"]

SOAK = "soak"
DEFAULT_SECONDS = 600.0
_SAMPLE_INTERVAL_S = 3.0
_JOB_THREADS = 2
_REQUEST_THREADS = 3
#: Pause between two requests of a thread: the load is bounded, about half of what the machine could do.
_PAUSE_S = 0.01
_FILE = bytes(range(256)) * 64
_LARGER_FILE = bytes(1 << 20)

_COLUMNS = (Column("end", "at the end"), Column("start", "after warm-up"), Column("slope", "slope per hour"))
_METRICS = (
    Metric("memory", "memory of all its processes (PSS)", "MiB"),
    Metric("threads", "threads", "count"),
    Metric("files", "open files", "count"),
)


def soak(bench: Bench, seconds: float, now: str) -> Section:
    """Put the load on a node for some seconds and return what became of its memory, threads and open files."""
    section = Section(SOAK, f"Soak: mixed load on our node for {seconds:g} s", _COLUMNS, _METRICS, taken_at=now)
    server = bench.server("ours", "soak")
    taken: list[tuple[float, Usage]] = []
    with server.running(), long_job(server.port, "long", server.directory):
        began = time.monotonic()
        load = bench.clients.submit(_mixed_load, server.port, seconds)
        while not load.done():
            time.sleep(min(_SAMPLE_INTERVAL_S, seconds / 20))
            taken.append((time.monotonic() - began, usage(server.pids())))
        done = load.result()
    warm_up_s = max(seconds / 5, min(60.0, seconds / 3))
    counted = [(at, found) for at, found in taken if at > warm_up_s]
    values: dict[str, Callable[[Usage], float]] = {
        "memory": lambda found: found.pss_mib,
        "threads": lambda found: found.threads,
        "files": lambda found: found.files,
    }
    for key, value_of in values.items():
        _add(section, key, [at for at, _ in counted], [float(value_of(found)) for _, found in counted])
    what = ", ".join(f"{count:,} {name}" for name, count in sorted(done.items()))
    section.notes.append(f"Done meanwhile: {what}. {len(counted)} samples after {warm_up_s:.0f} s of warm-up.")
    section.notes.append(
        "The columns are the medians of the first and the last quarter of the samples; the slope is a straight line through all,"
        f" per hour of about {3600 / seconds * sum(done.values()):,.0f} requests and jobs."
    )
    for key in values:
        bench.say(f"{key}: {number(section.median(key, 'start'))} → {number(section.median(key, 'end'))}")
    return section


def _add(section: Section, key: str, times: list[float], values: list[float]) -> None:
    quarter = max(1, len(values) // 4)
    for value in values[:quarter]:
        section.add(key, "start", value)
    for value in values[-quarter:]:
        section.add(key, "end", value)
    section.add(key, "slope", statistics.linear_regression(times, values).slope * 3600)


# -- the load, in the client process --------------------------------------------------------------------------------------


def _mixed_load(port: int, seconds: float) -> dict[str, int]:
    """Work for some seconds; return how often what was done."""
    done: Counter[str] = Counter()
    lock = threading.Lock()
    end = time.monotonic() + seconds
    failures: list[BaseException] = []

    def repeat(act: Callable[[int], str], worker: int) -> None:
        turn = 0
        try:
            while time.monotonic() < end and not failures:
                name = act(worker * 1_000_000 + turn)
                with lock:
                    done[name] += 1
                turn += 1
                time.sleep(_PAUSE_S)
        except BaseException as exc:  # noqa: BLE001 - told by the thread that waits
            failures.append(exc)

    acts: list[Callable[[int], str]] = [lambda turn: _job(port, turn)] * _JOB_THREADS
    acts += [lambda turn: _request(port, turn)] * _REQUEST_THREADS
    threads = [threading.Thread(target=repeat, args=(act, worker), daemon=True) for worker, act in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return dict(done)


def _job(port: int, turn: int) -> str:
    """One small job from set-up to clean; one of ten is cancelled."""
    job_id = f"soak-{turn}"
    with JobClient(port, keep_alive=turn % 2 == 0) as client:
        client.set_up(job_id)
        for number_of_file in range(3):
            client.upload(job_id, "input", f"in{number_of_file}", _FILE)
        if turn % 10 == 9:
            client.submit(job_id, "sleep 60")
            client.cancel(job_id)
            client.clean(job_id)
            return "cancelled jobs"
        client.submit(job_id, "cat ../inputs/in* > ../outputs/out")
        client.wait_for(job_id, interval_s=0.05)
        if client.download(job_id, "output", "out") != _FILE * 3:
            raise RuntimeError(f"the output of {job_id} came back changed")
        client.clean(job_id)
    return "jobs"


def _request(port: int, turn: int) -> str:
    """One request of many kinds, good and bad ones."""
    kinds = (_status, _status, _status, _health, _unknown_path, _missing_parameter, _cut_upload, _cut_download, _larger_upload)
    kind = random.Random(turn).choice(kinds)
    kind(port)
    return kind.__name__.strip("_").replace("_", " ")


def _status(port: int) -> None:
    with JobClient(port) as client:
        client.status("long")


def _health(port: int) -> None:
    _expect(port, 200, "GET", "/healthz")


def _unknown_path(port: int) -> None:
    _expect(port, 404, "GET", "/no/such/path")


def _missing_parameter(port: int) -> None:
    with Connection(port) as connection:
        status = connection.request("POST", "/jobs").status
    if not 400 <= status < 600:
        raise RuntimeError(f"POST /jobs without an id was answered by {status}")


def _cut_upload(port: int) -> None:
    head = request_head("POST", "/jobs/long/files", {"job_id": "long", "name": "cut", "type": "input"}, body_length=1 << 20)
    with connect(port) as sock:
        sock.sendall(head + _FILE)


def _cut_download(port: int) -> None:
    head = request_head("GET", "/jobs/long/files", {"job_id": "long", "name": "larger", "type": "output_workdir"})
    with connect(port) as sock:
        sock.sendall(head)
        sock.recv(100)


def _larger_upload(port: int) -> None:
    with JobClient(port) as client:
        client.upload("long", "workdir", "larger", _LARGER_FILE)


def _expect(port: int, status: int, method: str, path: str) -> None:
    with contextlib.closing(Connection(port)) as connection:
        found = connection.request(method, path).status
    if found != status:
        raise RuntimeError(f"{method} {path} was answered by {found}, not {status}")
