"""A device and a module of the unmodified SDK, over WebSocket; run by test_mqtt_websocket.py.

Reads a JSON object with connection strings, the authority's certificate and the port of an HTTP proxy from
standard input, and prints a JSON object with what happened.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from azure.iot import device as sdk
from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient

# The SDK has no types.
Message: Any = sdk.Message
ProxyOptions: Any = sdk.ProxyOptions

MESSAGES = 5
WAIT_S = 20.0


async def talk(order: dict[str, Any]) -> dict[str, Any]:
    """Telemetry of the device reaches the module's input; the module sends and asks for its twin."""
    options = {
        "websockets": True,
        "server_verification_cert": order["authority_pem"],
        "proxy_options": ProxyOptions("HTTP", "127.0.0.1", order["proxy_port"]),
    }
    module = IoTHubModuleClient.create_from_connection_string(order["module"], **options)
    device = IoTHubDeviceClient.create_from_connection_string(order["device"], **options)
    inbox: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def received(message: Any) -> None:
        loop.call_soon_threadsafe(inbox.put_nowait, (message.input_name, message.data.decode()))

    await module.connect()
    module.on_message_received = received
    await device.connect()
    for number in range(MESSAGES):
        await device.send_message(Message(f"message {number}"))
    async with asyncio.timeout(WAIT_S):
        delivered = [await inbox.get() for _ in range(MESSAGES)]
    await module.send_message_to_output(Message("from the module"), "out")
    try:
        await module.get_twin()
        twin = "answered"
    except Exception as error:
        twin = f"{error} {error.__cause__}"
    await device.shutdown()
    await module.shutdown()
    return {"delivered": delivered, "twin": twin}


if __name__ == "__main__":
    json.dump(asyncio.run(talk(json.load(sys.stdin))), sys.stdout)
