"""One client of the Python SDK, commanded over standard input and output; the words are those of
`node/driver.js`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import warnings
from typing import Any

METHOD_STATUS = 207
# The SDK asks for a version of TLS in a way that Python has grown out of.
warnings.filterwarnings("ignore", category=DeprecationWarning)


def say(what: dict[str, Any]) -> None:
    """One line; the SDK calls from threads of its own."""
    os.write(1, (json.dumps(what) + "\n").encode())


class Driver:
    """The client and what it is asked for."""

    def __init__(self) -> None:
        self._client: Any = None

    async def open(self, order: dict[str, Any]) -> None:
        from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient

        kind: Any = IoTHubModuleClient if order["module"] else IoTHubDeviceClient
        if order.get("edge"):
            # As a module that is run on a developer's machine; only such a client may call others.
            edge = {"HubConnectionString": "connection_string", "ModuleCACertificateFile": "ca_file"}
            os.environ.update({f"Edge{name}": order[key] for name, key in edge.items()})
            self._client = kind.create_from_edge_environment(websockets=order["ws"])
            await self._client.connect()
            return
        options = {"websockets": order["ws"], "server_verification_cert": order["ca"]}
        if order.get("token_ttl_s"):
            # It renews two minutes before the end.
            options["sastoken_ttl"] = 120 + 5
        self._client = kind.create_from_connection_string(order["connection_string"], **options)
        await self.listen(order)
        await self._client.connect()

    async def listen(self, order: dict[str, Any]) -> None:
        if order.get("messages"):
            self._client.on_message_received = self._on_message
        if order.get("inputs"):
            self._client.on_message_received = self._on_input
        if order.get("methods"):
            self._client.on_method_request_received = self._on_method

    async def _on_message(self, message: Any) -> None:
        say({"event": "message", **_told(message)})

    async def _on_input(self, message: Any) -> None:
        say({"event": "input", "input": message.input_name, **_told(message)})

    async def _on_method(self, request: Any) -> None:
        from azure.iot.device import MethodResponse

        make: Any = MethodResponse.create_from_method_request
        payload = {"method": request.name, "payload": request.payload}
        await self._client.send_method_response(make(request, METHOD_STATUS, payload))

    async def send(self, order: dict[str, Any]) -> None:
        from azure.iot.device import Message

        make: Any = Message
        message = make(order["body"], message_id=order["message_id"])
        message.custom_properties.update(order.get("properties") or {})
        if order.get("output"):
            await self._client.send_message_to_output(message, order["output"])
        else:
            await self._client.send_message(message)

    async def twin(self, _order: dict[str, Any]) -> Any:
        self._client.on_twin_desired_properties_patch_received = self._on_desired
        return await self._client.get_twin()

    async def _on_desired(self, patch: dict[str, Any]) -> None:
        say({"event": "desired", "patch": patch})

    async def report(self, order: dict[str, Any]) -> None:
        await self._client.patch_twin_reported_properties(order["patch"])

    async def invoke(self, order: dict[str, Any]) -> Any:
        call = {
            "methodName": order["name"],
            "payload": order["payload"],
            "responseTimeoutInSeconds": 15,
            "connectTimeoutInSeconds": 15,
        }
        return await self._client.invoke_method(call, order["device"], order.get("module"))

    async def close(self, _order: dict[str, Any]) -> None:
        await self._client.shutdown()


def _told(message: Any) -> dict[str, Any]:
    return {
        "body": message.data.decode(),
        "properties": message.custom_properties,
        "message_id": message.message_id or "",
    }


async def main() -> None:
    """Until standard input ends, or the client is closed."""
    driver = Driver()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        try:
            result = await getattr(driver, order["op"])(order)
            say({"id": order["id"], "result": result})
        except Exception as error:
            say({"id": order["id"], "error": f"{type(error).__name__}: {error.__cause__ or error}"})
        if order["op"] == "close":
            return


if __name__ == "__main__":
    asyncio.run(main())
