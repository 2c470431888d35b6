"""Connection strings of devices."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.config.connection_string import parse_connection_string

KEY = "czNjcmV0LWtleQ=="


def test_one() -> None:
    found = parse_connection_string(f" hostname=h.example.net;DeviceId=d 1;SharedAccessKey={KEY}; ")
    assert (found.hub_hostname, found.device_id, found.key, found.gateway) == (
        "h.example.net",
        "d 1",
        b"s3cret-key",
        "",
    )
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no HostName"),
        (f"HostName=h;SharedAccessKey={KEY}", "has no DeviceId"),
        ("HostName=h;DeviceId=d", "has no SharedAccessKey"),
        ("HostName=h;DeviceId=d;x509=true", "X.509"),
        (f"HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey={KEY}", "of a module"),
        (f"HostName=h;HostName=i;DeviceId=d;SharedAccessKey={KEY}", "HostName twice"),
        ("HostName=h;DeviceId=d;SharedAccessKey=czNjcmV0LWtleQ", "is not base64"),
        ("HostName=h;Key=s3cret", "part 2 is none of"),
        ("x" * 5000, "longer than 4096"),
    ],
)
def test_mistakes(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as fault:
        parse_connection_string(text)
    assert "czNjc" not in str(fault.value)
    assert "s3cret" not in str(fault.value)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for given_text in (text, f"HostName=h;DeviceId=d;SharedAccessKey={text}"):
        with contextlib.suppress(ValueError):
            parse_connection_string(given_text)
