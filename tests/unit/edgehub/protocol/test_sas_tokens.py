"""SAS tokens: hub rows 1-10 of the token table, edge rows I-001 to I-007."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol import sas
from edgehub.protocol.sas import EDGE_PROFILE, HUB_PROFILE, SasError

VECTORS = Path(__file__).parents[3] / "vectors" / "sas"
GOLDEN = json.loads((VECTORS / "golden.json").read_text())
MALFORMED = json.loads((VECTORS / "malformed.json").read_text())
KEY = GOLDEN["key"]
EXPIRY = int(GOLDEN["se"])
HOST = "hub.example.test"
OTHER_KEY = base64.b64encode(bytes(32)).decode()
PROFILES = (HUB_PROFILE, EDGE_PROFILE)


def text_of(row: dict[str, str]) -> str:
    policy = f"&skn={row['policy']}" if "policy" in row else ""
    signature = row["signature"].replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    return f"SharedAccessSignature sr={row['sr']}&sig={signature}&se={EXPIRY}{policy}"


def path_of(row: dict[str, str]) -> tuple[str, ...]:
    return sas.identity_path(row["device"], row.get("module"))


def check(
    text: str,
    path: tuple[str, ...],
    *,
    now: float = EXPIRY - 10,
    keys: Any = (KEY,),
    profile: Any = HUB_PROFILE,
) -> None:
    token = sas.parse_token(text, profile)
    sas.verify_token(token, now=now, hosts=(HOST,), keys=keys, path=path, profile=profile)


def build(resource: str, **kwargs: str) -> str:
    return sas.build_token(resource, EXPIRY, key=kwargs.pop("key", KEY), **kwargs)


@pytest.mark.parametrize("row", GOLDEN["rows"], ids=lambda row: row["sr"])
def test_golden_signatures(row: dict[str, Any]) -> None:
    """Vectors 12.1: the signature is over `sr` as it stands in the token."""
    assert sas.sign(KEY, f"{row['sr']}\n{EXPIRY}") == row["signature"]
    assert sas.parse_token(text_of(row)).is_signed_with([KEY])


def test_row_1_build_gives_the_golden_token() -> None:
    text = build("hub.example.test/devices/dev1")
    assert text == GOLDEN["token"]
    check(text, sas.identity_path("dev1"))


@pytest.mark.parametrize("profile", PROFILES, ids=["hub", "edge"])
@pytest.mark.parametrize("row", [r for r in GOLDEN["rows"] if "device" in r], ids=lambda row: row["sr"])
def test_row_2_encodings_of_the_resource(row: dict[str, Any], profile: Any) -> None:
    check(text_of(row), path_of(row), profile=profile)


def test_row_3_lower_cased_audience() -> None:
    check(build("hub.example.test/devices/dev-one"), sas.identity_path("Dev-ONE"))
    check(build("HUB.Example.Test/devices/d"), sas.identity_path("d"))


def test_row_4_any_field_order_and_unknown_fields() -> None:
    prefix, _, body = GOLDEN["token"].partition(" ")
    fields = [*body.split("&"), "extra=1"]
    check(f"{prefix} {'&'.join(reversed(fields))}", sas.identity_path("dev1"))


@pytest.mark.parametrize("profile", PROFILES, ids=["hub", "edge"])
def test_row_5_and_I_005_expiry_with_skew(profile: Any) -> None:
    text, path = GOLDEN["token"], sas.identity_path("dev1")
    check(text, path, now=EXPIRY + sas.CLOCK_SKEW_SECS, profile=profile)
    with pytest.raises(SasError, match="expired"):
        check(text, path, now=EXPIRY + sas.CLOCK_SKEW_SECS + 1, profile=profile)


@pytest.mark.parametrize("keys", [(KEY, OTHER_KEY), (OTHER_KEY, KEY), ("not base64!", KEY)])
def test_row_6_and_I_001_either_key(keys: Any) -> None:
    check(GOLDEN["token"], sas.identity_path("dev1"), keys=keys)


@pytest.mark.parametrize("keys", [(), (OTHER_KEY,), ("not base64!",), ("",)])
def test_wrong_keys(keys: Any) -> None:
    with pytest.raises(SasError, match="signature"):
        check(GOLDEN["token"], sas.identity_path("dev1"), keys=keys)


def test_row_7_and_I_003_scope_is_by_whole_segments() -> None:
    text = GOLDEN["token"]
    check(text, sas.identity_path("dev1", "m"))
    for path in (sas.identity_path("dev10"), sas.identity_path("dev"), ("devices",), ("modules", "dev1")):
        with pytest.raises(SasError, match="another resource"):
            check(text, path)
    module = build("hub.example.test/devices/edge1/modules/$edgeHub")
    with pytest.raises(SasError, match="another resource"):
        check(module, sas.identity_path("edge1"))


def test_row_8_policy_token_covers_any_device_for_the_hub_only() -> None:
    text = build(HOST, policy="device")
    assert sas.parse_token(text).policy == "device"
    check(text, sas.identity_path("anything"))
    with pytest.raises(SasError, match="another resource"):
        check(text, sas.identity_path("anything"), profile=EDGE_PROFILE)


@pytest.mark.parametrize("text", MALFORMED["never"])
@pytest.mark.parametrize("profile", PROFILES, ids=["hub", "edge"])
def test_row_10_malformed(text: str, profile: Any) -> None:
    with pytest.raises(SasError):
        sas.parse_token(text, profile)


@pytest.mark.parametrize("text", MALFORMED["edge"])
def test_I_006_strict_shape(text: str) -> None:
    assert sas.parse_token(text, HUB_PROFILE).expires_at == 1
    with pytest.raises(SasError):
        sas.parse_token(text, EDGE_PROFILE)


def test_another_host_is_refused_and_any_case_of_ours_is_not() -> None:
    token = sas.parse_token(build("Gateway.Local/devices/d"))
    common: dict[str, Any] = {"now": 0, "keys": (KEY,), "path": sas.identity_path("d")}
    sas.verify_token(token, hosts=("hub.example.test", "GATEWAY.local"), **common)
    with pytest.raises(SasError, match="another host"):
        sas.verify_token(token, hosts=("hub.example.test",), **common)


def test_fractional_expiry_is_signed_as_sent() -> None:
    text = sas.assemble_token("h/devices/d", 1, sas.sign(KEY, "h%2Fdevices%2Fd\n1767225600.5"))
    token = sas.parse_token(text.replace("&se=1", "&se=1767225600.5"), EDGE_PROFILE)
    assert token.expires_at == 1767225600.5
    assert token.is_signed_with([KEY])


def test_size_limit() -> None:
    text = GOLDEN["token"]
    at_limit = text + "&x=" + "y" * (sas.TOKEN_CHARS_MAX - len(text) - 3)
    assert len(at_limit) == sas.TOKEN_CHARS_MAX
    sas.parse_token(at_limit)
    with pytest.raises(SasError, match="characters"):
        sas.parse_token(at_limit + "y")


def test_the_signature_is_not_shown() -> None:
    assert "signature" not in repr(sas.parse_token(GOLDEN["token"]))


IDS = st.text(alphabet="aZ09-:.+%_#*?!(),=@$'", min_size=1, max_size=128)


@given(
    device=IDS,
    module=st.none() | IDS,
    expiry=st.integers(0, 10**12 - 1),
    key=st.binary(min_size=1, max_size=64),
)
def test_a_built_token_verifies_for_its_identity_alone(
    device: Any, module: Any, expiry: Any, key: Any
) -> None:
    encoded = base64.b64encode(key).decode()
    text = sas.build_token(sas.device_audience(HOST, device, module), expiry, key=encoded)
    path = sas.identity_path(device, module)
    for profile in PROFILES:
        check(text, path, now=expiry, keys=(encoded,), profile=profile)
        assert (device, module) in sas.parse_audience(sas.parse_token(text, profile).resource).identities()
    with pytest.raises(SasError):
        check(text, ("devices", device + "x"), now=expiry, keys=(encoded,))


@given(st.text(max_size=200) | st.text(max_size=100).map(lambda text: "SharedAccessSignature " + text))
def test_nothing_but_sas_error_escapes(text: str) -> None:
    for profile in PROFILES:
        try:
            token = sas.parse_token(text, profile)
            sas.parse_audience(token.resource).identities()
        except SasError:
            pass


@given(st.data())
def test_a_changed_character_never_verifies(data: Any) -> None:
    text = GOLDEN["token"]
    position = data.draw(st.integers(0, len(text) - 1))
    replacement = data.draw(st.characters(exclude_characters=text[position], codec="ascii"))
    changed = text[:position] + replacement + text[position + 1 :]
    try:
        token = sas.parse_token(changed, EDGE_PROFILE)
    except SasError:
        return
    same = (token.resource, token.expiry_text) == ("hub.example.test%2Fdevices%2Fdev1", GOLDEN["se"])
    original = sas.parse_token(text).signature
    assert token.is_signed_with([KEY]) == (same and token.signature == original)
