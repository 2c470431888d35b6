"""Direct methods over REST (section 4; rows 109 to 114)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from edgehub.protocol.method_request import encode_method_result
from iothub.methods.service import parse_invocation
from iothub.policies import Permission

if TYPE_CHECKING:
    from iothub.rest.app import RestServices
    from iothub.rest.routing import Call, Router


class MethodApi:
    """Handlers for `/twins/.../methods`."""

    def __init__(self, services: RestServices) -> None:
        self._services = services

    def add_to(self, router: Router) -> None:
        """Registers the handlers."""
        for pattern in ("/twins/{}/methods", "/twins/{}/modules/{}/methods"):
            router.add("POST", pattern, self.invoke)

    async def invoke(self, call: Call) -> web.Response:
        """Calls a method; the device's own status is in the body, and HTTP's is 200 whatever it is."""
        await self._services.require(call.request, Permission.SERVICE_CONNECT)
        request = parse_invocation(await call.request.read())
        key = call.ids[0], call.ids[1] if len(call.ids) > 1 else None
        # A device may take minutes, and calls have limits of their own.
        call.leave()
        answer = await self._services.methods.invoke(key, request)
        body = encode_method_result(answer.status, answer.payload)
        return web.Response(body=body, content_type="application/json", charset="utf-8")
