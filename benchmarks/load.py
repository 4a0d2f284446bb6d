"""The load generator: one prepared request over any number of connections, for a time, as fast as the server answers.

It is a process of its own, one thread around ``epoll``, that does little more per request than a send and a receive. It can
make some 50,000 requests a second over kept connections and 10,000 over new ones on the machine of ``RESULTS.md``; where a server
comes near that, the figure is a lower bound.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from dataclasses import dataclass, field

from benchmarks.wire import HOST, ProtocolError, body_of_head, find_head

__all__ = ["LoadResult", "LoadSpec", "generate_load"]

_BLOCK = 64 * 1024
#: Without any answer for so long, a server is taken for dead.
_PATIENCE_S = 20.0
_WRITABLE_ERRORS = (errno.EAGAIN, errno.ENOTCONN, errno.EINPROGRESS)


@dataclass(frozen=True)
class LoadSpec:
    """What is to be done. ``request`` is complete and says ``Connection: close`` itself unless ``keep_alive``."""

    port: int
    request: bytes
    connections: int
    keep_alive: bool
    seconds: float
    #: Before that, without being counted.
    warm_up_s: float = 0.3


@dataclass(frozen=True)
class LoadResult:
    """Answers in the measured time. ``latencies_ms`` are the median and the 99th percentile."""

    answers: int
    seconds: float
    latencies_ms: tuple[float, float]

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds


@dataclass
class _Slot:
    """One of the connections, or what follows it when the server closes it."""

    sock: socket.socket
    sent_at: float = 0.0
    data: bytearray = field(default_factory=bytearray)
    #: Whether the request could not be sent yet.
    is_waiting: bool = False
    is_fresh: bool = True


class _Generator:
    def __init__(self, spec: LoadSpec) -> None:
        self._spec = spec
        self._poll = select.epoll()
        self._slots: dict[int, _Slot] = {}
        self._latencies: list[float] = []

    def run(self) -> LoadResult:
        for _ in range(self._spec.connections):
            self._open()
        try:
            self._work_until(time.perf_counter() + self._spec.warm_up_s)
            self._latencies.clear()
            began = time.perf_counter()
            self._work_until(began + self._spec.seconds)
            seconds = time.perf_counter() - began
        finally:
            for slot in self._slots.values():
                slot.sock.close()
            self._poll.close()
        found = sorted(self._latencies)
        if not found:
            raise ProtocolError("no answer at all in the measured time")
        middle, late = found[len(found) // 2], found[len(found) * 99 // 100]
        return LoadResult(len(found), seconds, (middle * 1000, late * 1000))

    def _work_until(self, end: float) -> None:
        poll, slots, receive = self._poll.poll, self._slots, self._receive
        quiet_until = time.perf_counter() + _PATIENCE_S
        while (now := time.perf_counter()) < end:
            events = poll(0.2)
            if events:
                quiet_until = now + _PATIENCE_S
            elif now > quiet_until:
                raise ProtocolError(f"no answer for {_PATIENCE_S:g} s")
            for descriptor, _ in events:
                slot = slots[descriptor]
                if slot.is_waiting:
                    self._send(slot)
                else:
                    receive(slot)

    def _open(self) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        slot = _Slot(sock, sent_at=time.perf_counter())
        self._slots[sock.fileno()] = slot
        problem = sock.connect_ex((HOST, self._spec.port))
        if problem not in (0, errno.EINPROGRESS):
            raise ProtocolError(f"cannot connect: {errno.errorcode[problem]}")
        self._poll.register(sock.fileno(), select.EPOLLIN)
        self._send(slot)

    def _send(self, slot: _Slot) -> None:
        try:
            slot.sock.send(self._spec.request)  # short: it goes as a whole or not at all
        except OSError as exc:
            if exc.errno not in _WRITABLE_ERRORS:
                raise
            slot.is_waiting = True
            self._poll.modify(slot.sock.fileno(), select.EPOLLOUT)
            return
        if slot.is_waiting:
            slot.is_waiting = False
            self._poll.modify(slot.sock.fileno(), select.EPOLLIN)

    def _receive(self, slot: _Slot) -> None:
        try:
            block = slot.sock.recv(_BLOCK)
        except BlockingIOError:
            return
        except ConnectionResetError:
            block = b""
        slot.data += block
        done, closes = _is_complete(slot.data, ended=not block)
        if not block and not done:
            # A kept connection may be closed by the server between two answers, at any time.
            if slot.data or slot.is_fresh:
                raise ProtocolError(f"the connection was closed after {bytes(slot.data[:200])!r}")
            self._replace(slot)
            return
        if not done:
            return
        now = time.perf_counter()
        self._latencies.append(now - slot.sent_at)
        if closes or not self._spec.keep_alive or not block:
            self._replace(slot)
            return
        slot.data.clear()
        slot.is_fresh = False
        slot.sent_at = now
        try:
            self._send(slot)
        except OSError:
            self._replace(slot)

    def _replace(self, slot: _Slot) -> None:
        del self._slots[slot.sock.fileno()]
        slot.sock.close()
        self._open()


def _is_complete(data: bytearray, *, ended: bool) -> tuple[bool, bool]:
    """Return whether an answer is there as a whole, and whether its connection ends with it; raise for any status but 200."""
    start = find_head(data)
    if start < 0:
        return False, False
    end = body_of_head(bytes(data[: start - 4]))
    if end.status != 200:
        raise ProtocolError(f"status {end.status}: {bytes(data[:300])!r}")
    if end.length is not None:
        return len(data) - start >= end.length, end.closes
    if end.is_chunked:
        return data.endswith(b"0\r\n\r\n"), end.closes
    return ended, True


def generate_load(spec: LoadSpec) -> LoadResult:
    """Do what ``spec`` says in this process."""
    return _Generator(spec).run()
