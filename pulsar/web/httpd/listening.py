"""The sockets a server listens at: every address that the host's name has here."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct

__all__ = ["listen_at"]

_BACKLOG = 1024
#: Why an address of a name may be left out when another works: this machine does not have it. That one is *in use* is a reason to
#: give up, because half of the clients would find another server there.
_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})


def listen_at(host: str, port: int, timeout_s: float) -> list[socket.socket]:
    """Return sockets that listen at each address of ``host``, on one port, which is a free one when ``port`` is 0.

    Connections inherit that their reads and writes wait ``timeout_s`` at most. Raises :class:`OSError`.
    """
    found = dict.fromkeys(
        (family, address)
        for family, _, _, _, address in socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        if family in (socket.AF_INET, socket.AF_INET6)
    )
    both_families = len({family for family, _ in found}) > 1
    sockets: list[socket.socket] = []
    failed: OSError | None = None
    with contextlib.ExitStack() as stack:
        for family, address in found:
            try:
                sock = _socket(family, (address[0], port, *address[2:]), timeout_s, only_ipv6=both_families)
            except OSError as exc:
                if exc.errno not in _NOT_HERE:
                    raise
                failed = exc
                continue
            stack.callback(sock.close)
            sockets.append(sock)
            port = sock.getsockname()[1]
        if not sockets:
            raise failed or OSError(errno.EADDRNOTAVAIL, "no address to listen at")
        stack.pop_all()
    return sockets


def _socket(family: int, address: tuple[object, ...], timeout_s: float, *, only_ipv6: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and only_ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Accepted sockets inherit these. With the kernel's time-outs no poll() is needed around each recv and send.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        limit = struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1e6))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        sock.bind(address)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock
