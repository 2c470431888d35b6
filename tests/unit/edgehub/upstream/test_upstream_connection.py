"""One connection to the parent hub against a hub on a fake wire and a clock of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_batch import BATCH_FORMAT
from edgehub.protocol.amqp_errors import AmqpFault
from edgehub.upstream.connection import Phase, UpstreamConnection
from edgehub.upstream.connectivity import Connectivity, State
from edgehub.upstream.errors import UpstreamError, UpstreamOffline, UpstreamTimeout
from edgehub.upstream.stats import UpstreamStats
from edgehub.upstream.tokens import Token
from edgehub.upstream.twin_channel import TwinAnswer
from unit.edgehub.upstream.test_upstream_policy import settings
from unit.edgehub.upstream.upstream_fakes import FakeSource, Hub

if TYPE_CHECKING:
    from edgehub.upstream.message_channel import MessageChannel, ParentMessage
    from edgehub.upstream.method_channel import MethodChannel, MethodRequest

EVENTS = "/devices/{}/messages/events"
OWN = "edge1/$edgeHub"
OWN_TWIN = "/devices/edge1/modules/%24edgeHub/twin"


class Rig:
    """A connection, its hub, and the time."""

    def __init__(self, hub: Hub | None = None, **changes: Any) -> None:
        self.now = 100.0
        self.hub = hub or Hub()
        self.source = FakeSource()
        self.stats = UpstreamStats()
        self.connectivity = Connectivity(300.0)
        self.settings = settings(**changes)
        self.ups = 0
        self.wanted: list[bool] = []
        self.answers: dict[int, TwinAnswer | UpstreamError] = {}
        self.desired: list[tuple[str, dict[str, Any]]] = []
        self.missed: list[str] = []
        self.refused: list[str] = []
        self.calls: list[tuple[MethodChannel, MethodRequest]] = []
        self.messages: list[tuple[MessageChannel, ParentMessage]] = []
        self.link = UpstreamConnection(
            self.settings, self.source, self.stats, self.connectivity, self, Token("first", 3600.0),
            now=self.now, wall=0.0, random=lambda: 0.5,
        )  # fmt: skip
        self.run()

    # what the connection tells

    def connection_up(self) -> None:
        self.ups += 1

    def token_wanted(self, *, refused: bool) -> None:
        self.wanted.append(refused)

    def client_unauthorized(self, identity: str) -> None:
        self.refused.append(identity)

    def twin_done(self, request: int, result: TwinAnswer | UpstreamError) -> None:
        self.answers[request] = result

    def desired_patch(self, identity: str, patch: dict[str, Any]) -> None:
        self.desired.append((identity, patch))

    def desired_missed(self, identity: str) -> None:
        self.missed.append(identity)

    def method_request(self, channel: MethodChannel, request: MethodRequest) -> None:
        self.calls.append((channel, request))

    def cloud_message(self, channel: MessageChannel, message: ParentMessage) -> None:
        self.messages.append((channel, message))

    # moving

    def run(self) -> None:
        """Carries bytes until both sides are quiet."""
        while True:
            out = self.link.outbound()
            self.hub.engine.feed(out)
            self.hub.handle()
            back = self.hub.engine.outbound()
            if back:
                self.link.feed(back, self.now)
            if not out and not back:
                return

    def put(self, sender: str, *bodies: bytes) -> None:
        self.source.put(sender, *bodies)
        self.link.pump(self.now)
        self.run()

    def deadlines(self) -> list[float]:
        both = (self.link.deadline(), self.hub.engine.deadline())
        return [deadline for deadline in both if deadline is not None]

    def at(self, seconds: float) -> None:
        """Lets time pass, deadline by deadline."""
        end = self.now + seconds
        while (due := min(self.deadlines(), default=end + 1.0)) <= end:
            self.now = max(self.now, due)
            self.hub.engine.on_deadline(self.now)
            self.run()
            self.link.on_deadline(self.now)
            self.run()
        self.now = end


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


def test_open_authenticate_and_subscribe() -> None:
    rig = Rig()
    assert rig.link.phase is Phase.UP
    assert rig.ups == 1
    assert rig.hub.tokens == ["first"]
    assert rig.connectivity.state is State.CONNECTED
    assert rig.hub.twin == [("PUT", b" ")]
    pairs = rig.hub.properties[OWN_TWIN]["com.microsoft:channel-correlation-id"]
    assert pairs.startswith("twin:")


def test_a_refused_token_closes_and_asks_for_another() -> None:
    rig = Rig(Hub(cbs_status=401))
    assert rig.link.phase is Phase.CLOSED
    assert rig.wanted == [True]
    assert "401 described" in (rig.link.closed_reason or "")
    assert not rig.link.was_up


def test_no_answer_while_opening_closes() -> None:
    rig = Rig(Hub(mute=True))
    assert rig.link.phase is not Phase.UP
    rig.at(21.0)
    assert rig.link.phase is Phase.CLOSED
    assert rig.link.closed_reason == "the parent hub did not answer in time"


def test_row_158_batches_fan_out_and_chains() -> None:
    """Ten messages a batch, ten senders at a time; one message is sent single; chains name the origin."""
    hub = Hub(on_transfer=lambda _sender, _bodies: "ignore")
    rig = Rig(hub)
    for number in range(12):
        rig.source.put(f"leaf{number}", *numbered(15))
    rig.link.pump(rig.now)
    rig.run()
    assert len(hub.transfers) == 10
    assert {(fmt, count) for _, fmt, count in hub.transfers} == {(BATCH_FORMAT, 10)}
    assert rig.link.pool.in_flight == 10
    properties = hub.properties[EVENTS.format("leaf3")]
    assert properties["com.microsoft:auth-chain"] == "leaf3;edge1"
    assert properties["com.microsoft:client-version"] == "EdgeHub"


def test_order_per_sender_and_settlement() -> None:
    rig = Rig()
    bodies = numbered(35)
    rig.put("leaf", *bodies)
    rig.put("edge1/$edgeHub", b"own")
    assert rig.hub.received[EVENTS.format("leaf")] == bodies
    assert [count for address, _, count in rig.hub.transfers if "leaf" in address] == [10, 10, 10, 5]
    assert rig.hub.received["/devices/edge1/modules/%24edgeHub/messages/events"] == [b"own"]
    assert (
        "com.microsoft:auth-chain"
        not in rig.hub.properties["/devices/edge1/modules/%24edgeHub/messages/events"]
    )
    assert rig.source.empty
    assert {outcome for _, _, outcome in rig.source.settled} == {"delivered"}
    assert rig.stats.sent == {"leaf": 35, "edge1/$edgeHub": 1}


def test_nothing_is_sent_without_credit() -> None:
    rig = Rig(Hub(credit=1))
    rig.hub.credit = 0
    rig.put("leaf", b"1")
    assert rig.hub.transfers == []
    rig.hub.links[">" + EVENTS.format("leaf")].grant(1)
    rig.run()
    assert rig.hub.received[EVENTS.format("leaf")] == [b"1"]


@pytest.mark.parametrize("condition", sorted(amqp_errors.FATAL_FOR_MESSAGE))
def test_a_bad_message_does_not_take_its_batch_along(condition: str) -> None:
    """A batch refused for good is sent again one by one; only the bad message is lost, and counted."""

    def judge(_sender: str, bodies: list[bytes]) -> AmqpFault | None:
        return AmqpFault(condition, "bad") if b"3" in bodies else None

    rig = Rig(Hub(on_transfer=judge))
    rig.put("leaf", *numbered(6))
    assert rig.hub.received[EVENTS.format("leaf")] == [b"0", b"1", b"2", b"4", b"5"]
    assert rig.source.settled == [("leaf", 6, "delivered")]
    assert rig.stats.rejected == {condition: 1}
    assert rig.stats.sent == {"leaf": 5}


def test_a_single_bad_message_is_rejected() -> None:
    rig = Rig(Hub(on_transfer=lambda _s, _b: AmqpFault(amqp_errors.DECODE_ERROR)))
    rig.put("leaf", b"x")
    assert rig.source.settled == [("leaf", 1, "rejected")]
    assert rig.stats.rejected == {amqp_errors.DECODE_ERROR: 1}


def test_row_45_throttled_senders_wait_and_others_flow() -> None:
    throttled = [True]

    def judge(sender: str, _bodies: list[bytes]) -> AmqpFault | None:
        busy = throttled[0] and "busy" in sender
        return AmqpFault(amqp_errors.THROTTLED) if busy else None

    rig = Rig(Hub(on_transfer=judge))
    rig.put("busy", b"1", b"2")
    rig.put("calm", b"1")
    assert rig.hub.received[EVENTS.format("calm")] == [b"1"]
    assert not rig.source.empty
    assert rig.link.pool.in_flight == 0
    before = len(rig.hub.transfers)
    rig.at(0.9)
    assert len(rig.hub.transfers) == before
    rig.at(0.2)
    rig.at(2.1)
    tries = sum("busy" in sender for sender, _, _ in rig.hub.transfers)
    assert tries == 3
    throttled[0] = False
    rig.at(4.1)
    assert rig.hub.received[EVENTS.format("busy")] == [b"1", b"2"]
    assert rig.source.empty
    assert rig.stats.retried == 3


def test_released_messages_are_sent_again() -> None:
    answers = ["release", None]
    rig = Rig(Hub(on_transfer=lambda _s, _b: answers.pop(0)))
    rig.put("leaf", b"1")
    rig.at(1.5)
    assert rig.hub.received[EVENTS.format("leaf")] == [b"1"]
    assert [outcome for _, _, outcome in rig.source.settled] == ["retry", "delivered"]


def test_waits_end_with_a_kick() -> None:
    rig = Rig(Hub(refuse={EVENTS.format("leaf"): AmqpFault(amqp_errors.NOT_FOUND, "unknown")}))
    rig.put("leaf", b"1")
    assert not rig.source.empty
    rig.hub.refuse.clear()
    rig.link.pool.release_held()
    rig.link.pump(rig.now)
    rig.run()
    assert rig.hub.received[EVENTS.format("leaf")] == [b"1"]


def test_senders_outside_the_scope_are_not_sent() -> None:
    rig = Rig(auth_chain=lambda _sender: None)
    rig.put("leaf", b"1")
    rig.put("not/a/name", b"1")
    assert rig.hub.transfers == []
    assert rig.stats.retried == 2


def test_too_many_waiting_senders_go_back_at_once() -> None:
    rig = Rig(auth_chain=lambda _sender: None, held_max=0)
    rig.source.put("leaf", b"1")
    batch = rig.source.take(1, 1000, 1)[0]
    rig.link.pool._begin(batch, rig.now)
    assert rig.source.settled == [("leaf", 1, "retry")]


def test_a_lost_link_is_attached_again() -> None:
    rig = Rig()
    rig.put("leaf", b"1")
    rig.hub.links[">" + EVENTS.format("leaf")].close(AmqpFault(amqp_errors.DETACH_FORCED))
    rig.run()
    rig.put("leaf", b"2")
    assert rig.hub.received[EVENTS.format("leaf")] == [b"1", b"2"]


def test_a_link_lost_in_flight_is_tried_again_after_a_wait() -> None:
    rig = Rig(Hub(on_transfer=lambda _s, _b: "ignore"))
    rig.put("leaf", b"1")
    rig.hub.links[">" + EVENTS.format("leaf")].close(AmqpFault(amqp_errors.LINK_STOLEN))
    rig.hub.on_transfer = lambda _s, _b: None
    rig.run()
    assert rig.link.pool.in_flight == 0
    rig.at(1.5)
    assert rig.hub.received[EVENTS.format("leaf")] == [b"1"]


def test_unauthorized_links_ask_for_a_token_but_not_in_a_loop() -> None:
    fault = AmqpFault(amqp_errors.UNAUTHORIZED)
    rig = Rig(Hub(refuse={EVENTS.format(f"leaf{n}"): fault for n in range(5)}))
    for number in range(5):
        rig.put(f"leaf{number}", b"1")
    assert rig.wanted == [True]
    rig.now += 20.0
    rig.source.put("leaf9", b"1")
    rig.hub.refuse[EVENTS.format("leaf9")] = fault
    rig.link.pump(rig.now)
    rig.run()
    assert rig.wanted == [True, True]


def test_t_024_who_is_refused_with_a_new_token_too_is_refused_himself() -> None:
    rig = Rig(Hub(refuse={EVENTS.format("leaf"): AmqpFault(amqp_errors.UNAUTHORIZED, "disabled")}))
    rig.put("leaf", b"1")
    assert (rig.wanted, rig.refused) == ([True], [])
    rig.at(1.5)
    assert rig.refused == [], "no new token was taken, so ours may be at fault"
    rig.link.put_token(Token("second", 3600.0), rig.now, 0.0)
    rig.run()
    rig.put("other", b"1")
    rig.at(4.0)
    assert (rig.wanted, rig.refused) == ([True], ["leaf"])
    assert rig.hub.received[EVENTS.format("other")] == [b"1"]
    rig.hub.refuse.clear()
    rig.at(60.0)
    assert rig.hub.received[EVENTS.format("leaf")] == [b"1"], "what was stored is not lost"


def test_t_024_a_message_that_is_refused_as_unauthorized_counts_too() -> None:
    fault = AmqpFault(amqp_errors.UNAUTHORIZED)
    rig = Rig(Hub(on_transfer=lambda _, __: fault))
    rig.put("leaf", b"1")
    rig.link.put_token(Token("second", 3600.0), rig.now, 0.0)
    rig.run()
    rig.at(1.5)
    assert rig.refused == ["leaf"]


def test_t_024_our_own_module_is_no_client() -> None:
    rig = Rig(Hub(refuse={OWN_TWIN: AmqpFault(amqp_errors.UNAUTHORIZED)}))
    for number in range(5):
        rig.link.put_token(Token(f"{number}", 3600.0), rig.now, 0.0)
        rig.run()
        rig.at(5.0)
    assert rig.refused == []
    assert rig.wanted


def test_row_46_fail_over_closes_the_connection() -> None:
    rig = Rig(Hub(on_transfer=lambda _s, _b: AmqpFault(amqp_errors.HUB_NOT_FOUND, "moving")))
    rig.put("leaf", b"1")
    assert rig.link.phase is Phase.CLOSED
    assert "failing over" in (rig.link.closed_reason or "")


def test_batches_larger_than_the_hub_takes_are_split_before_sending() -> None:
    rig = Rig(Hub(message_bytes_max=600))
    rig.put("leaf", *[bytes([65 + n]) * 200 for n in range(5)], b"x" * 1000)
    assert len(rig.hub.received[EVENTS.format("leaf")]) == 5
    assert rig.stats.rejected == {amqp_errors.MESSAGE_SIZE: 1}
    assert rig.source.settled == [("leaf", 6, "delivered")]


def test_a_hub_that_detaches_for_size_does_not_block_the_sender() -> None:
    rig = Rig(Hub(on_transfer=lambda _s, _b: "ignore"))
    rig.put("leaf", b"big", b"small")
    link = rig.hub.links[">" + EVENTS.format("leaf")]
    rig.hub.on_transfer = lambda _s, bodies: "ignore" if bodies == [b"big"] else None
    link.close(AmqpFault(amqp_errors.MESSAGE_SIZE))
    rig.run()
    rig.hub.links[">" + EVENTS.format("leaf")].close(AmqpFault(amqp_errors.MESSAGE_SIZE))
    rig.run()
    assert rig.hub.received[EVENTS.format("leaf")] == [b"small"]
    assert rig.stats.rejected == {amqp_errors.MESSAGE_SIZE: 1}


def test_no_disposition_probes_then_gives_up_the_link_alone() -> None:
    """The probe (row 159: an empty reported patch) is answered, so only the silent link is opened anew."""
    rig = Rig(Hub(on_transfer=lambda _s, _b: "ignore"))
    rig.put("leaf", b"1")
    rig.at(20.5)
    assert ("PATCH", b"{}") in rig.hub.twin
    assert rig.connectivity.state is State.CONNECTED
    rig.hub.on_transfer = lambda _s, _b: None
    rig.at(32.0)
    assert rig.link.phase is Phase.UP
    assert rig.hub.received[EVENTS.format("leaf")] == [b"1"]


def test_no_answer_to_the_probe_closes_the_connection() -> None:
    rig = Rig()
    rig.hub.mute = True
    rig.put("leaf", b"1")
    states = []
    for _ in range(2):
        rig.at(20.5)
        states.append(rig.connectivity.state)
    assert states == [State.TRYING, State.DISCONNECTED]
    assert rig.link.phase is Phase.CLOSED


def test_a_quiet_connection_is_probed() -> None:
    rig = Rig()
    rig.at(299.0)
    assert len(rig.hub.twin) == 1
    rig.at(2.0)
    assert rig.hub.twin[1:] == [("PATCH", b"{}")]


def test_row_157_quiet_sessions_are_closed() -> None:
    rig = Rig(sender_idle_s=60.0)
    rig.put("leaf", b"1")
    rig.at(130.0)
    assert rig.hub.closed == [EVENTS.format("leaf")]
    rig.put("leaf", b"2")
    assert rig.hub.received[EVENTS.format("leaf")] == [b"1", b"2"]


def test_sessions_are_limited_the_quietest_goes() -> None:
    rig = Rig(sessions_max=10)
    for number in range(12):
        rig.put(f"leaf{number}", b"1")
    assert rig.hub.closed == [EVENTS.format("leaf0"), EVENTS.format("leaf1")]
    assert sum(len(bodies) for bodies in rig.hub.received.values()) == 12


def test_tokens_are_renewed_at_half_their_life() -> None:
    rig = Rig()
    rig.at(1799.0)
    assert rig.wanted == []
    rig.at(2.0)
    assert rig.wanted == [False]
    rig.link.put_token(Token("second", 7200.0), rig.now, 1800.0)
    rig.run()
    assert rig.hub.tokens == ["first", "second"]
    assert rig.link.phase is Phase.UP


def test_twin_get_report_and_desired() -> None:
    rig = Rig()
    rig.link.twin_get(OWN, 1, rig.now)
    rig.link.twin_report(OWN, 2, b'{"x":1}', rig.now)
    rig.run()
    assert rig.hub.twin[1:] == [("GET", b" "), ("PATCH", b'{"x":1}')]
    answer = rig.answers[1]
    assert isinstance(answer, TwinAnswer)
    assert b'"$version":4' in answer.body
    assert isinstance(rig.answers[2], TwinAnswer)
    for body in (b'{"a":2}', b"[]", b"{", b'{"a":3,"$version":9}'):
        rig.hub.push_desired(body)
    rig.run()
    assert rig.desired == [(OWN, {"a": 2, "$version": 7}), (OWN, {"a": 3, "$version": 9})]


def test_twin_requests_time_out() -> None:
    rig = Rig()
    rig.hub.answer_twin = False
    for request in (1, 2):
        rig.link.twin_get(OWN, request, rig.now)
    rig.run()
    rig.at(20.5)
    assert isinstance(rig.answers[1], UpstreamTimeout)
    assert isinstance(rig.answers[2], UpstreamTimeout)


def test_requests_fail_when_the_link_goes() -> None:
    rig = Rig()
    rig.hub.answer_twin = False
    rig.link.twin_get(OWN, 1, rig.now)
    rig.run()
    rig.link.feed_eof(rig.now)
    assert isinstance(rig.answers[1], UpstreamOffline)
    with pytest.raises(UpstreamOffline):
        rig.link.twin_get(OWN, 2, rig.now)


def test_a_refused_twin_link_is_opened_again_and_telemetry_flows() -> None:
    rig = Rig(Hub(refuse={OWN_TWIN: AmqpFault(amqp_errors.NOT_IMPLEMENTED)}))
    assert rig.link.phase is Phase.UP
    rig.link.twin_get(OWN, 1, rig.now)
    rig.run()
    assert isinstance(rig.answers[1], UpstreamOffline)
    rig.put("leaf", b"1")
    assert rig.hub.received[EVENTS.format("leaf")] == [b"1"]
    rig.hub.refuse.clear()
    rig.at(6.0)
    assert rig.hub.twin == [("PUT", b" ")]
    rig.link.twin_get(OWN, 2, rig.now)
    rig.run()
    assert isinstance(rig.answers[2], TwinAnswer)


def test_silence_of_the_hub_ends_the_connection() -> None:
    """Row 41 from this side: nothing at all for twice the idle time."""
    rig = Rig(idle_timeout_ms=30_000, connectivity_check_s=-1.0)
    rig.hub.engine.outbound()
    end = rig.now + 70.0
    while (due := rig.link.deadline()) is not None and due <= end:
        rig.now = max(rig.now, due)
        rig.link.on_deadline(rig.now)
        rig.link.outbound()
    assert rig.link.phase is Phase.CLOSED


def test_draining_takes_no_more() -> None:
    rig = Rig()
    rig.link.pool.drain()
    rig.put("leaf", b"1")
    assert rig.hub.transfers == []


@pytest.mark.parametrize("seed", range(8))
def test_split_anywhere(seed: int) -> None:
    """The same conversation with bytes in odd pieces gives the same result."""
    rig = Rig()
    rig.source.put("leaf", *numbered(25))
    rig.link.pump(rig.now)
    for _ in range(500):
        out = rig.link.outbound()
        for start in range(0, len(out), seed + 1):
            rig.hub.engine.feed(out[start : start + seed + 1])
        rig.hub.handle()
        back = rig.hub.engine.outbound()
        for start in range(0, len(back), seed + 1):
            rig.link.feed(back[start : start + seed + 1], rig.now)
        if not out and not back:
            break
    assert rig.hub.received[EVENTS.format("leaf")] == numbered(25)
