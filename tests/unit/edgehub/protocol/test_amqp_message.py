"""Messages and batches as bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol.amqp_batch import BATCH_MSGS_MAX, join_batch, split_batch
from edgehub.protocol.amqp_message import PROPERTY_NAMES, decode_message, encode_message, validate_message
from edgehub.protocol.amqp_types import AmqpDecodeError, Int, Symbol, Timestamp, Ulong
from unit.edgehub.protocol.amqp_helpers import scalars

VECTORS = Path(__file__).parents[3] / "vectors" / "amqp"
MESSAGES = json.loads((VECTORS / "messages.json").read_text())
BATCHES = json.loads((VECTORS / "batches.json").read_text())


def named(row: dict[str, Any]) -> Any:
    return row["name"]


@pytest.mark.parametrize("row", MESSAGES["valid"], ids=named)
def test_valid_messages(row: dict[str, Any]) -> None:
    raw = bytes.fromhex(row["hex"])
    validate_message(raw)
    message = decode_message(raw)
    if "body" in row and "kind" not in row:
        assert message.body == row["body"].encode()
    assert message.application_properties == row.get("application_properties", {})
    assert message.message_id == row.get("message_id")


@pytest.mark.parametrize("row", MESSAGES["invalid"], ids=named)
@pytest.mark.parametrize("read", [validate_message, decode_message])
def test_invalid_messages(row: dict[str, Any], read: Any) -> None:
    with pytest.raises(AmqpDecodeError):
        read(bytes.fromhex(row["hex"]))


def test_body_kinds() -> None:
    kinds = [validate_message(bytes.fromhex(row["hex"]))[0] for row in MESSAGES["valid"]]
    assert {"data", "none", "value", "sequence"} == set(kinds)


def test_a_message_inside_a_larger_buffer() -> None:
    raw = b"\xff" + encode_message(data=b"x") + b"\xff"
    assert validate_message(raw, 1, len(raw) - 1) == ("data", 1)
    assert decode_message(raw, 1, len(raw) - 1).body == b"x"


def test_properties_are_typed_and_trailing_absent_ones_left_out() -> None:
    raw = encode_message(
        annotations={"x-opt": 1},
        properties={
            "message_id": Ulong(7),
            "content_type": "application/json",
            "creation_time": 5,
            "to": None,
        },
        application_properties={"n": Int(1)},
        data=b"x",
    )
    message = decode_message(raw)
    assert message.properties == {"message_id": 7, "content_type": "application/json", "creation_time": 5}
    assert [type(value) for value in message.properties.values()] == [Ulong, Symbol, Timestamp]
    assert message.annotations == {"x-opt": 1}
    with pytest.raises(ValueError, match="nonsense"):
        encode_message(properties={"nonsense": 1}, data=b"")


@given(
    st.dictionaries(st.sampled_from(PROPERTY_NAMES[:6]), scalars.filter(lambda value: value is not None)),
    st.dictionaries(st.text(max_size=10), scalars, max_size=4),
    st.binary(max_size=400),
)
def test_round_trip(properties: Any, application_properties: Any, body: Any) -> None:
    raw = encode_message(properties=properties, application_properties=application_properties, data=body)
    kind, size = validate_message(raw)
    assert kind == "data"
    assert len(body) <= size <= len(raw)
    message = decode_message(raw)
    assert message.properties == properties
    assert message.application_properties == application_properties
    assert message.body == body


@given(st.binary(max_size=120))
def test_decoding_accepts_no_more_than_validating(raw: Any) -> None:
    try:
        decode_message(raw)
    except AmqpDecodeError:
        return
    validate_message(raw)


@pytest.mark.parametrize("row", BATCHES["valid"], ids=named)
def test_valid_batches(row: dict[str, Any]) -> None:
    """Row 25, vector 12.4."""
    raw = bytes.fromhex(row["hex"])
    assert [raw[start:end].hex() for start, end in split_batch(raw)] == row["inner"]


@pytest.mark.parametrize("row", BATCHES["invalid"], ids=named)
def test_invalid_batches(row: dict[str, Any]) -> None:
    with pytest.raises(AmqpDecodeError):
        split_batch(bytes.fromhex(row["hex"]))


def test_batch_count_limit() -> None:
    message = encode_message(data=b"")
    assert len(split_batch(join_batch([message] * BATCH_MSGS_MAX))) == BATCH_MSGS_MAX
    with pytest.raises(AmqpDecodeError, match="at most"):
        split_batch(join_batch([message] * (BATCH_MSGS_MAX + 1)))


@given(st.lists(st.binary(max_size=600), min_size=1, max_size=8), st.data())
def test_batch_round_trip_and_cuts(messages: Any, data: Any) -> None:
    raw = join_batch(messages)
    assert [raw[start:end] for start, end in split_batch(raw)] == messages
    ends = {end for _, end in split_batch(raw)}
    cut = data.draw(st.integers(0, len(raw) - 1))
    if cut in ends:
        assert len(split_batch(raw[:cut])) < len(messages)
    else:
        with pytest.raises(AmqpDecodeError):
            split_batch(raw[:cut])


@given(st.binary(max_size=200))
def test_batches_of_random_bytes(raw: Any) -> None:
    try:
        extents = split_batch(raw)
    except AmqpDecodeError:
        return
    assert all(0 <= start <= end <= len(raw) for start, end in extents)
