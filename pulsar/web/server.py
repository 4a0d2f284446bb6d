"""Serving the node's WSGI application: by the built-in server, by gunicorn, or by any server that PasteDeploy can load.

The one module that imports gunicorn and PasteDeploy's loaders. The servers are given every limit that the protocol needs lifted:
a request line holds a whole job description (specification 1.1).
"""

from __future__ import annotations

import configparser
import errno
import logging
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar
from urllib.parse import quote

from pulsar.config.files import read_ini
from pulsar.config.server import ServerSettings
from pulsar.errors import ConfigError
from pulsar.web import httpd
from pulsar.web.wsgi import app_factory, start_nodes

__all__ = [
    "Application",
    "has_built_in",
    "load_application",
    "serve_built_in",
    "serve_by_gunicorn",
    "serve_by_paste_deploy",
]

log = logging.getLogger(__name__)

Application = Callable[..., Any]
Result = TypeVar("Result")

#: Seconds after which a worker that gives no sign of life is replaced. Sending and receiving a large file is life.
_TIMEOUT_S = 300
#: Seconds that requests under way have to end when the node is stopped.
_GRACE_S = 30
#: Seconds that a server before this one has to leave the address.
_ADDRESS_S = 5.0
#: Longer than the pause of a client that polls, so that its connection is still there.
_KEEP_ALIVE_S = 75
#: Bytes that gunicorn is asked to read at a time.
_GUNICORN_BLOCK = 256 * 1024


def load_application(ini_path: str | None, app: str = "main") -> Application:
    """Return the WSGI application: what ``[app:main]`` of the ini makes, filters and all, or the plain one without an ini."""
    if ini_path is None or not _has_app(ini_path, app):
        global_conf = {} if ini_path is None else {"__file__": ini_path, "here": str(Path(ini_path).absolute().parent)}
        return app_factory(global_conf)
    from paste.deploy import loadapp

    try:
        application: Application = loadapp(_config_uri(ini_path), name=app)
    except (configparser.Error, LookupError) as exc:
        raise ConfigError(f"{ini_path}: [app:{app}] cannot be loaded: {' '.join(str(exc).split())}; correct the section") from exc
    return application


def _config_uri(ini_path: str | None) -> str:
    return "config:" + quote(str(ini_path))


def _has_app(ini_path: str, app: str) -> bool:
    ini = read_ini(Path(ini_path))
    return any(f"{kind}:{app}" in ini for kind in ("app", "application", "composite", "composit", "pipeline", "filter-app"))


# -- the built-in server --------------------------------------------------------------------------------------------------


def has_built_in() -> bool:
    """Whether the built-in server runs on this system. Where it does not, gunicorn takes its place."""
    return httpd.is_supported()


def serve_built_in(load: Callable[[], Application], settings: ServerSettings, threads: int, ready: Callable[[], None]) -> int:
    """Serve until SIGTERM or SIGINT, in this process, with ``threads`` threads at most; call ``ready`` once it answers."""
    # First the configuration, whose mistakes are the administrator's concern, then the address.
    application = load()
    tls = None if settings.ssl_pem is None else _tls(settings.ssl_pem)

    def listen() -> httpd.Server:
        return httpd.Server(
            application,
            settings.host,
            settings.port,
            tls=tls,
            max_threads=threads,
            keep_alive_s=_KEEP_ALIVE_S,
            io_timeout_s=_TIMEOUT_S,
            grace_s=_GRACE_S,
        )

    server = _once_the_address_is_free(settings, listen)
    start_nodes()
    server.serve_forever(ready)
    return 0


def _tls(pem: str) -> ssl.SSLContext:
    try:
        return httpd.server_context(pem)
    except (OSError, ValueError) as exc:
        raise ConfigError(f"ssl_pem {pem} cannot be used: {exc}; it holds a private key and its certificate") from exc


# -- gunicorn -------------------------------------------------------------------------------------------------------------


def serve_by_gunicorn(
    load: Callable[[], Application], settings: ServerSettings, workers: int, threads: int, ready: Callable[[], None]
) -> int:
    """Serve until SIGTERM or SIGINT, with ``workers`` processes of ``threads`` threads; call ``ready`` once the port is open."""
    try:
        from gunicorn.app.base import BaseApplication
        from gunicorn.glogging import Logger
    except ImportError as exc:
        reason = "" if has_built_in() else "the built-in server runs on Linux only, and "
        raise ConfigError(f"{reason}gunicorn is not installed; install it with: pip install 'pulsar-node[gunicorn]'") from exc

    class NodeLogger(Logger):  # type: ignore[misc,unused-ignore]
        """gunicorn's log lines go where the node's go; requests are not logged, for their addresses hold the token."""

        def setup(self, cfg: Any) -> None:
            super().setup(cfg)
            self.error_log.handlers.clear()
            self.error_log.propagate = True

    options: dict[str, Any] = {
        "bind": [settings.address],
        "worker_class": "gthread",
        "workers": workers,
        "threads": threads,
        # Connections that are kept between requests count as well; without room for them none would be kept.
        "worker_connections": threads + 1000,
        "timeout": _TIMEOUT_S,
        "graceful_timeout": _GRACE_S,
        "keepalive": _KEEP_ALIVE_S,
        "limit_request_line": 0,
        # gunicorn's other parser, which it takes by itself when gunicorn_h1c is installed, ends a line at 1 MB all the same.
        "http_parser": "python",
        "limit_request_field_size": 0,
        # The configuration is read and its errors are shown before any process is forked; the node starts in each worker.
        "preload_app": True,
        # Its commands are gunicorn's own, and its socket would be shared by all nodes of a user.
        "control_socket_disable": True,
        "proc_name": "pulsar",
        "logger_class": NodeLogger,
        "when_ready": lambda _server: ready(),
        "post_worker_init": lambda _worker: start_nodes(),
        "pre_request": _read_large_blocks,
    }
    if settings.ssl_pem is not None:
        options |= {"certfile": settings.ssl_pem, "keyfile": settings.ssl_pem}

    class Server(BaseApplication):  # type: ignore[misc,unused-ignore]
        """gunicorn, set up by these options alone: no file, no command line, no environment."""

        def load_config(self) -> None:
            for name, value in options.items():
                if name in self.cfg.settings:
                    self.cfg.set(name, value)

        def load(self) -> Application:
            return load()

    _once_the_address_is_free(settings, lambda: _try_address(settings.host, settings.port))
    Server().run()
    return 0


def _read_large_blocks(_worker: Any, request: Any) -> None:
    """Have gunicorn read bodies in larger blocks than its 8 KiB, where its reader can be told to."""
    unreader: Any = getattr(request, "unreader", None)
    if unreader is not None and hasattr(unreader, "mxchunk"):
        unreader.mxchunk = _GUNICORN_BLOCK


def _once_the_address_is_free(settings: ServerSettings, listen: Callable[[], Result]) -> Result:
    """Return what ``listen`` returns; a server that was stopped just now may still be leaving the address."""
    deadline = time.monotonic() + _ADDRESS_S
    while True:
        try:
            return listen()
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                reason = exc.strerror or str(exc)
                raise ConfigError(f"cannot listen at {settings.address}: {reason}; correct host and port in server.ini") from exc
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"{settings.address} is in use by another program; end that, or choose another port in server.ini"
                ) from exc
        time.sleep(0.1)


def _try_address(host: str, port: int) -> None:
    """Raise :class:`OSError` when nobody can listen there."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


# -- PasteDeploy ----------------------------------------------------------------------------------------------------------


def serve_by_paste_deploy(
    load: Callable[[], Application], settings: ServerSettings, ini_path: str | None, use: str | None, ready: Callable[[], None]
) -> int:
    """Serve by the server that ``[server:main]`` of the ini names, or by ``use`` where that is given, until it is told to end."""
    from paste.deploy.loadwsgi import SERVER, loadcontext

    if settings.ssl_pem is not None and (use or settings.use or "").startswith("egg:Paste"):
        raise ConfigError(
            "Paste's server speaks no TLS that clients of today accept; serve by the default server, or by a proxy in front, or "
            "remove ssl_pem from server.ini"
        )
    try:
        if use is None:
            context = loadcontext(SERVER, _config_uri(ini_path), name="main")
        else:
            context = loadcontext(SERVER, use)
            context.local_conf.update({"host": settings.host, "port": str(settings.port), **settings.options})
    except (LookupError, ImportError) as exc:
        name = use or settings.use
        raise ConfigError(
            f"the server {name} cannot be loaded: {exc}; install its package (for Paste: pip install Paste), or serve by another"
        ) from exc
    if settings.ssl_pem is None:
        context.local_conf.pop("ssl_pem", None)
    else:
        context.local_conf["ssl_pem"] = settings.ssl_pem
    run = context.create()
    application = load()
    start_nodes()
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _leave)
    ready()
    try:
        run(application)
    except (SystemExit, KeyboardInterrupt):
        log.info("told to end")
    signal.setitimer(signal.ITIMER_REAL, 0)
    return 0


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Leave the server's loop; again and again, because some servers swallow any exception while they answer a request."""
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    sys.exit(0)
