"""Flags that several commands share (specification 11), and how a command ends on an error of the administrator's."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from pulsar.config import Config, load_config
from pulsar.errors import ConfigError

__all__ = ["add_config_arguments", "add_daemon_arguments", "load_from_arguments", "reporting"]


def add_config_arguments(parser: ArgumentParser) -> None:
    """Add the flags that say where the configuration is."""
    parser.add_argument("-c", "--config_dir", "--config-dir", metavar="DIR", help="directory with server.ini and app.yml")
    parser.add_argument(
        "--ini_path", "--ini-path", metavar="FILE", help="server.ini to read (default: in the configuration directory)"
    )
    parser.add_argument(
        "--app_conf_path", "--app-conf-path", metavar="FILE", help="app.yml to read; no server.ini is needed then"
    )
    parser.add_argument(
        "--app_conf_base64", "--app-conf-base64", metavar="BASE64", help="the whole configuration: base64 of a JSON object"
    )
    parser.add_argument("--app", default="main", metavar="NAME", help="read [app:NAME] of server.ini (default: main)")


def add_daemon_arguments(parser: ArgumentParser) -> None:
    """Add the flags of a command that can run in the background."""
    parser.add_argument("-d", "--daemonize", "--daemon", dest="daemon", action="store_true", help="run in the background")
    parser.add_argument("--stop-daemon", action="store_true", help="stop the daemon and wait until it has ended")
    parser.add_argument("--pid-file", "--pid", dest="pid", metavar="FILE", help="pid file (default: pulsar.pid)")
    parser.add_argument(
        "--daemon-log-file",
        "--log-file",
        dest="log_file",
        metavar="FILE",
        help="log of the daemon, appended to (default: pulsar.log)",
    )


def load_from_arguments(arguments: Namespace) -> Config:
    """Return the configuration that the flags of :func:`add_config_arguments` name."""
    return load_config(
        config_dir=arguments.config_dir,
        ini_path=arguments.ini_path,
        app_conf_path=arguments.app_conf_path,
        app_conf_base64=arguments.app_conf_base64,
        app=arguments.app,
    )


def daemon_file(given: str | None, config_dir: str, name: str) -> Path:
    """Return the path of a daemon's file: the one given, from the current directory, else ``name`` beside the configuration."""
    return Path(given).absolute() if given else Path(config_dir, name)


def reporting(command: str, run: Callable[[], int]) -> int:
    """Run a command and return its exit status; a :class:`ConfigError` becomes one line on standard error and 1."""
    try:
        return run()
    except ConfigError as exc:
        print(f"{command}: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
