"""Requests and answers of the `$cbs` node: rows 16 to 18, A-006 and A-007."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol.amqp_message import decode_message, encode_message
from edgehub.protocol.amqp_types import Int, Ulong
from edgehub.protocol.cbs import (
    REQUEST_BYTES_MAX,
    CbsError,
    encode_put_token,
    encode_response,
    parse_request,
    parse_response,
)

NAME = "hub.example.test/devices/d"


def request(message_id: Any = "id-1", value: Any = "token", data: Any = None, **properties: Any) -> bytes:
    fields = {"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": NAME, **properties}
    fields = {key: item for key, item in fields.items() if item is not None}
    return encode_message(
        properties={"message_id": message_id}, application_properties=fields, value=value, data=data
    )


@pytest.mark.parametrize(
    "message_id", ["cbs-1", UUID(int=5), Ulong(12), b"\x01\x02"], ids=["str", "uuid", "ulong", "binary"]
)
def test_row_16_the_message_id_comes_back_with_its_type(message_id: Any) -> None:
    parsed = parse_request(request(message_id))
    answer = decode_message(encode_response(parsed.message_id, 200, "OK"))
    assert answer.correlation_id == message_id
    assert type(answer.correlation_id) is type(message_id)
    assert type(answer.application_properties["status-code"]) is Int
    assert parse_response(encode_response(parsed.message_id, 200, "OK")).status == 200


@pytest.mark.parametrize(
    "kind", ["azure-devices.net:sastoken", "servicebus.windows.net:sastoken", "AZURE-devices.net:SASToken"]
)
def test_row_18_token_types(kind: Any) -> None:
    assert parse_request(request(type=kind)).token == "token"


def test_our_own_request() -> None:
    parsed = parse_request(encode_put_token("m1", NAME, "token"))
    assert (parsed.message_id, parsed.operation, parsed.name, parsed.token) == (
        "m1",
        "put-token",
        NAME,
        "token",
    )


def test_token_as_data_and_delete_token() -> None:
    assert parse_request(request(data=b"token")).token == "token"
    assert parse_request(request(operation="Delete-Token", type=None)).operation == "delete-token"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"operation": None}, "operation"),
        ({"operation": "steal-token"}, "steal-token"),
        ({"type": None}, "type"),
        ({"type": "jwt"}, "jwt"),
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": Int(3)}, "name"),
        ({"value": None}, "body"),
        ({"value": 7}, "body"),
        ({"data": b"\xff"}, "body"),
    ],
    ids=str,
)
def test_A_007_bad_requests(change: Any, text: str) -> None:
    with pytest.raises(CbsError, match=text) as caught:
        parse_request(request(**change))
    assert (caught.value.status, caught.value.message_id) == (400, "id-1")


def test_malformed_and_oversized_requests() -> None:
    for payload in (b"", b"\x00", bytes(REQUEST_BYTES_MAX + 1)):
        with pytest.raises(CbsError):
            parse_request(payload)


def test_answers_without_status() -> None:
    for payload in (b"x", encode_message(properties={"correlation_id": "1"}, value=None)):
        with pytest.raises(CbsError):
            parse_response(payload)


@given(st.binary(max_size=200))
def test_nothing_else_escapes(payload: bytes) -> None:
    for parse in (parse_request, parse_response):
        with suppress(CbsError):
            parse(payload)
