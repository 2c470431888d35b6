"""Session rules (heads spec 1.2.4, 1.3; M-021, M-022, M-024)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol.sessions import (
    FILTER_CHARS_MAX,
    FILTERS_MAX,
    Session,
    SessionFormatError,
    Subscription,
    decode_session,
    encode_session,
    open_session,
)

INPUTS = "devices/edge1/modules/m/inputs/#"
FILTER = st.text(min_size=1, max_size=20)


def stored_session() -> Session:
    session = Session(durable=True)
    session.subscribe([("a", 1)], 5)
    return decode_session(encode_session(session))


def test_clean_session_forgets_what_is_stored() -> None:
    opening = open_session(clean=True, stored=stored_session())
    assert (opening.present, opening.forget_stored) == (False, True)
    assert not opening.session.durable
    assert opening.session.granted() == []


def test_clean_session_without_stored_one() -> None:
    opening = open_session(clean=True, stored=None)
    assert (opening.present, opening.forget_stored, opening.session.durable) == (False, False, False)


def test_stored_session_is_restored() -> None:
    opening = open_session(clean=False, stored=stored_session())
    assert (opening.present, opening.forget_stored) == (True, False)
    assert opening.session.granted() == [("a", 1, 5)]


def test_new_durable_session() -> None:
    opening = open_session(clean=False, stored=None)
    assert (opening.present, opening.session.durable, opening.session.stored) == (False, True, False)


def test_grants_at_most_one_for_any_filter() -> None:
    session = Session(durable=False)
    outcome = session.subscribe([("a", 0), ("b", 1), ("c", 2), ("nobody/serves/this", 2)], 1)
    assert outcome.codes == bytes([0, 1, 1, 1])
    assert outcome.added == (("a", 0, 1), ("b", 1, 1), ("c", 1, 1), ("nobody/serves/this", 1, 1))


def test_subscribing_again_changes_the_quality_and_keeps_the_time() -> None:
    session = Session(durable=True)
    session.subscribe([("a", 0)], 1)
    outcome = session.subscribe([("a", 1)], 9)
    assert outcome.changed
    assert outcome.added == (("a", 1, 1),)
    assert session.subscriptions["a"] == Subscription(1, 1)


def test_subscribing_the_same_again_changes_nothing() -> None:
    session = Session(durable=True, stored=True)
    session.subscribe([("a", 1)], 1)
    outcome = session.subscribe([("a", 1)], 2)
    assert (outcome.changed, outcome.codes) == (False, b"\x01")
    assert not session.must_store(changed=outcome.changed)


def test_the_same_filter_twice_in_one_packet_gets_two_codes_and_the_last_grant() -> None:
    outcome = Session(durable=False).subscribe([("a", 0), ("a", 1)], 1)
    assert (outcome.codes, outcome.added) == (b"\x00\x01", (("a", 1, 1),))


def test_the_number_of_filters_is_bounded() -> None:
    session = Session(durable=True)
    session.subscribe([(f"f{number}", 0) for number in range(FILTERS_MAX - 1)], 1)
    outcome = session.subscribe([("last", 1), ("over", 1), ("f0", 1)], 2)
    assert outcome.codes == bytes([1, 0x80, 1])
    assert outcome.added == (("last", 1, 2), ("f0", 1, 1))
    assert len(session.subscriptions) == FILTERS_MAX


def test_a_filter_beyond_the_length_limit_is_refused() -> None:
    outcome = Session(durable=True).subscribe(
        [("x" * FILTER_CHARS_MAX, 1), ("x" * (FILTER_CHARS_MAX + 1), 1)], 1
    )
    assert outcome.codes == b"\x01\x80"


def test_a_filter_that_may_not_be_had_is_refused_and_not_kept() -> None:
    session = Session(durable=True)
    outcome = session.subscribe([("a", 1), ("b", 1)], 5, lambda topic_filter: topic_filter == "a")
    assert outcome.codes == b"\x01\x80"
    assert [name for name, _, _ in session.granted()] == ["a"]
    assert outcome.added == (("a", 1, 5),)


def test_inputs_follow_the_filters() -> None:
    session = Session(durable=False)
    session.subscribe([("$iothub/twin/res/#", 0)], 1)
    assert not session.inputs_active
    session.subscribe([(INPUTS, 1)], 1)
    assert session.inputs_active
    assert session.unsubscribe([INPUTS, "unknown"])
    assert not session.inputs_active
    assert not session.unsubscribe([INPUTS])


def test_a_durable_session_is_stored_with_its_first_packet_even_if_empty() -> None:
    session = Session(durable=True)
    assert session.must_store(changed=session.unsubscribe(["a"]))
    session.stored = True
    assert not session.must_store(changed=session.unsubscribe(["a"]))
    assert not Session(durable=False).must_store(changed=True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"format":2,"subscriptions":[]}',
        b'{"format":1}',
        b'{"format":1,"subscriptions":[["a",2,1]]}',
        b'{"format":1,"subscriptions":[["a",1]]}',
        b'{"format":1,"subscriptions":[[1,1,1]]}',
        b'{"format":1,"subscriptions":[["a",1,"x"]]}',
        b"\xff",
    ],
)
def test_damaged_sessions_are_told_apart(data: bytes) -> None:
    with pytest.raises(SessionFormatError):
        decode_session(data)


@given(st.lists(st.tuples(FILTER, st.integers(0, 2)), max_size=30), st.integers(0, 2**40))
def test_what_is_stored_is_read_back(filters: list[tuple[str, int]], now_ms: int) -> None:
    session = Session(durable=True)
    session.subscribe(filters, now_ms)
    restored = decode_session(encode_session(session))
    assert restored.subscriptions == session.subscriptions
    assert restored.durable
    assert restored.stored


@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(st.tuples(FILTER, st.integers(0, 2)), max_size=4)), max_size=20
    )
)
def test_subscriptions_follow_a_plain_dictionary(steps: list[tuple[bool, list[tuple[str, int]]]]) -> None:
    session, model = Session(durable=True), dict[str, tuple[int, int]]()
    for number, (adds, filters) in enumerate(steps):
        if adds:
            outcome = session.subscribe(filters, number)
            for name, qos in filters:
                _, created_ms = model.get(name, (0, number))
                model[name] = (min(qos, 1), created_ms)
            assert outcome.codes == bytes(min(qos, 1) for _, qos in filters)
        else:
            names = [name for name, _ in filters]
            assert session.unsubscribe(names) == any(name in model for name in names)
            for name in names:
                model.pop(name, None)
        assert {name: (qos, created_ms) for name, qos, created_ms in session.granted()} == model
