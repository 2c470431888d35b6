"""The seam between the hub and the link to its parent."""

from __future__ import annotations

import ssl
from typing import Any, cast

import pytest

from edgehub.common.ids import IdentityId
from edgehub.config.load import SettingsError, load_settings
from edgehub.hub.own_identity import HubIdentity
from edgehub.hub.own_key import LocalKey
from edgehub.identity.refresher import ScopeApiError
from edgehub.identity.scope_wire import encode_identity
from edgehub.parent_link import AmqpHubTwin, CoreSource, HttpsScopeApi, connect_parent_hub, tls_context
from edgehub.upstream.errors import UpstreamError, UpstreamOffline, UpstreamRefused
from edgehub.upstream.scope_client import NoSuchIdentity, NotInScope, ScopeError
from edgehub.upstream_parts import ParentContext
from testkit.clock import ManualClock
from testkit.fake_core import Engine, UpstreamBatch, core_module
from testkit.identities import edge_identity, sas_identity

LEAF = IdentityId("leaf")


class FakeScopeClient:
    """Answers of the scope client."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, ...]] = []

    async def listing(self, target_device: str, auth_chain: str) -> list[bytes]:
        self.calls.append((target_device, auth_chain))
        return [self._next() for _ in range(len(self.answers))]

    async def identity(self, device_id: str, module_id: str | None, auth_chain: str) -> bytes:
        self.calls.append((device_id, str(module_id), auth_chain))
        return self._next()

    def _next(self) -> bytes:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, bytes)
        return answer


def api(*answers: Any) -> tuple[HttpsScopeApi, FakeScopeClient]:
    client = FakeScopeClient(*answers)
    return HttpsScopeApi(client), client  # type: ignore[arg-type]


async def test_all_pages_are_read() -> None:
    scope, client = api(encode_identity(edge_identity()), encode_identity(sas_identity("leaf")))
    assert await scope.list_identities(["edge2", "edge1"]) == [edge_identity(), sas_identity("leaf")]
    assert client.calls == [("edge2", "edge2;edge1")]


async def test_one_identity() -> None:
    scope, client = api(encode_identity(sas_identity("edge1/m")))
    assert list(await scope.get_identity(IdentityId("edge1", "m"), ["edge1"])) == [sas_identity("edge1/m")]
    assert client.calls == [("edge1", "m", "edge1")]


@pytest.mark.parametrize("answer", [NoSuchIdentity("404"), NotInScope("401")])
async def test_an_identity_that_is_gone_is_no_error(answer: Exception) -> None:
    assert list(await api(answer)[0].get_identity(LEAF, ["edge1"])) == []


@pytest.mark.parametrize("answer", [ScopeError("503"), b"not json"])
async def test_no_usable_answer_keeps_the_cache(answer: Any) -> None:
    with pytest.raises(ScopeApiError):
        await api(answer)[0].get_identity(LEAF, ["edge1"])
    with pytest.raises(ScopeApiError):
        await api(answer)[0].list_identities(["edge1"])


async def test_a_scope_that_is_refused_keeps_the_cache() -> None:
    with pytest.raises(ScopeApiError, match="401"):
        await api(NotInScope("401"))[0].list_identities(["edge1"])


def test_the_core_s_queue() -> None:
    core = Engine()
    core.batches = [UpstreamBatch(1, "leaf", 2, b"x"), UpstreamBatch(2, "edge1/m", 1, b"y")]
    source = CoreSource(core)  # type: ignore[arg-type]
    assert [batch.token for batch in source.take(10, 1000, 1)] == [1]
    source.settle(1, "delivered")
    source.link_down()
    assert [(call.name, call.arguments) for call in core.calls] == [
        ("upstream_settle", {"token": 1, "outcome": "delivered"}),
        ("upstream_link_down", {}),
    ]
    core.dispose()


def context(environment: dict[str, str], trust_pem: bytes | None = None) -> ParentContext:
    settings = load_settings(environment).settings
    identity = HubIdentity("edge1", "hub.test", "parent.test", key=b"k")
    core = core_module.Engine(edge_device_id="edge1")
    return ParentContext(
        settings, identity, LocalKey(b"k"), trust_pem, core, lambda sender: sender, ManualClock()
    )


async def test_the_link_takes_the_hub_s_settings() -> None:
    parent = connect_parent_hub(
        context(
            {
                "UpstreamAmqpPort": "15671",
                "MaxUpstreamBatchSize": "7",
                "UpstreamFanOutFactor": "3",
                "UseServerHeartbeat": "false",
                "CloudOperationTimeoutSecs": "9",
                "ConnectivityCheckFrequencySecs": "-1",
            }
        )
    )
    made: Any = parent.link
    settings = made._settings
    assert (settings.host, settings.hub_hostname, settings.port) == ("parent.test", "hub.test", 15671)
    assert (settings.batch_msgs_max, settings.fan_out, settings.operation_timeout_s) == (7, 3, 9)
    assert (settings.idle_timeout_ms, settings.connectivity_check_s) == (120_000, -1)
    assert settings.product_info.startswith("EdgeHub/")
    assert settings.chain_of("leaf") == "leaf"
    await parent.close()


class OwnTwin:
    """The twin of `$edgeHub` at a parent that answers every patch alike."""

    def __init__(self, failure: UpstreamError | None) -> None:
        self.failure = failure

    async def patch_reported(self, _patch: Any) -> None:
        if self.failure is not None:
            raise self.failure


async def test_patches_of_edge_hub_that_are_refused_for_good() -> None:
    def patched(failure: UpstreamError | None) -> Any:
        return AmqpHubTwin(cast("Any", OwnTwin(failure))).patch_reported({})

    assert await patched(None) is None
    assert await patched(UpstreamRefused("too large", 413)) == "too large"
    for failure in (UpstreamRefused("later", 429), UpstreamOffline("gone")):
        with pytest.raises(UpstreamError):
            await patched(failure)


@pytest.mark.parametrize(
    "pem",
    [b"", b"no certificate", b"\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
)
def test_a_trust_bundle_without_certificate_is_an_error(pem: bytes) -> None:
    with pytest.raises(SettingsError, match="trust bundle"):
        tls_context(pem)


def test_without_a_bundle_the_system_is_trusted() -> None:
    made = tls_context(None)
    assert made.verify_mode is ssl.CERT_REQUIRED
    assert made.check_hostname
