"""The hub's registry over HTTPS, as the device itself (agent spec 7.7); a parent edge hub speaks the same."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from edgeagent.identity.errors import RegistryRefusedError, RegistryUnreachableError
from edgeagent.identity.model import (
    MANAGED_BY,
    ModuleIdentity,
    identity_json,
    read_identities,
    read_identity,
    read_json,
)
from edgeagent.link.tokens import Signer, make_token
from edgeagent.link.topics import error_text

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

API_VERSION: Final = "2017-11-08-preview"
TOKEN_LIFE_S: Final = 30
CALL_S: Final = 70.0
"""For one call; a nested hub asks its own parent meanwhile."""
TRIES: Final = 2
"""`cloud_retries` is 1."""
CONNECTIONS_MAX: Final = 8
IDLE_S: Final = 10.0
"""Calls come in bursts, with days between them."""
ANSWER_BYTES_MAX: Final = 1024 * 1024
"""Modules of one device: there are 50 at most."""
_PASSING: Final = frozenset({408, 429, *range(500, 600)})
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How to reach the registry, and as whom.

    :ivar host: the hub, or the parent edge device when nested.
    :ivar hub_hostname: host name of the hub, in tokens.
    :ivar tls: of :func:`~edgeagent.link.tls.upstream_context`.
    :ivar proxy: `http://[user:password@]host:port`, empty for none.
    """

    host: str
    hub_hostname: str
    device_id: str
    tls: ssl.SSLContext = field(repr=False)
    port: int = 443
    product_info: str = "EdgeAgent"
    proxy: str = field(default="", repr=False)
    call_s: float = CALL_S


class HubRegistry:
    """Calls for the modules of this device. Close it at the end, or use it as a context.

    :param sign: HMAC-SHA256 under the key of the device.
    :param wall: Unix time in seconds.
    """

    def __init__(
        self, settings: RegistrySettings, sign: Signer, wall: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._sign = sign
        self._wall = wall
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _fault: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def modules(self) -> list[ModuleIdentity]:
        """All identities of this device.

        :raises IdentityError: here as below: unreachable, refused, or no answer that can be read.
        """
        _, body = await self._call("list the modules", "GET")
        return read_identities(body)

    async def module(self, module_id: str) -> ModuleIdentity | None:
        """One identity, None when there is none."""
        status, body = await self._call(f"read {module_id}", "GET", module_id, allowed=_NOT_FOUND)
        return None if status == _NOT_FOUND else read_identity(read_json(body))

    async def create(self, module_id: str) -> ModuleIdentity:
        """Makes an identity, with keys of the hub's choice. One that is there already will do: the answer to
        an earlier try may have been lost."""
        sent = identity_json(self._settings.device_id, module_id, MANAGED_BY)
        try:
            _, body = await self._call(f"create {module_id}", "PUT", module_id, sent)
        except RegistryRefusedError as fault:
            found = await self.module(module_id) if fault.status == _CONFLICT else None
            if found is None:
                raise
            return found
        return read_identity(read_json(body))

    async def set_keys(self, identity: ModuleIdentity, keys: tuple[str, str]) -> ModuleIdentity:
        """Gives an identity other keys."""
        name = identity.module_id
        sent = identity_json(self._settings.device_id, name, identity.managed_by, keys)
        _, body = await self._call(f"set the keys of {name}", "PUT", name, sent, if_match="*")
        return read_identity(read_json(body))

    async def delete(self, module_id: str) -> None:
        """Takes an identity away; it may be gone already."""
        await self._call(f"delete {module_id}", "DELETE", module_id, if_match="*", allowed=_NOT_FOUND)

    async def _call(
        self,
        what: str,
        method: str,
        module_id: str | None = None,
        body: bytes | None = None,
        *,
        if_match: str | None = None,
        allowed: int | None = None,
    ) -> tuple[int, bytes]:
        """Status and body of an answer that is good, or `allowed`; once more if there was none."""
        for left in reversed(range(TRIES)):
            try:
                status, answer = await self._try(what, method, module_id, body, if_match)
            except RegistryUnreachableError as fault:
                if not left:
                    raise
                log.debug("Once more: %s", fault)
                continue
            if 200 <= status < 300 or status == allowed:
                return status, answer
            raise RegistryRefusedError(what, status, error_text(answer))
        raise AssertionError

    async def _try(
        self, what: str, method: str, module_id: str | None, body: bytes | None, if_match: str | None
    ) -> tuple[int, bytes]:
        settings = self._settings
        try:
            async with asyncio.timeout(settings.call_s):
                status, answer = await self._request(method, module_id, body, if_match)
        except TimeoutError:
            text = f"no answer within {settings.call_s:.0f} s"
            raise RegistryUnreachableError(f"cannot {what}: {text}") from None
        except (aiohttp.ClientError, OSError) as fault:
            text = str(fault) or type(fault).__name__
            raise RegistryUnreachableError(f"cannot {what}: {settings.host}: {text}") from None
        if status in _PASSING:
            raise RegistryUnreachableError(f"cannot {what}: the hub answered with {status}")
        return status, answer

    async def _request(
        self, method: str, module_id: str | None, body: bytes | None, if_match: str | None
    ) -> tuple[int, bytes]:
        settings = self._settings
        audience = f"{settings.hub_hostname}/devices/{settings.device_id}"
        headers = {
            "Authorization": await make_token(audience, int(self._wall()) + TOKEN_LIFE_S, self._sign),
            "User-Agent": settings.product_info,
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        if if_match is not None:
            headers["If-Match"] = if_match
        async with self._opened().request(
            method,
            self._url(module_id),
            data=body,
            headers=headers,
            ssl=settings.tls,
            proxy=settings.proxy or None,
            allow_redirects=False,
        ) as answer:
            return answer.status, await _bounded(answer)

    def _url(self, module_id: str | None) -> URL:
        settings = self._settings
        path = f"/devices/{quote(settings.device_id, safe='')}/modules"
        if module_id is not None:
            path += f"/{quote(module_id, safe='')}"
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        return URL(f"https://{host}:{settings.port}{path}?api-version={API_VERSION}", encoded=True)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=IDLE_S)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
    return bytes(content)
