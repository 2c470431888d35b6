"""Twin channels of clients on the link (iothub spec 1.4.7; heads spec 5.4, T-018, T-024)."""

from __future__ import annotations

import pytest

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_errors import AmqpFault
from edgehub.upstream.channel_pool import IDLE_S
from edgehub.upstream.errors import UpstreamOffline, UpstreamRefused
from edgehub.upstream.tokens import Token
from edgehub.upstream.twin_channel import TwinAnswer
from unit.edgehub.upstream.test_upstream_connection import OWN_TWIN, Rig
from unit.edgehub.upstream.upstream_fakes import Hub

LEAF = "leaf"
TWIN = "/devices/{}/twin"


def follow(rig: Rig, identity: str, *, wanted: bool = True) -> None:
    rig.link.twin_follow(identity, rig.now, wanted=wanted)
    rig.run()


def get(rig: Rig, identity: str, request: int = 1) -> None:
    rig.link.twin_get(identity, request, rig.now)
    rig.run()


def test_a_client_has_a_channel_with_its_chain() -> None:
    rig = Rig()
    get(rig, LEAF)
    assert isinstance(rig.answers[1], TwinAnswer)
    properties = rig.hub.properties[TWIN.format(LEAF)]
    assert properties["com.microsoft:auth-chain"] == "leaf;edge1"
    assert "com.microsoft:auth-chain" not in rig.hub.properties[OWN_TWIN]
    get(rig, "edge1/m", 2)
    assert isinstance(rig.answers[2], TwinAnswer)
    assert "/devices/edge1/modules/m/twin" in rig.hub.properties


def test_who_is_followed_is_subscribed_once() -> None:
    rig = Rig()
    rig.hub.twin.clear()
    follow(rig, LEAF)
    follow(rig, LEAF)
    get(rig, LEAF)
    assert [operation for operation, _ in rig.hub.twin] == ["PUT", "GET"]
    assert rig.missed == []
    rig.hub.push_desired(b'{"a":1}', TWIN.format(LEAF))
    rig.run()
    assert rig.desired == [(LEAF, {"a": 1, "$version": 7})]
    follow(rig, LEAF, wanted=False)
    follow(rig, LEAF, wanted=False)
    assert [operation for operation, _ in rig.hub.twin] == ["PUT", "GET", "DELETE"]


def test_nobody_is_followed_without_a_link() -> None:
    rig = Rig()
    rig.link.feed_eof(rig.now)
    rig.link.twin_follow(LEAF, rig.now, wanted=True)
    with pytest.raises(UpstreamOffline):
        rig.link.twin_get(LEAF, 1, rig.now)


def test_who_is_not_in_scope_has_no_channel() -> None:
    rig = Rig(auth_chain=lambda _: None)
    with pytest.raises(UpstreamRefused):
        rig.link.twin_get("stranger", 1, rig.now)
    with pytest.raises(UpstreamRefused):
        rig.link.twin_report("stranger", 1, b"{}", rig.now)
    follow(rig, "stranger")
    assert list(rig.hub.properties) == ["$cbs", OWN_TWIN]


def test_a_refused_channel_of_a_followed_client_is_opened_again() -> None:
    rig = Rig(Hub(refuse={TWIN.format(LEAF): AmqpFault(amqp_errors.UNAUTHORIZED, "disabled")}))
    follow(rig, LEAF)
    get(rig, LEAF)
    error = rig.answers[1]
    assert isinstance(error, UpstreamRefused)
    assert error.status == 401
    assert rig.wanted == [True], "maybe it is our token"
    assert rig.refused == []
    rig.link.put_token(Token("second", 3600.0), rig.now, 0.0)
    rig.run()
    rig.at(5.0)
    assert set(rig.refused) == {LEAF}, "T-024: with a new token, too"
    rig.hub.refuse.clear()
    rig.at(10.0)
    assert rig.hub.twin[-1] == ("PUT", b" ")
    get(rig, LEAF, 2)
    assert isinstance(rig.answers[2], TwinAnswer)


def test_a_refused_subscription_is_tried_again() -> None:
    rig = Rig()
    rig.hub.twin_status = 429
    follow(rig, LEAF)
    rig.hub.twin_status = None
    asked = len(rig.hub.twin)
    assert rig.missed == []
    rig.at(5.0)
    assert rig.hub.twin[asked:] == [("PUT", b" ")]
    assert rig.missed == [LEAF], "what changed until now was told to nobody"
    rig.at(5.0)
    assert len(rig.hub.twin) == asked + 1
    assert rig.missed == [LEAF]


def test_quiet_channels_that_nobody_follows_are_closed() -> None:
    rig = Rig(connectivity_check_s=-1.0)
    get(rig, LEAF)
    follow(rig, "other")
    rig.at(IDLE_S + 40.0)
    assert set(rig.hub.closed) == {TWIN.format(LEAF)}
    get(rig, LEAF, 2)
    assert isinstance(rig.answers[2], TwinAnswer)


def test_channels_are_limited_the_quietest_goes() -> None:
    rig = Rig(twin_sessions_max=3)
    for number in range(4):
        get(rig, f"leaf{number}", number + 1)
    assert set(rig.hub.closed) == {TWIN.format("leaf0"), TWIN.format("leaf1")}
    assert all(isinstance(answer, TwinAnswer) for answer in rig.answers.values())


def test_who_is_followed_gives_way_last() -> None:
    rig = Rig(twin_sessions_max=4)
    follow(rig, "followed")
    for number in range(3):
        get(rig, f"leaf{number}", number + 1)
    assert set(rig.hub.closed) == {TWIN.format("leaf0")}
    follow(rig, "leaf1")
    follow(rig, "leaf2")
    get(rig, "leaf3", 9)
    assert set(rig.hub.closed) == {TWIN.format("leaf0"), TWIN.format("followed")}


def test_without_room_a_request_fails_at_once() -> None:
    rig = Rig(twin_sessions_max=2)
    rig.hub.answer_twin = False
    get(rig, "leaf0")
    with pytest.raises(UpstreamOffline, match="2 channels are in use"):
        rig.link.twin_get("leaf1", 2, rig.now)
    follow(rig, "leaf2")
    rig.hub.answer_twin = True
    for _ in range(5):
        rig.at(10.0)
    assert TWIN.format("leaf2") in rig.hub.properties, "there is room when the first one has timed out"


def test_what_waits_fails_with_the_channel_or_the_link() -> None:
    rig = Rig()
    rig.hub.answer_twin = False
    get(rig, LEAF)
    rig.hub.links[">" + TWIN.format(LEAF)].close(AmqpFault(amqp_errors.DETACH_FORCED))
    rig.run()
    assert isinstance(rig.answers[1], UpstreamOffline)
    get(rig, LEAF, 2)
    rig.link.feed_eof(rig.now)
    assert isinstance(rig.answers[2], UpstreamOffline)
