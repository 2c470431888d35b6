"""Devices and modules in the registry (rows 12, 13, 15, 78 to 83 and 92) and who may be whose child. What
takes a store runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iothub.database import Database
from iothub.errors import ErrorCode, HubError
from iothub.registry.model import Device, KeyChoice, Module, parse_device, parse_module, scope_of
from iothub.registry.schema import SchemaError, meta
from iothub.registry.store import LIST_MAX, MODULES_PER_DEVICE_MAX, RegistryStore, check_top

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = 1_767_225_600.0


@pytest.fixture
def store(place: Path | str) -> Iterator[RegistryStore]:
    database = Database(place)
    yield RegistryStore(database.engine, lambda: NOW)
    database.close()


def put(store: RegistryStore, device_id: str, if_match: str | None = None, **members: Any) -> Device:
    return store.put_device(parse_device(device_id, members), if_match)


def edge(store: RegistryStore, device_id: str, parent: Device | None = None) -> Device:
    scopes = [parent.device_scope] if parent else []
    return put(store, device_id, capabilities={"iotEdge": True}, parentScopes=scopes)


def code_of(error: pytest.ExceptionInfo[HubError]) -> ErrorCode:
    return error.value.code


def test_row_83_missing_keys_are_generated(store: RegistryStore) -> None:
    device = put(store, "d1")
    assert device.authentication.type == "sas"
    sizes = [len(base64.b64decode(key)) for key in device.authentication.keys]
    assert sizes == [32, 32]
    assert store.device("d1") == device


def test_row_78_create_existing_and_update_missing(store: RegistryStore) -> None:
    put(store, "d1")
    with pytest.raises(HubError) as caught:
        put(store, "d1")
    assert code_of(caught) is ErrorCode.DeviceAlreadyExists
    with pytest.raises(HubError) as caught:
        put(store, "d2", "*")
    assert code_of(caught) is ErrorCode.DeviceNotFound


@pytest.mark.parametrize("form", ["{}", '"{}"', "*", '"*"'])
def test_row_79_update_with_matching_etag(store: RegistryStore, form: str) -> None:
    first = put(store, "d1")
    second = put(store, "d1", form.format(first.etag), status="disabled", statusReason="sold")
    assert (second.status, second.status_reason) == ("disabled", "sold")
    assert second.status_updated_ms == int(NOW * 1000)
    assert second.etag != first.etag
    assert second.generation_id == first.generation_id


def test_row_79_update_with_another_etag(store: RegistryStore) -> None:
    first = put(store, "d1")
    put(store, "d1", "*")
    for if_match in (first.etag, f'"{first.etag}"', '"nonsense"', ""):
        with pytest.raises(HubError) as caught:
            put(store, "d1", if_match)
        assert code_of(caught) is ErrorCode.PreconditionFailed
        with pytest.raises(HubError):
            store.delete_device("d1", if_match)
    store.delete_device("d1", None)
    assert store.device("d1") is None


def test_row_12_a_recreated_device_is_another_one(store: RegistryStore) -> None:
    first = edge(store, "gw")
    leaf = put(store, "leaf", deviceScope=first.device_scope)
    store.delete_device("gw", None)
    second = edge(store, "gw")
    assert second.generation_id > first.generation_id
    assert second.device_scope != first.device_scope
    assert second.etag != first.etag
    assert second.authentication.keys != first.authentication.keys
    orphan = store.device("leaf")
    assert orphan is not None
    assert (leaf.parent_scope, orphan.parent_scope, orphan.device_scope) == (first.device_scope, None, None)


def test_row_15_edge_devices_have_scope_and_system_modules(store: RegistryStore) -> None:
    device = edge(store, "gw")
    assert device.device_scope == f"ms-azure-iot-edge://gw-{device.generation_id}"
    modules = store.modules("gw")
    assert [(m.module_id, m.managed_by, m.authentication.type) for m in modules] == [
        ("$edgeAgent", "IotEdge", "none"),
        ("$edgeHub", "IotEdge", "none"),
    ]


ALLOWED = "abcXYZ019-:.+%_#*?!(),=@$'"


@pytest.mark.parametrize("device_id", [ALLOWED, "x", "d" * 128])
def test_row_13_allowed_ids(store: RegistryStore, device_id: str) -> None:
    assert put(store, device_id).device_id == device_id
    store.put_module(parse_module(device_id, device_id, {}), None)


@pytest.mark.parametrize("device_id", ["", "d" * 129, "a/b", "a b", "ä", "a;b", "a\n", "a\x00"])
def test_row_13_refused_ids(device_id: str) -> None:
    with pytest.raises(HubError) as caught:
        parse_device(device_id, {})
    assert code_of(caught) is ErrorCode.ArgumentInvalid
    with pytest.raises(HubError):
        parse_module("d", device_id, {})


KEY16 = base64.b64encode(bytes(16)).decode()
KEY64 = base64.b64encode(bytes(64)).decode()
BAD_BODIES = [
    {"deviceId": "other"},
    {"deviceId": 5},
    {"status": "sleeping"},
    {"statusReason": "x" * 129},
    {"statusReason": "a\x00b"},
    {"capabilities": {"iotEdge": "yes"}},
    {"capabilities": []},
    {"parentScopes": "x"},
    {"parentScopes": ["a", "b"]},
    {"parentScopes": [1]},
    {"authentication": []},
    {"authentication": {"type": "magic"}},
    {"authentication": {"symmetricKey": {"primaryKey": "not base64!"}}},
    {"authentication": {"symmetricKey": {"primaryKey": base64.b64encode(bytes(15)).decode()}}},
    {"authentication": {"symmetricKey": {"primaryKey": base64.b64encode(bytes(65)).decode()}}},
    {"authentication": {"symmetricKey": {"primaryKey": 7}}},
    {"authentication": {"symmetricKey": {"primaryKey": KEY16, "secondaryKey": KEY16}}},
    {"authentication": {"type": "selfSigned"}},
    {"authentication": {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "12"}}},
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=str)
def test_row_82_bad_bodies(body: dict[str, Any]) -> None:
    with pytest.raises(HubError) as caught:
        parse_device("d1", body)
    assert code_of(caught) in (ErrorCode.ArgumentInvalid, ErrorCode.InvalidDeviceScope)


@pytest.mark.parametrize("managed_by", ["x" * 129, "a\x00", 5])
def test_row_82_bad_modules(managed_by: Any) -> None:
    with pytest.raises(HubError) as caught:
        parse_module("d1", "m1", {"managedBy": managed_by})
    assert code_of(caught) is ErrorCode.ArgumentInvalid


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = {
    "deviceId",
    "status",
    "statusReason",
    "capabilities",
    "parentScopes",
    "deviceScope",
    "authentication",
}


@given(st.dictionaries(st.text(max_size=8).filter(lambda name: name not in MEMBERS), json_values, max_size=5))
def test_row_93_unknown_members_are_ignored(unknown: dict[str, Any]) -> None:
    keys = {"primaryKey": KEY16, "secondaryKey": KEY64}
    known = {"status": "disabled", "authentication": {"type": "sas", "symmetricKey": keys}}
    assert parse_device("d1", {**unknown, **known}) == parse_device("d1", known)


@given(st.dictionaries(st.sampled_from(sorted(MEMBERS)), json_values, max_size=4))
def test_row_93_any_members_are_taken_or_refused_clearly(members: dict[str, Any]) -> None:
    codes = []
    try:
        parse_device("d1", members)
    except HubError as error:
        codes.append(error.code)
    assert codes in ([], [ErrorCode.ArgumentInvalid], [ErrorCode.InvalidDeviceScope])


def test_good_bodies_and_ignored_members(store: RegistryStore) -> None:
    keys = {"primaryKey": KEY16, "secondaryKey": KEY64}
    device = put(store, "d1", authentication={"type": "SAS", "symmetricKey": keys}, etag="*", unknown=1)
    assert device.authentication.keys == (KEY16, KEY64)
    prints = {"primaryThumbprint": "ab" * 20, "secondaryThumbprint": "cd" * 32}
    pinned = put(store, "d2", authentication={"type": "selfSigned", "x509Thumbprint": prints})
    assert pinned.authentication.primary_thumbprint == "AB" * 20
    assert pinned.authentication.keys == ()
    assert put(store, "d3", authentication={"type": "none"}).authentication.keys == ()


def test_the_longest_texts_are_kept(store: RegistryStore) -> None:
    reason = "ä" * 128
    gateway = edge(store, "g" * 128)
    device = put(store, "d" * 128, statusReason=reason, deviceScope=gateway.device_scope)
    assert store.device("d" * 128) == device
    module = store.put_module(parse_module("d" * 128, "m" * 128, {"managedBy": reason}), None)
    assert store.module("d" * 128, "m" * 128) == module


def test_ids_that_cannot_be_are_not_found(store: RegistryStore) -> None:
    """Such ids come in paths and tokens; NUL is nothing that PostgreSQL can hold."""
    for device_id in ("a\x00b", "ä", "x" * 5000, "'; DROP TABLE devices"):
        assert store.device(device_id) is None
        assert store.module(device_id, device_id) is None
        assert store.children(device_id, device_id, 10) == []
        with pytest.raises(HubError) as caught:
            put(store, "d1", deviceScope=device_id)
        assert code_of(caught) is ErrorCode.InvalidDeviceScope


@pytest.mark.parametrize("choice", KeyChoice, ids=lambda choice: choice.value)
def test_row_92_new_keys(store: RegistryStore, choice: KeyChoice) -> None:
    device = put(store, "d1")
    module = store.put_module(parse_module("d1", "m1", {}), None)
    known: list[tuple[Device | Module, str | None]] = [(device, None), (module, "m1")]
    for old, module_id in known:
        renewed = store.renew_keys("d1", module_id, choice)
        found = store.device("d1") if module_id is None else store.module("d1", module_id)
        assert found is not None
        assert found.authentication == renewed
        assert found.etag != old.etag
        same = [one == other for one, other in zip(old.authentication.keys, renewed.keys, strict=True)]
        assert same == [choice is KeyChoice.SECONDARY, choice is KeyChoice.PRIMARY]


def test_row_92_who_has_no_keys(store: RegistryStore) -> None:
    put(store, "d1", authentication={"type": "none"})
    cases: list[tuple[tuple[str, str | None], ErrorCode]] = [
        (("d1", None), ErrorCode.InvalidOperation),
        (("no", None), ErrorCode.DeviceNotFound),
        (("d1", "m"), ErrorCode.ModuleNotFound),
    ]
    for key, code in cases:
        with pytest.raises(HubError) as caught:
            store.renew_keys(*key, KeyChoice.BOTH)
        assert code_of(caught) is code


def test_leaf_scopes_are_mirrored(store: RegistryStore) -> None:
    gateway = edge(store, "gw")
    one = put(store, "leaf1", deviceScope=gateway.device_scope)
    two = put(store, "leaf2", parentScopes=[gateway.device_scope])
    for leaf in (one, two):
        assert (leaf.device_scope, leaf.parent_scope) == (gateway.device_scope, gateway.device_scope)
        assert leaf.view(connected=True)["parentScopes"] == [gateway.device_scope]
    assert [device.device_id for device in store.children(gateway.device_scope or "", "", 10)] == [
        "leaf1",
        "leaf2",
    ]
    assert [device.device_id for device in store.children(gateway.device_scope or "", "leaf1", 10)] == [
        "leaf2"
    ]
    assert store.parent(one) == gateway
    assert store.parent(gateway) is None


def test_nested_edges_and_their_limit(store: RegistryStore) -> None:
    above = edge(store, "e0")
    for number in range(1, 5):
        above = edge(store, f"e{number}", above)
        assert above.device_scope == scope_of(above.device_id, above.generation_id)
    put(store, "leaf", deviceScope=above.device_scope)
    with pytest.raises(HubError) as caught:
        edge(store, "e5", above)
    assert code_of(caught) is ErrorCode.InvalidDeviceScope


def test_scopes_that_do_not_exist_or_turn_in_circles(store: RegistryStore) -> None:
    gateway = edge(store, "gw")
    child = edge(store, "child", gateway)
    leaf = put(store, "leaf")
    own = {"capabilities": {"iotEdge": True}, "parentScopes": [child.device_scope]}
    requests: list[dict[str, Any]] = [
        {"deviceScope": "ms-azure-iot-edge://gone-1"},
        {"deviceScope": scope_of("gw", "1")},
        {"deviceScope": scope_of("leaf", leaf.generation_id)},
        {"deviceScope": gateway.device_scope, "parentScopes": [child.device_scope]},
        {"capabilities": {"iotEdge": True}, "deviceScope": gateway.device_scope},
    ]
    for members in requests:
        with pytest.raises(HubError) as caught:
            put(store, "d", **members)
        assert code_of(caught) is ErrorCode.InvalidDeviceScope
    with pytest.raises(HubError) as caught:
        put(store, "gw", "*", **own)
    assert code_of(caught) is ErrorCode.InvalidDeviceScope


def test_switching_the_edge_flag(store: RegistryStore) -> None:
    plain = put(store, "d1")
    gateway = put(store, "d1", plain.etag, capabilities={"iotEdge": True})
    assert gateway.device_scope is not None
    assert len(store.modules("d1")) == 2
    put(store, "leaf", deviceScope=gateway.device_scope)
    back = put(store, "d1", "*")
    assert back.device_scope is None
    orphan = store.device("leaf")
    assert orphan is not None
    assert orphan.parent_scope is None


def test_modules_life(store: RegistryStore) -> None:
    put(store, "d1")
    module = store.put_module(parse_module("d1", "m1", {"managedBy": "me"}), None)
    assert store.module("d1", "m1") == module
    with pytest.raises(HubError) as caught:
        store.put_module(parse_module("d1", "m1", {}), None)
    assert code_of(caught) is ErrorCode.ModuleAlreadyExistsOnDevice
    updated = store.put_module(parse_module("d1", "m1", {"authentication": {"type": "none"}}), module.etag)
    assert updated.authentication.keys == ()
    assert updated.generation_id == module.generation_id
    cases: list[tuple[Callable[[], object], ErrorCode]] = [
        (lambda: store.put_module(parse_module("no", "m", {}), None), ErrorCode.DeviceNotFound),
        (lambda: store.put_module(parse_module("d1", "no", {}), "*"), ErrorCode.ModuleNotFound),
        (lambda: store.put_module(parse_module("d1", "m1", {}), module.etag), ErrorCode.PreconditionFailed),
        (lambda: store.delete_module("d1", "m1", module.etag), ErrorCode.PreconditionFailed),
        (lambda: store.delete_module("d1", "no", None), ErrorCode.ModuleNotFound),
        (lambda: store.delete_module("no", "m1", None), ErrorCode.DeviceNotFound),
        (lambda: store.modules("no"), ErrorCode.DeviceNotFound),
    ]
    for call, code in cases:
        with pytest.raises(HubError) as caught:
            call()
        assert code_of(caught) is code
    store.delete_module("d1", "m1", updated.etag)
    assert store.modules("d1") == []


def test_modules_per_device_are_limited(store: RegistryStore) -> None:
    put(store, "d1")
    for number in range(MODULES_PER_DEVICE_MAX):
        store.put_module(parse_module("d1", f"m{number}", {}), None)
    with pytest.raises(HubError) as caught:
        store.put_module(parse_module("d1", "more", {}), None)
    assert code_of(caught) is ErrorCode.TooManyModulesOnDevice


def test_body_ids_must_match_the_path() -> None:
    for body in ({"deviceId": "x"}, {"moduleId": "x"}):
        with pytest.raises(HubError):
            parse_module("d", "m", body)


@pytest.mark.parametrize(
    ("text", "top"),
    [(None, 1000), ("", 1000), ("5", 5), ("0", 1000), ("1000", 1000), ("1001", 1000), ("-1", 1000)],
)
def test_row_80_top(text: str | None, top: int) -> None:
    assert check_top(text) == top
    assert LIST_MAX == 1000


def test_row_80_top_must_be_a_number() -> None:
    with pytest.raises(HubError):
        check_top("many")


def test_listing_and_counts(store: RegistryStore) -> None:
    for number in range(7):
        put(store, f"d{number}", status="disabled" if number < 2 else "enabled")
    assert [device.device_id for device in store.devices(5)] == ["d0", "d1", "d2", "d3", "d4"]
    assert store.counts() == (7, 5)


def test_ids_are_sorted_byte_by_byte(store: RegistryStore) -> None:
    """Pages of children go on "after" an id, so the database's order must be ours."""
    ids = ["!", "#", "'", "-", "1", "A", "B", "_", "a", "a-b", "aB", "ab"]
    gateway = edge(store, "gw")
    for device_id in reversed(ids):
        put(store, device_id, deviceScope=gateway.device_scope)
    scope = gateway.device_scope or ""
    assert [device.device_id for device in store.children(scope, "", 20)] == ids
    assert [device.device_id for device in store.children(scope, "A", 20)] == ids[6:]
    assert [device.device_id for device in store.devices(20)] == sorted([*ids, "gw"])


def test_generations_grow_even_if_the_clock_is_set_back(place: Path | str) -> None:
    now = [NOW]
    database = Database(place)
    store = RegistryStore(database.engine, lambda: now[0])
    first = put(store, "d1")
    now[0] = NOW - 1000
    second = put(store, "d2")
    assert int(second.generation_id) == int(first.generation_id) + 1
    database.close()


def test_the_registry_survives_a_restart(place: Path | str) -> None:
    database = Database(place)
    device = put(RegistryStore(database.engine, lambda: NOW), "d1")
    database.close()
    assert not isinstance(place, Path) or place.stat().st_mode & 0o777 == 0o600
    database = Database(place)
    assert RegistryStore(database.engine, lambda: NOW).device("d1") == device
    with database.engine.begin() as connection:
        connection.execute(meta.update().where(meta.c.name == "schema").values(value=99))
    database.close()
    with pytest.raises(SchemaError, match="format 99"):
        Database(place)
