"""One device's queue (section 5.1; rows 115, 116), also against a simple model."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from iothub.c2d.model import C2dLimits, C2dMessage, Status, expiry_of, parse_ack
from iothub.c2d.queue import DeviceQueue, Entry
from iothub.errors import ErrorCode, HubError

LIMITS = C2dLimits(depth_max=4, deliveries_max=3, lock_secs=60)
HOUR_MS = 3_600_000


def queue(count: int, limits: C2dLimits = LIMITS) -> DeviceQueue:
    return DeviceQueue([Entry(number, HOUR_MS) for number in range(1, count + 1)], limits)


def refused(error: pytest.ExceptionInfo[HubError]) -> ErrorCode:
    return error.value.code


def test_messages_are_handed_out_in_order_each_once() -> None:
    found = queue(2)
    assert [entry.sequence for entry in (found.take(0, "a"), found.take(0, "b")) if entry] == [1, 2]
    assert found.take(0, "c") is None
    found.complete("a")
    found.reject("b")
    assert [(entry.sequence, status) for entry, status in found.ended] == [
        (1, Status.SUCCESS),
        (2, Status.REJECTED),
    ]
    assert len(found) == 0


def test_row_115_a_queue_has_room_for_so_many() -> None:
    queue(3).check_room()
    found = queue(4)
    found.take(0, "a")
    with pytest.raises(HubError) as caught:
        found.check_room()
    assert refused(caught) is ErrorCode.DeviceMaximumQueueDepthExceeded


def test_row_116_a_lock_ends_and_does_not_count() -> None:
    found = queue(1)
    for _ in range(20):
        assert found.take(0, "a")
        found.advance(59_999)
        assert found.take(59_999, "b") is None
        found.advance(60_000)
        with pytest.raises(HubError) as caught:
            found.complete("a")
        assert refused(caught) is ErrorCode.DeviceMessageLockLost
    assert found.take(0, "b", lock_secs=5)
    found.advance(5_000)
    entry = found.take(5_000, "c")
    assert entry is not None
    assert entry.delivery_count == 0


def test_row_116_abandoned_too_often() -> None:
    found = queue(1)
    for count in range(3):
        entry = found.take(0, "a")
        assert entry is not None
        assert entry.delivery_count == count
        found.abandon("a")
    assert [status for _, status in found.ended] == [Status.DELIVERY_COUNT_EXCEEDED]
    assert found.changed == {}


def test_who_goes_without_a_word_gives_back_uncounted() -> None:
    found = queue(2)
    found.take(0, "a")
    found.take(0, "b")
    found.release(["a", "b", "never"])
    entry = found.take(0, "c")
    assert entry is not None
    assert (entry.sequence, entry.delivery_count) == (1, 0)


def test_a_message_expires_only_while_nobody_holds_it() -> None:
    found = DeviceQueue([Entry(1, 1000), Entry(2, 1000)], LIMITS)
    found.take(0, "a")
    found.advance(1000)
    assert [(entry.sequence, status) for entry, status in found.ended] == [(2, Status.EXPIRED)]
    found.complete("a")
    assert found.ended[-1][1] is Status.SUCCESS


def test_a_purge_takes_all_and_says_how_many() -> None:
    found = queue(3)
    found.take(0, "a")
    assert found.purge() == 3
    assert {status for _, status in found.ended} == {Status.PURGED}
    with pytest.raises(HubError):
        found.complete("a")


@pytest.mark.parametrize(
    ("ack", "told"),
    [
        ("none", ""),
        ("positive", "Success"),
        ("negative", "Expired DeliveryCountExceeded Rejected Purged"),
        ("FULL", "Success Expired DeliveryCountExceeded Rejected Purged"),
        (None, ""),
    ],
)
def test_who_is_told_of_what(ack: str | None, told: str) -> None:
    wanted = [status.value for status in Status if parse_ack(ack).wants(status)]
    assert " ".join(wanted) == told


def test_an_unknown_ack_is_refused() -> None:
    with pytest.raises(HubError, match="must be one of none, positive, negative, full") as caught:
        parse_ack("maybe")
    assert refused(caught) is ErrorCode.ArgumentInvalid


def test_row_117_expiry() -> None:
    now, limit = 1_000_000, 2 * 24 * HOUR_MS
    assert expiry_of(C2dMessage(), now, C2dLimits()) == now + HOUR_MS
    for asked in (now + 1, now + limit):
        assert expiry_of(C2dMessage(expires_ms=asked), now, C2dLimits()) == asked
    for asked in (now, now - 1, now + limit + 1):
        with pytest.raises(HubError) as caught:
            expiry_of(C2dMessage(expires_ms=asked), now, C2dLimits())
        assert refused(caught) is ErrorCode.InvalidMessageExpiryTime


class QueueMachine(RuleBasedStateMachine):
    """Settlement against a model: lists of what waits, what is held by which token, and what ended how."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 0
        self.entries: list[Entry] = []
        self.waiting: list[int] = []
        self.held: dict[str, tuple[int, int]] = {}
        self.counts: dict[int, int] = {}
        self.expires: dict[int, int] = {}
        self.ended: dict[int, Status] = {}
        self.next = 1

    def _queue(self) -> DeviceQueue:
        """Loaded anew for each operation, as the store does it."""
        found = DeviceQueue(self.entries, LIMITS)
        found.advance(self.now_ms)
        self._model_advance()
        return found

    def _model_advance(self) -> None:
        for token, (number, until) in list(self.held.items()):
            if until <= self.now_ms:
                self._give_back(token, number)
        for number in list(self.waiting):
            if self.expires[number] <= self.now_ms:
                self.waiting.remove(number)
                self.ended[number] = Status.EXPIRED

    def _give_back(self, token: str, number: int) -> None:
        del self.held[token]
        self.waiting = sorted([*self.waiting, number])

    def _keep(self, found: DeviceQueue) -> None:
        gone = {entry.sequence for entry, _ in found.ended}
        assert {number: self.ended[number] for number in gone} == {
            entry.sequence: status for entry, status in found.ended
        }
        self.entries = [entry for entry in self.entries if entry.sequence not in gone]

    @rule(life_ms=st.integers(1, 200_000))
    def send(self, life_ms: int) -> None:
        found = self._queue()
        full = len(self.waiting) + len(self.held) >= LIMITS.depth_max
        try:
            found.check_room()
        except HubError:
            assert full
        else:
            assert not full
            self._keep(found)
            self.entries.append(Entry(self.next, self.now_ms + life_ms))
            self.expires[self.next] = self.now_ms + life_ms
            self.counts[self.next] = 0
            self.waiting.append(self.next)
            self.next += 1
            return
        self._keep(found)

    @rule()
    def take(self) -> None:
        found = self._queue()
        token = f"t{self.now_ms}-{len(self.held)}-{self.next}-{sum(self.counts.values())}-{len(self.ended)}"
        if token in self.held:
            return self._keep(found)
        entry = found.take(self.now_ms, token)
        assert (entry.sequence if entry else None) == (self.waiting[0] if self.waiting else None)
        if entry is not None:
            assert entry.delivery_count == self.counts[entry.sequence]
            self.waiting.pop(0)
            self.held[token] = (entry.sequence, self.now_ms + 60_000)
        return self._keep(found)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), how=st.sampled_from(["complete", "reject", "abandon", "release"]))
    def settle(self, data: st.DataObject, how: str) -> None:
        token = data.draw(st.sampled_from(sorted(self.held)))
        found = self._queue()
        lost = token not in self.held
        number = self.held.get(token, (0, 0))[0]
        if how == "release":
            found.release([token])
            if not lost:
                self._give_back(token, number)
            return self._keep(found)
        try:
            getattr(found, how)(token)
        except HubError:
            assert lost
            return self._keep(found)
        assert not lost
        if how == "abandon":
            self.counts[number] += 1
            self._give_back(token, number)
            if self.counts[number] >= LIMITS.deliveries_max:
                self.waiting.remove(number)
                self.ended[number] = Status.DELIVERY_COUNT_EXCEEDED
        else:
            del self.held[token]
            self.ended[number] = Status.SUCCESS if how == "complete" else Status.REJECTED
        return self._keep(found)

    @rule(step_ms=st.integers(1, 100_000))
    def wait(self, step_ms: int) -> None:
        self.now_ms += step_ms

    @rule()
    def purge(self) -> None:
        found = self._queue()
        gone = [*self.waiting, *(number for number, _ in self.held.values())]
        assert found.purge() == len(gone)
        self.ended |= dict.fromkeys(gone, Status.PURGED)
        self.waiting, self.held = [], {}
        self._keep(found)

    @invariant()
    def nothing_is_lost(self) -> None:
        known = {*self.waiting, *(number for number, _ in self.held.values())}
        assert {entry.sequence for entry in self.entries} == known
        assert known | set(self.ended) == set(range(1, self.next))


TestQueueMachine = QueueMachine.TestCase
