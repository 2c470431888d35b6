"""Telemetry over HTTP as the log keeps it (section 1.9, row 65)."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol.amqp_batch import BATCH_FORMAT, BATCH_MSGS_MAX
from iothub.errors import HubError
from iothub.telemetry.event import Chunk, Event, Origin, count_messages, events_of
from iothub.telemetry.http_message import encode_batch, encode_single

ORIGIN = Origin("d1", None, "1", "sas")


def events(payload: bytes, message_format: int) -> list[Event]:
    """What a reader sees of a transfer, which passes the check at the door."""
    count = count_messages(payload, message_format, 1 << 20)
    return list(events_of(Chunk(1, count, 0, ORIGIN, message_format, payload)))


def single(body: bytes, **headers: str) -> Event:
    (event,) = events(encode_single(body, [(k.replace("_", "-"), v) for k, v in headers.items()]), 0)
    return event


def batch(*items: Any) -> list[Event]:
    return events(encode_batch(json.dumps(items).encode()), BATCH_FORMAT)


def test_row_65_headers_become_properties() -> None:
    event = single(
        b"\x00body",
        iothub_app_Temp="21",
        IoTHub_App_b="ü",
        Authorization="secret",
        Host="h",
        x_other="1",
    )
    assert event.body == b"\x00body"
    assert event.properties == {"Temp": "21", "b": "ü"}
    assert event.system == {}


def test_row_65_system_properties() -> None:
    event = single(
        b"",
        iothub_messageid="m1",
        IoTHub_CorrelationId="c1",
        iothub_userid="u1",
        iothub_contenttype="application/json",
        iothub_contentencoding="utf-8",
        iothub_to="/devices/d1/messages/events",
        iothub_expiry="2026-01-02T03:04:05Z",
    )
    assert event.system == {
        "message-id": "m1",
        "correlation-id": "c1",
        "user-id": "u1",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "to": "/devices/d1/messages/events",
        "absolute-expiry-time": "2026-01-02T03:04:05.000Z",
    }
    assert event.properties == {}


def test_row_65_a_batch() -> None:
    found = batch(
        {
            "body": base64.b64encode(b"\xff1").decode(),
            "base64Encoded": True,
            "properties": {"iothub-app-a": "1"},
        },
        {"body": "two", "base64Encoded": False, "properties": {"b": "2", "iothub-messageid": "m2"}},
        {"body": "three", "more": 1},
    )
    assert [event.body for event in found] == [b"\xff1", b"two", b"three"]
    assert [event.properties for event in found] == [{"a": "1"}, {"b": "2"}, {}]
    assert [event.system for event in found] == [{}, {"message-id": "m2"}, {}]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", 400006),
        (b"{}", 400006),
        (b'["a"]', 400006),
        (b'[{"body":1}]', 400006),
        (b'[{"properties":{}}]', 400006),
        (b'[{"body":"","properties":{"a":1}}]', 400006),
        (b"[" * 100_000, 400006),
        (b"[]", 400004),
        (b'[{"body":"***","base64Encoded":true}]', 400004),
        (json.dumps([{"body": ""}] * (BATCH_MSGS_MAX + 1)).encode(), 400004),
    ],
)
def test_what_is_no_batch(raw: bytes, code: int) -> None:
    with pytest.raises(HubError) as caught:
        encode_batch(raw)
    assert caught.value.code.number == code


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iothub-expiry", "tomorrow"),
        ("iothub-contenttype", "é"),
        ("iothub-app-a", "\udcff"),
        ("iothub-messageid", "\udcff"),
        ("iothub-userid", "\udcff"),
    ],
)
def test_headers_that_cannot_be_kept(name: str, value: str) -> None:
    with pytest.raises(HubError) as caught:
        encode_single(b"", [(name, value)])
    assert caught.value.code.number == 400004


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4), st.binary(max_size=20))
def test_whatever_is_taken_comes_out_again(properties: dict[str, str], body: bytes) -> None:
    headers = [(f"iothub-app-{name}", value) for name, value in properties.items()]
    with contextlib.suppress(HubError):
        (event,) = events(encode_single(body, headers), 0)
        assert (event.properties, event.body) == (properties, body)
    item = {"body": base64.b64encode(body).decode(), "base64Encoded": True, "properties": dict(headers)}
    with contextlib.suppress(HubError):
        (event,) = batch(item)
        assert (event.properties, event.body) == (properties, body)
