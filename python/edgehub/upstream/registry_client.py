"""Modules of devices below, at the parent hub over HTTPS, on their behalf (hub section 1.8.2).

One attempt for each call: what failed halfway may have happened, and who asked knows whether to try again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from edgehub.protocol.child_requests import NESTED_VERSION
from edgehub.upstream.errors import UpstreamError
from edgehub.upstream.scope_client import call_headers, edge_hub_path, read_answer

if TYPE_CHECKING:
    from edgehub.protocol.child_requests import RegistryCall
    from edgehub.upstream.scope_client import ScopeSettings

ANSWER_BYTES_MAX: Final = 1024 * 1024
"""Modules of one device: there are 50 at most."""


class RegistryError(UpstreamError):
    """The parent hub gave no usable answer."""


class RegistryClient:
    """Calls in the name of this edge device.

    :param session: belongs to the caller.
    :param wait_s: for the whole of a call.
    """

    def __init__(self, settings: ScopeSettings, session: aiohttp.ClientSession, wait_s: float) -> None:
        self._settings = settings
        self._session = session
        self._wait_s = wait_s
        self._base = f"{settings.base_url}{edge_hub_path(settings.device_id)}"

    async def call(self, call: RegistryCall) -> tuple[int, bytes]:
        """Status and body of the answer, whatever it is.

        :raises UpstreamError: there is none in time, or none that can be passed on.
        """
        try:
            async with asyncio.timeout(self._wait_s):
                return await self._call(call)
        except TimeoutError:
            raise RegistryError(f"the parent hub did not answer within {self._wait_s:.0f} s") from None
        except (aiohttp.ClientError, OSError) as error:
            text = str(error) or type(error).__name__
            raise RegistryError(f"the parent hub cannot be reached: {text}") from None

    async def _call(self, call: RegistryCall) -> tuple[int, bytes]:
        headers = await call_headers(self._settings)
        if call.if_match is not None:
            headers["If-Match"] = call.if_match
        url = URL(f"{self._base}/{call.operation}?api-version={NESTED_VERSION}", encoded=True)
        async with self._session.request(
            call.method, url, data=call.body, headers=headers, allow_redirects=False
        ) as answer:
            if 300 <= answer.status < 400:
                raise RegistryError(f"the parent hub answered with {answer.status}")
            return answer.status, await read_answer(answer, ANSWER_BYTES_MAX)
