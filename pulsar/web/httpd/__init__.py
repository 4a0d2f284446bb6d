"""The built-in web server: HTTP/1.1 for WSGI applications that move files, on Linux.

Scheduling and connections are ours (:mod:`~pulsar.web.httpd.server`), reading HTTP is the work of llhttp, by httptools
(:mod:`~pulsar.web.httpd.head`). Why: ``docs/adr/0001-default-server.md``.
"""

from __future__ import annotations

import os
import select

from pulsar.web.httpd.server import Server, server_context, server_factory

__all__ = ["Server", "is_supported", "server_context", "server_factory"]


def is_supported() -> bool:
    """Whether this system has what the server stands on."""
    return hasattr(select, "epoll") and hasattr(os, "eventfd")
