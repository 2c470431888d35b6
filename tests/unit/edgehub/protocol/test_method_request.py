"""The JSON of method calls over HTTP (heads spec 3.1; H-002, H-007 to H-010, DEV-12, DEV-13, DEV-25)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol.method_request import (
    MethodRequestError,
    caller_of,
    encode_message,
    encode_method_result,
    parse_method_request,
)


def body(**changes: Any) -> bytes:
    document = {"methodName": "reset", "payload": {"x": 1}, **changes}
    return json.dumps({name: value for name, value in document.items() if value is not ...}).encode()


def test_h_008_defaults() -> None:
    found = parse_method_request(b'{"methodName":"reset","unknown":1}')
    assert (found.methodName, bytes(found.payload)) == ("reset", b"null")
    assert (found.responseTimeoutInSeconds, found.connectTimeoutInSeconds) == (30, 0)
    nothing = body(payload=..., responseTimeoutInSeconds=None, connectTimeoutInSeconds=None)
    assert parse_method_request(nothing) == found, "null says as little"


def test_the_payload_is_passed_on_as_it_was_written() -> None:
    text = b'{ "big": 12345678901234567890, "f": 1.0, "u": "\\u00e4" }'
    assert bytes(parse_method_request(b'{"payload":' + text + b',"methodName":"m"}').payload) == text


@pytest.mark.parametrize("payload", [None, 1, "text", [1, None], {}, True])
def test_h_009_any_json_is_a_payload(payload: Any) -> None:
    assert json.loads(bytes(parse_method_request(body(payload=payload)).payload)) == payload


ALLOWED = [
    {"methodName": "x" * 100},
    {"methodName": "ä" * 100},
    {"responseTimeoutInSeconds": 5},
    {"responseTimeoutInSeconds": 300},
    {"connectTimeoutInSeconds": 0},
    {"connectTimeoutInSeconds": 300},
    {"payload": "x" * 131_070},
]
REFUSED = [
    ({"methodName": ...}, "methodName"),
    ({"methodName": None}, "methodName"),
    ({"methodName": " "}, "methodName must have"),
    ({"methodName": "x" * 101}, "methodName must have"),
    ({"responseTimeoutInSeconds": 4}, "from 5 to 300"),
    ({"responseTimeoutInSeconds": 301}, "from 5 to 300"),
    ({"responseTimeoutInSeconds": "5"}, "responseTimeoutInSeconds"),
    ({"responseTimeoutInSeconds": 5.5}, "responseTimeoutInSeconds"),
    ({"connectTimeoutInSeconds": -1}, "from 0 to 300"),
    ({"connectTimeoutInSeconds": 301}, "from 0 to 300"),
    ({"payload": "x" * 131_071}, "131072 are allowed"),
]


@pytest.mark.parametrize("changes", ALLOWED)
def test_h_007_allowed(changes: dict[str, Any]) -> None:
    parse_method_request(body(**changes))


@pytest.mark.parametrize(("changes", "told"), REFUSED)
def test_h_007_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(MethodRequestError, match=told):
        parse_method_request(body(**changes))


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_any_bytes_give_a_call_or_a_clear_error(data: bytes) -> None:
    try:
        parse_method_request(data)
    except MethodRequestError:
        return


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"payload":' + b"[" * 100_000])
def test_deep_nesting_is_refused(data: bytes) -> None:
    with pytest.raises(MethodRequestError):
        parse_method_request(data)


@pytest.mark.parametrize(
    ("payload", "want"),
    [
        (b'{"a":1}', {"a": 1}),
        (b" 5 ", 5),
        (b"", None),
        (b"  ", None),
        (b"null", None),
        (b"not json", "not json"),
        (b'{"a":', '{"a":'),
        (b"\xff", "\ufffd"),
    ],
)
def test_dev_25_the_answer_is_json_whatever_the_target_sent(payload: bytes, want: Any) -> None:
    assert json.loads(encode_method_result(-7, payload)) == {"status": -7, "payload": want}


@given(st.binary(max_size=50), st.integers(-(2**31), 2**31 - 1))
def test_every_answer_is_json(payload: bytes, status: int) -> None:
    assert json.loads(encode_method_result(status, payload))["status"] == status


def test_h_010_errors_are_messages() -> None:
    assert json.loads(encode_message('a "b" ä')) == {"message": 'a "b" ä'}


@pytest.mark.parametrize(
    ("header", "want"),
    [
        ("edge1/mod", ("edge1", "mod")),
        (None, None),
        ("", None),
        ("edge1", None),
        ("edge1/", None),
        ("/mod", None),
        ("a/b/c", None),
        ("edge1/\udcff", None),
    ],
)
def test_h_002_the_caller_has_two_parts(header: str | None, want: tuple[str, str] | None) -> None:
    assert caller_of(header) == want
