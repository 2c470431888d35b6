"""Tokens: the golden vectors of agent spec 12."""

from __future__ import annotations

import pytest

from edgeagent.link.errors import LinkSettingsError
from edgeagent.link.tokens import key_signer, make_token

KEY = "JLAZ2vpz69vF648X44sx5VRK+i4+rCc4XU0BZcasrzQ="
"""The module primary key of the vectors."""


async def test_the_golden_token() -> None:
    token = await make_token("hub1.example.net/devices/d1/modules/m1", 1700000000, key_signer(KEY))
    assert token == (
        "SharedAccessSignature sr=hub1.example.net%2Fdevices%2Fd1%2Fmodules%2Fm1"
        "&sig=2a40y%2FmU0cMk3uuLrvIe1OaB0kn3BIMHFlpUws08DXk%3D&se=1700000000"
    )


async def test_what_is_signed() -> None:
    signed = []

    async def sign(data: bytes) -> bytes:
        signed.append(data)
        return b"\xff\xfe"

    token = await make_token("h/devices/d/modules/$edgeAgent", 5, sign)
    assert signed == [b"h%2Fdevices%2Fd%2Fmodules%2F%24edgeAgent\n5"]
    assert token.endswith("&sig=%2F%2F4%3D&se=5")


@pytest.mark.parametrize("key", ["", "no base64", "AAA"])
def test_a_bad_key(key: str) -> None:
    with pytest.raises(LinkSettingsError) as caught:
        key_signer(key)
    assert not key or key not in str(caught.value)
