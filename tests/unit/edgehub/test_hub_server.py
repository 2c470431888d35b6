"""One run of the hub over a fake core: start, failures, drain (settings spec 7.2 to 7.4)."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
import os
import resource
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

import edgehub
from edgehub import app
from edgehub.app import HubServer, run_hub
from edgehub.common.clock import SystemClock
from edgehub.common.ids import IdentityId
from edgehub.common.limits import raise_file_limit
from edgehub.config.load import load_settings
from edgehub.errors import EdgehubError
from edgehub.identity.scope_wire import encode_identity
from edgehub.upstream_parts import ParentHub
from testkit import fake_core
from testkit.clock import ManualClock
from testkit.https import HOST, TrustedServer
from testkit.identities import (
    EDGE_ID,
    HUB_HOST,
    FakeScopeApi,
    edge_identity,
    sas_identity,
    token_for,
    username_for,
)
from testkit.parent_twins import FakeParentTwins

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from edgehub.hub.ports import LinkListener
    from edgehub.protocol.cloud_messages import CloudMessage, Settlement

ROUTE = "FROM /* INTO $upstream"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def desired(version: int = 1, **routes: Any) -> dict[str, Any]:
    return {
        "schemaVersion": "1.1",
        "routes": routes or {"up": ROUTE},
        "storeAndForwardConfiguration": {"timeToLiveSecs": 7200},
        "$version": version,
    }


class FakeParentMessages:
    """Cloud-to-device messages of a parent hub that has none; whom it could send to."""

    def __init__(self) -> None:
        self.followed: set[str] = set()

    def follow(self, identity: str, *, wanted: bool) -> None:
        (self.followed.add if wanted else self.followed.discard)(identity)

    def serve_with(self, serve: Callable[[str, CloudMessage], Awaitable[Settlement]]) -> None:
        self.serve = serve


class FakeParent:
    """A parent hub that answers from memory."""

    def __init__(self, *, online: bool = True) -> None:
        self.online = online
        self.desired = desired()
        self.reported: list[Mapping[str, Any]] = []
        self.scope = FakeScopeApi([edge_identity(), sas_identity("leaf")])
        self.client_twins = FakeParentTwins()
        self.callable: set[str] = set()
        self.messages = FakeParentMessages()
        self.listener: LinkListener | None = None
        self.ready = 0
        self.stopped = self.closed = False
        self.kicks = 0

    def connect(self, *parts: Any) -> ParentHub:
        return ParentHub(self, self, self.client_twins, self, self.messages, self.scope, self.close)

    async def close(self) -> None:
        self.closed = True

    def kick(self) -> None:
        self.kicks += 1

    def set_listener(self, listener: LinkListener) -> None:
        self.listener = listener

    async def start(self) -> None:
        if self.online and self.listener is not None:
            self.listener.link_up()

    async def stop(self) -> None:
        self.stopped = True

    def messages_ready(self) -> None:
        self.ready += 1

    def follow(self, identity: str, *, wanted: bool) -> None:
        (self.callable.add if wanted else self.callable.discard)(identity)

    def serve_with(self, serve: Callable[[str, str, bytes], Awaitable[tuple[int, bytes]]]) -> None:
        self.serve = serve

    async def get_desired(self) -> Mapping[str, Any]:
        return self.desired

    async def patch_reported(self, patch: Mapping[str, Any]) -> None:
        if not self.online:
            raise EdgehubError("offline")
        self.reported.append(patch)


class Engines:
    """The fake core as a module, keeping the engine it made."""

    def __init__(self) -> None:
        self.engine: fake_core.Engine | None = None
        self.on_open: Callable[[], None] = lambda: None
        self.module = _Module(self)

    def make(self, **options: Any) -> fake_core.Engine:
        self.on_open()
        self.engine = fake_core.Engine(**options)
        return self.engine


class _Module:
    def __init__(self, engines: Engines) -> None:
        self.Engine = engines.make
        self.Grants = fake_core.Grants
        self.CoreError = fake_core.CoreError
        self.check_routes = fake_core.check_routes


@pytest.fixture
def engines() -> Engines:
    return Engines()


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, str]:
    """A hub without parent, on plain MQTT."""
    merged: dict[str, list[Any]] = {"devices": [], "modules": []}
    for identity in (edge_identity(), sas_identity("leaf")):
        merged["devices"] += json.loads(encode_identity(identity))["devices"]
    (tmp_path / "identities.json").write_text(json.dumps(merged))
    (tmp_path / "routes.json").write_text(json.dumps(desired()))
    return {
        "IOTEDGE_DEVICEID": EDGE_ID,
        "IOTEDGE_IOTHUBHOSTNAME": HUB_HOST,
        "IdentitiesFile": str(tmp_path / "identities.json"),
        "RoutesFile": str(tmp_path / "routes.json"),
        "StorageFolder": str(tmp_path),
        "mqttSettings__plain_port": "0",
        "httpSettings__enabled": "false",
        "httpSettings__metrics_port": "0",
        "httpSettings__metrics_host": "127.0.0.1",
        "ShutdownWaitPeriod": "5",
        "ControlPlaneNice": "0",
        "ReportedPropertiesSyncFrequencySecs": "0",
    }


@pytest.fixture
def connected(alone: dict[str, str]) -> dict[str, str]:
    """A hub with a parent."""
    del alone["IdentitiesFile"], alone["RoutesFile"]
    string = f"HostName={HUB_HOST};DeviceId={EDGE_ID};ModuleId=$edgeHub;SharedAccessKey={KEY}"
    return alone | {"IotHubConnectionString": string}


def server(environment: dict[str, str], engines: Engines, parent: FakeParent | None = None) -> HubServer:
    connect = (parent or FakeParent()).connect
    return HubServer(load_settings(environment), engines.module, connect)  # type: ignore[arg-type]


@asynccontextmanager
async def running(hub: HubServer) -> AsyncIterator[asyncio.Task[int]]:
    """The hub while it is ready; it is stopped and its exit code checked by the caller or here."""
    task = asyncio.create_task(hub.serve())
    await until(lambda: task.done() or (hub.services is not None and hub.services.health.started))
    assert not task.done(), task.result()
    yield task
    hub.stop()
    await task


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("the condition never held")


async def health(hub: HubServer) -> tuple[int, str]:
    url = f"http://127.0.0.1:{hub.metrics_port}/healthz"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, (await answer.json())["status"]


@pytest.mark.parametrize(
    ("optimize", "pooled", "low_memory", "pooled_buffers"),
    [
        (None, None, False, True),
        ("true", None, False, True),
        ("false", None, True, False),
        ("true", "false", False, False),
        ("false", "true", True, True),
    ],
)
async def test_the_memory_settings_reach_the_engine(
    alone: dict[str, str],
    engines: Engines,
    optimize: str | None,
    pooled: str | None,
    low_memory: bool,
    pooled_buffers: bool,
) -> None:
    chosen = {"OptimizeForPerformance": optimize, "mqttSettings__UsePooledBuffers": pooled}
    hub = server(alone | {name: text for name, text in chosen.items() if text is not None}, engines)
    async with running(hub):
        assert engines.engine is not None
        options = engines.engine.options
        assert (options["low_memory"], options["pooled_buffers"]) == (low_memory, pooled_buffers)


MESSAGE_DEFAULTS = {
    "ack_timeout_ms": 30_000,
    "retransmissions_max": None,
    "abort_on_bad_puback": False,
    "retain_property": "mqtt-retain",
    "dup_property": "mqtt-dup",
    "qos_property": "mqtt-qos",
    "delivery_qos": 1,
    "will_property": "MessageType",
}


@pytest.mark.parametrize(
    ("chosen", "options"),
    [
        ({}, {}),
        (
            {"RetainPropertyName": "kept", "DupPropertyName": "again"},
            {"retain_property": "kept", "dup_property": "again"},
        ),
        (
            {"QoSPropertyName": "q", "DefaultPublishToClientQoS": "0"},
            {"qos_property": "q", "delivery_qos": 0},
        ),
        ({"ServicePropertyPrefix": "svc-"}, {"will_property": "svc-MessageType"}),
        ({"AbortOnOutOfOrderPubAck": "true"}, {"abort_on_bad_puback": True}),
        ({"DeviceReceiveAckTimeout": "00:00:05"}, {"ack_timeout_ms": 5000}),
        ({"DeviceReceiveAckTimeout": "00:01:00"}, {}),
        ({"MaxOutboundRetransmissionCount": "2"}, {}),
        (
            {"DeviceReceiveAckTimeout": "00:00:05", "MaxOutboundRetransmissionCount": "2"},
            {"ack_timeout_ms": 5000, "retransmissions_max": 2},
        ),
    ],
)
async def test_the_message_settings_reach_the_engine(
    alone: dict[str, str], engines: Engines, chosen: dict[str, str], options: dict[str, object]
) -> None:
    hub = server(alone | {f"mqttSettings__{name}": text for name, text in chosen.items()}, engines)
    async with running(hub):
        assert engines.engine is not None
        wanted = MESSAGE_DEFAULTS | options
        assert {name: engines.engine.options[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("setting", "option"),
    [
        ("mqttSettings__SenderOfTopic", "sender_of_topic"),
        ("mqttSettings__SentRenewsKeepAlive", "sent_renews_keep_alive"),
    ],
)
@pytest.mark.parametrize(("text", "value"), [(None, False), ("false", False), ("true", True)])
async def test_the_switches_of_deviations_reach_the_engine(
    alone: dict[str, str], engines: Engines, setting: str, option: str, text: str | None, value: bool
) -> None:
    hub = server(alone | ({setting: text} if text is not None else {}), engines)
    async with running(hub):
        assert engines.engine is not None
        assert engines.engine.options[option] is value


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({}, (None, 0)),
        ({"MaxUnauthenticatedConnections": "7", "MaxConnectsPerSecond": "90"}, (7, 90)),
    ],
)
async def test_the_limits_on_connections_reach_the_engine(
    alone: dict[str, str], engines: Engines, settings: dict[str, str], options: tuple[int | None, int]
) -> None:
    async with running(server(alone | settings, engines)):
        assert engines.engine is not None
        found = engines.engine.options
        assert (found["unauthenticated_max"], found["connects_per_s"]) == options
        assert found["log_level"] == logging.getLogger("edgehub.core").getEffectiveLevel()


async def test_a_hub_alone_from_start_to_drain(
    alone: dict[str, str], engines: Engines, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("INFO")
    hub = server(alone, engines)
    async with running(hub) as task:
        engine = engines.engine
        assert engine is not None
        assert engine.started
        assert engine.options["storage_dir"] == str(tmp_path / "edgeHub/messages")
        assert engine.options["edge_device_id"] == EDGE_ID
        assert await health(hub) == (200, "ok")
        assert hub.ports.mqtt_plain == 40_001
        token = token_for("leaf", ManualClock(SystemClock().wall_s()))
        engine.push(fake_core.ConnectEvent(1, "leaf", username_for("leaf"), token.encode()))
        await until(lambda: any(call.name == "accept" for call in engine.calls))
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{hub.metrics_port}/metrics") as answer,
        ):
            assert "edgehub_connected_clients{" in await answer.text()
        hub.stop()
        assert await task == 0
    assert [call.name for call in engine.calls] == [
        "set_routes",
        "listen",
        "accept",
        "close_listener",
        "stop",
    ]
    text = caplog.text
    for line in (
        "Initializing Edge Hub",
        "Version - ",
        "OptimizeForPerformance=True",
        "UsePooledBuffers=True",
        "MessageAckTimeoutSecs=30",
        "Created new message store",
        "Set the following 1 route(s) in edge hub",
        "Edge hub is ready",
        "Stopping the protocol heads...",
        "Protocol heads stopped.",
        "Shutdown complete.",
    ):
        assert line in text


async def test_a_hub_with_a_parent(connected: dict[str, str], engines: Engines) -> None:
    parent = FakeParent()
    hub = server(connected, engines, parent)
    async with running(hub):
        assert hub.services is not None
        assert hub.services.routes.configured
        assert hub.services.knows_identities
        await until(lambda: any("lastDesiredStatus" in patch for patch in parent.reported))
        assert engines.engine is not None
        engines.engine.push(fake_core.UpstreamReadyEvent())
        await until(lambda: parent.ready == 1)
    assert parent.stopped
    assert parent.closed
    assert parent.kicks >= 1, "the first device scope"


async def test_a_hub_that_was_once_online_starts_offline(connected: dict[str, str], engines: Engines) -> None:
    async with running(server(connected, engines)):
        pass
    parent = FakeParent(online=False)
    parent.scope.failure = EdgehubError("not even asked")
    hub = server(connected, engines, parent)
    async with running(hub):
        assert hub.services is not None
        assert hub.services.knows_identities
        assert hub.services.routes.configured


async def test_clients_connect_and_subscribe_while_the_parent_hub_is_away(
    connected: dict[str, str], engines: Engines
) -> None:
    """T-017: SUBACK does not wait for the parent hub's side of the subscription."""
    async with running(server(connected, engines)):
        pass
    parent = FakeParent(online=False)
    async with running(server(connected, engines, parent)):
        engine = engines.engine
        assert engine is not None
        token = token_for("leaf", ManualClock(SystemClock().wall_s()))
        filters = [("$iothub/methods/POST/#", 1), ("devices/leaf/messages/devicebound/#", 1)]
        engine.push(
            fake_core.ConnectEvent(1, "leaf", username_for("leaf"), token.encode()),
            fake_core.SubscribeEvent(1, 7, filters),
        )
        await until(lambda: any(call.name == "suback" for call in engine.calls))
        (call,) = [call for call in engine.calls if call.name == "suback"]
        assert (call.packet_id, call.codes) == (7, b"\x01\x01")
        assert "leaf" in parent.callable
        assert parent.messages.followed == {"leaf"}


async def test_t_024_a_client_that_the_parent_hub_refuses_is_closed(
    connected: dict[str, str], engines: Engines
) -> None:
    parent = FakeParent()
    async with running(server(connected, engines, parent)):
        engine = engines.engine
        assert engine is not None
        token = token_for("leaf", ManualClock(SystemClock().wall_s()))
        engine.push(fake_core.ConnectEvent(1, "leaf", username_for("leaf"), token.encode()))
        await until(lambda: any(call.name == "accept" for call in engine.calls))
        assert parent.listener is not None
        parent.scope.put(sas_identity("leaf", enabled=False))
        parent.listener.client_unauthorized("leaf")
        parent.listener.client_unauthorized("stranger")
        (call,) = [call for call in engine.calls if call.name == "close"]
        assert (call.conn, call.reason) == (1, "the parent hub refuses this client")
        await until(lambda: IdentityId("leaf") in parent.scope.asked)
        engine.push(
            fake_core.ClosedEvent(1),
            fake_core.ConnectEvent(2, "leaf", username_for("leaf"), token.encode()),
        )
        await until(lambda: any(call.name == "refuse" for call in engine.calls))


async def test_without_any_configuration_the_start_fails(
    connected: dict[str, str],
    engines: Engines,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(app, "CONFIG_WAIT_S", 0.01)
    hub = server(connected, engines, FakeParent(online=False))
    assert await hub.serve() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "could not obtain the twin of $edgeHub" in line
    assert engines.engine is not None
    assert engines.engine.listeners == {}
    assert engines.engine.stopped


async def test_a_first_configuration_that_is_bad_fails_the_start_after_it_was_reported(
    connected: dict[str, str], engines: Engines
) -> None:
    parent = FakeParent()
    parent.desired = desired(up="BAD")
    assert await server(connected, engines, parent).serve() == 1
    (status,) = [patch["lastDesiredStatus"] for patch in parent.reported if "lastDesiredStatus" in patch]
    assert status["code"] == 400


async def test_routes_of_the_environment(alone: dict[str, str], engines: Engines) -> None:
    del alone["RoutesFile"]
    hub = server(alone | {"configSource": "local", "routes__x": ROUTE, "timeToLiveSecs": "5"}, engines)
    async with running(hub):
        assert engines.engine is not None
        (call,) = [call for call in engines.engine.calls if call.name == "set_routes"]
        assert (call.routes, call.default_ttl_secs) == ([("x", ROUTE, None, 0)], 5)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"RoutesFile": "/none.json"}, "/none.json: No such file"),
        ({"IdentitiesFile": "/none.json"}, "/none.json: No such file"),
        ({"mqttSettings__plain_port": None}, "EdgeHubDevServerCertificateFile"),
        ({"IOTEDGE_DEVICEID": None}, "IOTEDGE_DEVICEID"),
        ({"EdgeHubDevServerCertificateFile": "/none.pem"}, "set both"),
        ({"httpSettings__metrics_host": "203.0.113.1"}, "cannot open the metrics port 203.0.113.1:0"),
    ],
)
async def test_a_start_that_cannot_work_says_why_in_one_line(
    alone: dict[str, str],
    engines: Engines,
    changes: dict[str, str | None],
    part: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment = {name: value for name, value in (alone | changes).items() if value is not None}
    assert await server(environment, engines).serve() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edgehub: ")
    assert part in line


async def test_a_bad_route_in_the_file_fails_the_start(
    alone: dict[str, str], engines: Engines, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(alone["RoutesFile"]).write_text(json.dumps(desired(up="BAD")))  # noqa: ASYNC240
    assert await server(alone, engines).serve() == 1
    assert "Error parsing route up" in capsys.readouterr().err


async def test_a_second_hub_on_the_same_folder_fails(
    alone: dict[str, str], engines: Engines, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(server(alone, engines)):
        assert await server(alone, Engines()).serve() == 1
        assert "in use by another hub" in capsys.readouterr().err


async def test_a_listener_that_cannot_open_fails_the_start(
    alone: dict[str, str], engines: Engines, capsys: pytest.CaptureFixture[str]
) -> None:
    made = engines.make

    def make(**options: Any) -> fake_core.Engine:
        engine = made(**options)
        engine.fail_listen = "port 1883 is in use"
        return engine

    engines.module.Engine = make
    assert await server(alone, engines).serve() == 1
    assert "port 1883 is in use" in capsys.readouterr().err


async def test_a_failed_store_ends_the_hub_with_1(alone: dict[str, str], engines: Engines) -> None:
    hub = server(alone, engines)
    async with running(hub) as task:
        assert engines.engine is not None
        engines.engine.push(fake_core.StoreFailedEvent("disk gone"))
        assert await task == 1
        assert hub.services is not None
        assert hub.services.health.store_fault == "disk gone"


async def test_a_failed_background_job_ends_the_hub_with_1(
    alone: dict[str, str], engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = server(alone, engines)
    async with running(hub) as task:
        assert hub.services is not None

        async def fail() -> None:
            raise RuntimeError("on purpose")

        hub._spawn_all({"test": fail()})
        assert await task == 1


async def test_without_the_mqtt_head_nobody_is_served(
    alone: dict[str, str], engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    """M-002; what a process loads then is seen by the integration tests."""
    caplog.set_level("INFO")
    async with running(server(alone | {"mqttSettings__enabled": "false"}, engines)):
        engine = engines.engine
        assert engine is not None
        assert engine.options["io_threads"] is None
        assert [call.name for call in engine.calls] == ["set_routes"]
    assert "The MQTT head is disabled" in caplog.text


async def test_the_http_head_serves_and_stops(
    alone: dict[str, str], engines: Engines, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    https = TrustedServer(tmp_path / "certificates")
    settings = {
        "EdgeHubDevServerCertificateFile": str(https.files.chain),
        "EdgeHubDevServerPrivateKeyFile": str(https.files.key),
        "httpSettings__enabled": "true",
        "httpSettings__host": HOST,
        "httpSettings__port": "0",
    }
    hub = server(alone | settings, engines)
    async with running(hub) as task, https.session() as session:
        url = f"https://{HOST}:{hub.ports.http}"
        assert f"HTTP head is listening on port {hub.ports.http} (TLS)" in caplog.text
        client = await session.ws_connect(url, protocols=("mqtt",))
        engine = engines.engine
        assert engine is not None
        await until(lambda: bool(engine.adopted))
        hub.stop()
        message = await client.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE
        await client.close()
        assert await task == 0
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(url)
    engine.dispose()


async def test_an_http_head_without_a_certificate_is_told(
    alone: dict[str, str], engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    hub = server(alone | {"httpSettings__enabled": "true", "httpSettings__port": "0"}, engines)
    async with running(hub):
        assert hub.ports.http == 0
    assert "The HTTP head does not listen: there is no server certificate" in caplog.text


async def test_an_http_port_that_is_taken_fails_the_start(
    alone: dict[str, str], engines: Engines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    https = TrustedServer(tmp_path / "certificates")
    with socket.create_server((HOST, 0)) as taken:
        settings = {
            "EdgeHubDevServerCertificateFile": str(https.files.chain),
            "EdgeHubDevServerPrivateKeyFile": str(https.files.key),
            "httpSettings__enabled": "true",
            "httpSettings__host": HOST,
            "httpSettings__port": str(taken.getsockname()[1]),
        }
        assert await server(alone | settings, engines).serve() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "Address already in use; choose another port with httpSettings__port" in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_drain(alone: dict[str, str], engines: Engines, number: signal.Signals) -> None:
    async with running(server(alone, engines)) as task:
        os.kill(os.getpid(), number)
        assert await task == 0
    assert engines.engine is not None
    assert engines.engine.stopped


async def test_a_signal_during_the_start_ends_it(connected: dict[str, str], engines: Engines) -> None:
    hub = server(connected, engines, FakeParent(online=False))
    task = asyncio.create_task(hub.serve())
    await until(lambda: engines.engine is not None and engines.engine.started)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0


async def test_a_shutdown_that_hangs_is_cut_short(
    connected: dict[str, str], engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    parent = FakeParent()

    async def hang() -> None:
        await asyncio.Event().wait()

    parent.stop = hang  # type: ignore[method-assign]
    hub = server(connected | {"ShutdownWaitPeriod": "1"}, engines, parent)
    async with running(hub) as task:
        hub.stop()
        assert await task == 1
    assert "was cut short" in caplog.text


def issued(name: str, expires: str) -> dict[str, Any]:
    return {"certificate": f"CHAIN of {name}", "privateKey": {"bytes": "KEY"}, "expiration": expires}


class FakeAgent:
    """The workload API of an agent, on a unix socket."""

    def __init__(self, expires: str) -> None:
        self.expires = expires

    async def handle(self, request: web.Request) -> web.Response:
        body: Any = await request.json() if request.can_read_body else {}
        if request.path.endswith("/sign"):
            digest = hmac.digest(b"k" * 32, base64.b64decode(body["data"]), "sha256")
            return web.json_response({"digest": base64.b64encode(digest).decode()})
        if request.path == "/trust-bundle":
            return web.json_response({"certificate": "PEM"})
        return web.json_response(issued(body["commonName"], self.expires), status=201)


@asynccontextmanager
async def agent(path: Path, expires: str) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", FakeAgent(expires).handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    yield f"unix://{path}"
    await runner.cleanup()


@pytest.fixture
def under_agent(connected: dict[str, str]) -> dict[str, str]:
    del connected["IotHubConnectionString"], connected["mqttSettings__plain_port"]
    return connected | {"EDGEDEVICEHOSTNAME": "gateway.local", "IOTEDGE_MODULEGENERATIONID": "1"}


async def test_under_an_agent(under_agent: dict[str, str], engines: Engines, tmp_path: Path) -> None:
    async with agent(tmp_path / "w.sock", "2999-01-01T00:00:00Z") as uri:
        hub = server(under_agent | {"IOTEDGE_WORKLOADURI": uri}, engines)
        async with running(hub):
            assert engines.engine is not None
            (listener,) = engines.engine.listeners.values()
            assert listener[0] in ("::", "0.0.0.0")
            assert listener[1:] == (8883, b"CHAIN of gateway.local")
        again = server(under_agent | {"IOTEDGE_WORKLOADURI": uri}, engines, FakeParent(online=False))
        async with running(again):
            assert again.services is not None
            assert again.services.knows_identities, "sealed with a key that only the agent's signature gives"


async def test_a_new_certificate_of_the_agent_is_put_in_force_without_an_end(
    under_agent: dict[str, str], engines: Engines, tmp_path: Path
) -> None:
    settings = {"SslProtocols": "tls1.3", "ClientCertAuthEnabled": "false"}
    async with agent(tmp_path / "w.sock", "2999-01-01T00:00:00Z") as uri:
        hub = server(under_agent | settings | {"IOTEDGE_WORKLOADURI": uri}, engines)
        async with running(hub) as task:
            engine = engines.engine
            assert engine is not None
            (listen,) = (call for call in engine.calls if call.name == "listen")
            assert (listen.tls_versions, listen.client_certificates) == (("1.3",), False)
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: any(call.name == "set_tls" for call in engine.calls))
            (call,) = (call for call in engine.calls if call.name == "set_tls")
            assert (call.listener, call.chain_pem) == (1, b"CHAIN of gateway.local")
            assert not task.done()


async def test_a_certificate_that_the_core_refuses_is_told_and_the_hub_lives(
    under_agent: dict[str, str], engines: Engines, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with agent(tmp_path / "w.sock", "2999-01-01T00:00:00Z") as uri:
        hub = server(under_agent | {"IOTEDGE_WORKLOADURI": uri}, engines)
        async with running(hub) as task:
            assert engines.engine is not None
            engines.engine.fail_listen = "server certificate: the chain is not PEM"
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: "the chain is not PEM" in caplog.text)
            assert not task.done()


async def test_an_agent_that_does_not_answer_fails_the_start(
    under_agent: dict[str, str], engines: Engines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = under_agent | {"IOTEDGE_WORKLOADURI": f"unix://{tmp_path}/none.sock"}
    assert await server(environment, engines).serve() == 1
    assert "workload API" in capsys.readouterr().err


def test_the_file_limit_is_raised_to_what_is_allowed() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_missing_extension_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], alone: dict[str, str]
) -> None:
    monkeypatch.setitem(sys.modules, "edgehub._core", None)
    monkeypatch.delattr(edgehub, "_core", raising=False)
    before = logging.getLogger().handlers[:]
    try:
        assert run_hub(alone) == 1
    finally:
        logging.getLogger().handlers[:] = before
    assert "edgehub: the extension edgehub._core cannot be loaded" in capsys.readouterr().err


def test_bad_settings_give_one_line_and_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_hub({"MaxUpstreamBatchSize": "abc"}) == 1
    captured = capsys.readouterr()
    assert captured.err == "edgehub: MaxUpstreamBatchSize='abc': expected a whole number from 1 to 1000\n"
    assert captured.out == ""
