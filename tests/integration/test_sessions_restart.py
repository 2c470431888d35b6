"""Sessions and what waits for them over a restart of the process (M-021, M-022, M-023, T-021)."""

from __future__ import annotations

import json
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from testkit.hub_process import EDGE, HubProcess
from testkit.wire import (
    PUBACK,
    PUBLISH,
    SUBACK,
    WireClient,
    puback_packet,
    publish_packet,
    subscribe_packet,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULE = f"{EDGE}/m"
INPUTS = f"devices/{EDGE}/modules/m/inputs/#"
TWIN_ANSWERS = "$iothub/twin/res/#"
LEAF_TOPIC = "devices/leaf/messages/events/"
ROUTES = {"in": 'FROM /messages/* INTO BrokeredEndpoint("/modules/m/inputs/i")'}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with HubProcess(tmp_path, devices=["leaf"], modules=["m"], routes=ROUTES) as hub:
        yield hub


def stop(hub: HubProcess) -> None:
    assert hub.stop() == 0


ENDS = pytest.mark.parametrize("end", [stop, HubProcess.kill], ids=["SIGTERM", "SIGKILL"])


def subscribe(client: WireClient, topic_filter: str) -> None:
    client.send(subscribe_packet(topic_filter))
    assert client.expect(SUBACK).body[2] == 1


def publish(hub: HubProcess, *bodies: bytes) -> None:
    with hub.client("leaf") as leaf:
        for number, body in enumerate(bodies, 1):
            leaf.send(publish_packet(LEAF_TOPIC, body, number))
            assert leaf.expect(PUBACK).acked == number


def take(client: WireClient) -> bytes:
    _, packet_id, body = client.expect(PUBLISH).message()
    client.send(puback_packet(packet_id))
    return body


def creation_times(folder: Path) -> dict[str, int]:
    """Filter -> creation time of the module's stored session."""
    (file,) = (folder / "store").rglob("state.db")
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as state:
        query = "SELECT value FROM state WHERE bucket = 'sessions' AND key = ?"
        ((value,),) = state.execute(query, (MODULE,)).fetchall()
    state.close()
    return {name: created for name, _, created in json.loads(value)["subscriptions"]}


@ENDS
def test_messages_wait_for_a_module_and_come_without_a_subscribe(hub: HubProcess, end: object) -> None:
    assert callable(end)
    module = hub.client(MODULE, clean=False)
    assert not module.session_present
    subscribe(module, INPUTS)
    publish(hub, b"before")
    assert take(module) == b"before"
    module.socket.close()
    publish(hub, b"while away", b"and one more")
    end(hub)
    hub.start()
    publish(hub, b"after the restart")
    module = hub.client(MODULE, clean=False)
    assert module.session_present
    assert [take(module) for _ in range(3)] == [b"while away", b"and one more", b"after the restart"]
    module.socket.close()


@ENDS
def test_a_connected_client_finds_its_session_again(hub: HubProcess, end: object) -> None:
    """The SUBACK is the promise: nothing of an orderly end is needed."""
    assert callable(end)
    with hub.client(MODULE, clean=False) as module:
        subscribe(module, INPUTS)
        end(hub)
    hub.start()
    publish(hub, b"for the restored filter")
    with hub.client(MODULE, clean=False) as module:
        assert module.session_present
        assert take(module) == b"for the restored filter"


def test_creation_times_are_kept(hub: HubProcess, tmp_path: Path) -> None:
    with hub.client(MODULE, clean=False) as module:
        subscribe(module, INPUTS)
    first = creation_times(tmp_path)
    assert abs(first[INPUTS] / 1000 - time.time()) < 60
    hub.kill()
    hub.start()
    with hub.client(MODULE, clean=False) as module:
        subscribe(module, INPUTS)
        subscribe(module, TWIN_ANSWERS)
    second = creation_times(tmp_path)
    assert second[INPUTS] == first[INPUTS]
    assert second[TWIN_ANSWERS] > first[INPUTS]


@ENDS
def test_a_clean_session_ends_the_stored_one_for_good(hub: HubProcess, end: object) -> None:
    assert callable(end)
    with hub.client(MODULE, clean=False) as module:
        subscribe(module, INPUTS)
    with hub.client(MODULE) as module:
        assert not module.session_present
        subscribe(module, TWIN_ANSWERS)
        end(hub)
    hub.start()
    with hub.client(MODULE, clean=False) as module:
        assert not module.session_present
