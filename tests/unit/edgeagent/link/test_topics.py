"""Topics of twins and methods."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.link.errors import TopicError
from edgeagent.link.topics import (
    PAYLOAD_BYTES_MAX,
    DesiredPatch,
    MethodCall,
    TwinAnswer,
    error_text,
    event_topic,
    method_answer_topic,
    read_message,
    reported_topic,
    twin_get_topic,
)

DESIRED = "$iothub/twin/PATCH/properties/desired/"


def test_what_is_published() -> None:
    assert twin_get_topic("7") == "$iothub/twin/GET/?$rid=7"
    assert reported_topic("7") == "$iothub/twin/PATCH/properties/reported/?$rid=7"
    assert method_answer_topic(200, "a-b") == "$iothub/methods/res/200/?$rid=a-b"
    topic = event_topic("d 1", "$edgeAgent", {"$.ct": "a/b", "x": "ü&="})
    assert topic == "devices/d%201/modules/%24edgeAgent/messages/events/%24.ct=a%2Fb&x=%C3%BC%26%3D"


@pytest.mark.parametrize(
    ("topic", "body", "wanted"),
    [
        ("$iothub/twin/res/200/?$rid=7", b"{}", TwinAnswer(200, "7", b"{}")),
        ("$iothub/twin/res/204/?$rid=7&$version=12", b"", TwinAnswer(204, "7", b"", 12)),
        ("$iothub/twin/res/204/?$version=x&$rid=7", b"", TwinAnswer(204, "7", b"")),
        (f"{DESIRED}?$version=5", b'{"a":1,"$version":5}', DesiredPatch(5, {"a": 1})),
        (f"{DESIRED}?$version=5", b'{"a":null,"$metadata":{}}', DesiredPatch(5, {"a": None})),
        (DESIRED, b'{"$version":5}', DesiredPatch(5, {})),
        ("$iothub/methods/POST/ping/?$rid=0x1f", b"null", MethodCall("ping", "0x1f", b"null")),
        ("$iothub/methods/POST/a%2Fb/?$rid=1", b"", MethodCall("a/b", "1", b"")),
    ],
)
def test_what_arrives(topic: str, body: bytes, wanted: object) -> None:
    assert read_message(topic, body) == wanted


@pytest.mark.parametrize(
    ("topic", "body", "text"),
    [
        ("$iothub/twin/res/abc/?$rid=7", b"", "needs"),
        ("$iothub/twin/res/200/", b"", "needs"),
        (DESIRED, b"{}", "without"),
        (DESIRED, b'{"$version":true}', "without"),
        (DESIRED, b"[1]", "not a JSON object"),
        (DESIRED, b"\xff", "not JSON"),
        ("$iothub/methods/POST/?$rid=1", b"", "needs"),
        ("$iothub/methods/POST/ping/", b"", "needs"),
        ("devices/d/messages/devicebound/", b"", "not served"),
        ("$iothub/twin/res/200/?$rid=7", b"x" * (PAYLOAD_BYTES_MAX + 1), "at most"),
    ],
)
def test_what_cannot_be_read(topic: str, body: bytes, text: str) -> None:
    with pytest.raises(TopicError, match=text):
        read_message(topic, body)


def test_the_largest_body_is_read() -> None:
    answer = read_message("$iothub/twin/res/200/?$rid=7", b"x" * PAYLOAD_BYTES_MAX)
    assert isinstance(answer, TwinAnswer)


def test_the_text_of_an_error() -> None:
    assert error_text(b'{"errorCode":400004,"message":"too long"}') == "too long"
    assert error_text(b'{"Message":"m"}') == "m"
    assert error_text(b"") == error_text(b"[]") == error_text(b'{"message":5}') == ""


@given(
    st.sampled_from(["$iothub/twin/res/", DESIRED, "$iothub/methods/POST/", ""]),
    st.text(alphabet="/?$rid=&version09aü%", max_size=40),
    st.one_of(st.binary(max_size=60), st.text(alphabet='{}[]"$version:1,', max_size=30).map(str.encode)),
)
def test_anything_else_is_refused(prefix: str, rest: str, body: bytes) -> None:
    with contextlib.suppress(TopicError):
        read_message(prefix + rest, body)
