"""User names and the checks of CONNECT that need no look-up (M-009 to M-015)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol.connect import (
    ConnectCode,
    ConnectRefusedError,
    UsernameError,
    parse_username,
    read_connect,
)

VECTORS = json.loads((Path(__file__).parents[3] / "vectors/connect/usernames.json").read_text())
NAME = "hub/dev/?api-version=2021-04-12"


@pytest.mark.parametrize(
    "vector",
    VECTORS["accept"] + VECTORS["sdks"],
    ids=lambda vector: vector.get("sdk", vector["text"]),
)
def test_accepted_user_names(vector: dict[str, str | None]) -> None:
    parsed = parse_username(vector["text"] or "")
    assert (parsed.identity.device_id, parsed.identity.module_id) == (vector["device"], vector["module"])
    assert parsed.client_type == vector["client_type"]
    assert parsed.model_id == vector.get("model_id")
    assert parsed.auth_chain == vector.get("auth_chain")


@pytest.mark.parametrize("text", VECTORS["reject"])
def test_rejected_user_names(text: str) -> None:
    with pytest.raises(UsernameError):
        parse_username(text)


@pytest.mark.parametrize("text", VECTORS["reject"])
def test_rejected_user_names_give_code_3(text: str) -> None:
    with pytest.raises(ConnectRefusedError) as refusal:
        read_connect("dev", text, b"token")
    assert refusal.value.code == ConnectCode.SERVER_UNAVAILABLE


def test_a_good_request_keeps_the_token_as_sent() -> None:
    request = read_connect(
        "dev/mod", "hub/dev/mod/?api-version=1&model-id=m&DeviceClientType=t", b"the token"
    )
    assert str(request.identity) == "dev/mod"
    assert request.token == "the token"
    assert (request.client_type, request.model_id, request.auth_chain) == ("t", "m", None)


@pytest.mark.parametrize(
    ("client_id", "username", "password", "code"),
    [
        ("", NAME, b"t", 3),
        ("  ", NAME, b"t", 3),
        ("dev", None, b"t", 3),
        ("dev", "  ", b"t", 3),
        ("dev", NAME, None, 5),
        ("dev", NAME, b"", 5),
        ("other", NAME, b"t", 5),
        ("DEV", NAME, b"t", 5),
        ("dev/", NAME, b"t", 5),
        ("dev/mod", NAME, b"t", 5),
        ("dev", "hub/dev/mod/?api-version=1", b"t", 5),
        ("dev", NAME, b"\xff\xfe", 5),
    ],
)
def test_m_013_to_m_015_refusals_in_order(
    client_id: str, username: str | None, password: bytes | None, code: int
) -> None:
    with pytest.raises(ConnectRefusedError) as refusal:
        read_connect(client_id, username, password)
    assert refusal.value.code == code
    assert refusal.value.reason


def test_a_missing_password_is_told_before_a_wrong_client_id() -> None:
    with pytest.raises(ConnectRefusedError, match="no password"):
        read_connect("other", NAME, None)


def test_m_018_a_password_wins_over_a_certificate() -> None:
    request = read_connect("dev", NAME, b"token", (b"DER",))
    assert (request.token, request.certificates) == ("token", ())


@pytest.mark.parametrize("password", [None, b""])
def test_a_certificate_alone_is_the_credential_and_no_chain_counts(password: bytes | None) -> None:
    request = read_connect("dev", f"{NAME}&auth-chain=dev;edge2", password, (b"DER", b"CA"))
    assert (request.token, request.auth_chain, request.certificates) == ("", None, (b"DER", b"CA"))
    with pytest.raises(ConnectRefusedError) as refusal:
        read_connect("other", NAME, password, (b"DER",))
    assert refusal.value.code == ConnectCode.NOT_AUTHORIZED


def test_a_refusal_never_tells_the_password() -> None:
    with pytest.raises(ConnectRefusedError) as refusal:
        read_connect("other", NAME, b"sr=secret")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(("chain", "kept"), [("leaf", None), ("leaf;edge2", "leaf;edge2"), ("", None)])
def test_only_chains_of_two_or_more_ids_count(chain: str, kept: str | None) -> None:
    request = read_connect("leaf", f"hub/leaf/?api-version=1&auth-chain={chain}", b"t")
    assert request.auth_chain == kept


@given(st.text(max_size=80), st.none() | st.text(max_size=120), st.none() | st.binary(max_size=40))
def test_any_input_gives_a_request_or_a_refusal(
    client_id: str, username: str | None, password: bytes | None
) -> None:
    code = None
    try:
        request = read_connect(client_id, username, password)
    except ConnectRefusedError as refusal:
        code = refusal.code
    else:
        assert str(request.identity) == client_id
    assert code in (None, ConnectCode.SERVER_UNAVAILABLE, ConnectCode.NOT_AUTHORIZED)


@given(
    st.from_regex(r"[a-z$]{1,8}", fullmatch=True), st.none() | st.from_regex(r"[a-z]{1,8}", fullmatch=True)
)
def test_what_an_sdk_writes_is_read_back(device_id: str, module_id: str | None) -> None:
    middle = device_id if module_id is None else f"{device_id}/{module_id}"
    parsed = parse_username(f"hub.example.test/{middle}/?api-version=2021-04-12&DeviceClientType=x")
    assert (parsed.identity.device_id, parsed.identity.module_id) == (device_id, module_id)


@pytest.mark.parametrize(
    ("client_id", "username", "identity"),
    [
        ("dev", "hub/dev", "dev"),
        ("dev", "hub/dev/", "dev"),
        ("dev/mod", "hub/dev/mod", "dev/mod"),
        ("dev/mod", "hub/dev/mod/", "dev/mod"),
        ("dev", NAME, "dev"),
        ("dev", "hub/dev/api-version=2021-04-12&DeviceClientType=t", "dev"),
    ],
)
def test_row_47_the_properties_of_a_user_name_may_be_absent_at_iothub(
    client_id: str, username: str, identity: str
) -> None:
    assert str(read_connect(client_id, username, b"token", bare=True).identity) == identity


@pytest.mark.parametrize(
    ("client_id", "username"),
    [("dev", "hub/other"), ("dev", "hub"), ("dev", "dev"), ("dev", "hub/dev/mod"), ("a/b/c", "hub/a/b/c")],
)
def test_a_bare_user_name_is_that_of_the_client_id(client_id: str, username: str) -> None:
    with pytest.raises(ConnectRefusedError) as refusal:
        read_connect(client_id, username, b"token", bare=True)
    assert refusal.value.code == ConnectCode.SERVER_UNAVAILABLE
