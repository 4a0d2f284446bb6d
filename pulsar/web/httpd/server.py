"""The loop of the built-in server: who reads, who answers, and how long anybody waits.

Leader and followers. One thread at a time, the leader, waits in epoll, accepts, reads request heads, and answers at once what
the application calls quick. When a request needs time, the leader gives the lead to another thread and serves the request
itself with blocking reads and writes; then it hands the connection back to epoll and queues up as a follower. So

* a quick answer costs no change of thread,
* a slow upload costs one sleeping thread, at most ``max_threads``; beyond that requests wait, but quick ones never do,
* a connection that is idle, or sends its head slowly, costs a file descriptor, and an idle server no CPU.

A connection belongs either to the leader, who watches it in epoll, or to the one thread that serves it, never to both.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import signal
import socket
import ssl
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from pulsar.web.httpd.answer import Answer, Application, FileWrapper, failure
from pulsar.web.httpd.connection import Connection, Refused
from pulsar.web.httpd.head import Environ, Request, take_request
from pulsar.web.httpd.listening import listen_at

__all__ = ["Server"]

log = logging.getLogger(__name__)

#: The client went away or was silent for too long: nobody's mistake, and nobody is left to be told.
_UNHEARD = (ConnectionError, TimeoutError, BlockingIOError, ssl.SSLError)
_TOO_MANY_OPEN = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_HANDSHAKE_S = 30.0
#: How long, and how many bytes, a client that was told off may go on sending before the connection is cut.
_LINGER_S = 5.0
_LINGER_BYTES = 16 << 20
#: A follower beyond the spare ones that had nothing to do for so long ends.
_IDLE_THREAD_S = 30.0
#: How often the leader looks for connections that have waited too long.
_SWEEP_S = 1.0

#: A connection, and its request unless the handshake comes first.
_Task = tuple[Connection, Request | None]


class Server:
    """Serves a WSGI application: ``Server(app, "localhost", 8913).serve_forever()``.

    ``app.is_quick(environ) -> bool``, if the application has it, says that this request is answered from memory or by a few
    indexed reads: it then runs in the leader, and all other connections wait for it. Only requests without a body are asked
    about.

    The addresses are open when the constructor returns; it raises :class:`OSError` when they cannot be. Threads are made by
    :meth:`start`, so a server may be built before a fork.
    """

    def __init__(
        self,
        app: Application,
        host: str = "localhost",
        port: int = 8913,
        *,
        tls: ssl.SSLContext | None = None,
        max_threads: int = 1000,
        spare_threads: int = 4,
        max_head: int = 16 << 20,
        keep_alive_s: float = 75.0,
        io_timeout_s: float = 300.0,
        grace_s: float = 30.0,
    ) -> None:
        self._app = app
        self._is_quick: Callable[[Environ], bool] = getattr(app, "is_quick", _never)
        self._tls = tls
        self._max_threads = max_threads
        self._spare_threads = spare_threads
        self._max_head = max_head
        self._keep_alive_s = keep_alive_s
        self._io_timeout_s = io_timeout_s
        self._grace_s = grace_s
        sockets = listen_at(host, port, io_timeout_s)
        self._listeners = {sock.fileno(): sock for sock in sockets}
        #: Host and port of each address that it listens at.
        self.addresses: list[tuple[str, int]] = [sock.getsockname()[:2] for sock in sockets]
        self._base: Environ = {
            "wsgi.version": (1, 0),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.url_scheme": "https" if tls else "http",
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
            "SCRIPT_NAME": "",
            "SERVER_SOFTWARE": "pulsar-node",
            "SERVER_NAME": host or self.addresses[0][0],
            "SERVER_PORT": str(self.port),
        }
        self._lead = threading.Lock()
        self._count = threading.Lock()  # guards the four names below
        self._threads = self._followers = self._busy = 0
        self._waiting: deque[_Task] = deque()
        self._watched: dict[int, Connection] = {}
        self._ready: deque[int] = deque()  # events that nobody has looked at; the leader's
        self._accepts = True
        self._swept_at = 0.0
        self._stopping = False

    @property
    def port(self) -> int:
        """The port, which all addresses have in common."""
        return self.addresses[0][1]

    @property
    def url(self) -> str:
        """Where it answers, for the log."""
        host = self.addresses[0][0]
        return f"{self._base['wsgi.url_scheme']}://{f'[{host}]' if ':' in host else host}:{self.port}"

    # -- start and stop -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to serve, in threads. Returns at once."""
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        for descriptor in (*self._listeners, self._wake):
            self._epoll.register(descriptor, select.EPOLLIN)
        self._add_thread()

    def serve_forever(self, ready: Callable[[], None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT comes; for the main thread. ``ready`` is called once requests are answered."""
        # The interpreter itself writes the number of a signal here, at once and whichever thread the signal has reached.
        told, teller = socket.socketpair()
        teller.setblocking(False)
        signal.set_wakeup_fd(teller.fileno(), warn_on_full_buffer=False)
        for number in _ENDING_SIGNALS:
            signal.signal(number, lambda _number, _frame: None)
        self.start()
        log.info("Listening at: %s", self.url)
        if ready is not None:
            ready()
        while told.recv(1)[0] not in _ENDING_SIGNALS:
            pass
        log.info("told to end")
        self.stop()
        signal.set_wakeup_fd(-1)
        told.close()
        teller.close()

    def stop(self) -> None:
        """Take no new requests, close idle connections, and give the requests under way ``grace_s`` seconds to end."""
        self._stopping = True
        os.eventfd_write(self._wake, 1)  # never read: each thread that comes to the lead sees it, and ends
        for sock in self._listeners.values():
            sock.close()
        end = time.monotonic() + self._grace_s
        while (self._busy or self._waiting) and time.monotonic() < end:
            time.sleep(0.02)

    def _is_stopping(self) -> bool:
        return self._stopping

    # -- threads ------------------------------------------------------------------------------------------------------

    def _add_thread(self) -> bool:
        with self._count:
            if self._threads >= self._max_threads:
                return False
            self._threads += 1
            self._followers += 1
        try:
            threading.Thread(target=self._work, name="pulsar-web", daemon=True).start()
        except RuntimeError:  # the system's limit comes before ours
            with self._count:
                self._threads -= 1
                self._followers -= 1
            return False
        return True

    def _work(self) -> None:
        """Follow, lead, serve; over and over."""
        while not self._stopping:
            is_spare = self._followers > self._spare_threads
            if not self._lead.acquire(timeout=_IDLE_THREAD_S if is_spare else -1):
                with self._count:
                    if self._followers > self._spare_threads:
                        self._followers -= 1
                        self._threads -= 1
                        return
                continue
            with self._count:
                self._followers -= 1
            task: _Task | None = None
            try:
                task = self._next_task()
            except Exception:
                log.exception("the web server stumbled")
            finally:
                self._lead.release()
            while task is not None:
                self._serve(*task)
                with self._count:
                    self._busy -= 1
                    task = self._waiting.popleft() if self._waiting else None
                    if task is not None:
                        self._busy += 1
            with self._count:
                self._followers += 1

    # -- the leader ---------------------------------------------------------------------------------------------------

    def _next_task(self) -> _Task | None:
        """Answer quick requests until something comes that needs a thread of its own; None when the server stops."""
        while True:
            while not self._ready:
                self._ready.extend([descriptor for descriptor, _ in self._epoll.poll(self._patience())])
                self._sweep()
                if self._stopping:
                    return None
            descriptor = self._ready.popleft()
            if descriptor in self._listeners:
                connection = self._accept(self._listeners[descriptor])
            else:
                connection = self._watched.get(descriptor)
            if connection is None:
                continue
            request = None
            if not connection.needs_handshake:
                request = self._receive(connection)
                while request is not None and self._answers_at_once(request):
                    request = self._answer_at_once(connection, request)
                if request is None:
                    continue
            elif not connection.watched:  # it may be long before the client begins
                self._watch(connection, _HANDSHAKE_S)
                continue
            if connection.watched:
                self._unwatch(connection)
            if not self._followers and not self._add_thread():
                with self._count:
                    # Looked at again under the lock: the thread that becomes free takes what waits under the same lock.
                    if not self._followers:
                        self._waiting.append((connection, request))
                        continue
            with self._count:
                self._busy += 1
            return connection, request

    def _patience(self) -> float | None:
        """Return for how long nothing has to be looked after. A connection that is served may come back to be watched."""
        return _SWEEP_S if self._watched or self._busy or self._waiting or not self._accepts else None

    def _accept(self, listener: socket.socket) -> Connection | None:
        try:
            sock, peer = listener.accept()
        except OSError as exc:
            if exc.errno in _TOO_MANY_OPEN:
                log.warning("the web server cannot accept: %s", exc.strerror)
                self._pause_accepting()
            return None
        return Connection(sock, peer, self._tls is not None)

    def _pause_accepting(self) -> None:
        """Leave clients in the kernel's queue until the next sweep, rather than ask for them over and over."""
        for descriptor in self._listeners:
            self._epoll.unregister(descriptor)
        self._accepts = False

    def _sweep(self) -> None:
        """Close connections that have waited for too long, all of them when the server stops."""
        now = time.monotonic()
        if now - self._swept_at < _SWEEP_S and not self._stopping:
            return
        self._swept_at = now
        for connection in list(self._watched.values()):
            if connection.deadline < now or self._stopping:
                self._close(connection)
        if not self._accepts and not self._stopping:
            for descriptor in self._listeners:
                self._epoll.register(descriptor, select.EPOLLIN)
            self._accepts = True

    def _answers_at_once(self, request: Request) -> bool:
        return request.body is None and request.unsent is None and self._is_quick(request.environ)

    def _answer_at_once(self, connection: Connection, request: Request) -> Request | None:
        """Run the application here and now. Return what is to be served next: a pipelined request, or the rest of this one."""
        connection_ends = False
        try:
            data = Answer(self._app, connection, request, self._is_stopping).whole()
        except Exception:
            log.exception("error in %s", request.environ["PATH_INFO"])
            data, request.keep = failure(500), False
        try:
            sent = connection.send_now(data)
        except OSError:
            connection_ends, sent = True, len(data)
        if sent < len(data):
            request.unsent = memoryview(data)[sent:]
            return request
        if connection_ends or not request.keep or self._stopping:
            self._close(connection)
            return None
        return self._following(connection)

    # -- any thread ---------------------------------------------------------------------------------------------------

    def _watch(self, connection: Connection, patience_s: float) -> None:
        """Give the connection to the leader."""
        connection.deadline = time.monotonic() + patience_s
        if connection.watched:
            return
        connection.watched = True
        self._watched[connection.descriptor] = connection
        try:
            self._epoll.register(connection.descriptor, select.EPOLLIN)
        except (OSError, ValueError):  # the server stops and has closed it
            self._close(connection)
        if self._stopping:  # maybe nobody leads any more who would close it
            self._close(connection)

    def _unwatch(self, connection: Connection) -> None:
        connection.watched = False
        del self._watched[connection.descriptor]
        self._epoll.unregister(connection.descriptor)

    def _close(self, connection: Connection) -> None:
        if connection.watched:
            connection.watched = False
            self._watched.pop(connection.descriptor, None)
        connection.sock.close()  # and so out of epoll

    def _linger(self, connection: Connection) -> None:
        """End the connection so that a client which is still sending reads our answer before the reset reaches it."""
        connection.left_to_drain = _LINGER_BYTES
        connection.hurry()
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)
            return
        self._watch(connection, _LINGER_S)

    def _receive(self, connection: Connection) -> Request | None:
        """Read what is there. Return a request when its head is complete; else the connection is watched, or closed."""
        is_fresh = not connection.has_bytes
        data = connection.receive_now(1 << 16 if is_fresh else 1 << 20)
        if data is None:
            if not connection.watched:
                self._watch(connection, self._keep_alive_s if is_fresh else self._io_timeout_s)
            return None
        if connection.left_to_drain:
            connection.left_to_drain = max(0, connection.left_to_drain - len(data))
            if not data or not connection.left_to_drain:
                self._close(connection)
            return None
        if not data:
            self._close(connection)
            return None
        connection.append(data)
        request = self._take(connection)
        if request is None and not connection.is_closed and not connection.left_to_drain:
            if connection.has_decrypted:
                return self._receive(connection)
            if is_fresh or not connection.watched:
                self._watch(connection, self._io_timeout_s)
        return request

    def _take(self, connection: Connection) -> Request | None:
        """Return the next request that was read ahead. One that is refused is answered here."""
        try:
            request = take_request(connection, self._base)
            if request is None and len(connection.buffer) - connection.start > self._max_head:
                raise Refused(431, "the head of the request is too long")
        except Refused as exc:
            log.info("refused a request of %s: %s", connection.peer[0], exc)
            with contextlib.suppress(OSError):
                connection.send_now(failure(exc.status))
            self._linger(connection)
            return None
        return request

    def _following(self, connection: Connection) -> Request | None:
        """Return the request that came in the same breath as the last one; else the connection is watched, or closed."""
        if connection.has_bytes:
            request = self._take(connection)
            if request is not None or connection.is_closed or connection.left_to_drain:
                return request
        if connection.has_decrypted:
            return self._receive(connection)
        if not connection.watched or not connection.has_bytes:
            self._watch(connection, self._io_timeout_s if connection.has_bytes else self._keep_alive_s)
        return None

    def _serve(self, connection: Connection, request: Request | None) -> None:
        """Answer this request and those which came in the same breath; then the connection is the leader's again, or closed."""
        try:
            if request is None:
                assert self._tls is not None
                connection.shake_hands(self._tls, _HANDSHAKE_S)
                connection.hurry()
                request = self._receive(connection)
            while request is not None:
                connection.take_time(self._io_timeout_s)
                if not self._respond(connection, request):
                    return
                connection.hurry()
                request = self._following(connection)
        except _UNHEARD as exc:
            log.debug("%s went away: %s", connection.peer[0], exc)
            self._close(connection)
        except Exception:
            log.exception("connection of %s", connection.peer[0])
            self._close(connection)

    def _respond(self, connection: Connection, request: Request) -> bool:
        """Answer one request; return whether the connection can be used again. If not, it is closed or about to be."""
        if request.unsent is not None:
            connection.send(request.unsent)
        else:
            self._run(connection, request)
        body = request.body
        if body is not None and not (request.keep and body.drain()) and not body.is_complete:
            self._linger(connection)
            return False
        if body is not None and body.took_too_much:
            self._linger(connection)
            return False
        if not request.keep or self._stopping:
            self._close(connection)
            return False
        return True

    def _run(self, connection: Connection, request: Request) -> None:
        answer = Answer(self._app, connection, request, self._is_stopping)
        try:
            answer.stream()
        except _UNHEARD:
            raise
        except Exception as exc:
            status = 500
            if isinstance(exc, Refused):
                log.info("refused a body of %s: %s", connection.peer[0], exc)
                status = exc.status
            else:
                log.exception("error in %s", request.environ["PATH_INFO"])
            request.keep = False
            if not answer.begun:
                connection.send(failure(status))


def _never(_environ: Environ) -> bool:
    return False


def server_context(pem: str) -> ssl.SSLContext:
    """Return what is needed to speak TLS with the certificate and key in the file ``pem``."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem)
    return tls


def server_factory(_global_conf: dict[str, Any], **local_conf: str) -> Callable[[Application], None]:
    """``[server:main] use = egg:pulsar-node#main`` of a PasteDeploy file; keys: ``host port ssl_pem max_threads``."""
    pem = local_conf.get("ssl_pem")

    def serve(app: Application) -> None:
        Server(
            app,
            local_conf.get("host", "localhost"),
            int(local_conf.get("port", 8913)),
            tls=server_context(pem) if pem else None,
            max_threads=int(local_conf.get("max_threads", 1000)),
        ).serve_forever()

    return serve
