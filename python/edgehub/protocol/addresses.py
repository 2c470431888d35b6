"""AMQP link addresses of IoT Hub and edgeHub: which node an attach asks for (table 2.4 of the protocol
heads).

Addresses come as `amqps://host/devices/...` or as a path with or without a leading slash; literals match in
any case (`deviceBound`, `devicebound`), ids are percent-decoded once and keep their case.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from edgehub.errors import EdgehubError

ADDRESS_CHARS_MAX: Final = 2048


class AddressError(EdgehubError):
    """An address that names no node of ours."""


class Node(enum.Enum):
    """What an address leads to."""

    CBS = "$cbs"
    EVENTS = "messages/events"
    DEVICE_BOUND = "messages/deviceBound"
    METHODS = "methods/deviceBound"
    TWIN = "twin"
    SERVICE_SEND = "/messages/devicebound"
    SERVICE_FEEDBACK = "/messages/servicebound/feedback"


SERVICE_NODES: Final = (Node.SERVICE_SEND, Node.SERVICE_FEEDBACK)
"""Nodes of the hub itself, for its services (iothub spec 2.5)."""

_NODES: Final = {
    ("messages", "events"): Node.EVENTS,
    ("messages", "devicebound"): Node.DEVICE_BOUND,
    ("methods", "devicebound"): Node.METHODS,
    ("twin",): Node.TWIN,
}


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """A parsed address; ids are empty for `$cbs` and the nodes of services."""

    node: Node
    device_id: str = ""
    module_id: str | None = None


def parse_address(address: str | None) -> LinkAddress:
    """Reads the hub-side terminus of an attach.

    :raises AddressError: empty, too long, or not one of the nodes.
    """
    if not address or len(address) > ADDRESS_CHARS_MAX:
        raise AddressError("the link has no address" if not address else "the address is too long")
    path = _path(address)
    for node in SERVICE_NODES:
        if f"/{path.lower()}" == node.value:
            return LinkAddress(node)
    segments = path.split("/")
    if len(segments) == 1 and segments[0].lower() == "$cbs":
        return LinkAddress(Node.CBS)
    if len(segments) < 3 or segments[0].lower() != "devices":
        raise AddressError(f"no node at address {address!r}")
    device_id, rest = unquote(segments[1]), segments[2:]
    module_id = None
    if len(rest) > 2 and rest[0].lower() == "modules":
        module_id, rest = unquote(rest[1]), rest[2:]
    found = _NODES.get(tuple(segment.lower() for segment in rest))
    if found is None or not device_id or module_id == "":
        raise AddressError(f"no node at address {address!r}")
    return LinkAddress(found, device_id, module_id)


def _path(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    if separator and scheme.lower() in ("amqp", "amqps"):
        _host, _, path = rest.partition("/")
        address = path
    return address.strip("/")


def node_address(node: Node, device_id: str, module_id: str | None = None) -> str:
    """Path of a node, ids percent-encoded."""
    path = f"/devices/{quote(device_id, safe='')}"
    if module_id is not None:
        path += f"/modules/{quote(module_id, safe='')}"
    return f"{path}/{node.value}"


def split_identity(identity: str) -> tuple[str, str | None]:
    """`device` or `device/module` as a pair.

    :raises AddressError: empty parts or more than one slash.
    """
    device_id, separator, module_id = identity.partition("/")
    if not device_id or (separator and not module_id) or "/" in module_id:
        raise AddressError(f"{identity!r} is not 'device' or 'device/module'")
    return device_id, module_id if separator else None


def join_identity(device_id: str, module_id: str | None) -> str:
    """`device` or `device/module`."""
    return device_id if module_id is None else f"{device_id}/{module_id}"
