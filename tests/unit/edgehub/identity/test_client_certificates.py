"""Certificates of devices: thumbprints and authorities (heads spec 4.2; I-007 to I-010)."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from edgehub.common.ids import IdentityId
from edgehub.common.state import MemoryState
from edgehub.identity import certificate_paths
from edgehub.identity.authenticator import Authenticator, AuthRequest, Verdict
from edgehub.identity.certificate_paths import AUTHORITIES_BETWEEN_MAX, INTERMEDIATES_MAX
from edgehub.identity.client_certificates import CertificateFault, ClientCertificates
from edgehub.identity.model import AuthType, ServiceIdentity
from edgehub.identity.refresher import ScopeApiError, ScopeRefresher
from edgehub.identity.scope import RefreshPolicy, ScopeCache
from edgehub.identity.sealing import Sealer
from testkit.clock import ManualClock
from testkit.identities import (
    EDGE_SCOPE,
    HUB_HOST,
    FakeScopeApi,
    edge_identity,
    sas_identity,
    token_for,
)
from testkit.x509 import CLIENTS, DAY_S, SERVERS, Issued, authority, bundle, issue

if TYPE_CHECKING:
    from collections.abc import Callable

NOW_S = ManualClock().wall_s()
ROOT = authority("root", NOW_S)
MIDDLE = authority("middle", NOW_S, ROOT)
STRANGER = authority("stranger", NOW_S)
LEAF = issue("leaf", now_s=NOW_S)
OTHER = issue("leaf", now_s=NOW_S)


def of_authority(*names: str, by: Issued = ROOT, **options: Any) -> Issued:
    return issue(*(names or ("leaf",)), now_s=NOW_S, by=by, **options)


def thumbprint_identity(*thumbprints: str, name: str = "leaf") -> ServiceIdentity:
    return ServiceIdentity(
        IdentityId(name),
        auth_type=AuthType.THUMBPRINT,
        thumbprints=thumbprints,
        device_scope=EDGE_SCOPE,
        parent_scopes=(EDGE_SCOPE,),
    )


def authority_identity(name: str = "leaf") -> ServiceIdentity:
    return replace(thumbprint_identity(name=name), auth_type=AuthType.AUTHORITY)


class FakeRefresher:
    """Counts what would have been asked of the parent hub."""

    def __init__(self) -> None:
        self.asked: list[IdentityId] = []
        self.answer: Callable[[], None] = lambda: None

    def can_refresh(self) -> bool:
        return True

    async def refresh_one(self, identity_id: IdentityId) -> None:
        self.asked.append(identity_id)
        self.answer()

    async def refresh_all(self) -> None:
        self.asked.append(IdentityId("everything"))


class Bench:
    """An authenticator that knows these identities and trusts these authorities."""

    def __init__(self, *identities: ServiceIdentity, trust: bytes | None = None) -> None:
        self.clock = ManualClock(NOW_S)
        self.cache = ScopeCache("edge1")
        self.cache.replace_all([edge_identity(), *identities])
        self.refresher = FakeRefresher()
        self.authenticator = Authenticator(
            self.cache,
            self.refresher,
            self.clock,
            hosts=(HUB_HOST,),
            nested=True,
            certificates=ClientCertificates(trust),
        )

    def put(self, identity: ServiceIdentity) -> None:
        self.cache.apply_one(identity.id, [identity])

    def check(self, *shown: Issued, identity: str = "leaf", token: str = "") -> Verdict:
        certificates = tuple(item.der for item in shown)
        return self.authenticator.check(
            AuthRequest(IdentityId.parse(identity), token, certificates=certificates)
        )

    async def authenticate(self, *shown: Issued) -> Verdict:
        certificates = tuple(item.der for item in shown)
        return await self.authenticator.authenticate(
            AuthRequest(IdentityId("leaf"), "", certificates=certificates)
        )


# Thumbprints


@pytest.mark.parametrize("spelled", [str.lower, str.upper, str.title], ids=["lower", "upper", "mixed"])
@pytest.mark.parametrize("which", ["primary", "secondary"])
@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_i_008_thumbprints(digest: str, which: str, spelled: Callable[[str], str]) -> None:
    mine, others = spelled(getattr(LEAF, digest)), getattr(OTHER, digest)
    pair = (mine, others) if which == "primary" else (others, mine)
    verdict = Bench(thumbprint_identity(*pair)).check(LEAF)
    assert verdict.accepted, verdict.reason
    assert verdict.credential is not None
    assert verdict.credential.key == mine


@pytest.mark.parametrize("registered", [(), (OTHER.sha1, OTHER.sha256), (LEAF.sha1[:-1],), (LEAF.sha1[:20],)])
def test_i_008_another_thumbprint_is_refused(registered: tuple[str, ...]) -> None:
    verdict = Bench(thumbprint_identity(*registered)).check(LEAF)
    assert verdict.reason == "the certificate has none of the registered thumbprints"
    assert verdict.refresh == IdentityId("leaf")


def test_i_008_only_the_clients_own_certificate_counts() -> None:
    assert not Bench(thumbprint_identity(LEAF.sha256)).check(OTHER, LEAF).accepted


@pytest.mark.parametrize(
    ("start_s", "end_s", "reason"),
    [
        (-DAY_S, 0, ""),
        (0, DAY_S, ""),
        (-DAY_S, -1, "the certificate has expired"),
        (1, DAY_S, "the certificate is not valid yet"),
    ],
)
@pytest.mark.parametrize("kind", ["thumbprint", "authority"])
def test_dates_have_no_grace(kind: str, start_s: float, end_s: float, reason: str) -> None:
    shown = of_authority(start_s=start_s, end_s=end_s)
    identity = thumbprint_identity(shown.sha256) if kind == "thumbprint" else authority_identity()
    verdict = Bench(identity, trust=bundle(ROOT)).check(shown)
    assert (verdict.reason, verdict.accepted, verdict.refresh) == (reason, not reason, None)


# Authorities


@pytest.mark.parametrize(
    ("trusted", "shown"),
    [
        ((ROOT,), (of_authority(),)),
        ((ROOT,), (of_authority(), ROOT)),
        ((STRANGER, ROOT), (of_authority(),)),
        ((ROOT,), (of_authority(by=MIDDLE), MIDDLE)),
        ((ROOT,), (of_authority(by=MIDDLE), STRANGER, MIDDLE, ROOT)),
        ((MIDDLE,), (of_authority(by=MIDDLE),)),
        ((ROOT,), (of_authority(uses=[CLIENTS]),)),
        ((ROOT,), (of_authority(uses=[SERVERS, CLIENTS]),)),
        ((ROOT,), (of_authority(authority=False, key_usage="digital_signature"),)),
    ],
)
def test_i_009_a_chain_to_the_trust_bundle(trusted: tuple[Issued, ...], shown: tuple[Issued, ...]) -> None:
    verdict = Bench(authority_identity(), trust=bundle(*trusted)).check(*shown)
    assert verdict.accepted, verdict.reason
    assert verdict.credential is not None
    assert verdict.credential.key == ""


_NARROW = issue("narrow", now_s=NOW_S, authority=True, path_length=0)
_BELOW_NARROW = authority("below", NOW_S, _NARROW)
_EXPIRED_ROOT = issue("old root", now_s=NOW_S, authority=True, end_s=-1)
_EXPIRED_MIDDLE = issue("old middle", now_s=NOW_S, by=ROOT, authority=True, end_s=-1)
_NO_AUTHORITY = of_authority("no authority", authority=False)
_SAYS_NOTHING = of_authority("says nothing")
_SIGNS_NOTHING = issue("signs nothing", now_s=NOW_S, by=ROOT, authority=True, key_usage="digital_signature")
_FOR_SERVERS = issue("for servers", now_s=NOW_S, by=ROOT, authority=True, uses=[SERVERS])
_SAME_NAME = authority("root", NOW_S)


@pytest.mark.parametrize(
    ("trusted", "shown"),
    [
        ((ROOT,), (LEAF,)),
        ((ROOT,), (of_authority(by=STRANGER),)),
        ((ROOT,), (of_authority(by=STRANGER), STRANGER, ROOT)),
        ((ROOT,), (of_authority(by=_SAME_NAME), _SAME_NAME)),
        ((ROOT,), (of_authority(by=MIDDLE),)),
        ((ROOT,), (of_authority(by=MIDDLE), ROOT)),
        ((_NARROW,), (of_authority(by=_BELOW_NARROW), _BELOW_NARROW)),
        ((_EXPIRED_ROOT,), (of_authority(by=_EXPIRED_ROOT),)),
        ((ROOT,), (of_authority(by=_EXPIRED_MIDDLE), _EXPIRED_MIDDLE)),
        ((ROOT,), (of_authority(by=_NO_AUTHORITY), _NO_AUTHORITY)),
        ((ROOT,), (of_authority(by=_SAYS_NOTHING), _SAYS_NOTHING)),
        ((ROOT,), (of_authority(by=_SIGNS_NOTHING), _SIGNS_NOTHING)),
        ((ROOT,), (of_authority(by=_FOR_SERVERS), _FOR_SERVERS)),
        ((ROOT,), (of_authority(authority=True),)),
        ((ROOT,), (of_authority(uses=[SERVERS]),)),
        ((ROOT,), (of_authority(key_usage="key_cert_sign"),)),
    ],
    ids=[
        "signs itself", "wrong authority", "wrong authority with ours beside", "one of the same name",
        "an intermediate is missing", "the root in its place", "path length", "expired root",
        "expired intermediate", "issued by a client", "issued by what does not say that it may",
        "issuer may not sign certificates", "issuer for servers", "an authority as client",
        "a certificate for servers", "key usage",
    ],
)  # fmt: skip
def test_i_009_chains_that_are_refused(trusted: tuple[Issued, ...], shown: tuple[Issued, ...]) -> None:
    verdict = Bench(authority_identity(), trust=bundle(*trusted)).check(*shown)
    assert not verdict.accepted
    assert verdict.reason.startswith("no authority of the trust bundle vouches")
    assert verdict.refresh == IdentityId("leaf"), "it may be registered otherwise meanwhile"


@pytest.mark.parametrize(
    "names", [("Leaf",), ("leaf ",), ("leaf1",), ("lea",), ("other",), ("leaf", "other"), ("leaf", "leaf")]
)
def test_i_009_the_common_name_is_the_device_id(names: tuple[str, ...]) -> None:
    verdict = Bench(authority_identity(), trust=bundle(ROOT)).check(of_authority(*names))
    assert verdict.reason.startswith("the common name of the certificate is ")
    assert verdict.refresh is None


def test_i_009_a_certificate_without_common_name() -> None:
    shown = issue(now_s=NOW_S, by=ROOT)
    verdict = Bench(authority_identity(), trust=bundle(ROOT)).check(shown)
    assert verdict.reason == "the common name of the certificate is none, not 'leaf'"


@pytest.mark.parametrize("trust", [None, b"", b"no PEM"])
def test_without_authorities_nobody_vouches(trust: bytes | None) -> None:
    verdict = Bench(authority_identity(), trust=trust).check(of_authority())
    assert verdict.reason == "there is no trust bundle with authorities of devices"


def test_what_cannot_be_read_of_a_trust_bundle_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    trust = broken + bundle(STRANGER) + b"# a comment\n" + bundle(ROOT)
    assert Bench(authority_identity(), trust=trust).check(of_authority()).accepted
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("Certificate 1 of the trust bundle cannot be read")


def chain_of(length: int) -> tuple[Issued, ...]:
    """A client's certificate with so many authorities between it and the root, from below."""
    found = [ROOT]
    for number in range(length):
        found.append(authority(f"between {number}", NOW_S, found[-1]))
    return (of_authority(by=found[-1]), *reversed(found[1:]))


@pytest.mark.parametrize(
    ("length", "accepted"), [(AUTHORITIES_BETWEEN_MAX, True), (AUTHORITIES_BETWEEN_MAX + 1, False)]
)
def test_the_length_of_a_chain_is_bounded(length: int, accepted: bool) -> None:
    assert Bench(authority_identity(), trust=bundle(ROOT)).check(*chain_of(length)).accepted is accepted


@pytest.mark.parametrize(("before", "accepted"), [(INTERMEDIATES_MAX - 1, True), (INTERMEDIATES_MAX, False)])
def test_the_number_of_certificates_that_are_looked_at_is_bounded(before: int, accepted: bool) -> None:
    needless = [authority(f"needless {number}", NOW_S) for number in range(before)]
    bench = Bench(authority_identity(), trust=bundle(ROOT))
    assert bench.check(of_authority(by=MIDDLE), *needless, MIDDLE).accepted is accepted


def test_certificates_that_could_all_have_issued_each_other_cost_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One key and one name: each is an issuer of each, and there are thousands of ways to nowhere."""
    key = ec.generate_private_key(ec.SECP256R1())
    first = issue("maze", now_s=NOW_S, authority=True, key=key)
    maze = [issue("maze", now_s=NOW_S, by=first, authority=True, key=key) for _ in range(INTERMEDIATES_MAX)]
    bench = Bench(authority_identity(), trust=bundle(ROOT))
    looked_at: list[int] = []
    intermediates = certificate_paths._intermediates

    def counted(found: Any) -> Any:
        kept = intermediates(found)
        looked_at.append(len(kept))
        return kept

    monkeypatch.setattr(certificate_paths, "_intermediates", counted)
    assert not bench.check(of_authority(by=first), *maze).accepted
    assert looked_at == [certificate_paths.SAME_KEY_MAX]


# Who may


@pytest.mark.parametrize("auth_type", list(AuthType))
def test_i_010_modules_cannot_use_certificates(auth_type: AuthType) -> None:
    identity = ServiceIdentity(
        IdentityId("edge1", "m"), auth_type=auth_type, thumbprints=(LEAF.sha1, LEAF.sha256)
    )
    for shown in (LEAF, of_authority("m"), of_authority("edge1/m")):
        verdict = Bench(identity, trust=bundle(ROOT)).check(shown, identity="edge1/m")
        assert verdict.reason == "a module cannot prove itself by a certificate; it has to send a token"
        assert verdict.refresh is None


@pytest.mark.parametrize("auth_type", [AuthType.SAS, AuthType.NONE])
def test_a_device_that_is_registered_otherwise_is_refused(auth_type: AuthType) -> None:
    identity = replace(thumbprint_identity(LEAF.sha256), auth_type=auth_type)
    verdict = Bench(identity, trust=bundle(ROOT)).check(LEAF)
    assert verdict.reason == "leaf is not registered for certificates"
    assert verdict.refresh == IdentityId("leaf")


def test_one_kind_does_not_stand_for_the_other() -> None:
    shown = of_authority()
    assert not Bench(thumbprint_identity(LEAF.sha256), trust=bundle(ROOT)).check(shown).accepted
    assert not Bench(authority_identity(), trust=bundle(ROOT)).check(LEAF).accepted


def test_i_007_a_disabled_device_is_refused() -> None:
    for identity, shown in ((thumbprint_identity(LEAF.sha1), LEAF), (authority_identity(), of_authority())):
        verdict = Bench(replace(identity, enabled=False), trust=bundle(ROOT)).check(shown)
        assert (verdict.reason, verdict.refresh) == ("leaf is disabled", IdentityId("leaf"))


def test_an_unknown_device_is_asked_for() -> None:
    assert Bench().check(LEAF).refresh == IdentityId("leaf")


def test_m_018_a_token_wins() -> None:
    bench = Bench(thumbprint_identity(LEAF.sha256), sas_identity("other"))
    assert not bench.check(LEAF, token=token_for("leaf", bench.clock)).accepted, "it has no key"
    token = token_for("other", bench.clock)
    assert bench.check(LEAF, identity="other", token=token).accepted
    assert not bench.check(LEAF, identity="other").accepted


async def test_a_changed_thumbprint_is_asked_for() -> None:
    bench = Bench(thumbprint_identity(OTHER.sha256))
    bench.refresher.answer = lambda: bench.put(thumbprint_identity(LEAF.sha256))
    assert (await bench.authenticate(LEAF)).accepted
    assert bench.refresher.asked == [IdentityId("leaf")]


async def test_a_good_certificate_asks_nobody() -> None:
    for identity in (thumbprint_identity(LEAF.sha1), authority_identity()):
        bench = Bench(identity, trust=bundle(ROOT))
        assert (await bench.authenticate(LEAF if identity.thumbprints else of_authority())).accepted
        assert bench.refresher.asked == []


# Again


def test_a_known_chain_is_not_verified_again_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    middle = issue("short", now_s=NOW_S, by=ROOT, authority=True, end_s=60)
    shown = (of_authority(by=middle), middle)
    bench = Bench(authority_identity(), trust=bundle(ROOT))
    first = bench.check(*shown).credential
    assert first is not None

    def verified_again(*parts: object) -> float:
        raise AssertionError("the chain was verified again")

    with monkeypatch.context() as patched:
        patched.setattr(certificate_paths.CertificatePaths, "check_chain", verified_again)
        assert bench.check(*shown).credential is first
        bench.clock.advance(60)
        assert bench.check(*shown).credential is first
        bench.clock.advance(1)
        assert bench.check(*shown).reason == "the certificate has expired"
        assert bench.authenticator.check_again(first).reason == "the certificate has expired"
        with pytest.raises(AssertionError, match="verified again"):
            bench.check(shown[0])


def test_a_known_certificate_is_good_for_its_own_device_alone() -> None:
    bench = Bench(thumbprint_identity(LEAF.sha256), thumbprint_identity(OTHER.sha256, name="other"))
    assert bench.check(LEAF).accepted
    assert not bench.check(LEAF, identity="other").accepted
    assert not bench.check(OTHER).accepted
    assert bench.check(LEAF).accepted


@pytest.mark.parametrize(
    "now",
    [
        thumbprint_identity(OTHER.sha256),
        thumbprint_identity(),
        replace(thumbprint_identity(LEAF.sha256), enabled=False),
        replace(thumbprint_identity(LEAF.sha256), auth_type=AuthType.SAS),
        authority_identity(),
        None,
    ],
    ids=["another thumbprint", "none", "disabled", "keys", "authority", "gone"],
)
def test_a_thumbprint_is_worth_what_is_registered_now(now: ServiceIdentity | None) -> None:
    bench = Bench(thumbprint_identity(LEAF.sha256, OTHER.sha1))
    credential = bench.check(LEAF).credential
    assert credential is not None
    bench.put(thumbprint_identity(OTHER.sha1, LEAF.sha256))
    assert bench.authenticator.check_again(credential).accepted
    if now is None:
        bench.cache.apply_one(IdentityId("leaf"), [])
    else:
        bench.put(now)
    assert not bench.authenticator.check_again(credential).accepted
    assert not bench.check(LEAF).accepted


@pytest.mark.parametrize(
    "now", [thumbprint_identity(LEAF.sha256), replace(authority_identity(), enabled=False), None]
)
def test_so_is_an_authority(now: ServiceIdentity | None) -> None:
    bench = Bench(authority_identity(), trust=bundle(ROOT))
    credential = bench.check(of_authority()).credential
    assert credential is not None
    assert bench.authenticator.check_again(credential).accepted
    bench.cache.apply_one(IdentityId("leaf"), [now] if now is not None else [])
    assert not bench.authenticator.check_again(credential).accepted


async def test_i_013_known_devices_connect_offline_after_a_restart() -> None:
    state, sealer, clock = MemoryState(), Sealer(bytes(32)), ManualClock(NOW_S)
    known = [edge_identity(), thumbprint_identity(LEAF.sha256), authority_identity("vouched")]
    api = FakeScopeApi(known)

    def start() -> tuple[ScopeRefresher, Authenticator]:
        cache, policy = ScopeCache("edge1"), RefreshPolicy(period_s=3600, gap_s=120)
        options: dict[str, Any] = {"edge_device_id": "edge1", "state": state, "sealer": sealer}
        refresher = ScopeRefresher(cache, policy, api, clock, **options)
        certificates = ClientCertificates(bundle(ROOT))
        return refresher, Authenticator(
            cache, refresher, clock, hosts=(HUB_HOST,), nested=True, certificates=certificates
        )

    await start()[0].refresh_all()
    api.failure = ScopeApiError("offline")
    refresher, authenticator = start()
    assert refresher.load_stored() == len(known)
    for name, shown in (("leaf", LEAF), ("vouched", of_authority("vouched"))):
        request = AuthRequest(IdentityId(name), "", certificates=(shown.der,))
        assert (await authenticator.authenticate(request)).accepted


# Whatever a stranger sends


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7), place=st.integers(0, 1), cut=st.booleans())
def test_a_damaged_certificate_is_refused_and_nothing_else(at: int, bit: int, place: int, cut: bool) -> None:
    chain = [item.der for item in _CHAIN]
    data = bytearray(chain[place])
    at %= len(data)
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << bit
    chain[place] = bytes(data)
    for auth_type in (AuthType.AUTHORITY, AuthType.THUMBPRINT):
        if place and auth_type is AuthType.THUMBPRINT:
            continue
        with pytest.raises(CertificateFault):
            _JUDGE.prove(chain, "leaf", auth_type, [_CHAIN[0].sha1, _CHAIN[0].sha256], NOW_S)


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=9))
def test_so_is_anything_else(chain: list[bytes]) -> None:
    for auth_type in AuthType:
        with pytest.raises(CertificateFault):
            _JUDGE.prove(chain, "leaf", auth_type, [LEAF.sha1], NOW_S)


_CHAIN = (of_authority(by=MIDDLE), MIDDLE)
_JUDGE = ClientCertificates(bundle(ROOT))


def test_a_hub_without_such_clients_does_not_load_the_library() -> None:
    """It is a fifth of the hub's memory."""
    program = """
import sys
from edgehub.identity.client_certificates import ClientCertificates, CertificateFault
from edgehub.identity.model import AuthType
try:
    ClientCertificates(b"").prove([b"x"], "leaf", AuthType.THUMBPRINT, ["00"], 0.0)
except CertificateFault:
    print("cryptography" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
