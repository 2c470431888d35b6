"""Connection strings."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.identity.connection_string import ConnectionStringError, parse_connection_string

GOOD = "HostName=hub.example.test;DeviceId=edge1;ModuleId=$edgeHub;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw=="


def test_a_module() -> None:
    parts = parse_connection_string(GOOD)
    assert (parts.host, parts.device_id, parts.module_id) == ("hub.example.test", "edge1", "$edgeHub")
    assert parts.key == bytes(range(16))
    assert parts.gateway_host is None


def test_a_device_behind_a_parent_with_odd_case_and_spaces() -> None:
    text = " hostname = h ; DEVICEID=d ;SharedAccessKey=AA==; GatewayHostName=parent ;x509=true;;"
    parts = parse_connection_string(text)
    assert (parts.host, parts.device_id, parts.module_id, parts.gateway_host) == ("h", "d", None, "parent")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "HostName is missing"),
        ("HostName=h;DeviceId=d", "SharedAccessKey is missing"),
        ("HostName=h;SharedAccessKey=AA==", "DeviceId is missing"),
        ("HostName=;DeviceId=d;SharedAccessKey=AA==", "HostName is missing"),
        ("HostName=h;DeviceId=d;SharedAccessKey=secret!", "not base64"),
        ("HostName=h;DeviceId=d;SharedAccessKey", "part 3"),
        ("HostName=h;hostname=i;DeviceId=d;SharedAccessKey=AA==", "HostName is given twice"),
    ],
)
def test_what_is_wrong_is_named(text: str, problem: str) -> None:
    with pytest.raises(ConnectionStringError) as error:
        parse_connection_string(text)
    assert problem in str(error.value)
    assert "secret" not in str(error.value)


def test_the_key_is_not_shown() -> None:
    assert "SharedAccessKey" not in repr(parse_connection_string(GOOD))
    assert "x01" not in repr(parse_connection_string(GOOD))


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConnectionStringError):
        parse_connection_string(text)
