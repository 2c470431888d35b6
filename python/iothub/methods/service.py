"""Calls methods of connected devices and modules, and waits for their answers (section 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from edgehub.common.method_calls import Failure, MethodAnswer, MethodCall, MethodCalls, MethodError
from edgehub.protocol.method_request import (
    PAYLOAD_BYTES_MAX,
    MethodRequest,
    MethodRequestError,
    parse_method_request,
)
from iothub.errors import ErrorCode, HubError

if TYPE_CHECKING:
    from iothub.auth import Authorizer

Key = tuple[str, str | None]
Receiver = Callable[[str, MethodCall], asyncio.Future[str] | None]
"""Sends a call with its id to the client. What became of it, as of `MethodCalls`; None where nobody tells."""

NAME_CHARS_MAX: Final = 256
_FAILURES: Final = {
    Failure.ABSENT: (ErrorCode.DeviceNotOnline, "Timed out waiting for device to connect."),
    Failure.NO_ANSWER: (ErrorCode.GatewayTimeout, "Timed out waiting for the response from device."),
    Failure.LEFT: (ErrorCode.DeviceConnectionClosedRemotely, "The device closed its connection."),
    Failure.TOO_MANY: (ErrorCode.DeviceMaximumInflightMethodExceeded, "Too many methods are in flight."),
}


def parse_invocation(body: bytes) -> MethodRequest:
    """Reads the body of `POST .../methods`.

    :raises HubError: 400004.
    """
    try:
        return parse_method_request(body, NAME_CHARS_MAX)
    except MethodRequestError as error:
        raise HubError(ErrorCode.ArgumentInvalid, str(error), structured=True) from None


class Methods:
    """Who can be called, and calls on their way. Use from one event loop."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        self._receivers: dict[Key, Receiver] = {}
        self._calls: MethodCalls[Key] = MethodCalls(self._send)

    def attach(self, key: Key, receiver: Receiver) -> Callable[[], None]:
        """A client takes calls until the returned function is called, or a newer one is attached."""
        self._calls.gone(key)
        self._receivers[key] = receiver
        self._calls.listens(key)

        def detach() -> None:
            if self._receivers.get(key) is receiver:
                del self._receivers[key]
                self._calls.gone(key)

        return detach

    def answered(self, key: Key, request_id: str, answer: MethodAnswer) -> bool:
        """A client answered; False for late and unknown answers, which are ignored."""
        return self._calls.answered(key, request_id, answer)

    async def invoke(self, key: Key, request: MethodRequest) -> MethodAnswer:
        """Calls a method and waits.

        :raises HubError: 404001, 404010, 403012, 403800, 404103, 404104, 504101; 400004 for a response that
            is too large.
        """
        try:
            await self._authorizer.require_identity(*key)
        except HubError as error:
            error.structured = True
            raise
        call = MethodCall(
            request.methodName,
            bytes(request.payload),
            float(request.responseTimeoutInSeconds),
            float(request.connectTimeoutInSeconds),
        )
        try:
            answer = await self._calls.call(key, call)
        except MethodError as error:
            raise HubError(*_FAILURES[error.failure], structured=True) from None
        size = len(answer.payload)
        if size > PAYLOAD_BYTES_MAX:
            text = f"The response has {size} bytes; {PAYLOAD_BYTES_MAX} are allowed."
            raise HubError(ErrorCode.ArgumentInvalid, text, structured=True)
        return answer

    def _send(self, key: Key, request_id: str, call: MethodCall) -> asyncio.Future[str] | None:
        receiver = self._receivers.get(key)
        if receiver is None:
            return None
        handed_over = receiver(request_id, call)
        if handed_over is None:
            handed_over = asyncio.get_running_loop().create_future()
            handed_over.set_result("sent")
        return handed_over
