"""What devices do over HTTP: send telemetry (section 1.9, row 65); files have nowhere to go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from aiohttp import web

from edgehub.protocol.amqp_batch import BATCH_FORMAT, SINGLE_FORMAT
from iothub.auth import access_denied
from iothub.errors import ErrorCode, HubError
from iothub.telemetry.event import Origin, count_messages
from iothub.telemetry.http_message import BATCH_CONTENT_TYPE, encode_batch, encode_single
from iothub.telemetry.log import Append

if TYPE_CHECKING:
    from iothub.rest.app import RestServices
    from iothub.rest.routing import Call, Router


class DeviceApi:
    """Handlers for a device's own endpoints."""

    def __init__(self, services: RestServices) -> None:
        self._services = services

    def add_to(self, router: Router) -> None:
        """Registers the handlers."""
        router.add("POST", "/devices/{}/messages/events", self.send)
        router.add("POST", "/devices/{}/files", self.no_storage)
        router.add("POST", "/devices/{}/files/notifications", self.no_storage)

    async def send(self, call: Call) -> web.Response:
        """Stores a message, or a batch by its content type; 204 when the disk has it."""
        origin = await self._origin(call)
        body = await call.request.read()
        if call.request.content_type == BATCH_CONTENT_TYPE:
            payload, message_format = encode_batch(body), BATCH_FORMAT
        else:
            payload, message_format = encode_single(body, call.request.headers.items()), SINGLE_FORMAT
        count = count_messages(payload, message_format, self._services.limits.message_bytes_max)
        await self._store(origin, message_format, count, payload)
        return web.Response(status=204)

    async def no_storage(self, call: Call) -> NoReturn:
        """Answers who wants to upload a file as IoT Hub without a storage account does.

        :raises HubError: 400014, or what `_origin` raises.
        """
        await self._origin(call)
        raise HubError(
            ErrorCode.DefaultStorageEndpointNotConfigured, "This hub has no storage for files of devices."
        )

    async def _origin(self, call: Call) -> Origin:
        """Who sends.

        :raises HubError: 401002, 401003, 403012, 404001.
        """
        device_id = call.ids[0]
        principal = await self._services.device_principal(call.request, device_id)
        if not principal.speaks_for(device_id, None):
            raise access_denied(f"{principal.label} may not send for {device_id}.")
        identity = await self._services.authorizer.require_identity(device_id, None)
        return Origin(device_id, None, identity.generation_id, identity.auth_type)

    async def _store(self, origin: Origin, message_format: int, count: int, payload: bytes) -> None:
        """:raises HubError: 429001 while the log is behind, 500001 when it cannot be written."""
        telemetry = self._services.telemetry
        if telemetry.full:
            raise HubError(ErrorCode.ThrottlingException, "The telemetry log is behind; try again.")
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(failure: Exception | None) -> None:
            if stored.cancelled():
                return
            if failure is None:
                stored.set_result(None)
            else:
                stored.set_exception(HubError(ErrorCode.ServerError, "The telemetry log cannot be written."))

        now_ms = int(self._services.clock() * 1000)
        telemetry.append(Append(origin, message_format, count, payload, now_ms, done))
        await stored
