"""Signing with the hub's own key, which is either in the connection string or behind the workload API."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edgehub.identity.workload import WorkloadClient


class OwnKey(Protocol):
    """Makes HMAC-SHA256 signatures under the key of `$edgeHub`."""

    async def sign(self, data: bytes) -> bytes:
        """The signature of `data`.

        :raises EdgehubError: the key cannot be reached.
        """
        ...


class LocalKey:
    """A key from the connection string."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    async def sign(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, "sha256")


class WorkloadKey:
    """A key that never leaves the agent."""

    def __init__(self, client: WorkloadClient) -> None:
        self._client = client

    async def sign(self, data: bytes) -> bytes:
        return await self._client.sign(data)
