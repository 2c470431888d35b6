"""Addresses of the demo. Every server has a loopback address of its own, so that each can have the port its
clients insist on: the device SDKs know no other MQTT port than 8883."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
from typing import Final

from edgehub.demo.errors import PortError

MQTT_PORT: Final = 8883
AMQPS_PORT: Final = 5671
HTTPS_PORT: Final = 443
HUB_HOSTS: Final = tuple(f"127.0.0.{last}" for last in range(2, 250, 10))
"""Tried in this order until one has a free MQTT port."""


FREE_PORTS: Final = range(20_000, 32_000)
FREE_PORT_TRIES: Final = 50


def free_port(host: str) -> int:
    """A port that nobody listens on, below those that the kernel gives to outgoing connections: one of these
    could take it before its server does.

    :raises PortError: the address is not one of this machine.
    """
    for port in random.sample(FREE_PORTS, FREE_PORT_TRIES):
        with contextlib.suppress(PortError):
            return _bound_port(host, port)
    return _bound_port(host, 0)


def check_port(host: str, port: int) -> None:
    """Makes sure that a port can be listened on.

    :raises PortError: it cannot; the text says why.
    """
    _bound_port(host, port)


def port_or_free(host: str, port: int) -> int:
    """The port if it can be listened on, else any free one.

    :raises PortError: the address is not one of this machine.
    """
    try:
        return _bound_port(host, port)
    except PortError:
        return free_port(host)


def claim(host: str, port: int) -> socket.socket:
    """Keeps an address for one stack until the socket is closed, or its process ends. Other stacks pass the
    address over, from before the hub listens there and while it is restarted.

    :returns: a socket in Linux's abstract namespace, where a name is free again with its owner's end.
    :raises PortError: another stack has it.
    """
    owner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        owner.bind(f"\0edgehub-demo {host}:{port}")
    except OSError:
        owner.close()
        raise PortError(f"{host}:{port} is taken by another demo") from None
    return owner


def claim_hub_host(port: int = MQTT_PORT) -> tuple[str, socket.socket]:
    """The first of `HUB_HOSTS` whose port is free, and the claim to it; see `claim`.

    :raises PortError: none is, which means that another program listens on all addresses.
    """
    for host in HUB_HOSTS:
        try:
            check_port(host, port)
            return host, claim(host, port)
        except PortError:
            continue
    raise PortError(
        f"port {port} is taken on {HUB_HOSTS[0]} and {len(HUB_HOSTS) - 1} more loopback addresses, and the"
        " device SDK knows no other; stop the program that listens there"
        f" (`ss -ltnp 'sport = :{port}'` shows it)"
    )


def _bound_port(host: str, port: int) -> int:
    try:
        # As the servers do: a port whose last connections are still closing can be listened on.
        with socket.create_server((host, port)) as listener:
            bound: int = listener.getsockname()[1]
            return bound
    except OSError as error:
        raise PortError(f"cannot listen on {host}:{port}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens there"
    if error.errno == errno.EACCES:
        return "ports below 1024 need root, or net.ipv4.ip_unprivileged_port_start=0"
    return error.strerror or str(error)
