"""Identities in JSON."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.identity.errors import RegistryAnswerError
from edgeagent.identity.model import ModuleIdentity, identity_json, read_identities, read_identity

WHOLE = {
    "moduleId": "m",
    "deviceId": "d",
    "generationId": "637000000000000000",
    "managedBy": "IotEdge",
    "etag": "x",
    "authentication": {"type": "sas", "symmetricKey": {"primaryKey": "p", "secondaryKey": "s"}},
}


def test_what_the_hub_gives() -> None:
    assert read_identity(WHOLE) == ModuleIdentity("m", "637000000000000000", "IotEdge", ("p", "s"))
    bare: dict[str, object] = {
        "moduleId": "m",
        "generationId": "1",
        "managedBy": None,
        "authentication": {"symmetricKey": {}},
    }
    assert read_identity(bare) == ModuleIdentity("m", "1")


def test_keys_are_in_no_text() -> None:
    assert "'p'" not in repr(read_identity(WHOLE))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[1]",
        b'[{"moduleId":"m"}]',
        b'[{"moduleId":"","generationId":"1"}]',
        b'[{"generationId":"1"}]',
        b"\xff",
    ],
)
def test_what_is_no_identity(body: bytes) -> None:
    with pytest.raises(RegistryAnswerError):
        read_identities(body)


@given(st.binary(max_size=60))
def test_anything_else_is_refused(body: bytes) -> None:
    with contextlib.suppress(RegistryAnswerError):
        read_identities(body)


def test_what_the_hub_gets() -> None:
    assert json.loads(identity_json("d", "m", "IotEdge")) == {
        "deviceId": "d",
        "moduleId": "m",
        "managedBy": "IotEdge",
    }
    assert json.loads(identity_json("d", "$edgeHub", "", ("p", "s"))) == {
        "deviceId": "d",
        "moduleId": "$edgeHub",
        "authentication": {"type": "sas", "symmetricKey": {"primaryKey": "p", "secondaryKey": "s"}},
    }


@pytest.mark.parametrize(
    ("managed_by", "module_id", "ours"),
    [
        ("IotEdge", "m", True),
        ("iotedge", "m", True),
        ("", "m", False),
        ("me", "m", False),
        ("IotEdge", "$edgeHub", False),
    ],
)
def test_x02_which_are_ours(managed_by: str, module_id: str, ours: bool) -> None:
    """Rows X02 and X05."""
    assert ModuleIdentity(module_id, "1", managed_by).is_ours == ours
