"""The device scope over HTTPS: who may connect to this edge device (hub section 1.7).

Nested calls first; a parent that does not know them (404, 405 or 400 for the version) is asked the flat way
from then on. Answers are handed over as the JSON they came as; reading identities out of them is the cache's
business.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from yarl import URL

from edgehub.errors import EdgehubError
from edgehub.protocol.authchain import EDGE_HUB_MODULE
from edgehub.protocol.child_requests import NESTED_VERSION
from edgehub.upstream.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edgehub.common.json_types import Json

log = logging.getLogger(__name__)

FLAT_VERSION: Final = "2018-08-30-preview"
PAGE_SIZE: Final = 10
PAGES_MAX: Final = 10_000
"""Pages of one listing; a parent that never ends is cut off with an error."""
ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
"""A parent edge hub gives the whole scope of an edge device at once: some 80,000 identities."""
RETRIES: Final = 2
RETRY_MIN_S: Final = 1.0
RETRY_MAX_S: Final = 10.0
RETRY_DELTA_S: Final = 4.0
OPERATION_S: Final = 120.0
NEVER_RETRIED: Final = frozenset((400, 401, 403, 404, 405, 406))
_UNKNOWN_ROUTE: Final = frozenset((404, 405))
_OWN_TOKEN_REFUSED: Final = ("ErrorCode:IotHubUnauthorized;", "Unable to authenticate device with Id ")
"""How a hub, and a parent edge hub, begin to say that a token is no good."""

T = TypeVar("T")


class ScopeError(UpstreamError):
    """No usable answer: what is cached stays in force."""


class NotInScope(ScopeError):
    """401 or 403, and not for our own token: the identity is not below this device."""


class NoSuchIdentity(ScopeError):
    """400 or 404: the identity does not exist (any more)."""


class _Status(ScopeError):
    """An HTTP status that is an error.

    :ivar status: as it came.
    :ivar known_route: whether the body is that of the hub's error, so that the route itself exists.
    :ivar about_us: whether it is our own token that is refused.
    """

    def __init__(self, message: str, status: int, *, known_route: bool, about_us: bool) -> None:
        super().__init__(message)
        self.status = status
        self.known_route = known_route
        self.about_us = about_us


class AuthorizationProvider(Protocol):
    """Gives the value of the Authorization header; `TokenProvider` fits."""

    async def get(self) -> Json:
        """An object with `text`."""
        ...


class _Link(msgspec.Struct, rename="camel"):
    continuation_link: str | None = None


@dataclass(frozen=True, slots=True)
class ScopeSettings:
    """Where to ask.

    :ivar base_url: `https://host[:port]` of the parent.
    :ivar device_id: this edge device.
    :ivar nested: begin with the nested calls (NestedEdgeEnabled).
    """

    base_url: str
    device_id: str
    tokens: AuthorizationProvider
    product_info: str = "EdgeHub"
    nested: bool = True
    page_size: int = PAGE_SIZE


class ScopeClient:
    """Calls of the scope API. Close it when done.

    :param session: made by the caller with the right TLS context.
    :param sleep: for tests.
    """

    def __init__(
        self,
        settings: ScopeSettings,
        session: aiohttp.ClientSession,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random_source: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._session = session
        self._sleep = sleep
        self._random = random_source
        self._nested = settings.nested
        self._base = edge_hub_path(settings.device_id)

    @property
    def nested(self) -> bool:
        """Whether the parent is asked the nested way."""
        return self._nested

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def listing(self, target_device: str, auth_chain: str) -> list[bytes]:
        """All pages for one edge device: itself and what is directly below.

        :param auth_chain: from the target to this device; just this device for itself.
        :raises ScopeError: also `NotInScope` and `NoSuchIdentity`.
        """

        def nested() -> Awaitable[list[bytes]]:
            return self._pages(lambda link: self._nested_page(auth_chain, link))

        if target_device != self._settings.device_id:
            if not self._nested:
                raise ScopeError("the parent hub does not know nested edge devices")
            return await self._final(nested())
        return await self._final(self._either(nested, lambda: self._pages(self._flat_page)))

    async def identity(self, device_id: str, module_id: str | None, auth_chain: str) -> bytes:
        """One identity; a module comes with its device.

        :raises ScopeError: also `NotInScope` and `NoSuchIdentity`.
        """
        body: dict[str, Any] = {"targetDeviceId": device_id, "authChain": auth_chain}
        if module_id is not None:
            body["targetModuleId"] = module_id
        query = {"targetDeviceId": device_id, "targetModuleId": module_id or "", "api-version": FLAT_VERSION}

        def nested() -> Awaitable[bytes]:
            return self._call("POST", self._nested_path("getDeviceAndModuleOnBehalfOf"), body)

        def flat() -> Awaitable[bytes]:
            return self._call("GET", f"{self._base}/deviceAndModuleInDeviceScope?{urlencode(query)}", None)

        return await self._final(self._either(nested, flat))

    async def _either(self, nested: Callable[[], Awaitable[T]], flat: Callable[[], Awaitable[T]]) -> T:
        """The nested way, or the flat one once the parent has shown that it does not know the nested
        calls."""
        if not self._nested:
            return await flat()
        try:
            return await nested()
        except _Status as error:
            if error.status not in _UNKNOWN_ROUTE or error.known_route:
                raise
        result = await flat()
        self._nested = False
        log.info("the parent hub does not know the nested scope calls; using the flat ones")
        return result

    @staticmethod
    async def _final(call: Awaitable[T]) -> T:
        """Maps statuses to what they mean for the scope."""
        try:
            return await call
        except _Status as error:
            # Who does not take our token says nothing about the identity.
            if error.status in (401, 403) and not error.about_us:
                raise NotInScope(str(error)) from None
            # Without the body of a hub it says nothing about the identity, only about who answers there.
            if error.status in (400, 404) and error.known_route:
                raise NoSuchIdentity(str(error)) from None
            raise

    # ---- pages

    async def _pages(self, fetch: Callable[[str | None], Awaitable[bytes]]) -> list[bytes]:
        pages: list[bytes] = []
        link: str | None = None
        while True:
            page = await fetch(link)
            pages.append(page)
            try:
                link = msgspec.json.decode(page, type=_Link).continuation_link
            except msgspec.DecodeError as error:
                raise ScopeError(
                    f"the parent hub answered with JSON that is no scope page: {error}"
                ) from None
            if not link:
                return pages
            if len(pages) >= PAGES_MAX:
                raise ScopeError(f"the parent hub answered with more than {PAGES_MAX} pages")

    def _nested_path(self, call: str) -> str:
        return f"{self._base}/{call}?api-version={NESTED_VERSION}"

    async def _nested_page(self, auth_chain: str, link: str | None) -> bytes:
        body: dict[str, Any] = {"pageSize": self._settings.page_size, "authChain": auth_chain}
        if link is not None:
            body["continuationLink"] = link
        return await self._call("POST", self._nested_path("devicesAndModulesInTargetDeviceScope"), body)

    async def _flat_page(self, link: str | None) -> bytes:
        if link is not None:
            if not link.startswith("/"):
                raise ScopeError("the parent hub answered with a continuation link that is not a path")
            return await self._call("GET", link, None)
        size = self._settings.page_size
        query = f"deviceCount={size}&continuationToken=&api-version={FLAT_VERSION}"
        return await self._call("GET", f"{self._base}/devicesAndModulesInDeviceScope?{query}", None)

    # ---- one call

    async def _call(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        """With retries of what may pass (section 1.7, client policy)."""
        failures = 0
        while True:
            try:
                async with asyncio.timeout(OPERATION_S):
                    return await self._once(method, path, body)
            except _Status as error:
                if error.status in NEVER_RETRIED or failures >= RETRIES:
                    raise
            except (aiohttp.ClientError, OSError) as error:
                if failures >= RETRIES:
                    text = str(error) or type(error).__name__
                    raise ScopeError(f"the scope of the parent hub cannot be read: {text}") from None
            failures += 1
            await self._sleep(retry_wait_s(failures, self._random))

    async def _once(self, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        headers = await call_headers(self._settings)
        data = None if body is None else msgspec.json.encode(body)
        url = URL(f"{self._settings.base_url}{path}", encoded=True)
        async with self._session.request(
            method, url, data=data, headers=headers, allow_redirects=False
        ) as answer:
            raw = await read_answer(answer)
            if answer.status != 200:
                raise _status_error(answer.status, raw, f"{method} {path.partition('?')[0]}")
            return raw


def edge_hub_path(device_id: str) -> str:
    """Path of the `$edgeHub` of an edge device, below which all its calls are."""
    return f"/devices/{quote(device_id, safe='')}/modules/{quote(EDGE_HUB_MODULE, safe='')}"


async def call_headers(settings: ScopeSettings) -> dict[str, str]:
    """Headers of every call to the parent hub.

    :raises ScopeError: no token could be had.
    """
    try:
        token = await settings.tokens.get()
    except EdgehubError as error:
        raise ScopeError(f"no token for the parent hub: {error}") from None
    return {
        "Authorization": token.text,
        "Content-Type": "application/json",
        "User-Agent": settings.product_info,
    }


async def read_answer(answer: aiohttp.ClientResponse, bytes_max: int = ANSWER_BYTES_MAX) -> bytes:
    """The body of an answer.

    :raises ScopeError: it is larger.
    """
    raw = bytearray()
    async for chunk in answer.content.iter_any():
        raw += chunk
        if len(raw) > bytes_max:
            raise ScopeError(f"the parent hub answered with more than {bytes_max} bytes")
    return bytes(raw)


def _status_error(status: int, raw: bytes, what: str) -> _Status:
    """An error of a hub has a `Message`, one of a parent edge hub an `errorMessage`; a missing route has
    neither, or the code of an unknown path."""
    try:
        document = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        document = None
    fields: Sequence[tuple[str, Any]] = list(document.items()) if isinstance(document, dict) else ()
    texts = [str(value) for name, value in fields if name.lower() in ("message", "errormessage")]
    text = texts[0] if texts else raw[:200].decode("utf-8", "replace")
    known = bool(texts) and "GenericNotFound" not in text and "MethodNotAllowed" not in text
    about_us = text.startswith(_OWN_TOKEN_REFUSED)
    message = f"{what} answered {status}: {text[:300]}"
    return _Status(message, status, known_route=known, about_us=about_us)


def retry_wait_s(failures: int, random_source: Callable[[], float]) -> float:
    """Exponential from 1 to 10 s with a delta of 4 s, spread by a fifth."""
    spread = 0.8 + 0.4 * random_source()
    return min(RETRY_MIN_S + (2.0**failures - 1.0) * spread * RETRY_DELTA_S, RETRY_MAX_S)
