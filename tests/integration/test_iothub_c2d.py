"""Cloud-to-device messages at iothub over HTTPS and from the command line (rows 66, 91, 115, 117)."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from edgehub.protocol.sas import build_token, device_audience
from integration.test_iothub_cli import Serving, run
from iothub.c2d.model import C2dLimits
from iothub.config import HubConfig, HubLimits
from iothub.server import HubServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

HOST = "localhost"
FAR = 4_102_444_800
LIMITS = HubLimits(c2d=C2dLimits(depth_max=3, deliveries_max=2, feedback_batch_max=1))


class Caller:
    """Requests as the service and as a device."""

    def __init__(self, server: HubServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self._session = session
        self.tokens = {
            name: build_token(HOST, FAR, key=policy.primary_key, policy=name)
            for name, policy in server.policies.items()
        }

    async def register(self, device_id: str) -> None:
        answer = await self.call("PUT", f"/devices/{device_id}", b"{}", who="iothubowner")
        key = json.loads(answer[2])["authentication"]["symmetricKey"]["primaryKey"]
        self.tokens[device_id] = build_token(device_audience(HOST, device_id), FAR, key=key)

    async def call(
        self, method: str, path: str, data: bytes | None = None, who: str = "service", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        separator = "&" if "?" in path else "?"
        url = f"https://{HOST}:{self.server.https_port}{path}{separator}api-version=2021-04-12"
        request = {"Authorization": self.tokens[who], **named}
        async with self._session.request(method, url, data=data, headers=request) as answer:
            found = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, found, await answer.read()

    async def receive(self, **headers: str) -> tuple[str, dict[str, str], bytes]:
        """A message of d1 that has to be there: its lock token, headers and body."""
        path = "/devices/d1/messages/deviceBound"
        status, found, body = await self.call("GET", path, None, "d1", **headers)
        assert status == 200
        return found["etag"].strip('"'), found, body

    async def feedback(self) -> list[str]:
        """Status codes of the feedback that is due."""
        found: list[str] = []
        while True:
            status, headers, body = await self.call("GET", "/messages/serviceBound/feedback")
            if status == 204:
                return found
            token = headers["etag"].strip('"')
            found += [record["statusCode"] for record in json.loads(body)]
            status, _, _ = await self.call("DELETE", f"/messages/serviceBound/feedback/{token}")
            assert status == 204


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Caller]:
    server = HubServer(HubConfig(tmp_path, HOST, "127.0.0.1", 0, 0, limits=LIMITS))
    await server.start()
    context = ssl.create_default_context(cafile=str(server.certificate.ca_file))
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            caller = Caller(server, session)
            await caller.register("d1")
            yield caller
    finally:
        await server.stop()


SEND = "/devices/d1/messages/deviceBound"


async def test_row_66_receive_complete_reject_abandon(hub: Caller) -> None:
    properties = {
        "iothub_app_colour": "red", "iothub_ack": "full", "iothub_messageid": "m1", "iothub_userid": "u",
        "iothub_contenttype": "text/plain", "iothub_expiry": f"{FAR}000",
    }  # fmt: skip
    assert (await hub.call("POST", SEND, b"one", **properties))[0] == 403, "further than two days"
    properties |= {"iothub_expiry": "", "iothub_correlationid": "c1", "iothub_contentencoding": "utf-8"}
    assert (await hub.call("POST", SEND, b"one", **properties))[0] == 204
    token, headers, body = await hub.receive()
    assert body == b"one"
    named = {name: value for name, value in headers.items() if name.startswith("iothub-")}
    assert named.pop("iothub-enqueuedtime").endswith("+00:00")
    assert named == {
        "iothub-app-colour": "red", "iothub-ack": "full", "iothub-messageid": "m1", "iothub-userid": "u",
        "iothub-contenttype": "text/plain", "iothub-correlationid": "c1", "iothub-contentencoding": "utf-8",
        "iothub-to": "/devices/d1/messages/devicebound", "iothub-deliverycount": "0",
        "iothub-sequencenumber": "1",
    }  # fmt: skip
    assert (await hub.call("GET", SEND, who="d1"))[0] == 204
    assert (await hub.call("POST", f"{SEND}/{token}/abandon", who="d1"))[0] == 204
    token, headers, _ = await hub.receive()
    assert headers["iothub-deliverycount"] == "1"
    assert (await hub.call("DELETE", f"{SEND}/{token}", who="d1"))[0] == 204
    status, headers, _ = await hub.call("DELETE", f"{SEND}/{token}", who="d1")
    assert (status, headers["iothub-errorcode"]) == (412, "DeviceMessageLockLost")
    await hub.call("POST", SEND, b"two", iothub_ack="negative")
    token, _, _ = await hub.receive(IotHub_MessageLockTimeout="5")
    assert (await hub.call("DELETE", f"{SEND}/{token}?reject", who="d1"))[0] == 204
    assert await hub.feedback() == ["Success", "Rejected"]


@pytest.mark.parametrize(
    ("path", "headers", "want"),
    [
        ("/devices/nobody/messages/deviceBound", {}, (404, "DeviceNotFound")),
        (SEND, {"iothub_ack": "some"}, (400, "ArgumentInvalid")),
        (SEND, {"iothub_expiry": "tomorrow"}, (400, "ArgumentInvalid")),
        (SEND, {"iothub_contenttype": "text/pl\u00e4in"}, (400, "ArgumentInvalid")),
        (SEND, {"iothub_app_": "no name"}, (400, "ArgumentInvalid")),
        (SEND, {"iothub_expiry": "1970-01-01T00:00:01"}, (403, "InvalidMessageExpiryTime")),
        (SEND, {"who": "registryRead"}, (401, "IotHubUnauthorizedAccess")),
        (SEND, {"who": "d1"}, (401, "IotHubUnauthorizedAccess")),
    ],
)
async def test_what_cannot_be_sent(
    hub: Caller, path: str, headers: dict[str, Any], want: tuple[int, str]
) -> None:
    status, found, _ = await hub.call("POST", path, b"x", **headers)
    assert (status, found["iothub-errorcode"]) == want


async def test_a_device_reads_its_own_messages_alone(hub: Caller) -> None:
    await hub.register("d2")
    await hub.call("POST", SEND, b"secret")
    status, headers, body = await hub.call("GET", SEND, who="d2")
    assert (status, headers["iothub-errorcode"]) == (401, "IotHubUnauthorizedAccess")
    assert b"secret" not in body
    token, _, _ = await hub.receive()
    for method, path in (("DELETE", f"{SEND}/{token}"), ("POST", f"{SEND}/{token}/abandon")):
        assert (await hub.call(method, path, who="d2"))[0] == 401
    other = "/devices/d2/messages/deviceBound"
    assert (await hub.call("DELETE", f"{other}/{token}", who="d2"))[0] == 412


@pytest.mark.parametrize("seconds", ["4", "301", "x", "-5", "\u00b2", "9" * 5000])
async def test_lock_times_have_limits(hub: Caller, seconds: str) -> None:
    status, headers, _ = await hub.call("GET", SEND, who="d1", IotHub_MessageLockTimeout=seconds)
    assert (status, headers["iothub-errorcode"]) == (400, "ArgumentInvalid")


async def test_rows_91_and_115_full_and_purged(hub: Caller) -> None:
    for want in (204, 204, 204, 403):
        status, headers, _ = await hub.call("POST", SEND, b"x", iothub_ack="full")
        assert status == want
    assert headers["iothub-errorcode"] == "DeviceMaximumQueueDepthExceeded"
    for path, who in (("/devices/d1", "registryRead"), ("/twins/d1", "service")):
        _, _, body = await hub.call("GET", path, None, who)
        assert json.loads(body)["cloudToDeviceMessageCount"] == 3
    _, _, body = await hub.call("GET", "/devices", None, "registryRead")
    assert [device["cloudToDeviceMessageCount"] for device in json.loads(body)] == [3]
    status, _, body = await hub.call("DELETE", "/devices/d1/commands")
    assert (status, json.loads(body)) == (
        200,
        {"totalMessagesPurged": 3, "deviceId": "d1", "moduleId": None},
    )
    assert await hub.feedback() == ["Purged"] * 3


async def test_what_no_header_can_carry_is_encoded(hub: Caller) -> None:
    from iothub.c2d.model import C2dMessage

    assert hub.server.c2d is not None
    odd = C2dMessage(b"", message_id="a\r\nb", properties={"k k": "\N{SNOWMAN}", "x:y": "plain text"})
    await hub.server.c2d.send("d1", odd)
    _, headers, _ = await hub.receive()
    assert headers["iothub-messageid"] == "a%0D%0Ab"
    assert headers["iothub-app-k%20k"] == "%E2%98%83"
    assert headers["iothub-app-x%3ay"] == "plain text"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    found = Serving(tmp_path_factory.mktemp("hub"))
    yield found
    found.stop()


def test_the_command_line(serving: Serving, tmp_path: Path) -> None:
    folder = serving.data_dir
    assert run("device", "create", "lamp", data_dir=folder).code == 0
    body = tmp_path / "body.json"
    body.write_text('{"on": true}')
    for arguments in (
        ("lamp", "wake up", "-p", "level=high", "--ack", "full", "--message-id", "m-\N{SNOWMAN}"),
        ("lamp", "--file", str(body), "--content-type", "application/json", "--expires-in", "600"),
    ):
        done = run("c2d", "send", *arguments, data_dir=folder)
        assert (done.code, done.out, done.err) == (0, "", "")
    done = run("c2d", "purge", "lamp", data_dir=folder)
    assert (done.code, done.out) == (0, "2 messages dropped\n")
    done = run("c2d", "purge", "lamp", "--json", data_dir=folder)
    assert json.loads(done.out)["totalMessagesPurged"] == 0
    done = run("c2d", "feedback", data_dir=folder)
    assert json.loads(done.out) == [], "it is due in a quarter of a minute"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("send", "lamp"), "give the text of the message, or --file"),
        (("send", "lamp", "x", "--file", "y"), "give the text of the message, or --file"),
        (("send", "lamp", "--file", "/no/such/file"), "cannot read /no/such/file: No such file"),
        (("send", "lamp", "x", "-p", "level"), "--property must be NAME=VALUE, not 'level'"),
        (("send", "lamp", "x", "-p", "level=\N{SNOWMAN}"), "--property level: only printable ASCII"),
        (("send", "lamp", "x", "--message-id", "two\nlines"), "the request cannot be sent"),
        (("send", "nobody", "x"), "404 DeviceNotFound"),
        (("send", "nobody", "x", "--ack", "some"), "must be one of none, positive, negative, full"),
        (("purge", "nobody"), "404 DeviceNotFound"),
    ],
)
def test_mistakes_on_the_command_line(serving: Serving, arguments: tuple[str, ...], text: str) -> None:
    done = run("c2d", *arguments, data_dir=serving.data_dir)
    assert done.code == 1
    assert text in done.err
    assert done.err.count("\n") == 1
