"""``pulsar-main``: a node without a web server, an engine alone (specification 11, mode webless)."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from pulsar.cli.arguments import add_config_arguments, add_daemon_arguments, daemon_file, load_from_arguments, reporting
from pulsar.cli.daemon import PidFile, become_daemon, stop_daemon
from pulsar.cli.logs import configure_logging
from pulsar.config import Config
from pulsar.config.server import load_server_settings
from pulsar.core import PulsarApp

__all__ = ["load_app_configuration", "main"]

log = logging.getLogger(__name__)

#: Seconds that the parts of the node have to end.
_SHUTDOWN_S = 30.0


def load_app_configuration(arguments: Namespace) -> Config:
    """Return the configuration that the flags of ``pulsar-main`` name."""
    return load_from_arguments(arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the engine until SIGTERM or SIGINT; return the exit status."""
    return reporting("pulsar-main", lambda: _run(_parser().parse_args(argv)))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="pulsar-main", description="Run a Pulsar node without a web server.")
    add_config_arguments(parser)
    add_daemon_arguments(parser)
    return parser


def _run(arguments: Namespace) -> int:
    if arguments.stop_daemon:
        return stop_daemon(daemon_file(arguments.pid, arguments.config_dir or ".", "pulsar.pid"))
    config = load_app_configuration(arguments)
    ready = None
    if arguments.daemon:
        pid_file = PidFile(daemon_file(arguments.pid, config.config_dir, "pulsar.pid"))
        ready = become_daemon(pid_file, daemon_file(arguments.log_file, config.config_dir, "pulsar.log"))
    configure_logging(config, load_server_settings(config.ini_path))
    for sentence in config.warnings:
        log.warning("%s", sentence)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())
    app = PulsarApp.from_config(config)
    app.start()
    if ready is not None:
        ready()
    log.info("the node runs without a web server; its configuration directory is %s", config.config_dir)
    stopping.wait()
    log.info("told to end")
    app.shutdown(_SHUTDOWN_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
