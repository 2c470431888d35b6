"""A client of iothub's service API: identities, twins and the stream of telemetry, over HTTPS."""

from __future__ import annotations

import json
import ssl
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from edgehub.demo.errors import DemoError
from edgehub.protocol.sas import build_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

API_VERSION: Final = "2021-04-12"
TOKEN_SECS: Final = 3600
TIMEOUT_S: Final = 20.0
HTTP_OK: Final = 200
HTTP_REDIRECT: Final = 300
EVENT_BYTES_MAX: Final = 1024 * 1024
"""Longest line of the telemetry stream: a message of 256 KiB, in base64, with its properties."""


class ApiError(DemoError):
    """iothub refused a request, or could not be reached."""


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """A shared access policy, from its connection string.

    :param key: base64.
    """

    host: str
    name: str
    key: str = field(repr=False)

    @classmethod
    def parse(cls, connection_string: str) -> Self:
        """From `HostName=...;SharedAccessKeyName=...;SharedAccessKey=...`.

        :raises ApiError: a part is missing.
        """
        parts = dict(part.split("=", 1) for part in connection_string.strip().split(";") if "=" in part)
        try:
            return cls(parts["HostName"], parts["SharedAccessKeyName"], parts["SharedAccessKey"])
        except KeyError as error:
            raise ApiError(f"iothub's connection string has no {error.args[0]}") from None

    def token(self, now_s: float) -> str:
        """A token for all of the hub."""
        return build_token(self.host, int(now_s) + TOKEN_SECS, key=self.key, policy=self.name)


@dataclass(frozen=True, slots=True)
class Identity:
    """A device or module with its key.

    :param scope: of an edge device: what its children name as their parent.
    """

    device_id: str
    module_id: str | None
    key: str = field(repr=False)
    scope: str | None = None

    def connection_string(self, host: str, gateway: str | None = None) -> str:
        """For the SDKs.

        :param host: name of the IoT Hub.
        :param gateway: the edge device to connect through.
        """
        parts = [f"HostName={host}", f"DeviceId={self.device_id}"]
        if self.module_id is not None:
            parts.append(f"ModuleId={self.module_id}")
        parts.append(f"SharedAccessKey={self.key}")
        if gateway is not None:
            parts.append(f"GatewayHostName={gateway}")
        return ";".join(parts)


@dataclass(frozen=True, slots=True)
class TelemetryEvent:
    """One message in iothub's log.

    :param sequence: position in the log, from 1.
    :param enqueued_ms: Unix time at which iothub took it.
    """

    sequence: int
    enqueued_ms: float
    device_id: str
    module_id: str | None
    message_id: str
    properties: Mapping[str, str]
    body: Any

    @classmethod
    def parse(cls, view: Mapping[str, Any]) -> Self:
        """From the JSON object of the stream."""
        enqueued = datetime.fromisoformat(view["enqueuedTime"])
        return cls(
            int(view["sequenceNumber"]),
            enqueued.timestamp() * 1000,
            str(view["deviceId"]),
            view.get("moduleId"),
            str(view.get("systemProperties", {}).get("message-id", "")),
            view.get("properties", {}),
            view.get("body"),
        )


class HubApi:
    """Calls of the service side. Use as an asynchronous context manager.

    :param base_url: `https://address:port`.
    :param authority: PEM file with the authority of the server's certificate.
    """

    def __init__(self, base_url: str, policy: ServicePolicy, authority: str) -> None:
        self._base_url = base_url
        self._policy = policy
        self._tls = ssl.create_default_context(cafile=authority)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls), read_bufsize=EVENT_BYTES_MAX
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def create_device(
        self, device_id: str, *, edge: bool = False, parent_scope: str | None = None
    ) -> Identity:
        """A device with keys made by iothub.

        :param edge: may be a gateway.
        :param parent_scope: scope of the gateway that the device belongs to.
        :raises ApiError: refused, for example because it exists.
        """
        body: dict[str, Any] = {"deviceId": device_id, "capabilities": {"iotEdge": edge}}
        if parent_scope is not None:
            # Of a gateway `deviceScope` is its own.
            body |= {"parentScopes": [parent_scope]} if edge else {"deviceScope": parent_scope}
        return _identity(await self._call("PUT", f"/devices/{_escape(device_id)}", body))

    async def create_module(self, device_id: str, module_id: str) -> Identity:
        """A module with keys made by iothub; a system module, which exists already, gets keys."""
        body = {
            "deviceId": device_id,
            "moduleId": module_id,
            "authentication": {"type": "sas", "symmetricKey": {"primaryKey": None, "secondaryKey": None}},
        }
        path = f"/devices/{_escape(device_id)}/modules/{_escape(module_id)}"
        return _identity(await self._call("PUT", path, body, overwrite=module_id.startswith("$")))

    async def delete_device(self, device_id: str) -> None:
        """Deletes a device and its modules."""
        await self._call("DELETE", f"/devices/{_escape(device_id)}")

    async def update_desired(self, device_id: str, module_id: str | None, desired: Mapping[str, Any]) -> None:
        """Merges into the desired properties of a twin."""
        await self._call(
            "PATCH", _twin_path(device_id, module_id), {"properties": {"desired": dict(desired)}}
        )

    async def twin(self, device_id: str, module_id: str | None = None) -> dict[str, Any]:
        """A whole twin."""
        return await self._call("GET", _twin_path(device_id, module_id))

    async def is_up(self) -> bool:
        """Whether iothub answers."""
        try:
            await self._call("GET", "/statistics/devices")
        except ApiError:
            return False
        return True

    async def telemetry(self, first_sequence: int = 1) -> AsyncIterator[TelemetryEvent]:
        """Events from a position of the log on, then new ones as they come, until iothub ends the stream.

        :raises ApiError: refused, or the stream broke.
        """
        assert self._session is not None
        url = f"{self._base_url}/telemetry?from={first_sequence}&api-version={API_VERSION}"
        # No limit in total: the stream is endless. iothub sends an empty line when nothing happens.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=2 * TIMEOUT_S)
        try:
            async with self._session.get(url, headers=self._headers(), timeout=timeout) as answer:
                if answer.status != HTTP_OK:
                    raise ApiError(f"iothub refused the telemetry stream with {answer.status}")
                async for line in answer.content:
                    if line.strip():
                        yield TelemetryEvent.parse(json.loads(line))
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            raise ApiError(f"the telemetry stream broke: {error or type(error).__name__}") from None

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, overwrite: bool = False
    ) -> dict[str, Any]:
        """The answer's JSON object, empty when there is no body."""
        assert self._session is not None
        headers = self._headers() | ({"If-Match": "*"} if overwrite else {})
        url = f"{self._base_url}{path}?api-version={API_VERSION}"
        try:
            async with self._session.request(
                method,
                URL(url, encoded=True),
                json=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            ) as answer:
                text = await answer.text()
                if answer.status >= HTTP_REDIRECT:
                    raise ApiError(f"iothub refused {method} {path} with {answer.status}: {text[:300]}")
                return _json_object(text)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ApiError(
                f"iothub could not be asked {method} {path}: {error or type(error).__name__}"
            ) from None

    def _headers(self) -> dict[str, str]:
        return {"Authorization": self._policy.token(time.time())}


def _json_object(text: str) -> dict[str, Any]:
    found = json.loads(text) if text else {}
    if not isinstance(found, dict):
        raise ValueError("the answer is no JSON object")
    return found


def _identity(view: Mapping[str, Any]) -> Identity:
    key = view["authentication"]["symmetricKey"]["primaryKey"]
    return Identity(view["deviceId"], view.get("moduleId"), key, view.get("deviceScope"))


def _twin_path(device_id: str, module_id: str | None) -> str:
    path = f"/twins/{_escape(device_id)}"
    return path if module_id is None else f"{path}/modules/{_escape(module_id)}"


def _escape(text: str) -> str:
    return quote(text, safe="")
