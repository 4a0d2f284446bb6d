"""A client's connection: its socket, and what was read from it ahead of time."""

from __future__ import annotations

import socket
import ssl
from typing import Any

__all__ = ["Connection", "Refused"]


class Refused(ValueError):
    """A request that cannot be understood: it is answered with ``status``, and the connection ends.

    The words of the error may be logged; they hold nothing that the client sent.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Connection:
    """A socket and ``buffer[start:]``, the bytes that nobody has looked at; ``buffer[:searched]`` holds no end of a head.

    It belongs either to the leader, which watches it, or to the one thread that serves it.
    """

    __slots__ = ("buffer", "deadline", "descriptor", "is_secure", "left_to_drain", "needs_handshake", "peer", "searched", "sock",
                 "start", "watched")  # fmt: skip

    def __init__(self, sock: socket.socket, peer: Any, is_secure: bool) -> None:
        self.sock = sock
        self.descriptor = sock.fileno()
        #: Address and port. A client that came by IPv4 to a socket of both families has its IPv4 address.
        self.peer = (str(peer[0]).removeprefix("::ffff:"), int(peer[1]))
        self.is_secure = self.needs_handshake = is_secure
        self.buffer: bytes | bytearray = b""
        self.start = self.searched = 0
        #: When the leader loses its patience, by the monotonic clock.
        self.deadline = 0.0
        self.watched = False
        #: Not 0: everything was said; so many bytes more are read away for the client to come to our answer.
        self.left_to_drain = 0

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self.sock.fileno() < 0

    @property
    def has_bytes(self) -> bool:
        """Whether something was read ahead."""
        return self.start < len(self.buffer)

    # -- reading ------------------------------------------------------------------------------------------------------

    def receive_now(self, size: int) -> bytes | None:
        """Return what is there, ``b""`` at the end, None when nothing is there yet. Never waits.

        A secure connection must be in its :meth:`hurry`.
        """
        try:
            if self.is_secure:
                return self.sock.recv(size)
            return self.sock.recv(size, socket.MSG_DONTWAIT)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError:
            return b""

    def append(self, data: bytes) -> None:
        """Put ``data`` behind what was read ahead."""
        if self.start >= len(self.buffer):
            self.buffer, self.start, self.searched = data, 0, 0
            return
        if isinstance(self.buffer, bytes) or self.start:
            self.buffer = bytearray(self.buffer[self.start :])
            self.searched = max(0, self.searched - self.start)
            self.start = 0
        self.buffer += data

    def take_bytes(self, most: int | None = None) -> bytes:
        """Return what was read ahead, at most so much of it."""
        end = len(self.buffer) if most is None else self.start + most
        data = bytes(self.buffer[self.start : end])
        self.start += len(data)
        return data

    def receive(self, size: int) -> bytes:
        """Return ``size`` bytes from the socket, fewer only at the end, at a time-out, or over TLS. Waits for them.

        The kernel waits for the whole block and writes it into the object that is returned: nothing is copied twice.
        """
        if self.is_secure:
            return self.sock.recv(size)
        return self.sock.recv(size, socket.MSG_WAITALL)

    def receive_into(self, buffer: memoryview) -> int:
        """Fill ``buffer`` as :meth:`receive` does; return how many bytes came."""
        if self.is_secure:
            return self.sock.recv_into(buffer)
        return self.sock.recv_into(buffer, len(buffer), socket.MSG_WAITALL)

    # -- writing ------------------------------------------------------------------------------------------------------

    def send(self, data: bytes | memoryview, *, more: bool = False) -> None:
        """Send all of it. ``more`` follows at once, so the kernel need not hurry with a small packet."""
        if more and not self.is_secure:
            self.sock.sendall(data, socket.MSG_MORE)
        else:
            self.sock.sendall(data)

    def send_now(self, data: bytes) -> int:
        """Send what can be sent without waiting; return how many bytes those were."""
        try:
            return self.sock.send(data, 0 if self.is_secure else socket.MSG_DONTWAIT)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    # -- TLS ----------------------------------------------------------------------------------------------------------

    def shake_hands(self, tls: ssl.SSLContext, timeout_s: float) -> None:
        """Become secure. Waits for the client."""
        self.sock.settimeout(timeout_s)
        self.sock = tls.wrap_socket(self.sock, server_side=True)
        self.needs_handshake = False

    def hurry(self) -> None:
        """From now on reads return at once; of a plain connection each call says itself whether it waits."""
        if self.is_secure:
            self.sock.settimeout(0)

    def take_time(self, timeout_s: float) -> None:
        """From now on reads and writes wait; a plain connection has the kernel's time-outs."""
        if self.is_secure:
            self.sock.settimeout(timeout_s)

    @property
    def has_decrypted(self) -> bool:
        """Whether OpenSSL holds bytes that the kernel, and so epoll, does not know of."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0
