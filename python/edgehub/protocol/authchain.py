"""The auth chain: who acts for whom in nested and on-behalf-of connections (hub section 1.7.3, heads section
4.6).

Text: ids separated by `;`, a module as `device/module`. First the target (whose messages these are), last the
edge device whose `$edgeHub` module holds the credentials: `leaf/mod;leaf;edge1;edge2`. The text only claims;
whether each id really is the child of the next is for the registry or the scope cache to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgehub.errors import EdgehubError
from edgehub.protocol.addresses import AddressError, join_identity, split_identity

CHAIN_CHARS_MAX: Final = 4096
CHAIN_IDS_MAX: Final = 8
"""Module, leaf and five nested edges are seven; one to spare."""
EDGE_HUB_MODULE: Final = "$edgeHub"


class AuthChainError(EdgehubError):
    """A chain that cannot be read."""


@dataclass(frozen=True, slots=True)
class AuthChain:
    """A parsed chain.

    :ivar target_device: device of the first id.
    :ivar target_module: module of the first id, or None.
    :ivar devices: device ids from the target's device to the actor; consecutive ones differ.
    """

    target_device: str
    target_module: str | None
    devices: tuple[str, ...]

    @property
    def actor(self) -> str:
        """Edge device that authenticates."""
        return self.devices[-1]

    def is_for(self, device_id: str, module_id: str | None) -> bool:
        """Whether the chain's target is this identity (a chain lent to another identity is refused,
        DEV-2)."""
        return self.target_device == device_id and self.target_module == module_id

    def extended(self, parent: str) -> AuthChain:
        """The chain as the next edge up presents it."""
        return AuthChain(self.target_device, self.target_module, (*self.devices, parent))

    def __str__(self) -> str:
        head = [] if self.target_module is None else [join_identity(self.target_device, self.target_module)]
        return ";".join((*head, *self.devices))


def parse_chain(text: str) -> AuthChain:
    """Reads a chain.

    :raises AuthChainError: empty, too long, a module anywhere but first, or a module not followed by its
        device.
    """
    if len(text) > CHAIN_CHARS_MAX:
        raise AuthChainError(f"the auth chain has more than {CHAIN_CHARS_MAX} characters")
    ids = text.split(";")
    if ids and ids[-1] == "":
        ids.pop()  # a trailing separator is harmless
    if not ids or len(ids) > CHAIN_IDS_MAX:
        raise AuthChainError(f"an auth chain has 1 to {CHAIN_IDS_MAX} ids")
    try:
        parsed = [split_identity(identity) for identity in ids]
    except AddressError as error:
        raise AuthChainError(f"auth chain: {error}") from None
    target_device, target_module = parsed[0]
    devices = parsed if target_module is None else parsed[1:]
    if any(module is not None for _, module in devices):
        raise AuthChainError("only the first id of an auth chain may be a module")
    if not devices or devices[0][0] != target_device:
        raise AuthChainError("a module in an auth chain is followed by its own device")
    names = tuple(device for device, _ in devices)
    if len(set(names)) != len(names):
        raise AuthChainError("an auth chain names a device twice")
    return AuthChain(target_device, target_module, names)


def direct_chain(edge_device: str, device_id: str, module_id: str | None) -> AuthChain:
    """Chain of a client that is connected directly to this edge device."""
    devices = (edge_device,) if device_id == edge_device else (device_id, edge_device)
    return AuthChain(device_id, module_id, devices)
