"""Direct methods through a whole system with unmodified SDK clients: from the cloud, and from a module.

device SDK -> hub -> relay -> iothub <- `iothub method`; module SDK -> HTTPS head of the hub.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from edgehub.demo.stack import Stack
from edgehub.demo.topology import StackOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE_S = 30.0
# The SDK asks for a version of TLS in a way that Python has grown out of.
pytestmark = pytest.mark.filterwarnings("ignore:ssl.PROTOCOL:DeprecationWarning")
HUB_HOST = "127.0.0.21"
"""SDKs know one port of HTTPS alone, so this hub has an address of its own."""


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    options = StackOptions(
        hub_host=HUB_HOST,
        devices=("leaf",),
        modules=("mod",),
        uplink_amqp_port=0,
        uplink_https_port=0,
        hub_settings={"httpSettings__enabled": "true", "httpSettings__host": HUB_HOST},
    )
    async with Stack(options) as found:
        yield found


class Answering:
    """A client of the SDK that answers method calls with its own name and what it was given."""

    def __init__(self, stack: Stack, name: str, kind: str) -> None:
        from azure.iot.device import aio

        if kind == "edge module":
            # What a module finds that is run on a developer's machine; only such a client may call others.
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("EdgeHubConnectionString", stack.connection_string(name))
                environment.setenv("EdgeModuleCACertificateFile", str(stack.authority.file))
                self.sdk: Any = aio.IoTHubModuleClient.create_from_edge_environment()
        else:
            self.sdk = getattr(aio, kind).create_from_connection_string(
                stack.connection_string(name), server_verification_cert=stack.authority.file.read_text()
            )
        self._name = name

    async def __aenter__(self) -> Answering:
        from azure.iot.device import MethodResponse

        answer_to: Any = MethodResponse.create_from_method_request

        async def called(request: Any) -> None:
            payload = {"name": self._name, "method": request.name, "payload": request.payload}
            await self.sdk.send_method_response(answer_to(request, 207, payload))

        await self.sdk.connect()
        self.sdk.on_method_request_received = called
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sdk.shutdown()


def reach(stack: Stack) -> tuple[str, ...]:
    """Where iothub is, and whom to trust."""
    return "--data-dir", str(stack.folder / "iothub"), "--ca-file", str(stack.authority.file)


async def invoke(stack: Stack, *arguments: str) -> tuple[int, str]:
    """`iothub method invoke`, patient with a subscription that is on its way: exit code and output."""
    command = [sys.executable, "-m", "iothub", "method", "invoke", *arguments]
    command += ["--connect-timeout", "20", *reach(stack)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(PATIENCE_S * 2):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_the_cloud_calls_a_device_and_a_module_behind_the_hub(stack: Stack) -> None:
    gateway = stack.options.edge_device
    async with (
        Answering(stack, "leaf", "IoTHubDeviceClient"),
        Answering(stack, "mod", "IoTHubModuleClient"),
    ):
        code, out = await invoke(stack, "leaf", "reset", "--payload", '{"delay": 5}')
        assert code == 0, out
        want = {"name": "leaf", "method": "reset", "payload": {"delay": 5}}
        assert json.loads(out) == {"status": 207, "payload": want}
        code, out = await invoke(stack, gateway, "ping", "--module", "mod")
        assert code == 0, out
        assert json.loads(out)["payload"] == {"name": "mod", "method": "ping", "payload": None}
        # After a cut the parent hub can call again, without anything of the client.
        await stack.relay.cut()
        await stack.relay.restore()
        code, out = await invoke(stack, "leaf", "again")
        assert code == 0, out


async def test_a_module_calls_a_device_online_and_offline(stack: Stack) -> None:
    from azure.iot.device.exceptions import ClientError

    async with (
        Answering(stack, "leaf", "IoTHubDeviceClient"),
        Answering(stack, "mod", "edge module") as module,
    ):
        call = {"methodName": "reset", "payload": {"x": [1, None]}, "connectTimeoutInSeconds": 20}
        want = {"name": "leaf", "method": "reset", "payload": {"x": [1, None]}}
        assert await module.sdk.invoke_method(call, "leaf") == {"status": 207, "payload": want}
        await stack.relay.cut()
        assert (await module.sdk.invoke_method(call, "leaf"))["payload"] == want
        with pytest.raises(ClientError) as caught:
            await module.sdk.invoke_method({"methodName": "reset", "payload": None}, "nobody")
        assert "404" in str(caught.value.__cause__)


async def test_the_cloud_calls_the_hub_itself(stack: Stack) -> None:
    gateway = stack.options.edge_device
    refresh = (gateway, "RefreshDeviceScopeIdentityCache", "--module", "$edgeHub")
    code, out = await invoke(stack, *refresh, "--payload", '{"deviceIds": ["leaf"]}')
    assert code == 0, out
    assert json.loads(out) == {"status": 200, "payload": None}
    code, out = await invoke(stack, *refresh, "--payload", '"text"')
    assert json.loads(out)["status"] == 400


async def test_who_is_not_there_is_told(stack: Stack) -> None:
    command = [sys.executable, "-m", "iothub", "method", "invoke", "leaf", "reset"]
    process = await asyncio.create_subprocess_exec(*command, *reach(stack), stderr=asyncio.subprocess.PIPE)
    _, err = await process.communicate()
    assert process.returncode == 1
    assert "404 DeviceNotOnline: Timed out waiting for device to connect." in err.decode()
