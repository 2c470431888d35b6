"""Tokens that were put on one connection, and what they let its links do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iothub.auth import Principal, actor_key

if TYPE_CHECKING:
    from edgehub.protocol.authchain import AuthChain
    from iothub.policies import Permission

TokenKey = tuple[str, ...]


def token_key(principal: Principal) -> TokenKey:
    """A later token with the same key replaces the former."""
    if principal.policy is not None:
        return ("policy", principal.policy.name, *principal.scope)
    return ("identity", str(principal.device_id), principal.module_id or "")


def plain_name_fits(user: str, principal: Principal, hub_name: str) -> bool:
    """Whether a user name of SASL PLAIN is that of its token (row 42)."""
    name, _, hub = user.rpartition("@")
    hub = hub.lower().removeprefix("sas.")
    if principal.policy is not None:
        return name == principal.policy.name and hub.removeprefix("root.") == hub_name
    module = f"/modules/{principal.module_id}" if principal.module_id else ""
    return name == f"{principal.device_id}{module}" and hub == hub_name


@dataclass
class TokenRing:
    """The tokens of a connection by whom they speak for.

    :ivar size_max: how many are taken.
    """

    size_max: int
    _tokens: dict[TokenKey, Principal] = field(default_factory=dict)

    def put(self, principal: Principal) -> bool:
        """Keeps a token or replaces the one for the same principal; False when there is no room."""
        key = token_key(principal)
        if key not in self._tokens and len(self._tokens) >= self.size_max:
            return False
        self._tokens[key] = principal
        return True

    def remove(self, key: TokenKey) -> None:
        """Forgets a token."""
        self._tokens.pop(key, None)

    def for_identity(self, device_id: str, module_id: str | None) -> TokenKey | None:
        """Token that speaks for an identity: its own, its device's, or a policy's."""
        own = ("identity", device_id, module_id or "")
        if own in self._tokens:
            return own
        device = ("identity", device_id, "")
        # A certificate is for the one identity that it names.
        if device in self._tokens and self._tokens[device].certificate is None:
            return device
        for key, principal in self._tokens.items():
            if key[0] == "policy" and principal.speaks_for(device_id, module_id):
                return key
        return None

    def for_permission(self, permission: Permission) -> TokenKey | None:
        """Token of a policy that grants this."""
        return next((key for key, principal in self._tokens.items() if principal.may(permission)), None)

    def for_chain(self, chain: AuthChain) -> TokenKey | None:
        """Token of the acting edge hub."""
        device_id, module_id = actor_key(chain)
        key = ("identity", device_id, module_id)
        if key in self._tokens:
            return key
        device = ("identity", device_id, "")
        return device if device in self._tokens else None

    def get(self, key: TokenKey) -> Principal | None:
        """The token's principal."""
        return self._tokens.get(key)

    def expired(self, now: float) -> list[TokenKey]:
        """Tokens whose time, skew included, is over at Unix time `now`."""
        return [key for key, principal in self._tokens.items() if principal.expires_at < now]

    def next_expiry(self) -> float | None:
        """Unix time at which the first token ends."""
        return min((principal.expires_at for principal in self._tokens.values()), default=None)

    def of_device(self, device_id: str) -> list[tuple[TokenKey, Principal]]:
        """Tokens of a device and its modules."""
        return [
            (key, principal) for key, principal in self._tokens.items() if principal.device_id == device_id
        ]
