"""Cloud-to-device messages and feedback over REST (section 2.3, rows 21 to 23; section 1.9 for devices)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from uuid import UUID

from aiohttp import web

from iothub.auth import access_denied
from iothub.c2d.feedback_store import CONTENT_TYPE
from iothub.c2d.model import MS, C2dMessage, parse_ack
from iothub.errors import ErrorCode, HubError, argument_invalid
from iothub.policies import Permission
from iothub.rest.registry_api import json_response

if TYPE_CHECKING:
    from iothub.c2d.model import Delivery
    from iothub.rest.app import RestServices
    from iothub.rest.routing import Call, Router

APP_PREFIX: Final = "iothub-app-"
LOCK_HEADER: Final = "IotHub-MessageLockTimeout"
LOCK_SECS_MIN: Final = 5
LOCK_SECS_MAX: Final = 300


class C2dApi:
    """Handlers for `/devices/{}/commands`, `/devices/{}/messages/deviceBound` and feedback."""

    def __init__(self, services: RestServices) -> None:
        self._services = services
        self._c2d = services.c2d

    def add_to(self, router: Router) -> None:
        """Registers the handlers."""
        router.add("GET", "/messages/serviceBound/feedback", self.read_feedback)
        router.add("DELETE", "/messages/serviceBound/feedback/{}", self.complete_feedback)
        router.add("POST", "/messages/serviceBound/feedback/{}/abandon", self.abandon_feedback)
        router.add("DELETE", "/devices/{}/commands", self.purge)
        router.add("POST", "/devices/{}/messages/deviceBound", self.send)
        router.add("GET", "/devices/{}/messages/deviceBound", self.receive)
        router.add("DELETE", "/devices/{}/messages/deviceBound/{}", self.settle)
        router.add("POST", "/devices/{}/messages/deviceBound/{}/abandon", self.abandon)

    # ---- the service

    async def send(self, call: Call) -> web.Response:
        """Takes a message for a device."""
        await self._services.require(call.request, Permission.SERVICE_CONNECT)
        await self._c2d.send(call.ids[0], read_message(call.request, await call.request.read()))
        return web.Response(status=204)

    async def purge(self, call: Call) -> web.Response:
        """Ends all messages of a device."""
        await self._services.require(call.request, Permission.SERVICE_CONNECT)
        count = await self._c2d.purge(call.ids[0])
        return json_response({"totalMessagesPurged": count, "deviceId": call.ids[0], "moduleId": None})

    async def read_feedback(self, call: Call) -> web.Response:
        """The next batch, or 204."""
        await self._services.require(call.request, Permission.SERVICE_CONNECT)
        batch = await self._c2d.feedback.take()
        if batch is None:
            return web.Response(status=204)
        headers = {"ETag": f'"{batch.lock_token}"', "Content-Type": CONTENT_TYPE}
        return web.Response(body=batch.body, headers=headers)

    async def complete_feedback(self, call: Call) -> web.Response:
        """A batch was read."""
        await self._services.require(call.request, Permission.SERVICE_CONNECT)
        await self._c2d.feedback.complete(_lock_token(call.ids[0]))
        return web.Response(status=204)

    async def abandon_feedback(self, call: Call) -> web.Response:
        """A batch is wanted again."""
        await self._services.require(call.request, Permission.SERVICE_CONNECT)
        await self._c2d.feedback.abandon(_lock_token(call.ids[0]))
        return web.Response(status=204)

    # ---- the device

    async def _require_device(self, call: Call) -> str:
        device_id = call.ids[0]
        principal = await self._services.device_principal(call.request, device_id)
        if not principal.speaks_for(device_id, None):
            raise access_denied(f"{principal.label} may not receive the messages of {device_id}.")
        await self._services.authorizer.require_identity(device_id, None)
        return device_id

    async def receive(self, call: Call) -> web.Response:
        """The next message, or 204."""
        device_id = await self._require_device(call)
        delivery = await self._c2d.take(device_id, _lock_secs(call.request))
        return web.Response(status=204) if delivery is None else _response(delivery)

    async def settle(self, call: Call) -> web.Response:
        """Complete, or with `?reject` reject."""
        device_id = await self._require_device(call)
        settle = self._c2d.reject if "reject" in call.request.query else self._c2d.complete
        await settle(device_id, _lock_token(call.ids[1]))
        return web.Response(status=204)

    async def abandon(self, call: Call) -> web.Response:
        """The message is wanted again."""
        device_id = await self._require_device(call)
        await self._c2d.abandon(device_id, _lock_token(call.ids[1]))
        return web.Response(status=204)


def read_message(request: web.Request, body: bytes) -> C2dMessage:
    """A message from headers and body.

    :raises HubError: 400004.
    """
    headers = request.headers
    return C2dMessage(
        body=body,
        message_id=headers.get("iothub-messageid"),
        correlation_id=headers.get("iothub-correlationid"),
        user_id=headers.get("iothub-userid"),
        content_type=headers.get("iothub-contenttype"),
        content_encoding=headers.get("iothub-contentencoding"),
        expires_ms=_expiry(headers.get("iothub-expiry")),
        ack=parse_ack(headers.get("iothub-ack")),
        properties={
            name[len(APP_PREFIX) :]: value
            for name, value in headers.items()
            if name.lower().startswith(APP_PREFIX)
        },
    )


def _expiry(text: str | None) -> int | None:
    """Unix time in milliseconds, as number or in ISO 8601; without zone it is UTC."""
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= len(str(2**53)):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * MS)
    except (ValueError, OverflowError):
        raise argument_invalid(
            f"iothub-expiry must be milliseconds since 1970 or ISO 8601, not {text!r:.50}."
        ) from None


def _lock_secs(request: web.Request) -> float | None:
    text = request.headers.get(LOCK_HEADER)
    if text is None:
        return None
    # Other scripts have digits, too, and Python limits how many it converts.
    if re.fullmatch("[0-9]{1,3}", text) is None or not LOCK_SECS_MIN <= int(text) <= LOCK_SECS_MAX:
        raise argument_invalid(
            f"{LOCK_HEADER} must be {LOCK_SECS_MIN} to {LOCK_SECS_MAX} seconds, not {text!r:.50}."
        )
    return float(text)


def _lock_token(text: str) -> UUID:
    try:
        return UUID(text.strip('"'))
    except ValueError:
        raise HubError(ErrorCode.DeviceMessageLockLost, "There is no such lock.") from None


def _response(delivery: Delivery) -> web.Response:
    message = delivery.message
    headers = {
        "ETag": f'"{delivery.lock_token}"',
        "iothub-messageid": message.message_id,
        "iothub-correlationid": message.correlation_id,
        "iothub-userid": message.user_id,
        "iothub-contenttype": message.content_type,
        "iothub-contentencoding": message.content_encoding,
        "iothub-ack": message.ack.value,
        "iothub-to": f"/devices/{delivery.device_id}/messages/devicebound",
        "iothub-sequencenumber": str(delivery.sequence),
        "iothub-deliverycount": str(delivery.delivery_count),
        "iothub-enqueuedtime": datetime.fromtimestamp(delivery.enqueued_ms / MS, UTC).isoformat(),
        "iothub-expiry": None if message.expires_ms is None else str(message.expires_ms),
        **{f"{APP_PREFIX}{quote(name, safe='')}": value or "" for name, value in message.properties.items()},
    }
    given = {name: _header(value) for name, value in headers.items() if value is not None}
    return web.Response(body=message.body, headers=given, content_type="application/octet-stream")


def _header(text: str) -> str:
    """As it is where a header can carry it, else percent-encoded."""
    return text if text.isascii() and text.isprintable() else quote(text, safe="")
