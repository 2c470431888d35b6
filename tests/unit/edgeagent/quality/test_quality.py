"""Anonymous samples and their message (rows X19 to X21)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.quality.messages import MESSAGE_BYTES_MAX, encode_series, messages_of
from edgeagent.quality.samples import Sample, anonymised, condensed, hashed, sorted_labels

CHOSEN = {"ms_telemetry": "True"}


def _sample(name: str, value: float = 1.0, at_ms: int = 0, **labels: str) -> Sample:
    return Sample(name, sorted_labels({**CHOSEN, **labels}), value, at_ms)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m1", "yg3yyVqhRMHQ/y/zyPln/cHenvDEEgs3JkFnAbUZ1hk="),
        ("edgeAgent", "AYupJXQ4fJ7tQDkuGAGkU5Pjkv6wRvUbW7DDZdsspUE="),
        ("edgeHub", "FyqmR5DDaJyT+Y66uShWhQOpJaZkbhrCjR7AbcPgsq0="),
        ("host", "R0CuY0ewFywBJU/1W65a/1GZ9ERuf21kPUAYWz9HUUU="),
        ("my_module", "rPbHx4uTZz/x2x8rSxfPxL4egT61y7B1dlsSgWpHh6s="),
        ("my_module_1", "Ut4Ug5Wg2qMCvwtG08RIi0k10DkoNMqQ7AmTUKy/pMs="),
        ("my_module_2", "t+TD1s4uqQrTHY7Xe/lJqasX1biQ9yK4ev5ZnScMcpk="),
    ],
)
def test_x19_hashes(text: str, expected: str) -> None:
    assert hashed(text) == expected


def test_x19_only_what_is_marked_leaves() -> None:
    samples = [
        Sample("a", (("ms_telemetry", "False"),), 1.0, 0),
        Sample("b", (), 1.0, 0),
        _sample("c"),
        *(_sample("d", quantile=quantile) for quantile in ("0.1", "0.5", "0.9", "0.99")),
    ]
    found = {(sample.name, sample.labels) for sample in anonymised(samples)}
    assert found == {("c", ()), ("d", (("quantile", "0.9"),))}


def test_x19_names_are_hashed_but_for_system_modules() -> None:
    samples = [
        _sample("a", iothub="hub1.example.net", edge_device="d1", module_name="m1"),
        _sample("b", module_name="$edgeHub"),
        _sample("c", id="d1/m1"),
        _sample("d", id="d1/$edgeHub"),
        _sample("e", id="d1"),
        _sample("f", to="m1"),
    ]
    h = hashed("m1")
    assert [dict(sample.labels) for sample in anonymised(samples)] == [
        {"module_name": h},
        {"module_name": "$edgeHub"},
        {"id": f"device/{h}"},
        {"id": "device/$edgeHub"},
        {"id": "device"},
        {"to": h},
    ]


def test_sums_and_averages() -> None:
    samples = [
        _sample("edgehub_gettwin_total", 2, id="d1/a", source="upstream"),
        _sample("edgehub_gettwin_total", 3, id="d1/b", source="upstream"),
        _sample("edgehub_gettwin_total", 4, id="d1/b", source="edge"),
        _sample("edgehub_message_size_bytes_sum", 10, id="d1/a"),
        _sample("edgehub_message_size_bytes_sum", 30, id="d1/b"),
    ]
    found = {(sample.name, sample.labels): sample.value for sample in anonymised(samples)}
    assert found == {
        ("edgehub_gettwin_total", (("source", "upstream"),)): 5,
        ("edgehub_gettwin_total", (("source", "edge"),)): 4,
        ("edgehub_message_size_bytes_sum", ()): 20,
    }


def test_x20_the_message() -> None:
    series = ("edgeAgent_iothub_syncs_total", (("instance_number", "x"),), [(1_704_067_200_000, 3.0)])
    assert encode_series(series).hex() == (
        "1c000000656467654167656e745f696f746875625f73796e63735f746f74616c170000007b22696e7374616e63655f6e756d"
        "626572223a2278227d0100000000c000995c0adc080000000000000840"
    )


def test_x21_condensed() -> None:
    values = [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0]
    kept = condensed(list(enumerate(values)))
    assert [moment for moment, _ in kept] == [0, 3, 4, 5, 6]


@given(st.lists(st.integers(0, 2)))
def test_x21_nothing_is_lost_by_condensing(values: list[int]) -> None:
    """Between two kept points of one value it was that value all the time."""
    kept = dict(condensed([(at, float(value)) for at, value in enumerate(values)]))
    last = 0.0
    for at, value in enumerate(values):
        last = kept.get(at, last)
        assert last == value


def test_messages_are_split_to_fit() -> None:
    samples = [Sample(f"metric_{number}", (), float(at), at) for number in range(40) for at in range(1000)]
    messages = list(messages_of(samples, pytest.fail))
    assert len(messages) > 2
    assert all(0 < len(message) <= MESSAGE_BYTES_MAX for message in messages)
    assert sum(_count(message) for message in messages) == len(samples)


@pytest.mark.parametrize("extra", [0, 1])
def test_a_value_that_no_message_can_hold_is_left_out_and_told(
    extra: int, caplog: pytest.LogCaptureFixture
) -> None:
    frame = len(encode_series(("big", (("a", ""),), [(0, 1.0)])))
    big = Sample("big", (("a", "x" * (MESSAGE_BYTES_MAX - frame + extra)),), 1.0, 0)
    dropped: list[str] = []
    messages = list(messages_of([big, Sample("small", (), 1.0, 0)], dropped.append))
    assert dropped == ["big"] * extra
    assert ("metric big is left out: 255001 bytes" in caplog.text) == bool(extra)
    assert sum(map(_count, messages)) == 2 - extra


def _count(message: bytes) -> int:
    at, total = 0, 0
    while at < len(message):
        for _ in range(2):
            at += 4 + struct.unpack_from("<i", message, at)[0]
        count = struct.unpack_from("<i", message, at)[0]
        total += count
        at += 4 + 16 * count
    return total
