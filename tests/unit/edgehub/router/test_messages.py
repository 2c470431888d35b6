"""Messages: what may be left out, and what every wrong one is told."""

from __future__ import annotations

import struct
from collections import OrderedDict, UserDict
from types import MappingProxyType
from typing import Any

import pytest

from edgehub.router import Condition, MessageError, Router, encode, encode_many

KEYS = "expected source, systemProperties, properties, body or bodyBase64"

WRONG: list[tuple[Any, str]] = [
    (7, "a message must be a mapping, not int"),
    (None, "a message must be a mapping, not None"),
    ("/messages/", "a message must be a mapping, not str"),
    ([("body", "")], "a message must be a mapping, not list"),
    ({"propertys": {}}, f"unknown key 'propertys'; {KEYS}"),
    ({1: {}}, f"keys must be str, not int; {KEYS}"),
    ({"\ud800": {}}, "a key holds half a surrogate pair, which is no text"),
    ({"source": None}, "key 'source' must be str, not None"),
    ({"source": "\udfff"}, "key 'source' holds half a surrogate pair, which is no text"),
    ({"source": "/" * 65536}, "a source of 65536 bytes is longer than 65535"),
    ({"properties": []}, "key 'properties' must be a mapping, not list"),
    ({"systemProperties": "x"}, "key 'systemProperties' must be a mapping, not str"),
    ({"properties": {1: "x"}}, "key 'properties': names must be str, not int"),
    (
        {"properties": {"\ud800": "x"}},
        "key 'properties': a name holds half a surrogate pair, which is no text",
    ),
    ({"properties": {"t": 1.5}}, "key 'properties': the value of 't' must be str or None, not float"),
    ({"properties": {"t": b"x"}}, "key 'properties': the value of 't' must be str or None, not bytes"),
    (
        {"systemProperties": {"cid": 7}},
        "key 'systemProperties': the value of 'cid' must be str or None, not int",
    ),
    (
        {"properties": {"t": "\udc00"}},
        "key 'properties': the value of 't' holds half a surrogate pair, which is no text",
    ),
    (
        {"properties": {"Temp": "1", "x": "2", "tEMP": "3"}},
        "key 'properties': properties 'Temp' and 'tEMP' differ only in case",
    ),
    (
        {"properties": {"Größe": "1", "GRÖßE": "3"}},
        "key 'properties': properties 'Größe' and 'GRÖßE' differ only in case",
    ),
    (
        {"systemProperties": {"CID": "1", "cid": None}},
        "key 'systemProperties': properties 'CID' and 'cid' differ only in case",
    ),
    ({"properties": {str(i): "" for i in range(1001)}}, "1001 properties of one kind are more than 1000"),
    ({"body": {}}, "key 'body' must be str or bytes, not dict"),
    ({"body": bytearray(b"x")}, "key 'body' must be str or bytes, not bytearray"),
    ({"body": "\ud83d"}, "key 'body' holds half a surrogate pair, which is no text"),
    ({"body": "", "bodyBase64": ""}, "keys 'body' and 'bodyBase64' exclude each other"),
    ({"bodyBase64": "eA==", "body": "x"}, "keys 'body' and 'bodyBase64' exclude each other"),
    ({"bodyBase64": b"eA=="}, "key 'bodyBase64' must be str, not bytes"),
    ({"bodyBase64": "eA"}, "key 'bodyBase64' is not base64: Incorrect padding"),
    ({"bodyBase64": "eA==\n"}, "key 'bodyBase64' is not base64: Excess data after padding"),
    (
        {"bodyBase64": "é"},
        "key 'bodyBase64' is not base64: string argument should contain only ASCII characters",
    ),
]


@pytest.fixture
def router() -> Router:
    return Router({"r": "FROM /messages/* WHERE kind = 'a' OR $body.a = 1 INTO $upstream"})


@pytest.mark.parametrize(("message", "text"), WRONG)
def test_wrong_messages_are_told(router: Router, message: Any, text: str) -> None:
    calls = [encode, router.match, router.verdicts, router.explain, Condition("true").evaluate]
    for call in calls:
        with pytest.raises(MessageError) as raised:
            call(message)
        assert str(raised.value) == text
        assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize(("message", "text"), WRONG)
def test_wrong_messages_of_a_batch_are_told_with_their_place(router: Router, message: Any, text: str) -> None:
    for call in (encode_many, router.match_many, router.verdicts_many):
        with pytest.raises(MessageError) as raised:
            call([{}, {}, message, {}])
        assert str(raised.value) == f"messages[2]: {text}"
    assert router.match_many([{"properties": {"kind": "a"}}]) == [router.match({"properties": {"kind": "a"}})]


def test_the_place_counts_across_chunks(router: Router) -> None:
    large = {"body": "x" * 300_000}
    with pytest.raises(MessageError, match=r"^messages\[5\]: unknown key 'x'"):
        router.match_many([large] * 5 + [{"x": 1}])
    with pytest.raises(MessageError, match=r"^messages\[5\]: the message ends after 2 bytes"):
        router.match_many([encode(large)] * 5 + [b"xx"])
    assert len(router.match_many([large] * 9)) == 9


def test_a_message_too_long_is_told(router: Router) -> None:
    limit = 16 << 20
    with pytest.raises(MessageError, match=rf"is longer than {limit}$"):
        router.match({"body": bytes(limit)})


@pytest.mark.parametrize("messages", [b"", "", {}])
def test_one_message_is_no_sequence(router: Router, messages: Any) -> None:
    for call in (encode_many, router.match_many, router.verdicts_many):
        with pytest.raises(TypeError) as raised:
            call(messages)
        assert str(raised.value) == f"messages must be a sequence of messages, not {type(messages).__name__}"


def test_broken_bytes_are_told(router: Router) -> None:
    good = encode({"properties": {"kind": "a"}})
    for data, text in [
        (good[:-1], f"the message ends after {len(good) - 1} bytes, it needs {len(good)}"),
        (good + b"xyz", "3 bytes follow the message; match_encoded takes several in one"),
        (good[:14] + b"\2" + good[15:], "layout version 2 is not known, expected 1"),
        (b"", "the message ends after 0 bytes, it needs 16"),
    ]:
        for call in (router.match, router.verdicts, router.explain, Condition("true").evaluate):
            with pytest.raises(MessageError) as raised:
                call(data)
            assert str(raised.value) == text
        for call_many in (router.match_many, router.verdicts_many):
            with pytest.raises(MessageError) as raised:
                call_many([good, data])
            assert str(raised.value) == f"messages[1]: {text}"
    with pytest.raises(MessageError) as raised:
        router.match_encoded(good + good[:-1])
    assert str(raised.value).startswith("messages[1]: the message ends")
    with pytest.raises(TypeError):
        router.match_encoded(bytearray(good))  # type: ignore[arg-type] # only what cannot change is borrowed


def test_everything_may_be_left_out() -> None:
    router = Router({"device": "FROM /messages WHERE $body.a = null INTO $upstream"})
    assert router.verdicts({}) == {"device": "undefined"}
    assert router.verdicts({"source": "/messages/", "properties": {}, "systemProperties": {}}) == {
        "device": "undefined"
    }


@pytest.mark.parametrize("body", ['{"a":"é"}', '{"a":"é"}'.encode(), None])
def test_forms_of_the_body(body: str | bytes | None) -> None:
    condition = Condition("$body.a = 'é'")
    system = {"contentType": "application/json", "contentEncoding": "utf-8"}
    message = {"bodyBase64": "eyJhIjoiw6kifQ=="} if body is None else {"body": body}
    assert condition.evaluate({"systemProperties": system, **message}) == "true"


def test_any_mapping_is_a_message() -> None:
    condition = Condition("kind = 'a' AND $cid = '7' AND is_null(nil)")
    properties = OrderedDict(kind="a", nil=None)
    message = UserDict(systemProperties=MappingProxyType({"cid": "7"}), properties=properties)
    assert condition.evaluate(message) == "true"
    assert encode(message) == encode({k: dict(v) for k, v in message.items()})


def test_an_error_of_a_foreign_mapping_comes_through(router: Router) -> None:
    class Broken(UserDict[str, Any]):
        def __iter__(self) -> Any:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        router.match_many([{}, Broken()])


def test_the_layout_is_as_documented() -> None:
    """Others may write it without this library."""
    texts = b"/messages/" + b"cid" + b"7" + b"kind"
    table = struct.pack("<IIII", 3, 1, 4, 0xFFFFFFFF)
    header = struct.pack("<IIHHHH", 16 + len(table) + len(texts) + 2, len(texts), 10, 1, 1, 1)
    expected = header + table + texts + b"xy"
    message = {"systemProperties": {"cid": "7"}, "properties": {"kind": None}, "body": b"xy"}
    assert encode(message) == expected
    assert encode_many([message, message]) == expected * 2
    assert encode_many([]) == b""
