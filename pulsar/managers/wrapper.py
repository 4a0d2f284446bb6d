"""The program that leads the session of one local job and outlives the node: ``wrapper.py JOB_DIRECTORY TOKEN``.

A node starts it once, as ``wrapper.py --serve DESCRIPTOR``, and asks that process to fork a wrapper for each job: a fork of a
small process costs a tenth of starting Python. See :mod:`pulsar.managers.spawner` for the other end of the socket.

It claims the job, runs ``command.sh``, waits for it and writes down how it ended. It keeps two rules: a job is claimed by one
wrapper only, whatever the node that started it remembers; and the outcome is on disk before the wrapper ends.

Every local job pays for its start, so it imports next to nothing (``-I -S -B`` leave out the rest) and ends by ``os._exit``.
What it writes is read by :mod:`pulsar.managers.process_files`.
"""

import errno
import os
import sys
import time

TYPE_CHECKING = False  # typing would have to be imported to say so
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
else:
    try:
        import _signal as signal  # the part in C: `signal` itself would import enum, as costly as all the rest
    except ImportError:  # not CPython
        import signal

__all__ = ["CANNOT_WRITE", "CLAIMED_BY_ANOTHER", "main", "serve"]

#: Exit statuses of the wrapper itself. The job's own is never among them: it is in the files.
CLAIMED_BY_ANOTHER = 75
CANNOT_WRITE = 74

#: Names of files under way; such names are shown to nobody (pulsar.protocol.layout.UPLOAD_PREFIX).
_PART_PREFIX = ".pulsar-upload-"

#: What the job must find as it is by default, whatever the node or this program did with it.
_RESET = (
    *("SIGHUP", "SIGINT", "SIGQUIT", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGCHLD", "SIGCONT"),
    *("SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGXFSZ"),
)

#: What may pass; and how long it may keep the outcome from being written, in seconds.
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE)
_PATIENCE_S = 60.0

#: What link(2) says on a file system that has no hard links.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

#: More bytes than an outcome needs; the rest are spaces.
_ROOM = 256


def main(arguments: list[str]) -> int:
    """Claim the job and run it to its end; return the exit status of this program."""
    directory, token = arguments
    for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    # Inherited as ignored, the kernel would reap the script before its status could be asked for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        if not _insist(lambda: _claim(directory, token)):
            return CLAIMED_BY_ANOTHER
    except FileNotFoundError:
        return 0  # the job directory was removed: nobody waits for this job
    except OSError as exc:
        _complain(f"cannot claim the job, which did not run: {exc.strerror}")
        return CANNOT_WRITE
    room = _reserve(directory)
    code, outcome = _run(f"{directory}/command.sh")
    try:
        _insist(lambda: _record(directory, code, outcome, room))
    except FileNotFoundError:
        return 0
    except OSError as exc:
        _complain(f"cannot write down how the job ended ({outcome}): {exc.strerror}")
        return CANNOT_WRITE
    return 0


def serve(descriptor: int) -> int:
    """Fork a wrapper for each request until the node closes its end of the socket; return the exit status.

    A request is one message, its parts divided by NUL: job directory, token, and the environment, a part per variable. The
    answer is ``pid:start:boot`` of the wrapper, or ``!errno:message`` when nothing was started.
    """
    for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)  # it goes when the node goes
    boot = _boot_id()
    children = 0
    while True:
        # A wrapper stays a zombie, and so its pid its own, at least until its start time was read.
        while children and os.waitpid(-1, os.WNOHANG)[0]:
            children -= 1
        if children and not _is_readable(descriptor, 1000):
            continue
        request = os.read(descriptor, 1 << 17)
        if not request:
            return 0
        try:
            child = _fork(descriptor, request.split(b"\0"))
        except OSError as exc:
            answer = f"!{exc.errno}:{exc.strerror}"
        else:
            children += 1
            answer = f"{child}:{_start_time(child)}:{boot}"
        os.write(descriptor, answer.encode())


def _is_readable(descriptor: int, milliseconds: int) -> bool:
    import select  # built in, and needed by this process only

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(milliseconds))


def _fork(descriptor: int, parts: "list[bytes]") -> int:
    """Fork a wrapper that has its files, directory and environment, and return its pid."""
    directory = os.fsdecode(parts[0])
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    opened = []
    try:
        opened.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        opened += [os.open(f"{directory}/metadata/{name}", flags, 0o666) for name in ("job_stdout", "job_stderr")]
        opened.append(os.open(f"{directory}/working", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        child = os.fork()
        if child == 0:
            status = CANNOT_WRITE
            try:
                os.setsid()
                os.close(descriptor)
                for number in range(3):
                    os.dup2(opened[number], number)
                os.fchdir(opened[3])
                for number in opened:
                    os.close(number)
                os.environ.clear()
                for part in parts[2:]:
                    name, _, value = os.fsdecode(part).partition("=")
                    os.environ[name] = value
                status = main([directory, os.fsdecode(parts[1])])
            finally:
                os._exit(status)
        return child
    finally:
        for number in opened:
            os.close(number)


def _claim(directory: str, token: str) -> bool:
    """Make ``pid`` this process's claim and return True; return False, having changed nothing, when there is one already."""
    pid = os.getpid()
    part = f"{directory}/{_PART_PREFIX}pid.{pid}"
    text = f'{{"pid": {pid}, "start": {_start_time()}, "boot": "{_boot_id()}", "token": "{_plain(token)}"}}\n'
    try:
        _put(_create(part), text.encode())
        try:
            os.link(part, f"{directory}/pid")  # unlike a rename, it fails when the name exists
        except OSError as exc:
            if exc.errno not in _NO_LINKS:
                raise
            # No hard links here: the same, except that a kill just now would leave an empty claim.
            _put(os.open(f"{directory}/pid", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), text.encode())
    except FileExistsError:
        return False
    finally:
        _unlink(part)
    return True


def _start_time(pid: "int | str" = "self") -> int:
    """Return when the process was started, in clock ticks since boot (proc(5)); 0 where that cannot be told."""
    try:
        return int(_read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def _boot_id() -> str:
    try:
        return _plain(_read("/proc/sys/kernel/random/boot_id").decode("ascii", "replace").strip())
    except OSError:
        return ""


def _run(script: str) -> tuple[int | None, str]:
    """Run the script and wait for its end; return its exit code, if it has one, and the outcome as JSON text."""
    reset = [getattr(signal, name) for name in _RESET]
    try:
        try:
            child = os.posix_spawn("/bin/bash", ["/bin/bash", script], os.environ, setsigmask=(), setsigdef=reset)
        except FileNotFoundError:
            child = os.posix_spawnp("bash", ["bash", script], os.environ, setsigmask=(), setsigdef=reset)
    except OSError as exc:
        return None, f'{{"error": "{_plain(f"/bin/bash: {exc.strerror}")}"}}'
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return None, f'{{"signal": {os.WTERMSIG(status)}}}'
    code = os.WEXITSTATUS(status)
    return code, f'{{"code": {code}}}'


def _reserve(directory: str) -> str | None:
    """Take the room for the outcome while there is some: a job that fills the disk shall not hide how it ended."""
    part = f"{directory}/{_PART_PREFIX}exit_status"
    try:
        descriptor = _create(part)
        try:
            os.write(descriptor, b" " * _ROOM)
        finally:
            os.close(descriptor)
    except OSError:
        return None
    return part


def _record(directory: str, code: int | None, outcome: str, room: str | None) -> bool:
    """Write ``exit_status``, and ``return_code`` if the script has not; both appear whole or not at all.

    ``exit_status`` alone is enough for the node, so it is the one to insist on.
    """
    if code is not None and _is_missing(f"{directory}/return_code"):
        try:
            _replace(f"{directory}/return_code", b"%d\n" % code)
        except OSError as exc:
            _complain(f"cannot write return_code: {exc.strerror}")
    if room is not None:
        try:
            _put(os.open(room, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), outcome.encode().ljust(_ROOM))
            os.rename(room, f"{directory}/exit_status")  # noqa: PTH104 - pathlib would have to be imported
            return True
        except OSError:
            pass  # the job has put something else in its place
    _replace(f"{directory}/exit_status", outcome.encode() + b"\n")
    return True


def _is_missing(path: str) -> bool:
    try:
        return os.lstat(path).st_size == 0
    except FileNotFoundError:
        return True


def _insist(action: "Callable[[], bool]") -> bool:
    """Return what ``action`` returns, trying again while the disk is full or the like.

    Raises :class:`FileNotFoundError` when the job directory is gone.
    """
    deadline = time.monotonic() + _PATIENCE_S
    pause = 0.05
    while True:
        try:
            return action()
        except NotADirectoryError as exc:
            raise FileNotFoundError(exc.errno, exc.strerror) from exc
        except OSError as exc:
            if exc.errno not in _PASSING or time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(5.0, pause * 2)


def _replace(path: str, content: bytes) -> None:
    """Give ``path`` this content, durably; on failure it is what it was."""
    directory, _, name = path.rpartition("/")
    part = f"{directory}/{_PART_PREFIX}{name}"
    try:
        _put(_create(part), content)
        os.rename(part, path)  # noqa: PTH104
    except OSError:
        _unlink(part)
        raise


def _create(path: str) -> int:
    _unlink(path)  # of a wrapper that was killed
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)


def _put(descriptor: int, content: bytes) -> None:
    """Write, make durable and close."""
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError(errno.ENOSPC, "the disk is full")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def _unlink(path: str) -> None:
    try:  # noqa: SIM105 - contextlib would have to be imported
        os.unlink(path)
    except OSError:
        pass


def _plain(text: str) -> str:
    """Return ``text`` with what would need an escape in JSON replaced; there is no json here."""
    return "".join(char if " " <= char <= "~" and char not in '"\\' else "?" for char in text)


def _complain(sentence: str) -> None:
    try:  # noqa: SIM105
        os.write(2, f"job wrapper: {sentence}\n".encode(errors="replace"))
    except OSError:
        pass


if __name__ == "__main__":
    os._exit(serve(int(sys.argv[2])) if sys.argv[1] == "--serve" else main(sys.argv[1:]))
