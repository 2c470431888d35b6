"""Keys, tokens and passwords are in no log, and on disk only sealed and for their owner (I-018)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import stat
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from edgehub.demo.stack import EDGE_HUB_MODULE, Stack
from edgehub.demo.topology import StackOptions
from edgehub.protocol.sas import build_token, device_audience, parse_token
from iothub.config import HubConfig
from iothub.server import HubServer
from testkit.hub_process import HubProcess
from testkit.wire import PUBACK, WireClient, field, packet, publish_packet, subscribe_packet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "recognisable-password-4711"
TOKEN_LIFE_S = 3600


def forms_of(secret: str) -> Iterator[str]:
    """How a text or a base64 key could stand in a log."""
    yield secret
    yield quote(secret, safe="")
    with contextlib.suppress(ValueError):
        raw = base64.b64decode(secret, validate=True)
        if len(raw) >= 16:
            yield raw.hex()
            yield repr(raw)[2:-1]


def found_in(text: str, secrets: dict[str, str]) -> list[str]:
    """Names of the secrets that are there in some form."""
    return [name for name, secret in secrets.items() if any(form in text for form in forms_of(secret))]


def signature_of(token: str) -> str:
    return base64.b64encode(parse_token(token).signature).decode()


@pytest.mark.parametrize(
    "text", ["key AAECAwQFBgcICQoLDA0ODw== end", "0001020304050607" + "08090a0b0c0d0e0f"]
)
def test_the_search_finds_a_key(text: str) -> None:
    assert found_in(text, {"a": "AAECAwQFBgcICQoLDA0ODw=="}) == ["a"]


class Visitor:
    """Connects in every way, right and wrong, and keeps what must not be written down."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.secrets = {"password": PASSWORD}
        for name, identity in stack.identities.items():
            self.secrets[f"key of {name}"] = identity.key

    def token(self, name: str, *, key: str | None = None, life_s: int = TOKEN_LIFE_S) -> str:
        host = self._stack.iothub_name
        made = build_token(
            device_audience(host, name),
            int(time.time()) + life_s,
            key=key or self._stack.identities[name].key,
        )
        self.secrets[f"signature {len(self.secrets)}"] = signature_of(made)
        return made

    def connect(self, name: str, password: str) -> int:
        """A client that sends, asks for its twin and leaves, if it may."""
        places = self._stack.places
        with WireClient(places.mqtt_port, host=places.hub_host, ca=self._stack.authority.file) as client:
            user = f"{self._stack.iothub_name}/{name}/?api-version=2021-04-12"
            code = client.connect(name, user, password)
            if code == 0:
                client.send(subscribe_packet("$iothub/twin/res/#"))
                client.send(packet(3, field("$iothub/twin/GET/?$rid=1")))
                client.send(publish_packet(f"devices/{name}/messages/events/", b"{}", 1))
                while (answer := client.receive()) is not None and answer.kind != PUBACK:
                    pass
            return code

    def visit(self) -> None:
        other = base64.b64encode(b"another key of 32 bytes, for all".ljust(32)).decode()
        self.secrets["wrong key"] = other
        good = self.token("leaf")
        assert self.connect("leaf", good) == 0
        for password in (
            PASSWORD,
            f"SharedAccessSignature {PASSWORD}",
            f"SharedAccessSignature sr={PASSWORD}&sig={PASSWORD}&se=1",
            f"{good}&{PASSWORD}",
            good[:-1],
            self.token("leaf", key=other),
            self.token("leaf", life_s=-TOKEN_LIFE_S),
            self.token("ghost", key=other),
        ):
            assert self.connect("leaf", password) == 5
        assert self.connect("ghost", self.token("ghost", key=other)) == 5


async def test_no_secret_is_in_a_log_or_readable_on_disk() -> None:
    options = StackOptions(
        routes={"up": "FROM /messages/* INTO $upstream"},
        devices=("leaf",),
        modules=("mod",),
        uplink_amqp_port=0,
        uplink_https_port=0,
        hub_settings={"RuntimeLogLevel": "verbose"},
    )
    async with Stack(options) as stack:
        visitor = Visitor(stack)
        await asyncio.to_thread(visitor.visit)
        await stack.relay.cut()
        await asyncio.to_thread(visitor.connect, "leaf", visitor.token("leaf"))
        await stack.relay.restore()
        await stack.hub.kill()
        await stack.hub.start()
        await asyncio.to_thread(visitor.connect, "leaf", visitor.token("leaf"))
        logs = {path.name: path.read_text() for path in (stack.folder / "logs").glob("*.log")}
        # iothub tells its operator the connection strings of its policies at the start, and these alone.
        told = {name: found_in(text, visitor.secrets) for name, text in logs.items()}
        assert told == {name: [] for name in logs}
        assert "[DBG]" in logs["edgehub.log"], "it is the whole log"
        assert "refused with 5" in logs["edgehub.log"]
        await stack.hub.kill()  # a running hub removes files
        data = stack.folder / "hub" / "edgeHub"
        kept = {str(path.relative_to(data)): path for path in data.rglob("*") if path.is_file()}
        assert "state.db" in kept
        keys = {name: secret for name, secret in visitor.secrets.items() if name.startswith("key of")}
        assert EDGE_HUB_MODULE in {name.rpartition(" ")[2] for name in keys}
        for name, path in kept.items():
            assert found_in(path.read_bytes().decode("latin-1"), keys) == [], name
        assert modes_of(data, data / "messages") == [0o700, 0o700]
        assert set(modes_of(*(path for name, path in kept.items() if "/" not in name))) == {0o600}


def modes_of(*paths: Path) -> list[int]:
    return [stat.S_IMODE(path.stat().st_mode) for path in paths]


def test_the_secret_of_a_hub_without_a_key_is_for_its_owner(tmp_path: Path) -> None:
    with HubProcess(tmp_path, devices=["leaf"], modules=[], routes={}) as hub:
        data = tmp_path / "store" / "edgeHub"
        assert modes_of(data, data / "messages", data / "secret") == [0o700, 0o700, 0o600]
        secret = base64.b64encode((data / "secret").read_bytes()).decode()
        assert found_in(hub.log(), {"secret": secret}) == []


async def test_iothub_keeps_its_files_for_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "hub"
    server = HubServer(HubConfig(folder, "localhost", "127.0.0.1", 0, 0))
    await server.start()
    try:
        assert modes_of(folder) == [0o700]
        private = {"hub.db", "telemetry.db", "ca-key.pem", "server-key.pem", "iothubowner.txt"}
        assert private <= {path.name for path in folder.iterdir()}
        assert set(modes_of(*(folder / name for name in private))) == {0o600}
    finally:
        await server.stop()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /devices HTTP/1.1\r\nAuthorization: SharedAccessSignature sr=h&sig=%b\x01&se=1\r\n\r\n",
        b"GET /devices HTTP/1.1\r\nAuthorization SharedAccessSignature sr=h&sig=%b&se=1\r\n\r\n",
        b"GET /devices?sig=%b\xff HTTP/1.1\r\n\r\n",
        b"POST /devices HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n",
    ],
)
async def test_iothub_writes_no_malformed_request_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, head: bytes
) -> None:
    caplog.set_level("DEBUG")
    server = HubServer(HubConfig(tmp_path / "hub", "localhost", "127.0.0.1", 0, 0))
    await server.start()
    try:
        trusting = ssl.create_default_context(cafile=server.certificate.ca_file)
        reader, writer = await asyncio.open_connection("localhost", server.https_port, ssl=trusting)
        writer.write(head % PASSWORD.encode())
        assert (await reader.readline()).split()[1] == b"400"
        writer.close()
    finally:
        await server.stop()
    assert found_in(caplog.text, {"password": PASSWORD}) == []
    assert "Traceback" not in caplog.text
