"""Tokens that were changed, cut, put together or signed by others: refused, and never an exception (I-001 to
I-006)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.common.ids import IdentityId
from edgehub.identity.authenticator import Authenticator, AuthRequest
from edgehub.identity.scope import ScopeCache
from edgehub.protocol.sas import (
    EDGE_PROFILE,
    HUB_PROFILE,
    SasError,
    SasProfile,
    build_token,
    identity_path,
    parse_token,
    verify_token,
)
from testkit.clock import ManualClock
from testkit.identities import HUB_HOST, edge_identity, key_of, keys_of, sas_identity, token_for

if TYPE_CHECKING:
    from collections.abc import Callable

CLOCK = ManualClock()
TOKEN = token_for("leaf", CLOCK)
OTHERS = [
    token_for("other", CLOCK),
    token_for("leaf", CLOCK, which="secondary", ttl_s=7200),
    token_for("leaf", CLOCK, signer="other"),
    token_for("leaf", CLOCK, host="elsewhere.example.test"),
    token_for("leaf/m", CLOCK),
]


class NoRefresher:
    """Nobody to ask."""

    def can_refresh(self) -> bool:
        return False

    async def refresh_one(self, identity_id: IdentityId) -> None:
        raise AssertionError

    async def refresh_all(self) -> None:
        raise AssertionError


def edge_accepts(text: str) -> bool:
    """Whether the hub takes a token for `leaf`, which was there before with the good one."""
    cache = ScopeCache("edge1")
    cache.replace_all([edge_identity(), sas_identity("leaf"), sas_identity("other"), sas_identity("leaf/m")])
    authenticator = Authenticator(cache, NoRefresher(), CLOCK, hosts=(HUB_HOST,), nested=True)
    assert authenticator.check(AuthRequest(IdentityId("leaf"), TOKEN)).accepted
    return authenticator.check(AuthRequest(IdentityId("leaf"), text)).accepted


def hub_accepts(text: str) -> bool:
    """Whether iothub's rules take a token for `leaf`."""
    try:
        token = parse_token(text, HUB_PROFILE)
        path = identity_path("leaf")
        verify_token(token, now=CLOCK.wall_s(), hosts=(HUB_HOST,), keys=keys_of("leaf"), path=path)
    except SasError:
        return False
    return True


def says_the_same(text: str, profile: SasProfile) -> bool:
    """Whether a text is another spelling of the good token: the same resource, end and signature."""
    return parse_token(text, profile) == parse_token(TOKEN, profile)


ACCEPTS = pytest.mark.parametrize(
    ("accepts", "profile"), [(edge_accepts, EDGE_PROFILE), (hub_accepts, HUB_PROFILE)], ids=["edge", "hub"]
)


@ACCEPTS
def test_the_good_token_is_accepted(accepts: Callable[[str], bool], profile: SasProfile) -> None:
    assert accepts(TOKEN)


@ACCEPTS
def test_every_flipped_bit_is_refused(accepts: Callable[[str], bool], profile: SasProfile) -> None:
    """But for the case of letters where that says nothing: in names of fields and in `%2F`."""
    other_spellings = 0
    for at in range(len(TOKEN)):
        for bit in range(8):
            changed = TOKEN[:at] + chr(ord(TOKEN[at]) ^ (1 << bit)) + TOKEN[at + 1 :]
            if accepts(changed):
                assert changed.lower() == TOKEN.lower(), changed
                assert says_the_same(changed, profile), changed
                other_spellings += 1
    assert other_spellings < len(TOKEN) / 2


@ACCEPTS
def test_every_cut_is_refused(accepts: Callable[[str], bool], profile: SasProfile) -> None:
    for at in range(len(TOKEN)):
        assert not accepts(TOKEN[:at])
        assert not accepts(TOKEN[at + 1 :])
    assert [at for at in range(len(TOKEN)) if accepts(TOKEN[:at] + TOKEN[at + 1 :])] == []


@ACCEPTS
@given(start=st.integers(0, 300), length=st.integers(0, 60), text=st.text(max_size=40))
def test_what_is_put_in_the_place_of_a_part_does_not_help(
    accepts: Callable[[str], bool], profile: SasProfile, start: int, length: int, text: str
) -> None:
    changed = TOKEN[:start] + text + TOKEN[start + length :]
    if accepts(changed):
        assert says_the_same(changed, profile)


@ACCEPTS
@given(st.lists(st.sampled_from([part for text in [TOKEN, *OTHERS] for part in text[22:].split("&")])))
def test_parts_of_several_tokens_make_no_new_one(
    accepts: Callable[[str], bool], profile: SasProfile, parts: list[str]
) -> None:
    changed = "SharedAccessSignature " + "&".join(parts)
    good = [TOKEN, OTHERS[1]]
    if accepts(changed):
        assert parse_token(changed, profile) in [parse_token(text, profile) for text in good]


@ACCEPTS
@given(st.text() | st.text(alphabet="SharedAcesignture =&%2Fsrgk0\n"))
def test_anything_else_is_refused(accepts: Callable[[str], bool], profile: SasProfile, text: str) -> None:
    assert not accepts(text)
    assert not accepts(f"SharedAccessSignature {text}")


@ACCEPTS
def test_a_part_of_the_signature_is_not_enough(accepts: Callable[[str], bool], profile: SasProfile) -> None:
    head, _, tail = TOKEN.partition("&sig=")
    expiry = tail.partition("&")[2]
    signature = parse_token(TOKEN, profile).signature
    for length in (*range(32), 33):
        part = base64.b64encode((signature + b"\x00")[:length]).decode().replace("=", "%3D")
        part = part.replace("+", "%2B").replace("/", "%2F")
        assert not accepts(f"{head}&sig={part}&{expiry}")


@ACCEPTS
@pytest.mark.parametrize("text", [OTHERS[0], *OTHERS[2:]])
def test_tokens_of_others_are_refused(accepts: Callable[[str], bool], profile: SasProfile, text: str) -> None:
    assert not accepts(text)


@ACCEPTS
@pytest.mark.parametrize("key", ["", "AAAA", base64.b64encode(bytes(32)).decode(), key_of("other")])
def test_signed_anew_with_another_key(accepts: Callable[[str], bool], profile: SasProfile, key: str) -> None:
    resource = f"{HUB_HOST}/devices/leaf"
    assert not accepts(build_token(resource, int(CLOCK.wall_s()) + 3600, key=key))


def test_a_token_from_before_is_refused_once_it_expired() -> None:
    """Whoever recorded it has no more of it than its owner."""
    cache, clock = ScopeCache("edge1"), ManualClock()
    cache.replace_all([edge_identity(), sas_identity("leaf")])
    authenticator = Authenticator(cache, NoRefresher(), clock, hosts=(HUB_HOST,), nested=True)
    recorded = AuthRequest(IdentityId("leaf"), token_for("leaf", clock, ttl_s=60))
    for _ in range(3):
        assert authenticator.check(recorded).accepted
    clock.advance(60 + 301)
    assert authenticator.check(recorded).reason == "the token has expired"
    fresh = AuthRequest(IdentityId("leaf"), token_for("leaf", clock))
    assert authenticator.check(fresh).accepted
    assert not authenticator.check(recorded).accepted
