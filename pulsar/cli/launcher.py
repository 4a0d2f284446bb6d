"""``pulsar``: start a node. It prepares the environment, then becomes the server that the mode names (specification 11)."""

from __future__ import annotations

import os
import shutil
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pulsar import __version__
from pulsar.cli.arguments import reporting
from pulsar.cli.daemon import PidFile, become_daemon, stop_daemon
from pulsar.cli.local_env import environment_after
from pulsar.config.files import existing_or_sample
from pulsar.errors import ConfigError

__all__ = ["main"]

DEFAULT_MODE = "default"
MODES: dict[str, str] = {
    "default": "the built-in server, or the one that [server:main] use = in server.ini names",
    "gunicorn": "gunicorn, whatever server.ini names",
    "paste": "the server of Paste",
    "uwsgi": "uWSGI, set up by the section [uwsgi] of server.ini",
    "webless": "no web server: an engine alone",
}
_OLD_NAMES = {"paster": "paste"}
_GONE = ("circusd", "chaussette")
#: uWSGI's own line holds the whole address of a request, and with it the private token.
_UWSGI_LOG_FORMAT = "%(addr) [%(ltime)] %(method) %(var.PATH_INFO) => %(status), %(rsize) bytes in %(msecs) ms, pid %(pid)"


@dataclass(frozen=True)
class _Launch:
    """Everything that decides what is executed."""

    mode: str
    config_dir: Path
    ini: Path | None
    environ: Mapping[str, str]
    daemon: bool
    stop: bool
    pid: str | None
    log_file: str | None
    words: tuple[str, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Become the server; returns only when there is nothing to start, with the exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    return reporting("pulsar", lambda: _run(words))


def _parser() -> ArgumentParser:
    modes = "\n".join(f"  {name:10}{text}" for name, text in MODES.items())
    parser = ArgumentParser(
        prog="pulsar",
        allow_abbrev=False,
        formatter_class=RawDescriptionHelpFormatter,
        description="Start a Pulsar node.",
        epilog=f"modes:\n{modes}\n\nAll other words are passed to the server.",
    )
    parser.add_argument("-m", "--mode", help="how the node is served (default: $MODE, else default)")
    parser.add_argument(
        "-c", "--config", metavar="DIR", help="configuration directory (default: $PULSAR_CONFIG_DIR, else the current one)"
    )
    parser.add_argument("--daemon", action="store_true", help="run in the background")
    parser.add_argument("--stop-daemon", action="store_true", help="stop the daemon and wait until it has ended")
    parser.add_argument("--pid", "--pid-file", dest="pid", metavar="FILE", help="pid file of the daemon (default: pulsar.pid)")
    parser.add_argument("--log-file", metavar="FILE", help="log of the daemon (default: pulsar.log)")
    parser.add_argument("--version", action="version", version=f"pulsar-node {__version__}")
    return parser


def _run(words: Sequence[str]) -> int:
    arguments, rest = _parser().parse_known_args(words)
    launch = _prepare(arguments, tuple(word for word in rest if word != "--"), dict(os.environ))
    _use_virtual_environment(launch.environ, launch.config_dir, words)
    if launch.mode == "uwsgi":
        return _run_uwsgi(launch)
    return _execute(_python_command(launch), launch.environ)


def _prepare(arguments: Namespace, words: tuple[str, ...], environ: dict[str, str]) -> _Launch:
    config_dir = Path(arguments.config or environ.get("PULSAR_CONFIG_DIR") or ".").expanduser().absolute()
    if not config_dir.is_dir():
        raise ConfigError(
            f"the configuration directory {config_dir} does not exist; create it (pulsar-config does), or name another with -c"
        )
    environ = _with_local_env(environ, config_dir)
    environ["PULSAR_CONFIG_DIR"] = str(config_dir)
    return _Launch(
        mode=_mode(arguments.mode or environ.get("MODE") or DEFAULT_MODE),
        config_dir=config_dir,
        ini=_ini(environ, config_dir),
        environ=_activated(environ),
        daemon=arguments.daemon,
        stop=arguments.stop_daemon,
        pid=arguments.pid,
        log_file=arguments.log_file,
        words=words,
    )


def _mode(name: str) -> str:
    mode = _OLD_NAMES.get(name, name)
    if mode in MODES:
        return mode
    choices = ", ".join(MODES)
    if mode in _GONE:
        raise ConfigError(f"mode {name} is not served by this node any more; choose one of {choices}")
    raise ConfigError(f"there is no mode {name}; choose one of {choices}")


def _with_local_env(environ: dict[str, str], config_dir: Path) -> dict[str, str]:
    named = environ.get("PULSAR_LOCAL_ENV")
    script = Path(named).absolute() if named else config_dir / "local_env.sh"
    if script.is_file():
        return environment_after(script, environ)
    if named:
        raise ConfigError(f"PULSAR_LOCAL_ENV names {script}, which does not exist; correct the path")
    return environ


def _ini(environ: Mapping[str, str], config_dir: Path) -> Path | None:
    named = environ.get("PULSAR_CONFIG_FILE")
    if not named:
        return existing_or_sample(config_dir / "server.ini")
    ini = existing_or_sample(config_dir / named)
    if ini is None:
        raise ConfigError(f"PULSAR_CONFIG_FILE names {config_dir / named}, which does not exist; correct the path")
    return ini


def _activated(environ: dict[str, str]) -> dict[str, str]:
    """Return the environment with this interpreter's virtual environment first on PATH: jobs look for ``python`` there."""
    if sys.prefix == sys.base_prefix:
        return environ
    commands = str(Path(sys.prefix, "bin"))
    path = environ.get("PATH", os.defpath)
    if commands not in path.split(os.pathsep):
        path = commands + os.pathsep + path
    return {**environ, "VIRTUAL_ENV": sys.prefix, "PATH": path}


def _use_virtual_environment(environ: Mapping[str, str], config_dir: Path, words: Sequence[str]) -> None:
    """Start over inside the node's virtual environment, when it has one of its own and this is another."""
    named = environ.get("PULSAR_VIRTUALENV")
    directory = Path(named) if named else config_dir / ".venv"
    python = directory / "bin" / "python"
    if python.is_file() and os.path.realpath(directory) == os.path.realpath(sys.prefix):
        return
    if (directory / "bin" / "pulsar-main").is_file() and python.is_file():
        # Its launcher reads local_env.sh itself, so it starts from the environment of before.
        _execute([str(python), "-m", "pulsar.cli.launcher", *words], os.environ)
    if named:
        raise ConfigError(
            f"PULSAR_VIRTUALENV names {directory}, where pulsar is not installed; install it there, or unset the variable"
        )


def _python_command(launch: _Launch) -> list[str]:
    """Return the command of the modes that are served by this package itself."""
    if launch.mode == "webless":
        command = [sys.executable, "-m", "pulsar.main", "--config_dir", str(launch.config_dir)]
        if launch.ini is not None:
            command += ["--ini_path", str(launch.ini)]
    else:
        command = [sys.executable, "-m", "pulsar.cli.serve", "--config_dir", str(launch.config_dir), "--server", launch.mode]
        if launch.ini is not None:
            command.append(str(launch.ini))
    for flag, wanted in (("--daemon", launch.daemon), ("--stop-daemon", launch.stop)):
        command += [flag] if wanted else []
    for flag, value in (("--pid", launch.pid), ("--log-file", launch.log_file)):
        command += [flag, value] if value else []
    return [*command, *launch.words]


def _run_uwsgi(launch: _Launch) -> int:
    pid_path = Path(launch.pid or launch.config_dir / "pulsar.pid").absolute()
    if launch.stop:
        return stop_daemon(pid_path)
    command = _uwsgi_command(launch)
    if launch.daemon:
        become_daemon(PidFile(pid_path), Path(launch.log_file or launch.config_dir / "pulsar.log").absolute())()
    return _execute(command, launch.environ)


def _uwsgi_command(launch: _Launch) -> list[str]:
    uwsgi = shutil.which("uwsgi", path=launch.environ.get("PATH"))
    if uwsgi is None:
        raise ConfigError("uwsgi is not on PATH; install it with: pip install uWSGI")
    if launch.ini is None:
        raise ConfigError(
            f"mode uwsgi needs {launch.config_dir / 'server.ini'}; write it with: pulsar-config --wsgi_server uwsgi"
        )
    command = [
        uwsgi,
        "--ini-paste",
        str(launch.ini),
        # Without this uWSGI takes SIGTERM, which every supervisor sends, for a request to start again.
        "--die-on-term",
        # Without this it would answer every request with an error when the configuration does not work.
        "--need-app",
        # Into the buffer of the classic section no job with 8 kB of parameters fits; this is the largest that uWSGI can have.
        "--buffer-size",
        "65535",
        "--logformat",
        _UWSGI_LOG_FORMAT,
        # uWSGI says that it is the interpreter itself; jobs are started by a real one.
        "--py-sys-executable",
        sys.executable,
    ]
    if sys.prefix != sys.base_prefix:
        command += ["--virtualenv", sys.prefix]
    return [*command, *launch.words]


def _execute(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Become another program; only a program that cannot be started returns."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(command[0], list(command), dict(environ))  # noqa: S606 - no shell is wanted
    except OSError as exc:
        raise ConfigError(f"{command[0]} cannot be started: {exc.strerror}") from exc


if __name__ == "__main__":
    sys.exit(main())
