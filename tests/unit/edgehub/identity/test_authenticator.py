"""Who is let in (heads spec 4.1, 4.3, 4.6; I-001 to I-007, I-011, I-017)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from edgehub.common.ids import IdentityId
from edgehub.identity import authenticator as authenticator_module
from edgehub.identity.authenticator import Authenticator, AuthRequest, Verdict
from edgehub.identity.model import AuthType, ServiceIdentity
from edgehub.identity.scope import ScopeCache
from edgehub.protocol.sas import build_token
from testkit.clock import ManualClock
from testkit.identities import EDGE_SCOPE, HUB_HOST, edge_identity, key_of, sas_identity, token_for

EDGE2_SCOPE = "ms-azure-iot-edge://edge2-1"
EDGE_HOST = "Gateway.Local"


class FakeRefresher:
    """Puts identities into the cache when asked."""

    def __init__(self, cache: ScopeCache) -> None:
        self.cache = cache
        self.usable = True
        self.one: dict[IdentityId, list[ServiceIdentity]] = {}
        self.all: list[ServiceIdentity] = []
        self.asked_one: list[IdentityId] = []
        self.asked_all = 0
        self.hangs = False

    def can_refresh(self) -> bool:
        return self.usable

    async def refresh_one(self, identity_id: IdentityId) -> None:
        self.asked_one.append(identity_id)
        if identity_id in self.one:
            self.cache.apply_one(identity_id, self.one[identity_id])

    async def refresh_all(self) -> None:
        self.asked_all += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.all:
            self.cache.replace_all(self.all)


class Bench:
    """An authenticator with everything around it."""

    def __init__(self, *, nested: bool = True) -> None:
        self.clock = ManualClock()
        self.cache = ScopeCache("edge1")
        self.cache.replace_all(
            [
                edge_identity(),
                sas_identity("edge1/m"),
                sas_identity("leaf"),
                sas_identity("leaf/m"),
                edge_identity("edge2", EDGE2_SCOPE, [EDGE_SCOPE]),
                sas_identity("edge2/$edgeHub"),
                edge_identity("edge3", "s3", [EDGE_SCOPE]),
                sas_identity("edge3/$edgeHub"),
                sas_identity("deep", parent_scope=EDGE2_SCOPE),
                sas_identity("deep/m"),
            ]
        )
        self.refresher = FakeRefresher(self.cache)
        self.authenticator = Authenticator(
            self.cache, self.refresher, self.clock, hosts=(HUB_HOST, EDGE_HOST), nested=nested
        )

    def put(self, identity: ServiceIdentity) -> None:
        self.cache.apply_one(identity.id, [identity])

    def check(self, identity: str, token: str, chain: str | None = None) -> Verdict:
        return self.authenticator.check(AuthRequest(IdentityId.parse(identity), token, chain))

    async def authenticate(self, identity: str, token: str, chain: str | None = None) -> Verdict:
        return await self.authenticator.authenticate(AuthRequest(IdentityId.parse(identity), token, chain))


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("identity", ["leaf", "leaf/m", "edge1/m", "edge1"])
@pytest.mark.parametrize("which", ["primary", "secondary"])
def test_both_keys_are_accepted(bench: Bench, identity: str, which: str) -> None:
    assert bench.check(identity, token_for(identity, bench.clock, which=which)).accepted


@pytest.mark.parametrize("host", [HUB_HOST, HUB_HOST.upper(), "gateway.local"])
def test_i_002_both_hosts_are_accepted_in_any_case(bench: Bench, host: str) -> None:
    assert bench.check("leaf", token_for("leaf", bench.clock, host=host)).accepted


def test_another_host_is_refused_for_good(bench: Bench) -> None:
    verdict = bench.check("leaf", token_for("leaf", bench.clock, host="other.example.test"))
    assert (verdict.accepted, verdict.reason, verdict.refresh) == (
        False,
        "the token is for another host",
        None,
    )


@pytest.mark.parametrize(
    ("identity", "audience", "signer", "accepted"),
    [
        ("leaf/m", "leaf", "leaf", True),
        ("leaf/m", "leaf/m", "leaf", True),
        ("leaf/m", "leaf", "leaf/m", True),
        ("leaf", "leaf/m", "leaf/m", False),
        ("leaf", "leaf/m", "leaf", False),
        ("leaf", "deep", "leaf", False),
        ("leaf", "leaf", "deep", False),
        ("leaf", "leaf", "leaf/m", False),
        ("leaf/m", "leaf/other", "leaf/m", False),
        ("leaf/m", "edge1", "edge1", False),
    ],
)
def test_i_003_i_004_audience_and_signer(
    bench: Bench, identity: str, audience: str, signer: str, accepted: bool
) -> None:
    token = token_for(identity, bench.clock, audience=audience, signer=signer)
    assert bench.check(identity, token).accepted is accepted


@pytest.mark.parametrize(("age_s", "accepted"), [(0, True), (299, True), (300, True), (301, False)])
def test_expiry_has_five_minutes_grace(bench: Bench, age_s: int, accepted: bool) -> None:
    token = token_for("leaf", bench.clock, ttl_s=0)
    bench.clock.advance(age_s)
    verdict = bench.check("leaf", token)
    assert verdict.accepted is accepted
    assert verdict.refresh is None


@pytest.mark.parametrize(
    "token", ["", "SharedAccessSignature", "secret", "SharedAccessSignature sr=a&sig=b=&se=1"]
)
def test_malformed_tokens_are_refused_for_good(bench: Bench, token: str) -> None:
    verdict = bench.check("leaf", token)
    assert not verdict.accepted
    assert verdict.refresh is None
    assert verdict.reason.startswith("malformed token")


@pytest.mark.parametrize(
    "resource",
    [
        HUB_HOST,
        f"{HUB_HOST}/devices",
        f"{HUB_HOST}/devices/leaf/messages",
        f"{HUB_HOST}/devices/leaf/",
        f"{HUB_HOST}//devices/leaf",
        f"/{HUB_HOST}/devices/leaf",
        f" {HUB_HOST}/devices/leaf",
        f"https://{HUB_HOST}/devices/leaf",
    ],
)
def test_the_audience_is_an_identity_and_nothing_else(bench: Bench, resource: str) -> None:
    token = build_token(resource, int(bench.clock.wall_s()) + 60, key=key_of("leaf"))
    assert not bench.check("leaf", token).accepted


def test_ids_of_the_audience_are_compared_in_any_case(bench: Bench) -> None:
    token = token_for("leaf", bench.clock, audience="LEAF")
    assert bench.check("leaf", token).accepted


def test_i_007_a_disabled_device_and_its_modules_are_refused(bench: Bench) -> None:
    bench.put(sas_identity("leaf", enabled=False))
    for identity in ("leaf", "leaf/m"):
        verdict = bench.check(identity, token_for(identity, bench.clock))
        assert (verdict.accepted, verdict.reason) == (False, "leaf is disabled")
        assert verdict.refresh == IdentityId("leaf")


@pytest.mark.parametrize("auth_type", [AuthType.THUMBPRINT, AuthType.AUTHORITY, AuthType.NONE])
def test_only_identities_with_keys_take_tokens(bench: Bench, auth_type: AuthType) -> None:
    bench.put(replace(sas_identity("leaf"), auth_type=auth_type))
    assert not bench.check("leaf", token_for("leaf", bench.clock)).accepted


def test_unknown_identities_may_be_refreshed(bench: Bench) -> None:
    verdict = bench.check("ghost", token_for("ghost", bench.clock))
    assert (verdict.accepted, verdict.refresh) == (False, IdentityId("ghost"))
    assert bench.authenticator.may_refresh(verdict)
    bench.refresher.usable = False
    assert not bench.authenticator.may_refresh(verdict)


@pytest.mark.parametrize(
    ("identity", "chain", "actor"),
    [
        ("deep", "deep;edge2", "edge2/$edgeHub"),
        ("deep/m", "deep/m;deep;edge2", "edge2/$edgeHub"),
        ("edge2/$edgeHub", "edge2/$edgeHub;edge2", "edge2/$edgeHub"),
    ],
)
def test_a_child_speaks_for_its_clients(bench: Bench, identity: str, chain: str, actor: str) -> None:
    assert bench.check(identity, token_for(actor, bench.clock), chain).accepted


@pytest.mark.parametrize(
    ("identity", "chain", "signer"),
    [
        ("deep", "leaf;edge2", "edge2/$edgeHub"),
        ("deep", "deep/m;deep;edge2", "edge2/$edgeHub"),
        ("deep", "deep;edge3", "edge3/$edgeHub"),
        ("deep", "deep;leaf", "leaf"),
        ("deep", "deep;edge2", "deep"),
        ("deep", "deep;edge2", "edge2/other"),
        ("leaf", "leaf;edge2", "edge2/$edgeHub"),
        ("deep", "deep;edge2;edge2", "edge2/$edgeHub"),
    ],
)
def test_i_017_others_do_not(bench: Bench, identity: str, chain: str, signer: str) -> None:
    token = token_for(signer, bench.clock)
    assert not bench.check(identity, token, chain).accepted


def test_a_disabled_client_of_a_child_is_refused(bench: Bench) -> None:
    bench.put(sas_identity("deep", enabled=False, parent_scope=EDGE2_SCOPE))
    token = token_for("edge2/$edgeHub", bench.clock)
    assert bench.check("deep", token, "deep;edge2").reason == "deep is disabled"


def test_chains_are_ignored_when_nesting_is_off() -> None:
    bench = Bench(nested=False)
    assert not bench.check("deep", token_for("edge2/$edgeHub", bench.clock), "deep;edge2").accepted
    assert bench.check("deep", token_for("deep", bench.clock), "deep;edge2").accepted


async def test_i_011_an_unknown_identity_is_asked_for_once_and_then_accepted(bench: Bench) -> None:
    ghost = sas_identity("ghost")
    bench.refresher.one[ghost.id] = [ghost]
    verdict = await bench.authenticate("ghost", token_for("ghost", bench.clock))
    assert verdict.accepted
    assert (bench.refresher.asked_one, bench.refresher.asked_all) == ([ghost.id], 0)


async def test_then_for_the_whole_scope(bench: Bench) -> None:
    bench.refresher.all = [edge_identity(), sas_identity("ghost")]
    assert (await bench.authenticate("ghost", token_for("ghost", bench.clock))).accepted
    assert bench.refresher.asked_all == 1


async def test_a_changed_key_is_noticed_without_a_full_refresh(bench: Bench) -> None:
    token = token_for("leaf", bench.clock, signer="new key")
    fresh = replace(sas_identity("leaf"), keys=(key_of("new key"),))
    bench.refresher.one[fresh.id] = [fresh]
    assert (await bench.authenticate("leaf", token)).accepted
    assert bench.refresher.asked_all == 0


async def test_a_wrong_key_of_a_known_identity_never_costs_a_full_refresh(bench: Bench) -> None:
    verdict = await bench.authenticate("leaf", token_for("leaf", bench.clock, signer="wrong"))
    assert (verdict.accepted, verdict.reason) == (False, "the signature does not match")
    assert bench.refresher.asked_all == 0


async def test_an_expired_token_asks_nobody(bench: Bench) -> None:
    assert not (await bench.authenticate("ghost", token_for("ghost", bench.clock, ttl_s=-400))).accepted
    assert (bench.refresher.asked_one, bench.refresher.asked_all) == ([], 0)


async def test_nobody_is_asked_before_the_first_load(bench: Bench) -> None:
    bench.refresher.usable = False
    assert not (await bench.authenticate("ghost", token_for("ghost", bench.clock))).accepted
    assert bench.refresher.asked_one == []


async def test_the_wait_for_a_full_refresh_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticator_module, "FULL_REFRESH_WAIT_S", 0)
    bench.refresher.hangs = True
    verdict = await bench.authenticate("ghost", token_for("ghost", bench.clock))
    assert (verdict.accepted, verdict.reason) == (False, "unknown identity")


# Tokens that were accepted before


@pytest.mark.parametrize(
    ("identity", "chain", "signer"),
    [("leaf", None, None), ("leaf/m", None, "leaf"), ("deep", "deep;edge2", "edge2/$edgeHub")],
)
def test_a_token_is_known_again_until_something_changes(
    bench: Bench,
    identity: str,
    chain: str | None,
    signer: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    speaker = "edge2/$edgeHub" if chain else identity
    token = token_for(speaker, bench.clock, signer=signer or speaker)
    first = bench.check(identity, token, chain)
    assert first.credential is not None

    def parsed_again(*parts: object) -> None:
        raise AssertionError("the token was parsed again")

    with monkeypatch.context() as patched:
        patched.setattr(authenticator_module, "parse_token", parsed_again)
        assert bench.check(identity, token, chain).credential is first.credential
        assert bench.authenticator.check_again(first.credential).accepted
    bench.clock.advance(3600 + 299)
    assert bench.check(identity, token, chain).accepted
    bench.clock.advance(2)
    assert bench.check(identity, token, chain).reason == "the token has expired"
    assert bench.authenticator.check_again(first.credential).reason == "the token has expired"


@pytest.mark.parametrize("change", ["keys", "disabled", "gone", "no keys"])
def test_a_known_token_is_worth_what_its_identity_is(bench: Bench, change: str) -> None:
    token = token_for("leaf", bench.clock)
    credential = bench.check("leaf", token).credential
    assert credential is not None
    leaf = sas_identity("leaf")
    match change:
        case "keys":
            bench.put(replace(leaf, keys=("AAAA", "BBBB")))
        case "disabled":
            bench.put(replace(leaf, enabled=False))
        case "no keys":
            bench.put(replace(leaf, auth_type=AuthType.THUMBPRINT))
        case "gone":
            bench.cache.apply_one(leaf.id, [])
    assert not bench.authenticator.check_again(credential).accepted
    assert not bench.check("leaf", token).accepted
    bench.put(leaf)
    assert bench.check("leaf", token).accepted


def test_a_new_key_beside_the_old_one_leaves_the_client_connected(bench: Bench) -> None:
    credential = bench.check("leaf", token_for("leaf", bench.clock)).credential
    assert credential is not None
    primary, _ = sas_identity("leaf").keys
    bench.put(replace(sas_identity("leaf"), keys=("AAAA", primary)))
    assert bench.authenticator.check_again(credential).accepted
    bench.put(replace(sas_identity("leaf"), keys=("AAAA", "BBBB")))
    verdict = bench.authenticator.check_again(credential)
    assert (verdict.accepted, verdict.reason) == (False, "the signature does not match")


def test_a_known_token_is_good_for_its_own_client_alone(bench: Bench) -> None:
    token = token_for("leaf", bench.clock)
    assert bench.check("leaf", token).accepted
    assert not bench.check("deep", token).accepted
    assert not bench.check("leaf", token_for("leaf", bench.clock, signer="deep")).accepted
    assert not bench.check("leaf", token, "leaf;edge2").accepted
    assert bench.check("leaf", token).accepted


def test_the_number_of_known_tokens_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticator_module, "ACCEPTED_MAX", 2)
    for identity in ("leaf", "deep", "edge1/m", "leaf"):
        assert bench.check(identity, token_for(identity, bench.clock)).accepted
    assert len(bench.authenticator._accepted) == 2


def test_neither_a_token_nor_a_key_is_shown(bench: Bench) -> None:
    token = token_for("leaf", bench.clock)
    credential = bench.check("leaf", token).credential
    assert credential is not None
    assert credential.key in sas_identity("leaf").keys
    assert credential.key not in repr(credential)
    assert "Signature" not in repr(credential)


def test_a_request_does_not_show_its_token() -> None:
    assert "hush" not in repr(AuthRequest(IdentityId("d"), "hush"))


async def test_a_certificate_that_is_not_asked_for_is_refused_and_the_parent_hub_is_not_asked(
    bench: Bench,
) -> None:
    request = AuthRequest(IdentityId("leaf"), "", certificates=(b"DER",))
    verdict = await bench.authenticator.authenticate(request)
    assert not verdict.accepted
    assert "ClientCertAuthEnabled" in verdict.reason
    assert bench.refresher.asked_one == []
    assert "DER" not in repr(request)
