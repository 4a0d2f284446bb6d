"""``pulsar-serve``: serve a node over HTTP, in the foreground or as a daemon (specification 11)."""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from pulsar.cli.arguments import daemon_file, reporting
from pulsar.cli.daemon import PidFile, become_daemon, stop_daemon
from pulsar.cli.logs import configure_logging
from pulsar.config import Config, load_config
from pulsar.config.server import ServerSettings, load_server_settings

__all__ = ["main"]

log = logging.getLogger(__name__)

_SERVERS = ("default", "gunicorn", "paste")
_PASTE = "egg:Paste#http"


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to end; return the exit status."""
    return reporting("pulsar-serve", lambda: _run(_parser().parse_args(argv)))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="pulsar-serve", description="Serve a Pulsar node over HTTP.")
    parser.add_argument("config_file", nargs="?", help="server.ini (default: in the configuration directory, if there is one)")
    parser.add_argument("-c", "--config_dir", "--config-dir", metavar="DIR", help="configuration directory")
    parser.add_argument(
        "--server",
        choices=_SERVERS,
        default="default",
        help="default: the one that [server:main] use = names, else the node's own choice",
    )
    parser.add_argument("--daemon", action="store_true", help="run in the background")
    parser.add_argument("--stop-daemon", action="store_true", help="stop the daemon and wait until it has ended")
    parser.add_argument("--pid", "--pid-file", dest="pid", metavar="FILE", help="pid file (default: pulsar.pid)")
    parser.add_argument("--log-file", metavar="FILE", help="log of the daemon, appended to (default: pulsar.log)")
    return parser


def _run(arguments: Namespace) -> int:
    if arguments.stop_daemon:
        return stop_daemon(daemon_file(arguments.pid, _directory(arguments), "pulsar.pid"))
    config = load_config(config_dir=arguments.config_dir, ini_path=arguments.config_file)
    settings = load_server_settings(config.ini_path)
    ready: Callable[[], None] = _nothing
    if arguments.daemon:
        pid_file = PidFile(daemon_file(arguments.pid, config.config_dir, "pulsar.pid"))
        ready = become_daemon(pid_file, daemon_file(arguments.log_file, config.config_dir, "pulsar.log"))
    configure_logging(config, settings)
    return _serve(arguments.server, config, settings, ready)


def _directory(arguments: Namespace) -> str:
    """Return the configuration directory without reading the configuration: a broken one must not keep a daemon from ending."""
    if arguments.config_dir:
        return str(arguments.config_dir)
    return str(Path(arguments.config_file).parent) if arguments.config_file else "."


def _nothing() -> None:
    pass


def _serve(server: str, config: Config, settings: ServerSettings, ready: Callable[[], None]) -> int:
    # Only now: --stop-daemon and a configuration that is refused need no web server.
    from pulsar.web.server import (
        Application,
        has_built_in,
        load_application,
        serve_built_in,
        serve_by_gunicorn,
        serve_by_paste_deploy,
    )

    for sentence in settings.warnings:
        log.warning("%s", sentence)
    print(f"Starting Pulsar on {settings.address}", flush=True)

    def load() -> Application:
        return load_application(config.ini_path)

    if server == "paste" and settings.use != _PASTE:
        return serve_by_paste_deploy(load, settings, config.ini_path, _PASTE, ready)
    if server == "paste" or (server == "default" and settings.names_another_server):
        return serve_by_paste_deploy(load, settings, config.ini_path, None, ready)
    if server == "gunicorn" or settings.names_gunicorn or not has_built_in():
        return serve_by_gunicorn(load, settings, config.web_workers, config.web_threads, ready)
    return serve_built_in(load, settings, config.web_threads, ready)


if __name__ == "__main__":
    sys.exit(main())
