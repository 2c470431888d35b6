"""The ledger's arithmetic, against independent models of what was done to the messages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.demo.ids import message_id, split_id
from edgehub.demo.ledger import Evidence, build_ledger, count_hop, count_reordered

IDS = st.lists(
    st.builds(message_id, st.sampled_from(["a", "b", "summary"]), st.integers(1, 40)),
    unique=True,
    max_size=60,
)


def numbers(stream: str, *values: int) -> list[str]:
    return [message_id(stream, value) for value in values]


def whole_run() -> Evidence:
    """Four readings, two of them alerts, and one summary; everything arrived."""
    readings = numbers("a", 1, 2) + numbers("b", 1, 2)
    outputs = [*readings, *numbers("summary", 1)]
    return Evidence(
        begun=list(readings),
        acked=list(readings),
        received=list(readings),
        output_begun=list(outputs),
        output_acked=list(outputs),
        alerts={readings[0], readings[3]},
        delivered=[readings[0], readings[3], *numbers("summary", 1)],
    )


@given(IDS)
def test_a_hop_that_keeps_everything(ids: list[str]) -> None:
    ordered = sorted(ids)
    hop = count_hop(ordered, ordered, ordered)
    assert (hop.promised, hop.arrived) == (len(ids), len(ids))
    assert (hop.unconfirmed, hop.duplicates, hop.lost, hop.unexpected, hop.reordered) == (0, 0, 0, 0, 0)


@given(IDS, st.data())
def test_what_was_dropped_and_repeated_is_what_is_counted(ids: list[str], data: st.DataObject) -> None:
    ordered = sorted(ids)
    fates = data.draw(st.lists(st.integers(0, 3), min_size=len(ids), max_size=len(ids)))
    arrivals = [text for text, times in zip(ordered, fates, strict=True) for _ in range(times)]
    hop = count_hop(ordered, ordered, arrivals)
    assert hop.lost == fates.count(0)
    assert hop.duplicates == sum(times - 1 for times in fates if times > 1)
    assert hop.arrived + hop.lost == hop.promised
    assert hop.reordered == 0


@given(IDS, IDS, IDS)
def test_the_numbers_of_a_hop_fit_together(
    begun: list[str], promised: list[str], arrivals: list[str]
) -> None:
    hop = count_hop(begun, promised, arrivals)
    assert hop.promised + hop.unconfirmed == len({*begun, *promised})
    assert hop.arrived + hop.duplicates == len(arrivals)
    assert hop.lost <= hop.promised
    assert hop.unexpected <= hop.arrived
    # Nothing that was promised can be lost and arrive.
    assert hop.promised - hop.lost <= hop.arrived


@given(IDS)
def test_reordering_is_seen_by_comparing_with_every_earlier_arrival(ids: list[str]) -> None:
    def is_late(index: int) -> bool:
        stream, number = split_id(ids[index]) or ("", 0)
        earlier = [split_id(text) for text in ids[:index]]
        return any(parts is not None and parts[0] == stream and parts[1] > number for parts in earlier)

    assert count_reordered(ids) == sum(is_late(index) for index in range(len(ids)))


@given(IDS, st.data())
def test_a_redelivery_is_no_disorder(ids: list[str], data: st.DataObject) -> None:
    ordered = sorted(ids)
    arrivals = list(ordered)
    for text in data.draw(st.lists(st.sampled_from(ordered), max_size=10)) if ordered else []:
        first = arrivals.index(text)
        arrivals.insert(data.draw(st.integers(first + 1, len(arrivals))), text)
    assert count_reordered(arrivals) == 0


def test_streams_may_interleave() -> None:
    assert count_reordered(["a-000001", "b-000001", "a-000002", "b-000002"]) == 0


def test_texts_that_are_no_ids_are_unexpected_and_do_not_disturb_the_order() -> None:
    hop = count_hop([], ["a-000001"], ["", "a-000001", "elsewhere"])
    assert (hop.lost, hop.unexpected, hop.reordered) == (0, 2, 0)


def test_an_unconfirmed_message_may_arrive_or_not() -> None:
    arrived = count_hop(["a-000001"], [], ["a-000001"])
    absent = count_hop(["a-000001"], [], [])
    assert (arrived.unconfirmed, arrived.lost, arrived.unexpected) == (1, 0, 0)
    assert (absent.unconfirmed, absent.lost) == (1, 0)


def test_a_whole_run() -> None:
    ledger = build_ledger(whole_run())
    assert (ledger.sent, ledger.filtered_out, ledger.forwarded, ledger.delivered) == (4, 2, 3, 3)
    assert (ledger.duplicates, ledger.lost, ledger.reordered, ledger.unexpected) == (0, 0, 0, 0)
    assert ledger.ok


def test_an_empty_run_proves_nothing() -> None:
    assert not build_ledger(Evidence()).ok


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ({"received": numbers("a", 1, 2) + numbers("b", 1)}, 1),
        ({"output_acked": numbers("a", 1, 2) + numbers("b", 1) + numbers("summary", 1)}, 1),
        ({"delivered": numbers("b", 2) + numbers("summary", 1)}, 1),
        ({"delivered": numbers("a", 1) + numbers("b", 2)}, 1),
    ],
    ids=["to the filter", "in the filter", "an alert", "a summary"],
)
def test_a_loss_at_each_place_is_found(change: dict[str, list[str]], lost: int) -> None:
    run = whole_run()
    for name, ids in change.items():
        setattr(run, name, ids)
    ledger = build_ledger(run)
    assert ledger.lost == lost
    assert not ledger.ok


def test_a_reading_that_where_should_have_kept_is_unexpected_upstream() -> None:
    run = whole_run()
    ledger = build_ledger(replace(run, delivered=[*run.delivered, "a-000002"]))
    assert (ledger.unexpected, ledger.lost) == (1, 0)
    assert not ledger.ok


def test_a_summary_that_overtakes_the_backlog_is_in_order() -> None:
    run = whole_run()
    ledger = build_ledger(replace(run, delivered=list(reversed(run.delivered))))
    assert ledger.reordered == 0
    assert ledger.ok


def test_a_device_whose_messages_swap_is_out_of_order() -> None:
    run = whole_run()
    swapped = replace(
        run, alerts={"a-000001", "a-000002"}, delivered=["a-000002", "a-000001", "summary-000001"]
    )
    ledger = build_ledger(swapped)
    assert (ledger.reordered, ledger.lost) == (1, 0)
    assert not ledger.ok


def test_a_reading_that_came_to_the_filter_twice_counts_once_as_sent_on() -> None:
    run = whole_run()
    again = "a-000001"
    doubled = replace(
        run,
        received=[*run.received, again],
        output_begun=[*run.output_begun, again],
        output_acked=[*run.output_acked, again],
        delivered=[*run.delivered, again],
    )
    ledger = build_ledger(doubled)
    assert (ledger.sent, ledger.forwarded, ledger.delivered) == (4, 3, 3)
    assert ledger.duplicates == 2
    assert ledger.ok


def test_the_machine_form_has_totals_and_hops() -> None:
    found = build_ledger(whole_run()).as_dict()
    assert found["ok"] is True
    assert (found["sent"], found["received_by_filter"], found["delivered"]) == (4, 4, 3)
    assert found["hops"]["alerts_to_iothub"]["promised"] == 2
    assert found["hops"]["summaries_to_iothub"]["arrived"] == 1
