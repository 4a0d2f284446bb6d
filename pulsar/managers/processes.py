"""Processes of local jobs: naming one for good, noticing its end at once, and ending all of a tree.

A pid alone names nothing: pids are used again. An :class:`Identity` is a pid with the start time of its process and the boot of
the machine, which together belong to one process only (proc(5), fields 1 and 22 of ``/proc/PID/stat``).
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from pulsar.errors import CannotAsk

__all__ = ["MARK_VARIABLE", "EndWatcher", "Identity", "bears_mark", "end_tree", "script_in_session"]

log = logging.getLogger(__name__)

#: Environment variable that every process of a job inherits; by it those that left the session and the tree are found.
MARK_VARIABLE = "_PULSAR_JOB_MARK"

#: How often the end of a process is looked for where the system has no pidfds, in seconds.
_FALLBACK_INTERVAL_S = 0.2


@dataclass(frozen=True)
class Identity:
    """One process for good: pid, start time in clock ticks since boot, and the boot it belongs to."""

    pid: int
    start: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Return the identity of the process that has ``pid`` now; None when there is none."""
        stat = _stat(pid)
        return cls(pid, stat[1], _boot_id()) if stat else None

    @classmethod
    def parse(cls, text: str | None) -> Identity | None:
        """Read what :meth:`__str__` wrote; None for anything else."""
        parts = (text or "").split(":")
        if len(parts) != 3 or not (parts[0].isdecimal() and parts[1].isdecimal()):
            return None
        return cls(int(parts[0]), int(parts[1]), parts[2])

    def __str__(self) -> str:
        return f"{self.pid}:{self.start}:{self.boot}"

    @property
    def is_alive(self) -> bool:
        """Whether this very process runs; a zombie does not."""
        if self.is_of_another_boot or self.pid <= 0:
            return False
        stat = _stat(self.pid)
        return stat is not None and stat[1] == self.start and stat[0] not in ("Z", "X")

    @property
    def is_of_another_boot(self) -> bool:
        """Whether the machine was started anew since."""
        boot = _boot_id()
        return bool(self.boot and boot and self.boot != boot)


def _stat(pid: int) -> tuple[str, int] | None:
    """Return ``(state letter, start time in clock ticks)`` of a process; None when it does not exist."""
    try:
        # The command's name, in parentheses, may hold anything; the fields after the last one are numbers.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except (OSError, IndexError, ValueError):
        return None
    try:  # no /proc on this system
        process = psutil.Process(pid)
        return ("Z" if process.status() == psutil.STATUS_ZOMBIE else "S"), int(process.create_time() * 100)
    except psutil.Error:
        return None


def _boot_id() -> str:
    global _BOOT_ID
    if _BOOT_ID is None:
        try:
            _BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            _BOOT_ID = ""
    return _BOOT_ID


_BOOT_ID: str | None = None


class EndWatcher:
    """Calls back when processes end, children or not, from one thread for all of them."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._new: list[tuple[Identity, Callable[[], None]]] = []
        self._polled: list[tuple[Identity, Callable[[], None]]] = []
        self._closing = False
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if hasattr(os, "pipe2") else os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name="pulsar-job-ends", daemon=True)
        self._thread.start()

    def watch(self, identity: Identity, ended: Callable[[], None]) -> None:
        """Call ``ended``, once, when the process has ended; soon, if it has already. It is called from the watcher's thread."""
        with self._lock:
            self._new.append((identity, ended))
        self._wake()

    def close(self) -> None:
        """Stop watching; nothing more is called afterwards."""
        self._closing = True
        self._wake()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            os.close(key.fd)
        os.close(self._wake_write)
        self._selector.close()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    def _run(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select(_FALLBACK_INTERVAL_S if self._polled else None):
                if key.data is None:
                    os.read(self._wake_read, 4096)
                    continue
                self._selector.unregister(key.fileobj)
                os.close(key.fd)
                _call(key.data)
            for identity, ended in self._take_new():
                self._register(identity, ended)
            for item in [item for item in self._polled if not item[0].is_alive]:
                self._polled.remove(item)
                _call(item[1])

    def _take_new(self) -> list[tuple[Identity, Callable[[], None]]]:
        with self._lock:
            new, self._new = self._new, []
        return new

    def _register(self, identity: Identity, ended: Callable[[], None]) -> None:
        try:
            fd = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            _call(ended)
            return
        except (AttributeError, OSError):  # no pidfds here, or no descriptors left
            self._polled.append((identity, ended))
            return
        if identity.is_alive:
            self._selector.register(fd, selectors.EVENT_READ, ended)
        else:  # the pid belongs to another process by now, or its process is a zombie
            os.close(fd)
            _call(ended)


def _call(ended: Callable[[], None]) -> None:
    try:
        ended()
    except Exception:
        log.exception("the end of a job's process could not be taken note of; the next poll finds it")


def end_tree(root: Identity, mark: str, *, grace_s: float, timeout_s: float = 15.0) -> None:
    """End the process ``root``, its descendants, its session and every process that carries ``mark``.

    They are asked with SIGTERM first and killed after ``grace_s``. On return none of them runs. Raises
    :class:`~pulsar.errors.CannotAsk` when some do not die within ``timeout_s`` (they hang in the kernel, or are not ours).
    """
    begun = time.monotonic()
    number = signal.SIGTERM
    asked: set[tuple[int, float]] = set()
    pause = 0.005
    while True:
        members = _members(root, mark)
        if not members:
            return
        elapsed = time.monotonic() - begun
        if elapsed > timeout_s:
            raise CannotAsk(f"processes {sorted(process.pid for process in members)} of the job do not die, even by SIGKILL")
        # The wrapper itself ignores SIGTERM; once it is alone there is nothing left to be polite to.
        if elapsed > grace_s or all(process.pid == root.pid for process in members):
            number = signal.SIGKILL
        for process in members:
            name = (process.pid, process.create_time())
            if number == signal.SIGKILL or name not in asked:
                asked.add(name)
                with contextlib.suppress(psutil.Error):
                    process.send_signal(number)
        time.sleep(pause)
        pause = min(0.1, pause * 1.5)


def _members(root: Identity, mark: str) -> list[psutil.Process]:
    """Return the living processes of the job: tree, session and bearers of the mark; never this process or its parents."""
    found: dict[int, psutil.Process] = {}
    if root.is_alive:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(root.pid)
            found[root.pid] = process
            found.update((child.pid, child) for child in process.children(recursive=True))
    own = os.getuid()
    session_is_its = _session_is_of(root)
    for process in psutil.process_iter():
        if process.pid in found or process.pid <= 1:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if own not in (0, process.uids().real):
                continue
            if (session_is_its and os.getsid(process.pid) == root.pid) or bears_mark(process.pid, mark):
                found[process.pid] = process
                found.update((child.pid, child) for child in process.children(recursive=True))
    return [process for process in found.values() if _is_running(process)]


def _session_is_of(root: Identity) -> bool:
    """Whether the session with the number ``root.pid`` is the one that ``root`` led.

    The kernel gives a pid to nobody as long as a session bears it, so it is, unless another process has the pid by now.
    """
    if root.pid <= 0 or root.is_of_another_boot:
        return False
    stat = _stat(root.pid)
    return stat is None or stat[1] == root.start


def script_in_session(session: int, script: str) -> Identity | None:
    """Return the oldest living process of the session that runs ``script`` (``/bin/bash SCRIPT``); None when there is none."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session and process.cmdline()[1:2] == [script]:
                identity = Identity.of(process.pid)
                if identity is not None and identity.is_alive:
                    found.append(identity)
    return min(found, key=lambda identity: identity.start, default=None)


def bears_mark(pid: int, mark: str) -> bool:
    """Whether the process has the mark in the environment it was started with; False for one that may not be looked at."""
    entry = f"{MARK_VARIABLE}={mark}".encode()
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return entry in environment.split(b"\0")


def _is_running(process: psutil.Process) -> bool:
    try:
        return bool(process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD))
    except psutil.Error:
        return False
