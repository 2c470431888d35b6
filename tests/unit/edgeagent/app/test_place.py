"""Who the device is."""

from __future__ import annotations

import base64
import socket
from pathlib import Path

import pytest

from edgeagent.app.place import Place, PlaceError, place_of
from edgeagent.config.toml_model import ConfigFile, DeviceKey, Provisioning
from edgeagent.errors import AgentError

KEY = base64.b64encode(bytes(32)).decode()
STRING = f"HostName=hub1.example.net;DeviceId=d1;SharedAccessKey={KEY}"


def test_from_a_connection_string() -> None:
    place = place_of(STRING, "gw", ConfigFile())
    assert place == Place("hub1.example.net", "d1", "gw", None, KEY)
    assert place.upstream_host == "hub1.example.net"
    assert KEY not in repr(place)


def test_below_a_parent() -> None:
    assert place_of(f"{STRING};GatewayHostName=up", "gw", ConfigFile()).upstream_host == "up"
    assert place_of(STRING, "gw", ConfigFile(parent_hostname="up")).upstream_host == "up"


def test_from_the_file() -> None:
    known = Provisioning("hub1.example.net", "d1", DeviceKey(bytes(32)))
    config = ConfigFile(hostname="gw2", provisioning=known)
    assert place_of("", "", config) == Place("hub1.example.net", "d1", "gw2", None, KEY)


def test_a_key_file_that_is_not_there() -> None:
    known = Provisioning("hub1.example.net", "d1", DeviceKey(file=Path("/no/such/key")))
    with pytest.raises(AgentError, match="/no/such/key"):
        place_of("", "gw", ConfigFile(provisioning=known))


def test_without_a_hub_the_machine_has_a_name() -> None:
    place = place_of(" ", "", ConfigFile())
    assert (place.device_id, place.has_hub) == (socket.gethostname(), False)


@pytest.mark.parametrize("text", ["x", "HostName=h;DeviceId=d", f"{STRING};ModuleId=m", "HostName=h;;;"])
def test_connection_strings_that_cannot_be_used(text: str) -> None:
    with pytest.raises(PlaceError, match="the connection string ") as fault:
        place_of(text, "gw", ConfigFile())
    assert KEY not in str(fault.value)
