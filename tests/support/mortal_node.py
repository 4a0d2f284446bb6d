"""One life of a node without a web server, which kills itself with SIGKILL around a chosen save.

usage: python -m tests.support.mortal_node DIRECTORY (before|after|never) NUMBER (run|cancel) JOURNAL

It does what a client does with job 1 as far as that is not done yet, waits for the end and prints the status document. The job
appends a line to JOURNAL when it runs, so that running twice is seen.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
from typing import Any

from pulsar.core import PulsarApp
from pulsar.protocol.messages import LaunchRequest
from pulsar.store.sqlite import SqliteStore

EXIT_CODE = 7


def die_around_save(number: int, moment: str) -> None:
    """Make the ``number``\\ th write of this process its last act, or the one it does not come to."""
    count = 0
    lock = threading.Lock()

    def mortal(method: Any) -> Any:
        def write(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            with lock:
                count += 1
                mine = count
                if mine == number and moment == "before":
                    os.kill(os.getpid(), signal.SIGKILL)
                result = method(*args, **kwargs)
                if mine == number and moment == "after":
                    os.kill(os.getpid(), signal.SIGKILL)
            return result

        return write

    SqliteStore.begin = mortal(SqliteStore.begin)  # type: ignore[method-assign]
    SqliteStore.save = mortal(SqliteStore.save)  # type: ignore[method-assign]


def main() -> None:
    directory, moment, number, purpose, journal = sys.argv[1:]
    if moment != "never":
        die_around_save(int(number), moment)
    seconds = "60" if purpose == "cancel" else "0.1"
    app = PulsarApp(
        staging_directory=f"{directory}/staging",
        persistence_directory=f"{directory}/persisted",
        manager={"type": "queued_python", "num_concurrent_jobs": 1},
    )
    service = app.service
    tick = threading.Event()

    def status() -> str:
        return str(json.loads(service.status("_default_", "1"))["status"])

    if status() in ("lost", "preprocessing"):  # in its first life it may have died before set-up was answered
        service.setup("_default_", "1", "tool", "1")
    command = f"echo ran >> {shlex.quote(journal)}; echo out > ../outputs/o; sleep {seconds}; (exit {EXIT_CODE})"
    service.submit("_default_", "1", LaunchRequest(command))
    if purpose == "cancel":
        while status() not in ("running", "cancelled"):
            tick.wait(0.01)
        service.cancel("_default_", "1")
    while json.loads(service.status("_default_", "1"))["complete"] != "true":
        tick.wait(0.01)
    print(service.status("_default_", "1"), flush=True)
    app.shutdown()


if __name__ == "__main__":
    main()
