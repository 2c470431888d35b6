"""Configurations of the peers, and what is said of a missing one. No broker is started."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from comparison import amqtt, nats, rabbitmq, rumqttd
from comparison.aedes import Aedes
from comparison.logins import Client, make_clients
from comparison.mosquitto import Mosquitto
from comparison.own_hub import make_logins, own_recipe, prepare_own
from comparison.peers import all_peers, choose

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from comparison.processes import Needs, RunningBroker

TLS = (Path("/c.crt"), Path("/c.key"))


class Fake:
    """A peer that may be there."""

    def __init__(self, name: str, missing: str | None = None) -> None:
        self.name = name
        self._missing = missing

    def missing(self) -> str | None:
        return self._missing

    def version(self) -> str:
        return "1"

    def start(self, work_dir: Path, needs: Needs) -> AbstractContextManager[RunningBroker]:
        raise NotImplementedError


class TestChoose:
    def test_a_missing_peer_is_left_out_with_its_reason(self) -> None:
        chosen = choose((Fake("a"), Fake("b", "run: apt-get install b"), Fake("c")), None)
        assert [peer.name for peer in chosen.peers] == ["a", "c"]
        assert chosen.skipped == {"b": "run: apt-get install b"}

    def test_only_the_wanted_ones_are_looked_at(self) -> None:
        chosen = choose((Fake("a"), Fake("b", "absent")), ["a"])
        assert ([peer.name for peer in chosen.peers], chosen.skipped) == (["a"], {})
        with pytest.raises(ValueError, match="no peer 'x'; there are a, b"):
            choose((Fake("a"), Fake("b")), ["x"])

    def test_the_first_is_the_one_that_bars_refer_to(self) -> None:
        names = [peer.name for peer in all_peers("/usr/sbin/mosquitto")]
        assert names == ["mosquitto", "rumqttd", "nats-server", "rabbitmq", "aedes", "amqtt"]

    def test_what_to_do_about_a_missing_one(self, tmp_path: Path) -> None:
        assert Mosquitto("/no/such/mosquitto").missing() == "run: apt-get install mosquitto"
        told = Aedes(folder=tmp_path).missing()
        assert told is not None
        assert told.startswith("run: ")
        assert rumqttd.missing_package("no-such-package") is not None


class TestConfigurations:
    clients = make_clients(1, 1)

    def test_nats(self, tmp_path: Path) -> None:
        plain = json.loads(nats.config_text(self.clients, tmp_path, (1, 2), None))
        assert (plain["port"], plain["mqtt"]["port"]) == (1, 2)
        assert [user["user"] for user in plain["authorization"]["users"]] == ["pub0", "sub0"]
        assert "tls" not in plain["mqtt"]
        tls = json.loads(nats.config_text(self.clients, tmp_path, (1, 2), TLS))
        assert tls["mqtt"]["tls"] == {"cert_file": "/c.crt", "key_file": "/c.key"}

    def test_rumqttd(self) -> None:
        found = tomllib.loads(rumqttd.config_text(self.clients, 5, TLS))["v4"]["1"]
        assert found["listen"] == "127.0.0.1:5"
        assert found["connections"]["auth"]["pub0"] == self.clients[0].password
        assert found["tls"] == {"certpath": "/c.crt", "keypath": "/c.key"}

    def test_amqtt(self) -> None:
        found = json.loads(amqtt.config_text(5, TLS))["listeners"]["default"]
        assert found == {
            "type": "tcp",
            "bind": "127.0.0.1:5",
            "ssl": True,
            "certfile": "/c.crt",
            "keyfile": "/c.key",
        }

    def test_rabbitmq(self) -> None:
        assert "mqtt.listeners.tcp.default = 127.0.0.1:6" in rabbitmq.config_text((5, 6), None)
        tls = rabbitmq.config_text((5, 6), TLS).splitlines()
        assert {"mqtt.listeners.tcp = none", "mqtt.listeners.ssl.default = 127.0.0.1:6"} <= set(tls)
        names = rabbitmq.environment(Path("/w"), 6)
        assert names["RABBITMQ_MNESIA_BASE"] == "/w/data"
        assert names["ERL_EPMD_PORT"] != "4369"

    def test_a_client_may_log_in_under_another_name(self) -> None:
        line = json.loads(Client("pub", "pub0", "guest", username="guest").line())
        assert (line["clientId"], line["username"], line["password"]) == ("pub0", "guest", "guest")


class TestOwnHub:
    def test_each_module_has_a_route_and_a_client(self, tmp_path: Path) -> None:
        recipe = prepare_own(own_recipe("python").at(tmp_path), tmp_path, 2, 3)
        routes = json.loads((tmp_path / "routes.json").read_text())["routes"]
        assert len(routes) == 3
        assert "/modules/sink2/inputs/in" in routes["load2"]
        lines = [json.loads(line) for line in (tmp_path / "clients.jsonl").read_text().splitlines()]
        assert [line["clientId"] for line in lines] == [
            "device0",
            "device1",
            "edge/sink0",
            "edge/sink1",
            "edge/sink2",
        ]
        assert recipe.environment["MaxConnectedClients"] == "10000"

    def test_one_more_device_keeps_the_control_plane_busy(self, tmp_path: Path) -> None:
        recipe = prepare_own(own_recipe("python").at(tmp_path), tmp_path, 1)
        assert recipe.control is not None
        control = json.loads(Path(recipe.control).read_text())
        assert (control["port"], control["client_id"]) == (recipe.plain_port, "busy")
        devices = json.loads((tmp_path / "identities.json").read_text())["devices"]
        assert [device["deviceId"] for device in devices] == ["edge", "device0", "busy"]
        assert "busy" not in (tmp_path / "clients.jsonl").read_text()

    def test_tokens_are_of_the_identity(self) -> None:
        _, module = make_logins(1, 1)
        assert "bench.hub%2Fdevices%2Fedge%2Fmodules%2Fsink0" in module.token(0)
