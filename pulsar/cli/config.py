"""``pulsar-config``: write the files of a new node (specification 11). It writes all of them or none."""

from __future__ import annotations

import contextlib
import getpass
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pulsar.cli.arguments import reporting
from pulsar.cli.config_files import Plan, app_yml, local_env, server_ini, supervisor_conf, systemd_unit
from pulsar.config.reader import resolved_path
from pulsar.config.server import DEFAULT_HOST, DEFAULT_PORT
from pulsar.errors import ConfigError

__all__ = ["main"]

#: Launcher's mode for what ``--wsgi_server`` names. ``paster`` is the word of Pulsar 0.7.
_MODES = {"default": "default", "gunicorn": "gunicorn", "uwsgi": "uwsgi", "paste": "paste", "paster": "paste"}
_PRIVATE = 0o600
_PUBLIC = 0o644


@dataclass(frozen=True)
class _File:
    name: str
    text: str
    mode: int = _PUBLIC


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files; return the exit status."""
    return reporting("pulsar-config", lambda: _run(_parser().parse_args(argv)))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="pulsar-config", description="Write the configuration files of a new Pulsar node.")

    def flag(name: str, text: str) -> None:
        parser.add_argument(*_spellings(name), dest=name, action="store_true", help=text)

    def value(name: str, metavar: str, text: str, default: str | None = None) -> None:
        parser.add_argument(*_spellings(name), dest=name, metavar=metavar, default=default, help=text)

    value("directory", "DIR", "where the files are written (default: the current directory)", ".")
    value("host", "HOST", f"address on which the node answers (default: {DEFAULT_HOST})", DEFAULT_HOST)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"its port (default: {DEFAULT_PORT})")
    value("private_token", "TOKEN", "secret that every request must carry")
    parser.add_argument(
        *_spellings("wsgi_server"),
        choices=sorted(_MODES),
        default="default",
        help="web server of supervisor and systemd files: default (the node's own), gunicorn, uwsgi or paste",
    )
    value("libdrmaa_path", "FILE", "run jobs on a cluster through this DRMAA library")
    flag("supervisor", "write supervisor.conf")
    flag("systemd", "write pulsar.service and pulsar.user.service")
    flag("auto_conda", "let conda install tool dependencies")
    flag("mq", "take jobs from a message queue instead of HTTP")
    flag("no_logging", "leave logging out of server.ini")
    flag("install", "install the Python packages that this set-up needs")
    flag("force", "replace files that exist")
    for name, metavar, text in (
        ("relay_url", "URL", "relay"),
        ("register_with_galaxy", "URL", "Galaxy"),
        ("galaxy_token", "T", "Galaxy"),
    ):
        value(name, metavar, f"({text}: not in this node yet)")
    for name in ("login", "login_only"):
        flag(name, "(relay: not in this node yet)")
    return parser


def _spellings(name: str) -> list[str]:
    return list(dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")))


def _run(arguments: Namespace) -> int:
    for name in ("register_with_galaxy", "galaxy_token", "login", "login_only", "relay_url"):
        if getattr(arguments, name):
            raise ConfigError(f"--{name.replace('_', '-')} is for relays, which this node does not talk to yet; leave it out")
    plan = _plan(arguments)
    files = _files(plan, arguments)
    if not arguments.force:
        _refuse_existing(plan.directory, files)
    if arguments.install:
        _install(_requirements(arguments))
    _write(plan.directory, files)
    _tell(plan, files, arguments)
    return 0


def _plan(arguments: Namespace) -> Plan:
    if not 0 < arguments.port <= 65535:
        raise ConfigError(f"--port must be from 1 to 65535, not {arguments.port}")
    for name in ("host", "private_token", "libdrmaa_path", "directory"):
        if any(character in (getattr(arguments, name) or "") for character in "\n\r\0"):
            raise ConfigError(f"--{name} must be one line of text")
    return Plan(
        directory=Path(resolved_path(arguments.directory, Path.cwd())),
        command=_launcher(),
        mode="webless" if arguments.mq else _MODES[arguments.wsgi_server],
        user=_user(),
        host=arguments.host,
        port=arguments.port,
        private_token=arguments.private_token,
        libdrmaa_path=arguments.libdrmaa_path,
        auto_conda=arguments.auto_conda,
        message_queue=arguments.mq,
        logging=not arguments.no_logging,
    )


def _launcher() -> tuple[str, ...]:
    """Return how this installation's launcher is called from anywhere."""
    installed = Path(sys.executable).parent / "pulsar"
    return (str(installed),) if installed.is_file() else (sys.executable, "-m", "pulsar.cli.launcher")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _files(plan: Plan, arguments: Namespace) -> list[_File]:
    has_secret = plan.private_token is not None or plan.message_queue
    files = [_File("app.yml", app_yml(plan), _PRIVATE if has_secret else _PUBLIC)]
    if not plan.message_queue:
        files.append(_File("server.ini", server_ini(plan)))
    files.append(_File("local_env.sh", local_env(plan)))
    if arguments.supervisor:
        files.append(_File("supervisor.conf", supervisor_conf(plan)))
    if arguments.systemd:
        files.append(_File("pulsar.service", systemd_unit(plan, of_user=False)))
        files.append(_File("pulsar.user.service", systemd_unit(plan, of_user=True)))
    return files


def _refuse_existing(directory: Path, files: Sequence[_File]) -> None:
    existing = [file.name for file in files if os.path.lexists(directory / file.name)]
    if existing:
        verb = "exists" if len(existing) == 1 else "exist"
        raise ConfigError(f"{', '.join(existing)} {verb} in {directory}, so nothing was written; replace with --force")


def _requirements(arguments: Namespace) -> list[str]:
    wanted = {
        "drmaa": arguments.libdrmaa_path is not None,
        "supervisor>=4.2": arguments.supervisor,
        "gunicorn>=23.0": arguments.wsgi_server == "gunicorn",
        "uWSGI>=2.0.22": arguments.wsgi_server == "uwsgi",
        "Paste>=3.7": arguments.wsgi_server in ("paste", "paster"),
    }
    return [requirement for requirement, is_needed in wanted.items() if is_needed]


def _install(requirements: Sequence[str]) -> None:
    if not requirements:
        print("this set-up needs no further packages")
        return
    print(f"installing {', '.join(requirements)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "pip", "install", *requirements], check=False)
    if done.returncode != 0:
        raise ConfigError(f"pip could not install {', '.join(requirements)}, so nothing was written; see its messages above")


def _write(directory: Path, files: Sequence[_File]) -> None:
    """Write every file beside its place, then put all into place."""
    try:
        (directory / "dependencies").mkdir(parents=True, exist_ok=True)
        for file in files:
            _write_beside(directory / file.name, file)
        for file in files:
            _beside(directory / file.name).replace(directory / file.name)
    except OSError as exc:
        for file in files:
            with contextlib.suppress(OSError):
                _beside(directory / file.name).unlink()
        raise ConfigError(
            f"{exc.filename or directory} cannot be written: {exc.strerror}; check the path and its permissions"
        ) from exc


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.new")


def _write_beside(path: Path, file: _File) -> None:
    beside = _beside(path)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, file.mode)
    with open(fd, "w", encoding="utf-8") as stream:
        stream.write(file.text)
        stream.flush()
        os.fsync(stream.fileno())


def _tell(plan: Plan, files: Sequence[_File], arguments: Namespace) -> None:
    print(f"wrote {', '.join(file.name for file in files)} and dependencies/ in {plan.directory}")
    if plan.message_queue:
        print("this node does not talk to a message queue yet: it will say so when it starts")
    if plan.private_token is None and not plan.message_queue:
        print("no --private_token was given: whoever reaches the port can run commands")
    print(f"start the node with: {' '.join(plan.launch)}")
    if arguments.supervisor:
        print(f"or, under supervisor, include {plan.directory / 'supervisor.conf'} in its configuration")


if __name__ == "__main__":
    sys.exit(main())
