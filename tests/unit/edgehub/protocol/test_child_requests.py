"""Bodies of requests of child edge devices, and of what goes on to the parent hub (heads spec 3.3, 3.4)."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.protocol.child_requests import (
    ChildRequestError,
    ModuleDelete,
    ModuleGet,
    ModulePut,
    ModulesList,
    ScopeListing,
    ScopeLookup,
    check_module,
    delete_call,
    encode_error,
    get_call,
    list_call,
    parse_child_request,
    put_call,
)

KINDS: list[type[Any]] = [ScopeListing, ScopeLookup, ModulePut, ModuleGet, ModulesList, ModuleDelete]
WHOLE = {
    "authChain": "deep;edge2",
    "pageSize": 10,
    "continuationLink": None,
    "targetDeviceId": "deep",
    "targetModuleId": "m",
    "moduleId": "m",
    "module": {"moduleId": "m", "deviceId": "deep"},
}
NEEDED: dict[Any, set[str]] = {
    ScopeListing: {"authChain"},
    ScopeLookup: {"authChain", "targetDeviceId"},
    ModulePut: {"authChain", "module"},
    ModuleGet: {"authChain", "targetModuleId"},
    ModulesList: {"authChain"},
    ModuleDelete: {"authChain", "moduleId"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_members_are_read_and_others_ignored(kind: type[Any]) -> None:
    assert parse_child_request(json.dumps(WHOLE).encode(), kind).auth_chain == "deep;edge2"
    least = {name: WHOLE[name] for name in NEEDED[kind]}
    assert parse_child_request(json.dumps(least).encode(), kind).auth_chain == "deep;edge2"


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_member_is_named(kind: type[Any]) -> None:
    for name in NEEDED[kind]:
        body = {key: value for key, value in WHOLE.items() if key != name}
        with pytest.raises(ChildRequestError, match=name):
            parse_child_request(json.dumps(body).encode(), kind)


def test_a_lookup_without_module_is_for_the_device() -> None:
    body = b'{"authChain":"e","targetDeviceId":"d","targetModuleId":null}'
    assert parse_child_request(body, ScopeLookup).target_module_id is None


@given(st.binary(max_size=60), st.sampled_from(KINDS))
def test_any_bytes_are_read_or_refused(body: bytes, kind: type[Any]) -> None:
    with contextlib.suppress(ChildRequestError):
        assert isinstance(parse_child_request(body, kind).auth_chain, str)


def test_depth_without_end_is_refused() -> None:
    with pytest.raises(ChildRequestError):
        parse_child_request(b'{"authChain":' + b"[" * 200_000, ScopeListing)


@pytest.mark.parametrize(
    ("module", "device_id", "module_id", "text"),
    [
        ({"deviceId": "d", "moduleId": "m"}, "d", "m", ""),
        ({"deviceId": "d", "moduleId": "m"}, "d", None, ""),
        ({"deviceId": "D", "moduleId": "m"}, "d", "m", "deviceId of the module is 'D'; expected 'd'"),
        ({"deviceId": "d", "moduleId": "n"}, "d", "m", "moduleId of the module is 'n'; expected 'm'"),
        ({"deviceId": "d", "moduleId": ""}, "d", None, "moduleId of the module is ''; expected 'an id'"),
        ({"deviceId": "d"}, "d", "m", "moduleId"),
        ([], "d", "m", "cannot be read"),
    ],
)
def test_a_module_is_what_it_is_sent_as(
    module: Any, device_id: str, module_id: str | None, text: str
) -> None:
    raw = json.dumps(module).encode()
    if not text:
        check_module(raw, device_id, module_id)
        return
    with pytest.raises(ChildRequestError) as caught:
        check_module(raw, device_id, module_id)
    assert text in str(caught.value)


def test_calls_to_the_parent_hub() -> None:
    chain = "d;edge2;edge1"
    module = b'{"moduleId" : "m"}'
    calls = [put_call(chain, module, "*"), get_call(chain, "m"), list_call(chain), delete_call(chain, "m")]
    assert [(call.method, call.operation, call.if_match) for call in calls] == [
        ("PUT", "putModuleOnBehalfOf", "*"),
        ("POST", "getModuleOnBehalfOf", None),
        ("POST", "getModulesOnTargetDevice", None),
        ("POST", "deleteModuleOnBehalfOf", None),
    ]
    assert [json.loads(call.body) for call in calls] == [
        {"authChain": chain, "module": {"moduleId": "m"}},
        {"authChain": chain, "targetModuleId": "m"},
        {"authChain": chain},
        {"authChain": chain, "moduleId": "m"},
    ]
    assert module in calls[0].body
    # What the next hub up reads of them is what was put in.
    kinds: list[type[Any]] = [ModulePut, ModuleGet, ModulesList, ModuleDelete]
    for call, kind in zip(calls, kinds, strict=True):
        assert parse_child_request(call.body, kind).auth_chain == chain


def test_errors() -> None:
    assert msgspec.json.decode(encode_error("errorMessage", 'a "b"')) == {"errorMessage": 'a "b"'}
