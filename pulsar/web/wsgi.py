"""The node as a WSGI application that servers load: PasteDeploy's ``app_factory``, which uWSGI and Paste know too.

A node that is loaded has no threads yet, because a server may fork after loading. It starts in the process that serves: told by
the server (uWSGI by its hook, our own commands by :func:`start_nodes`), at the latest with the first request.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

from pulsar.config.load import load_config
from pulsar.core import PulsarApp
from pulsar.web.app import WebApp

__all__ = ["NodeApplication", "app_factory", "start_nodes"]

log = logging.getLogger(__name__)

#: Seconds that the parts of a node have to end when its process ends.
_SHUTDOWN_S = 5.0

_nodes: list[NodeApplication] = []


def app_factory(global_conf: dict[str, Any], **local_conf: Any) -> NodeApplication:
    """Return the node that ``[app:...]`` of a ``server.ini`` describes; ``global_conf["__file__"]`` is that file.

    Raises :class:`~pulsar.errors.ConfigError` for what cannot work.
    """
    config = load_config(ini_path=global_conf.get("__file__"), local_conf=local_conf or None)
    for warning in config.warnings:
        log.warning("%s", warning)
    node = NodeApplication(PulsarApp.from_config(config))
    _nodes.append(node)
    _start_with_uwsgi(node)
    return node


def start_nodes() -> None:
    """Start the nodes that were loaded: this process is one that serves."""
    for node in _nodes:
        node.start()


class NodeApplication:
    """A node and its REST API."""

    def __init__(self, app: PulsarApp) -> None:
        self.app = app
        config = app.config
        self._web = WebApp(
            app.service,
            config.private_token,
            app.health,
            healthz_public=config.healthz_public,
            max_upload_bytes=config.max_upload_bytes,
            file_cache=app.file_cache,
            reads_never_wait=app.reads_never_wait,
        )
        self._started_in: int | None = None
        self._starting = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request, having started the node in this process."""
        if self._started_in != os.getpid():
            self.start()
        return self._web(environ, start_response)

    def is_quick(self, environ: dict[str, Any]) -> bool:
        """Whether a request may be answered by a thread that others wait for; not before the node has started here."""
        return self._started_in == os.getpid() and self._web.is_quick(environ)

    def start(self) -> None:
        """Start the node in this process; repeatable. It is shut down when the process ends."""
        with self._starting:
            if self._started_in == os.getpid():
                return
            self.app.start()
            self._started_in = os.getpid()
            atexit.register(self.app.shutdown, _SHUTDOWN_S)


def _start_with_uwsgi(node: NodeApplication) -> None:
    """Under uWSGI, start in each worker as soon as it is forked, or now when this is a worker already (``lazy-apps``)."""
    with contextlib.suppress(ImportError):
        import uwsgi  # exists inside of uWSGI only

        if uwsgi.worker_id() > 0:
            node.start()
            return
        before = getattr(uwsgi, "post_fork_hook", None)

        def after_fork() -> None:
            if before is not None:
                before()
            node.start()

        uwsgi.post_fork_hook = after_fork
