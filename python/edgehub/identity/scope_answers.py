"""What a child edge device gets to know of the device scope (heads spec 3.3, H-011 to H-015).

A child asks for itself and for what is below it, never for anything beside or above: the chain it presents
has to be a piece of a chain that this hub's own cache knows.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Protocol

from edgehub.common.ids import IdentityId
from edgehub.errors import EdgehubError
from edgehub.identity.refresher import ScopeApiError
from edgehub.identity.scope_wire import encode_item, encode_scope_page, join_scope_page
from edgehub.protocol.authchain import AuthChainError, parse_chain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgehub.identity.model import ServiceIdentity
    from edgehub.identity.scope import ScopeCache

REFRESH_WAIT_S: Final = 20.0
"""Longest wait for the parent hub's word on an identity that is known; then what is known is answered."""
LOOKUP_WAIT_S: Final = 80.0
"""Longest wait for an identity that is not known, a refresh of the whole scope included. With the wait
before it, for the edge device that asks, it is the 100 s of the spec; a child gives up after 120 s."""
IDENTITIES_PER_SLICE: Final = 200
"""Identities that are written before other work of the loop gets its turn."""


class OutsideSubtreeError(EdgehubError):
    """An edge device asks for something that is not below it."""


class ScopeUnknownError(EdgehubError):
    """An identity is not known here, and the parent hub cannot be asked."""


class FreshScope(Protocol):
    """Brings the scope cache up to date."""

    async def refresh_now(self, identity_id: IdentityId) -> None:
        """Asks for one identity, whenever that was done last.

        :raises ScopeApiError: no answer.
        """
        ...

    async def refresh_one(self, identity_id: IdentityId) -> None:
        """Asks for one identity, unless that was done a short while ago. Never raises for a failed call."""
        ...

    async def refresh_all(self) -> None:
        """Asks for everything, unless that was done a short while ago. Never raises for a failed call."""
        ...


class ScopeAnswers:
    """Answers authenticated child edge devices.

    `actor` is the edge device that asks, `chain_text` the chain it presents.
    """

    def __init__(self, cache: ScopeCache, refresher: FreshScope) -> None:
        self._cache = cache
        self._refresher = refresher

    async def listing(self, actor: str, chain_text: str) -> bytes:
        """An edge device, its modules, and what is directly below it, as the cache knows them.

        :raises AuthChainError: the chain cannot be read, or begins with a module (H-013).
        :raises OutsideSubtreeError: the first device of the chain is not below the actor (H-012).
        """
        chain = parse_chain(chain_text)
        if chain.target_module is not None:
            raise AuthChainError("the auth chain has to begin with a device")
        target = IdentityId(chain.target_device)
        await self._learn(target)
        self._check(target, chain.devices, actor)
        return await _encode_in_slices(self._cache.scope_of(target))

    async def lookup(self, actor: str, target: IdentityId, chain_text: str) -> bytes:
        """One identity as the parent hub knows it now, a module with its device (H-014).

        :param chain_text: begins with the edge device that wants to know.
        :raises AuthChainError: the chain cannot be read.
        :raises OutsideSubtreeError: the target, or who wants to know, is not below the actor.
        :raises ScopeUnknownError: the target is not known, and the parent hub gives no answer.
        """
        chain = parse_chain(chain_text)
        asking = IdentityId(chain.target_device)
        await self._learn(asking)
        # Before the parent hub is asked: that is done for devices below alone.
        self._check(asking, chain.devices, actor)
        await self._refresh(target)
        self._check(target, chain.devices, actor)
        wanted = dict.fromkeys((target.device, target))
        return encode_scope_page([item for item in map(self._cache.get, wanted) if item is not None])

    async def way_to(self, device: IdentityId, chain_text: str | None, actor: str) -> tuple[str, ...]:
        """The whole chain from a device up to this edge device, for a call on its behalf.

        :param chain_text: None: the device speaks for itself.
        :raises AuthChainError: the chain cannot be read, or is for another identity.
        :raises OutsideSubtreeError: the device is not below the actor.
        """
        claimed: tuple[str, ...] = (actor,)
        if chain_text is not None:
            chain = parse_chain(chain_text)
            if not chain.is_for(device.device_id, None):
                raise AuthChainError(f"the auth chain {chain} does not begin with {device}")
            claimed = chain.devices
        await self._learn(device)
        return self._check(device, claimed, actor, direct=chain_text is None)

    def _check(
        self, target: IdentityId, claimed: Sequence[str], actor: str, *, direct: bool = False
    ) -> tuple[str, ...]:
        """Our chain from the target's device up to this edge device, once it leads over the claimed one.

        :param direct: the actor speaks for itself, so it need not be an edge device.
        :raises OutsideSubtreeError: it does not.
        """
        if not direct and not self._cache.is_edge(actor):
            raise OutsideSubtreeError(f"{actor} is not an edge device")
        if claimed[-1] != actor:
            raise OutsideSubtreeError(f"the auth chain ends with {claimed[-1]}, not with {actor}")
        known = self._cache.chain_to(target.device)
        if known is None or self._cache.get(target) is None or not _holds(known, claimed):
            raise OutsideSubtreeError(f"{target} is not known to be below {';'.join(claimed)}")
        disabled = self._cache.disabled_on(known[1:])
        if disabled is not None:
            raise OutsideSubtreeError(f"{disabled} above {target} is disabled")
        return known

    async def _learn(self, device: IdentityId) -> None:
        """Asks for a device that is not known, once in a while (heads spec 4.6)."""
        if self._cache.chain_to(device) is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_WAIT_S):
                    await self._refresher.refresh_one(device)

    async def _refresh(self, target: IdentityId) -> None:
        """Asks the parent hub for an identity; one that it does not answer for is good as it is known.

        :raises ScopeUnknownError: nothing is known of it either.
        """
        known = self._cache.get(target) is not None
        try:
            async with asyncio.timeout(REFRESH_WAIT_S if known else LOOKUP_WAIT_S):
                await self._refresher.refresh_now(target)
                if self._cache.get(target) is None:
                    await self._refresher.refresh_all()
        except (ScopeApiError, TimeoutError) as error:
            if self._cache.get(target) is None:
                text = str(error) or "no answer in time"
                raise ScopeUnknownError(
                    f"{target} is not known, and the parent hub cannot be asked: {text}"
                ) from None


async def _encode_in_slices(identities: Sequence[ServiceIdentity]) -> bytes:
    """An answer with all of them, which may be thousands."""
    items: list[tuple[ServiceIdentity, bytes]] = []
    for start in range(0, len(identities), IDENTITIES_PER_SLICE):
        part = identities[start : start + IDENTITIES_PER_SLICE]
        items += ((identity, encode_item(identity)) for identity in part)
        await asyncio.sleep(0)
    return join_scope_page(items)


def _holds(known: Sequence[str], claimed: Sequence[str]) -> bool:
    """Whether the claimed devices stand in the known chain, each directly below the next."""
    if claimed[0] not in known:
        return False
    start = known.index(claimed[0])
    return tuple(known[start : start + len(claimed)]) == tuple(claimed)
