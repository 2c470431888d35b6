"""Opening a listening socket, with errors that say what to do."""

from __future__ import annotations

import errno
import socket

BACKLOG = 200
"""Connections that wait in the kernel to be accepted."""


def listen_on(host: str, port: int) -> socket.socket:
    """A listening socket. Without a host one for IPv6 and IPv4 where the system has both, so that port 0
    gives a single number.

    :raises OSError: the address is in use, not ours, or not allowed.
    """
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
            )
        except OSError as error:
            # A system can know IPv6 and yet have it switched off.
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
    return socket.create_server(("", port), backlog=BACKLOG)
