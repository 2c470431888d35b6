"""Cloud-to-device messages from AMQP to a topic (M-041; heads spec 1.6, 8)."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol.amqp_message import encode_message
from edgehub.protocol.amqp_types import AmqpDecodeError, Timestamp, Ulong
from edgehub.protocol.cloud_messages import (
    CloudMessage,
    cloud_topic,
    encode_bag,
    iso_time,
    read_cloud_message,
)

TOKEN = UUID(int=5)


def test_m_041_topic_with_application_properties_first() -> None:
    message = read_cloud_message(
        encode_message(
            annotations={
                "x-opt-lock-token": TOKEN,
                "x-opt-sequence-number": Ulong(7),
                "iothub-enqueuedtime": Timestamp(1_767_225_600_123),
            },
            properties={
                "message_id": "m/1",
                "correlation_id": TOKEN,
                "user_id": b"me",
                "to": "/devices/d 1/messages/devicebound",
                "absolute_expiry_time": 1_767_225_600_123,
                "content_type": "application/json",
                "content_encoding": "utf-8",
            },
            application_properties={"a b": "1&2", "n": 5, "iothub-ack": "full", "empty": "", "none": None},
            data=b"x",
        )
    )
    assert message.payload == b"x"
    assert message.lock_token == TOKEN
    assert message.key == (7, 1_767_225_600_123, "m/1")
    assert cloud_topic("devices/d 1", message) == (
        "devices/d 1/messages/devicebound/a%20b=1%262&n=5&empty=&none"
        "&%24.mid=m%2F1&%24.cid=00000000-0000-0000-0000-000000000005&%24.uid=me"
        "&%24.to=%2Fdevices%2Fd%201%2Fmessages%2Fdevicebound&%24.exp=2026-01-01T00%3A00%3A00.1230000Z"
        "&%24.ct=application%2Fjson&%24.ce=utf-8&iothub-ack=full"
    )


def test_without_properties_there_is_no_bag() -> None:
    message = read_cloud_message(encode_message(data=b"x"))
    assert message == CloudMessage(b"x")
    assert message.key is None
    assert cloud_topic("devices/d", message) == "devices/d/messages/devicebound"


def test_annotations_of_another_type_do_not_count() -> None:
    annotations = {"x-opt-lock-token": "text", "x-opt-sequence-number": True, "iothub-enqueuedtime": "x"}
    message = read_cloud_message(encode_message(annotations=annotations, data=b""))
    assert (message.lock_token, message.sequence, message.enqueued_ms) == (None, None, None)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "1970-01-01T00:00:00.0000000Z"), (2**62, "9999-12-31T23:59:59.9999990Z")],
)
def test_times(ms: int, text: str) -> None:
    assert iso_time(ms) == text


@given(st.dictionaries(st.text(), st.none() | st.text()))
def test_a_bag_comes_apart_as_it_was_put_together(pairs: dict[str, str | None]) -> None:
    bag = encode_bag(pairs.items())
    found = {}
    for pair in bag.split("&") if pairs else []:
        key, separator, value = pair.partition("=")
        found[unquote(key)] = unquote(value) if separator else None
    assert found == pairs
    assert bag.isascii()


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    with suppress(AmqpDecodeError):
        cloud_topic("devices/d", read_cloud_message(payload))
