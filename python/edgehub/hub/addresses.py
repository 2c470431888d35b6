"""Addresses to listen on."""

from __future__ import annotations

import socket


def any_host() -> str:
    """The address that means all of them: IPv6 together with IPv4 where the system has both."""
    if not socket.has_dualstack_ipv6():
        return "0.0.0.0"
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        # A system can know IPv6 and yet have it switched off.
        return "0.0.0.0"
    return "::"
