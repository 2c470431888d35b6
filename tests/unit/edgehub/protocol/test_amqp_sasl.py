"""The SASL layer, server and client against each other and against bad peers. Rows 16 and 42, A-002."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol.amqp_message import describe_list
from edgehub.protocol.amqp_sasl import (
    CODE_AUTH,
    CODE_OK,
    FRAME_BYTES_MAX,
    SASL_HEADER,
    PlainCredentials,
    SaslClient,
    SaslError,
    SaslServer,
    plain_response,
)
from edgehub.protocol.amqp_types import AmqpDecodeError, Symbol

MECHANISMS = ("ANONYMOUS", "MSSBCBS", "PLAIN")


def sasl_frame(body: bytes) -> bytes:
    return (8 + len(body)).to_bytes(4, "big") + b"\x02\x01\x00\x00" + body


def init(mechanism: str, response: bytes | None = None) -> bytes:
    return sasl_frame(describe_list(0x41, [Symbol(mechanism), response]))


def run(client: SaslClient, server: SaslServer) -> None:
    """The engine keeps the client's header from the server, so it is taken off here."""
    first = client.outbound()
    assert first == SASL_HEADER
    client.feed(server.outbound())
    server.feed(client.outbound())
    if not server.awaits_decision:
        client.feed(server.outbound())


@pytest.mark.parametrize("mechanism", ["ANONYMOUS", "MSSBCBS"])
def test_mechanisms_without_password(mechanism: Any) -> None:
    client, server = SaslClient(mechanism, None, "host"), SaslServer(MECHANISMS)
    run(client, server)
    assert (client.outcome, server.outcome, server.mechanism) == (CODE_OK, CODE_OK, mechanism)


@pytest.mark.parametrize("accepted", [True, False])
def test_plain_waits_for_the_decision(accepted: Any) -> None:
    client = SaslClient("PLAIN", plain_response("d@sas.hub", "token"), None)
    server = SaslServer(MECHANISMS)
    run(client, server)
    assert server.awaits_decision
    assert server.credentials == PlainCredentials("d@sas.hub", "token")
    server.decide(accepted)
    if accepted:
        client.feed(server.outbound())
        assert client.outcome == CODE_OK
    else:
        with pytest.raises(SaslError, match="credentials"):
            client.feed(server.outbound())


def test_mechanism_that_is_not_offered() -> None:
    server = SaslServer(MECHANISMS)
    server.feed(init("EXTERNAL"))
    assert server.outcome == CODE_AUTH
    with pytest.raises(SaslError, match="does not offer EXTERNAL"):
        SaslClient("EXTERNAL", None, None).feed(SaslServer(("PLAIN",)).outbound())


@pytest.mark.parametrize(
    "response", [None, b"", b"user", b"\x00user", b"\x00\x00password", b"a\x00b\x00c\x00d", b"\x00\xff\x00p"]
)
def test_bad_plain_responses_are_refused(response: Any) -> None:
    server = SaslServer(MECHANISMS)
    server.feed(init("PLAIN", response))
    assert server.outcome == CODE_AUTH


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x00\x07\x02\x01\x00\x00",
        (FRAME_BYTES_MAX + 1).to_bytes(4, "big") + b"\x02\x01\x00\x00",
        b"\x00\x00\x00\x08\x02\x00\x00\x00",
        b"\x00\x00\x00\x08\x01\x01\x00\x00",
        sasl_frame(b""),
        sasl_frame(b"\x40"),
        sasl_frame(describe_list(0x43, [b""])),
        sasl_frame(describe_list(0x41, [])),
        sasl_frame(describe_list(0x41, [Symbol("PLAIN")]) + b"\x40"),
    ],
    ids=[
        "short",
        "long",
        "amqp frame",
        "bad offset",
        "empty",
        "null",
        "response",
        "no mechanism",
        "trailing",
    ],
)
def test_broken_frames(data: Any) -> None:
    with pytest.raises(AmqpDecodeError):
        SaslServer(MECHANISMS).feed(data)


def test_a_token_as_password_may_pass_512_bytes() -> None:
    server = SaslServer(MECHANISMS)
    server.feed(init("PLAIN", plain_response("d", "t" * 4000)))
    assert server.credentials == PlainCredentials("d", "t" * 4000)


def test_hasty_input_is_kept_up_to_a_limit() -> None:
    server = SaslServer(MECHANISMS)
    server.feed(init("PLAIN", plain_response("d", "t")) + b"AMQP rest")
    server.decide(True)
    assert server.take_rest() == b"AMQP rest"
    waiting = SaslServer(MECHANISMS)
    waiting.feed(init("PLAIN", plain_response("d", "t")))
    waiting.feed(bytes(100_000))
    with pytest.raises(SaslError, match="too many bytes"):
        waiting.feed(bytes(100_000))


@given(st.integers(1, 40))
def test_split_anywhere(step: int) -> None:
    data = init("PLAIN", plain_response("user", "password")) + b"rest"
    server = SaslServer(MECHANISMS)
    for start in range(0, len(data), step):
        server.feed(data[start : start + step])
    assert server.credentials == PlainCredentials("user", "password")
    server.decide(True)
    assert server.take_rest() == b"rest"


def test_client_refuses_what_is_not_sasl() -> None:
    for data in (b"AMQP\x00\x01\x00\x00", b"HTTP/1.1", SASL_HEADER + init("PLAIN")):
        with pytest.raises(SaslError):
            SaslClient("PLAIN", None, None).feed(data)
