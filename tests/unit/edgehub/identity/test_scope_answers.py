"""The JSON form of identities (IoT Hub spec 1.7.4)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.common.ids import IdentityId
from edgehub.identity.model import AuthType, ServiceIdentity
from edgehub.identity.scope_wire import ScopeFormatError, decode_scope_page, encode_identity

ANSWER = {
    "devices": [
        {
            "deviceId": "edge1",
            "generationId": "12",
            "etag": "x",
            "status": "enabled",
            "authentication": {
                "type": "sas",
                "symmetricKey": {"primaryKey": "cA==", "secondaryKey": "cw=="},
                "x509Thumbprint": {"primaryThumbprint": None, "secondaryThumbprint": None},
            },
            "capabilities": {"iotEdge": True},
            "deviceScope": "scope-1",
            "parentScopes": [],
        },
        {"deviceId": "leaf", "status": "Disabled", "authentication": None, "parentScopes": ["scope-1"]},
        {
            "deviceId": "cert",
            "authentication": {"type": "SELFSIGNED", "x509Thumbprint": {"primaryThumbprint": "AB"}},
        },
    ],
    "modules": [
        {
            "moduleId": "$edgeHub",
            "deviceId": "edge1",
            "authentication": {"type": "sas", "symmetricKey": None},
        },
        {"moduleId": "m", "deviceId": "edge1", "authentication": {"type": "somethingNew"}},
    ],
    "continuationLink": "/next",
}


def test_an_answer() -> None:
    page = decode_scope_page(json.dumps(ANSWER).encode())
    edge, leaf, cert, hub, module = page.identities
    assert edge == ServiceIdentity(
        IdentityId("edge1"), "12", True, AuthType.SAS, ("cA==", "cw=="), (), True, "scope-1", ()
    )
    assert (leaf.enabled, leaf.auth_type, leaf.parent_scopes) == (False, AuthType.NONE, ("scope-1",))
    assert (cert.auth_type, cert.thumbprints) == (AuthType.THUMBPRINT, ("AB",))
    assert (hub.id, hub.keys) == (IdentityId("edge1", "$edgeHub"), ())
    assert module.auth_type is AuthType.NONE
    assert page.continuation_link == "/next"


@pytest.mark.parametrize(
    "text", ['{"devices":null,"modules":null,"continuationLink":null}', "{}", '{"continuationLink":""}']
)
def test_empty_answers(text: str) -> None:
    page = decode_scope_page(text.encode())
    assert (page.identities, page.continuation_link) == ((), None)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"devices":[{}]}',
        b'{"devices":[{"deviceId":1}]}',
        b'{"modules":[{"moduleId":"m"}]}',
        b'{"devices":{}}',
    ],
)
def test_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(ScopeFormatError, match="scope API"):
        decode_scope_page(data)


def test_keys_are_not_shown() -> None:
    identity = decode_scope_page(json.dumps(ANSWER).encode()).identities[0]
    assert "cA==" not in repr(identity)


KEYS = st.sampled_from([(), ("cA==",), ("cA==", "cw==")])
IDENTITIES = st.builds(
    ServiceIdentity,
    st.builds(IdentityId, st.text(min_size=1, max_size=5), st.none()),
    st.text(max_size=5),
    st.booleans(),
    st.sampled_from(AuthType),
    KEYS,
    KEYS,
    st.booleans(),
    st.text(max_size=5),
    st.lists(st.text(max_size=5), max_size=2).map(tuple),
) | st.builds(
    ServiceIdentity,
    st.builds(IdentityId, st.text(min_size=1, max_size=5), st.text(min_size=1, max_size=5)),
    st.text(max_size=5),
    st.just(True),
    st.sampled_from(AuthType),
    KEYS,
    KEYS,
)


@given(IDENTITIES)
def test_the_stored_form_reads_back(identity: ServiceIdentity) -> None:
    assert decode_scope_page(encode_identity(identity)).identities == (identity,)
