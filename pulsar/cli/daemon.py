"""Running in the background: double fork, a pid file that is locked while its daemon lives, and stopping it.

The lock is the truth, not the number in the file: the kernel takes it from a daemon that dies, whatever kills it, so a stale pid
file is known for certain, and a number that meanwhile belongs to another process is never signalled. The lock is kept over
``exec`` and shared with worker processes; jobs do not get the descriptor.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pulsar.errors import ConfigError

__all__ = ["PATIENCE_S", "PidFile", "become_daemon", "stop_daemon"]

#: How long ``--stop-daemon`` waits for the end.
PATIENCE_S = 60.0


class PidFile:
    """A pid file at ``path``; held from :meth:`claim` until the last process that inherited it has ended."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._fd = -1

    def claim(self) -> None:
        """Lock the file; :class:`ConfigError` when a daemon has it already, or when it cannot be written."""
        while True:
            try:
                fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            except OSError as exc:
                raise ConfigError(f"the pid file {self.path} cannot be written: {exc.strerror}; name another with --pid") from exc
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = _number_in(fd)
                os.close(fd)
                raise ConfigError(f"a daemon runs already (pid {pid}, {self.path}); stop it with --stop-daemon") from None
            except OSError as exc:
                os.close(fd)
                raise ConfigError(
                    f"the pid file {self.path} cannot be locked: {exc.strerror}; name one on another file system with --pid"
                ) from exc
            if _is_same_file(fd, self.path):
                self._fd = fd
                return
            os.close(fd)  # somebody removed the file between our opening and our locking it

    def write(self) -> None:
        """Write this process's number, and leave the lock to what it executes."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        os.set_inheritable(self._fd, True)

    def remove(self) -> None:
        """Remove the file, if it is still ours."""
        if _is_same_file(self._fd, self.path):
            self.path.unlink(missing_ok=True)


def _is_same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except OSError:
        return False


def _number_in(fd: int) -> int:
    """Return the number that the file holds; 0 when it holds none (yet)."""
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def become_daemon(pid_file: PidFile, log_path: Path) -> Callable[[], None]:
    """Go on as a daemon, with standard output and error appended to ``log_path``; return what to call when it is ready.

    The process that was started waits until then: it ends with status 0 when the daemon is ready, else with 1 and the last lines
    of the log. Must be called before any thread is started. Raises :class:`ConfigError` for files that cannot be written.
    """
    pid_file.claim()
    try:
        log_fd = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    except OSError as exc:
        raise ConfigError(f"the log file {log_path} cannot be written: {exc.strerror}; name another with --log-file") from exc
    log_start = os.fstat(log_fd).st_size
    read_fd, write_fd = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os.close(write_fd)
        os._exit(_wait_until_ready(read_fd, log_path, log_start))
    os.close(read_fd)
    os.setsid()
    if os.fork():
        os._exit(0)
    _redirect(log_fd)
    pid_file.write()
    atexit.register(_remove_at_the_end, pid_file, os.getpid())

    def ready() -> None:
        with contextlib.suppress(OSError):
            os.write(write_fd, b"ready")
            os.close(write_fd)

    return ready


def _remove_at_the_end(pid_file: PidFile, pid: int) -> None:
    if os.getpid() == pid:  # and not in a worker process, which inherits this call
        pid_file.remove()


def _redirect(log_fd: int) -> None:
    null_fd = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null_fd, 0), (log_fd, 1), (log_fd, 2)):
        os.dup2(source, target)
    os.close(null_fd)
    os.close(log_fd)


def _wait_until_ready(read_fd: int, log_path: Path, log_start: int) -> int:
    with open(read_fd, "rb") as pipe:
        if pipe.read():
            return 0
    with open(log_path, "rb") as log:
        log.seek(log_start)
        tail = log.read().decode(errors="replace").splitlines()[-10:]
    sys.stderr.write("\n".join([*tail, f"the daemon did not start; see {log_path}", ""]))
    sys.stderr.flush()
    return 1


def stop_daemon(path: Path, patience_s: float = PATIENCE_S) -> int:
    """Ask the daemon of the pid file to end, wait until it has, remove the file; return the exit status of the command.

    0: no daemon runs any more (also when the file was stale). 1: there is no pid file, or the daemon did not end in time.
    """
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        print(f"there is no pid file {path}, so no daemon to stop; name the right one with --pid", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"the pid file {path} cannot be read: {exc.strerror}", file=sys.stderr)
        return 1
    try:
        if _try_lock(fd):
            path.unlink(missing_ok=True)
            print(f"the pid file {path} was stale: its daemon had already ended; removed the file")
            return 0
        return _stop_holder(fd, path, patience_s)
    finally:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stop_holder(fd: int, path: Path, patience_s: float) -> int:
    pid = _number_in(fd)
    handle = _handle_of(pid)
    try:
        return _stop_process(fd, path, pid, handle, patience_s)
    finally:
        if handle >= 0:
            os.close(handle)


def _stop_process(fd: int, path: Path, pid: int, handle: int, patience_s: float) -> int:
    if not _holds(pid, fd):
        print(f"the pid file {path} is locked, but not by its process {pid}; end the daemon by hand", file=sys.stderr)
        return 1
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it has ended by itself in this moment
    except PermissionError:
        print(f"the daemon {pid} belongs to another user; stop it as that user", file=sys.stderr)
        return 1
    deadline = time.monotonic() + patience_s
    if not (_wait_for_lock(fd, patience_s) and _wait_for_process(handle, deadline)):
        print(f"the daemon {pid} has not ended within {patience_s:g} seconds; see its log", file=sys.stderr)
        return 1
    if _is_same_file(fd, path):
        path.unlink(missing_ok=True)
    print(f"the daemon {pid} has ended")
    return 0


def _holds(pid: int, fd: int) -> bool:
    """Whether process ``pid`` has the file of ``fd`` open, so that the number in it means that process and no later one."""
    if pid <= 1:
        return False
    wanted = os.fstat(fd)
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except PermissionError:
        return True  # another user's: the signal will say so
    except OSError:
        return not Path("/proc/self/fd").is_dir()
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            if os.path.samestat(descriptor.stat(), wanted):
                return True
    return False


def _handle_of(pid: int) -> int:
    """Return a descriptor that stands for this very process; -1 where there is none, or no such thing."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def _wait_for_process(handle: int, deadline: float) -> bool:
    """Wait for the very end of a process: the kernel gives its locks back a moment earlier."""
    return handle < 0 or bool(select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0])


def _wait_for_lock(fd: int, patience_s: float) -> bool:
    """Wait until the last process that has the file locked is gone."""
    waiter = threading.Thread(target=fcntl.flock, args=(fd, fcntl.LOCK_EX), daemon=True)
    waiter.start()
    waiter.join(patience_s)
    return not waiter.is_alive()
