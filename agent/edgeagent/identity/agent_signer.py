"""Signs the tokens of `$edgeAgent`, whose keys the hub may have to be told first (row O09)."""

from __future__ import annotations

import base64
import hmac
import logging
from typing import TYPE_CHECKING

from edgeagent.identity.model import AGENT_ID, DeriveKeys, ModuleIdentity

if TYPE_CHECKING:
    from edgeagent.identity.manager import IdentityManager

log = logging.getLogger(__name__)


class AgentSigner:
    """A signer for the link (:data:`~edgeagent.link.tokens.Signer`).

    Where the generation id of `$edgeAgent` is not known, or the hub has refused its keys, the hub is asked
    and told before the next signature.
    """

    def __init__(self, manager: IdentityManager, derive_keys: DeriveKeys) -> None:
        self._manager = manager
        self._derive_keys = derive_keys
        self._refused = False

    async def sign(self, data: bytes) -> bytes:
        """HMAC-SHA256 under the primary key.

        :raises AgentError: there is no key, or the hub cannot be asked.
        """
        identity = await self._identity()
        primary, _ = await self._derive_keys(AGENT_ID, identity.generation_id)
        return hmac.digest(base64.b64decode(primary), data, "sha256")

    async def _identity(self) -> ModuleIdentity:
        known = self._manager.known.by_id.get(AGENT_ID)
        if known is None or self._refused:
            known = await self._manager.provision_agent()
            self._refused = False
        return known

    def link_refused(self) -> None:
        """The hub does not take our keys: perhaps the device was made anew there."""
        log.info("The hub is asked for the identity of the agent again")
        self._refused = True
