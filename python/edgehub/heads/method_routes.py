"""Method calls over HTTPS, from a module to a device or module that is connected here (heads spec 3.1)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from aiohttp import web

from edgehub.common.ids import EDGE_HUB_MODULE_ID, IdentityId
from edgehub.common.method_calls import MethodCall, MethodError
from edgehub.heads.line_budget import LineBudget
from edgehub.heads.rest import RefusalError, credential_of, json_answer, read_body
from edgehub.hub.methods.service import STATUS
from edgehub.protocol.method_request import (
    PAYLOAD_BYTES_MAX,
    MethodRequestError,
    caller_of,
    encode_message,
    encode_method_result,
    parse_method_request,
)

if TYPE_CHECKING:
    from edgehub.common.clock import Clock
    from edgehub.heads.forwarded import ForwardedCertificates
    from edgehub.hub.methods.service import DirectMethods
    from edgehub.identity.authenticator import Authenticator

CALLER_HEADER: Final = "x-ms-edge-moduleId"
LINES_BURST: Final = 100.0
LINES_PER_S: Final = 10.0
"""Log lines of callers that are refused."""
OTHER_DEVICE: Final = "Only modules on the same device can invoke DirectMethods"

log = logging.getLogger(__name__)


class MethodRoutes:
    """Both routes.

    :param edge_device_id: only modules of this device may call.
    :param forwarded: reads the certificates that a proxy passes on; None: they are not looked at.
    """

    def __init__(
        self,
        methods: DirectMethods,
        authenticator: Authenticator,
        edge_device_id: str,
        clock: Clock,
        forwarded: ForwardedCertificates | None = None,
    ) -> None:
        self._lines = LineBudget(clock, LINES_BURST, LINES_PER_S)
        self._forwarded = forwarded
        self._methods = methods
        self._authenticator = authenticator
        self._edge_device_id = edge_device_id
        self._own = IdentityId(edge_device_id, EDGE_HUB_MODULE_ID)

    def routes(self) -> list[web.RouteDef]:
        """For `HttpHead.add_routes`."""
        return [
            web.post("/twins/{device}/methods", self._serve),
            web.post("/twins/{device}/modules/{module}/methods", self._serve),
        ]

    async def _serve(self, request: web.Request) -> web.Response:
        """The checks in the order of the spec; each has its own answer."""
        try:
            call = parse_method_request(await read_body(request))
        except MethodRequestError as error:
            return _error(400, str(error))
        except web.HTTPRequestEntityTooLarge:
            return _error(400, f"The request is too large; payload may have {PAYLOAD_BYTES_MAX} bytes")
        except RefusalError as error:
            return _error(error.status, str(error))
        parts = caller_of(request.headers.get(CALLER_HEADER))
        if parts is None:
            return _error(400, f"Invalid header value for {CALLER_HEADER}")
        caller = IdentityId(*parts)
        if caller.device_id != self._edge_device_id:
            return _error(401, OTHER_DEVICE)
        problem = await self._problem_of(caller, request)
        if problem:
            return _error(401, problem)
        target = IdentityId(request.match_info["device"], request.match_info.get("module"))
        return await self._call(
            caller,
            target,
            MethodCall(
                call.methodName,
                bytes(call.payload),
                float(call.responseTimeoutInSeconds),
                float(call.connectTimeoutInSeconds),
            ),
        )

    async def _problem_of(self, caller: IdentityId, request: web.Request) -> str:
        """Why the caller is not who it says it is; empty if it is."""
        try:
            shown = await credential_of(request, caller, self._forwarded)
        except RefusalError as error:
            return str(error)
        verdict = await self._authenticator.authenticate(shown)
        if verdict.accepted:
            return ""
        self._tell(caller, verdict.reason)
        return f"Unable to authenticate device with Id {caller}"

    def _tell(self, caller: IdentityId, reason: str) -> None:
        if not self._lines.spend():
            return
        untold = self._lines.take_untold()
        if untold:
            log.info("%d more refused method calls were not logged one by one", untold)
        log.info("Method call of %s refused: %.500s", caller, reason)

    async def _call(self, caller: IdentityId, target: IdentityId, call: MethodCall) -> web.Response:
        try:
            answer = await self._methods.call(str(caller), target, call)
        except MethodError as error:
            return _error(STATUS[error.failure], str(error))
        if answer.status >= 400 and target == self._own:
            # Our own refusals are those of the call, as with an absent target.
            return json_answer(answer.status, answer.payload)
        return json_answer(200, encode_method_result(answer.status, answer.payload))


def _error(status: int, text: str) -> web.Response:
    return json_answer(status, encode_message(text))
