"""Identity ids and durations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.common.ids import IdentityId
from edgehub.common.timespan import format_time_span, parse_time_span_ms


def test_ids() -> None:
    assert IdentityId.parse("d") == IdentityId("d")
    assert IdentityId.parse("d/m") == IdentityId("d", "m")
    assert str(IdentityId("d", "m")) == "d/m"
    assert IdentityId("d", "m").device == IdentityId("d")
    assert IdentityId("d").device == IdentityId("d")
    assert IdentityId("d", "m").is_module
    assert IdentityId("d") != IdentityId("D")


@pytest.mark.parametrize("text", ["", "/", "d/", "/m", "d/m/x"])
def test_texts_that_are_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="not an identity"):
        IdentityId.parse(text)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("00:00:00", 0),
        ("00:01:00", 60_000),
        ("00:10", 600_000),
        ("1.12:00:00.250", 129_600_250),
        ("-00:00:01", -1000),
        (" 0:0:1 ", 1000),
        ("00:00:00.1234567", 123),
        ("00:00:00.5", 500),
    ],
)
def test_durations(text: str, ms: int) -> None:
    assert parse_time_span_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "60",
        "1:2:3:4",
        "24:00:00",
        "00:60:00",
        "00:00:60",
        "a",
        "00:00:00.",
        "\u0660\u0660:\u0660\u0661:\u0660\u0660",
    ],
)
def test_texts_that_are_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_time_span_ms(text)


@given(st.integers(-(10**12), 10**12))
def test_durations_read_back(ms: int) -> None:
    assert parse_time_span_ms(format_time_span(ms)) == ms
