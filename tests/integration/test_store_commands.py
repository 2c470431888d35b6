"""`edgehub store` on the folder of a hub that runs, and of one that was killed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from edgehub.cli.commands import app
from testkit.hub_process import HubProcess
from testkit.wire import PUBACK, publish_packet

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ROUTES = {
    "up": "FROM /messages/* INTO $upstream",
    "in": 'FROM /messages/* WHERE as_number(temp) > 1 INTO BrokeredEndpoint("/modules/m/inputs/i")',
}
TOPIC = "devices/leaf/messages/events/temp=3&$.ct=text%2Fplain"


def store(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["store", *arguments])


def publish(hub: HubProcess, *bodies: bytes) -> None:
    with hub.client("leaf") as client:
        for packet_id, body in enumerate(bodies, 1):
            client.send(publish_packet(TOPIC, body, packet_id))
            assert client.expect(PUBACK).acked == packet_id


def test_what_a_hub_has_acknowledged_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("StorageFolder", str(tmp_path / "store"))
    with HubProcess(tmp_path, devices=["leaf"], modules=["m"], routes=ROUTES) as hub:
        publish(hub, b"one", b"\xfe\xff")
        queues = {
            queue["endpoint"]: queue["messages"]
            for queue in json.loads(store("ls", "--json").stdout)["queues"]
        }
        assert queues == {"iothub": 2, "edge1/m/i": 2}
        publish(hub, b"three")
        assert store("verify").exit_code == 0
        lines = store("export", "edge1/m/i").stdout.splitlines()
        hub.kill()
    assert lines == store("export", "edge1/m/i").stdout.splitlines()
    messages = [json.loads(line) for line in lines]
    assert [message.get("body") or message["bodyBase64"] for message in messages] == ["one", "/v8=", "three"]
    first = messages[0]
    assert (first["source"], first["properties"]) == ("/messages/", {"temp": "3"})
    assert first["systemProperties"] == {"connectionDeviceId": "leaf", "contentType": "text/plain"}
    assert first["expiresAt"] > first["enqueuedAt"]
    assert store("verify").exit_code == 0
