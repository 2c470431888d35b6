"""The service SDK from PyPI, `azure-iot-hub`, unmodified, against iothub (row 77 and its kin).

It knows no port but 443, so the hub has an address of its own; it trusts what `REQUESTS_CA_BUNDLE` names.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from edgehub.demo.ports import AMQPS_PORT, HTTPS_PORT, check_port
from edgehub.protocol.sas import build_token, device_audience
from iothub.errors import ErrorCode
from testkit.amqp_device import ANSWER_STATUS, AmqpDevice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOST: Final = "127.0.0.31"
KEYS: Final = [base64.b64encode(bytes([number]) * 32).decode() for number in range(2)]
THUMBPRINTS: Final = ["AB" * 20, "CD" * 32]
pytestmark = [
    # The SDK and what it is made of are old: what newer Pythons say about that is not about us.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning"),
    pytest.mark.skipif(
        sys.version_info >= (3, 12), reason="the SDK needs uamqp, which ends with Python 3.11"
    ),
]


class Hub:
    """A hub in a process of its own, on an address where nobody has the port that the SDK knows."""

    def __init__(self, folder: Path) -> None:
        for port in (AMQPS_PORT, HTTPS_PORT):
            check_port(HOST, port)
        command = [sys.executable, "-m", "iothub", "serve", "--data-dir", str(folder), "--hostname", HOST]
        command += ["--host", HOST, "--amqp-port", str(AMQPS_PORT), "--https-port", str(HTTPS_PORT), "--json"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "IOTHUB_DATABASE_URL": ""}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
        self.ca_file = Path(ready["caFile"])
        self.connection_strings: dict[str, str] = ready["connectionStrings"]
        self._amqp_port: int = ready["amqpPort"]

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.communicate(timeout=30)
        assert self._process.returncode == 0

    def device(self, view: Any, module: Any = None) -> AmqpDevice:
        """A client with the first key of a device or module that the SDK gave."""
        module_id = None if module is None else module.module_id
        audience = device_audience(HOST, view.device_id, module_id)
        key = (module or view).authentication.symmetric_key.primary_key
        token = build_token(audience, int(time.time()) + 600, key=key)
        return AmqpDevice(HOST, self._amqp_port, self.ca_file, view.device_id, module_id, token)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    made = Hub(tmp_path_factory.mktemp("hub"))
    yield made
    made.stop()


def managed(connection_string: str) -> Any:
    """The SDK's client for a policy."""
    from azure.iot.hub import IoTHubRegistryManager

    return IoTHubRegistryManager.from_connection_string(connection_string)


@pytest.fixture
def manager(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The registry manager, with a registry that is empty again afterwards."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(hub.ca_file))
    monkeypatch.setenv("NO_PROXY", HOST)
    # uamqp trusts what certifi has, and asks nobody else.
    monkeypatch.setattr("certifi.where", lambda: str(hub.ca_file))
    made = managed(hub.connection_strings["iothubowner"])
    yield made
    for device in made.get_devices(1000):
        made.delete_device(device.device_id)
    made.protocol.close()


def refusal(call: Callable[[], object]) -> tuple[int, str]:
    """Status and code of a call that the hub refuses; the SDK hands the hub's text on."""
    from msrest.exceptions import HttpOperationError

    with pytest.raises(HttpOperationError) as caught:
        call()
    response = caught.value.response
    name = response.headers["iothub-errorcode"]
    # Of methods the text has the number, of all else the name.
    assert f"ErrorCode:{name};" in response.text or str(ErrorCode[name].number) in response.text
    return response.status_code, name


def test_row_77_a_device_with_keys(manager: Any) -> None:
    made = manager.create_device_with_sas("d1", *KEYS, "enabled", status_reason="new")
    keys = made.authentication.symmetric_key
    assert [keys.primary_key, keys.secondary_key] == KEYS
    assert (made.status, made.status_reason, made.connection_state) == ("enabled", "new", "Disconnected")
    assert (made.capabilities.iot_edge, made.authentication.type) == (False, "sas")
    found = manager.get_device("d1")
    assert found.as_dict() == made.as_dict()
    updated = manager.update_device_with_sas("d1", found.etag, *reversed(KEYS), "disabled")
    assert (updated.status, updated.authentication.symmetric_key.primary_key) == ("disabled", KEYS[1])
    assert updated.generation_id == made.generation_id
    stale = refusal(lambda: manager.update_device_with_sas("d1", made.etag, *KEYS, "enabled"))
    assert stale == (412, "PreconditionFailed")
    assert manager.update_device_with_sas("d1", None, *KEYS, "enabled").status == "enabled"
    assert refusal(lambda: manager.create_device_with_sas("d1", *KEYS, "enabled")) == (
        409,
        "DeviceAlreadyExists",
    )
    assert refusal(lambda: manager.delete_device("d1", made.etag)) == (412, "PreconditionFailed")
    manager.delete_device("d1")
    assert refusal(lambda: manager.get_device("d1")) == (404, "DeviceNotFound")


def test_row_77_a_device_with_keys_that_the_hub_makes(manager: Any) -> None:
    made = manager.create_device_with_sas("d1", None, None, "enabled")
    keys = made.authentication.symmetric_key
    assert {len(base64.b64decode(key)) for key in (keys.primary_key, keys.secondary_key)} == {32}


def test_row_77_a_device_with_certificates(manager: Any) -> None:
    made = manager.create_device_with_x509("d1", *THUMBPRINTS, "enabled")
    assert made.authentication.type == "selfSigned"
    prints = made.authentication.x509_thumbprint
    assert [prints.primary_thumbprint, prints.secondary_thumbprint] == THUMBPRINTS
    updated = manager.update_device_with_x509("d1", made.etag, THUMBPRINTS[1], None, "disabled")
    assert updated.authentication.x509_thumbprint.primary_thumbprint == THUMBPRINTS[1]
    assert updated.authentication.x509_thumbprint.secondary_thumbprint is None
    signed = manager.update_device_with_certificate_authority("d1", updated.etag, "enabled")
    assert (signed.authentication.type, signed.status) == ("certificateAuthority", "enabled")
    assert manager.create_device_with_certificate_authority("d2", "enabled").device_id == "d2"
    assert refusal(lambda: manager.create_device_with_x509("d3", "12", None, "enabled")) == (
        400,
        "ArgumentInvalid",
    )


def test_an_edge_device_and_its_children(manager: Any) -> None:
    gateway = manager.create_device_with_sas("gw", *KEYS, "enabled", iot_edge=True)
    assert gateway.capabilities.iot_edge
    scope = gateway.device_scope
    leaf = manager.create_device_with_sas("leaf", *KEYS, "enabled", device_scope=scope)
    assert (leaf.device_scope, leaf.parent_scopes) == (scope, [scope])
    below = manager.create_device_with_sas("below", *KEYS, "enabled", iot_edge=True, parent_scopes=scope)
    assert below.parent_scopes == [scope]
    names = [module.module_id for module in manager.get_modules("gw")]
    assert names == ["$edgeAgent", "$edgeHub"]


def test_modules(manager: Any) -> None:
    manager.create_device_with_sas("d1", *KEYS, "enabled")
    made = manager.create_module_with_sas("d1", "m1", "me", *KEYS)
    assert (made.module_id, made.managed_by) == ("m1", "me")
    assert manager.get_module("d1", "m1").as_dict() == made.as_dict()
    updated = manager.update_module_with_sas("d1", "m1", "you", made.etag, *reversed(KEYS))
    assert (updated.managed_by, updated.authentication.symmetric_key.primary_key) == ("you", KEYS[1])
    pinned = manager.update_module_with_x509("d1", "m1", "you", updated.etag, *THUMBPRINTS)
    assert pinned.authentication.type == "selfSigned"
    signed = manager.update_module_with_certificate_authority("d1", "m1", "you", pinned.etag)
    assert signed.authentication.type == "certificateAuthority"
    manager.create_module_with_x509("d1", "m2", "me", *THUMBPRINTS)
    manager.create_module_with_certificate_authority("d1", "m3", "me")
    assert [module.module_id for module in manager.get_modules("d1")] == ["m1", "m2", "m3"]
    stale = refusal(lambda: manager.update_module_with_sas("d1", "m1", "me", made.etag, *KEYS))
    assert stale == (412, "PreconditionFailed")
    assert refusal(lambda: manager.create_module_with_sas("d1", "m1", "me", *KEYS)) == (
        409,
        "ModuleAlreadyExistsOnDevice",
    )
    manager.delete_module("d1", "m1")
    assert refusal(lambda: manager.get_module("d1", "m1")) == (404, "ModuleNotFound")
    assert refusal(lambda: manager.get_modules("no")) == (404, "DeviceNotFound")


def test_rows_80_and_84_listings_and_statistics(hub: Hub, manager: Any) -> None:
    devices = [manager.create_device_with_sas(f"d{number}", *KEYS, "enabled") for number in range(3)]
    manager.update_device_with_sas("d0", None, *KEYS, "disabled")
    assert [device.device_id for device in manager.get_devices()] == ["d0", "d1", "d2"]
    assert len(manager.get_devices(2)) == 2
    statistics = manager.get_device_registry_statistics()
    counts = (
        statistics.total_device_count,
        statistics.enabled_device_count,
        statistics.disabled_device_count,
    )
    assert counts == (3, 2, 1)
    assert manager.get_service_statistics().connected_device_count == 0
    with hub.device(devices[1]):
        assert manager.get_service_statistics().connected_device_count == 1
        assert manager.get_device("d1").connection_state == "Connected"


def test_row_81_bulk(manager: Any) -> None:
    from azure.iot.hub import models

    keys = models.SymmetricKey(primary_key=KEYS[0], secondary_key=KEYS[1])
    authentication = models.AuthenticationMechanism(type="sas", symmetric_key=keys)

    def entry(device_id: str, **more: Any) -> Any:
        named = {"id": device_id, "authentication": authentication, "status": "enabled", **more}
        return models.ExportImportDevice(**named)

    done = manager.bulk_create_or_update_devices([entry(f"d{number}") for number in range(3)])
    assert (done.is_successful, done.errors, done.warnings) == (True, [], [])
    mixed = manager.bulk_create_or_update_devices(
        [entry("d1", import_mode="create"), entry("d2", import_mode="delete"), entry("d3")]
    )
    assert not mixed.is_successful
    assert [(error.device_id, error.error_code) for error in mixed.errors] == [("d1", "DeviceAlreadyExists")]
    assert [device.device_id for device in manager.get_devices()] == ["d0", "d1", "d3"]
    many = [entry(f"d{number}") for number in range(101)]
    assert refusal(lambda: manager.bulk_create_or_update_devices(many)) == (413, "TooManyDevices")


@pytest.mark.parametrize("module_id", [None, "m1"])
def test_row_103_twins(manager: Any, module_id: str | None) -> None:
    from azure.iot.hub.models import Twin, TwinProperties

    manager.create_device_with_sas("d1", *KEYS, "enabled")
    manager.create_module_with_sas("d1", "m1", "me", *KEYS)
    kind = "twin" if module_id is None else "module_twin"
    key = ("d1",) if module_id is None else ("d1", module_id)

    def get() -> Any:
        return getattr(manager, f"get_{kind}")(*key)

    def change(how: str, twin: Any, etag: str | None) -> Any:
        return getattr(manager, f"{how}_{kind}")(*key, twin, etag)

    first = get()
    assert (first.device_id, first.module_id, first.version) == ("d1", module_id, 1)
    patch = Twin(tags={"site": "here"}, properties=TwinProperties(desired={"a": 1, "b": {"c": 1}}))
    updated = change("update", patch, first.etag)
    assert updated.tags == {"site": "here"}
    assert updated.properties.desired["b"]["c"] == 1
    assert updated.properties.desired["$version"] == 2
    assert updated.properties.desired["$metadata"]["a"]["$lastUpdatedVersion"] == 2
    assert refusal(lambda: change("update", patch, first.etag)) == (412, "PreconditionFailed")
    whole = Twin(properties=TwinProperties(desired={"b": {"d": 2}}))
    replaced = change("replace", whole, updated.etag)
    assert {name for name in replaced.properties.desired if not name.startswith("$")} == {"b"}
    assert replaced.tags == {"site": "here"}
    # A twin as it was read goes back as it is.
    again = change("update", get(), replaced.etag)
    assert again.properties.desired["b"] == {"d": 2}
    bad = Twin(properties=TwinProperties(desired={"a.b": 1}))
    assert refusal(lambda: change("update", bad, "*")) == (400, "ArgumentInvalid")


@pytest.mark.parametrize("module_id", [None, "m1"])
def test_methods(hub: Hub, manager: Any, module_id: str | None) -> None:
    from azure.iot.hub.models import CloudToDeviceMethod

    device = manager.create_device_with_sas("d1", *KEYS, "enabled")
    module = manager.create_module_with_sas("d1", "m1", "me", *KEYS)

    def invoke(**members: Any) -> Any:
        method = CloudToDeviceMethod(method_name="reset", payload={"delay": [1, None]}, **members)
        if module_id is None:
            return manager.invoke_device_method("d1", method)
        return manager.invoke_device_module_method("d1", module_id, method)

    with hub.device(device, None if module_id is None else module) as client:
        answer = invoke(response_timeout_in_seconds=20, connect_timeout_in_seconds=5)
        assert (answer.status, client.called) == (ANSWER_STATUS, ["reset"])
        assert answer.payload == {"name": "reset", "payload": {"delay": [1, None]}}
    status, code = refusal(invoke)
    assert (status, code) == (404, "DeviceNotOnline")
    status, code = refusal(lambda: invoke(response_timeout_in_seconds=301))
    assert (status, code) == (400, "ArgumentInvalid")


def test_policies_permit_what_they_name(hub: Hub, manager: Any) -> None:
    manager.create_device_with_sas("d1", *KEYS, "enabled")
    service = managed(hub.connection_strings["service"])
    assert service.get_twin("d1").device_id == "d1"
    assert refusal(lambda: service.get_device("d1")) == (401, "IotHubUnauthorizedAccess")
    owner = hub.connection_strings["iothubowner"]
    stranger = managed(owner.partition("SharedAccessKey=")[0] + f"SharedAccessKey={KEYS[0]}")
    assert refusal(stranger.get_devices) == (401, "IotHubUnauthorized")
    for client in (service, stranger):
        client.protocol.close()


def receive(hub: Hub, device: Any, path: str = "", method: str = "GET") -> Any:
    """A request of a device about its messages; the answer of `requests`, which the SDK brings along."""
    import requests

    key = device.authentication.symmetric_key.primary_key
    token = build_token(device_audience(HOST, device.device_id), int(time.time()) + 600, key=key)
    return requests.request(
        method,
        f"https://{HOST}/devices/{device.device_id}/messages/deviceBound{path}?api-version=2021-04-12",
        headers={"Authorization": token},
        verify=str(hub.ca_file),
        timeout=30,
    )


def test_a_message_to_a_device(hub: Hub, manager: Any) -> None:
    device = manager.create_device_with_sas("d1", *KEYS, "enabled")
    properties = {"level": "high", "messageId": "m-1", "contentType": "text/plain", "correlationId": "c"}
    manager.send_c2d_message("d1", "wake up", properties)
    manager.send_c2d_message("d1", "once more")
    found = receive(hub, device)
    assert (found.status_code, found.text) == (200, "wake up")
    named = {"iothub-messageid": "m-1", "iothub-contenttype": "text/plain", "iothub-app-level": "high"}
    assert {name: found.headers[name] for name in named} == named
    lock = found.headers["ETag"].strip('"')
    assert receive(hub, device, f"/{lock}", "DELETE").status_code == 204
    assert receive(hub, device).text == "once more"
    with pytest.raises(Exception, match="C2D message send failure"):
        manager.send_c2d_message("nobody", "lost")
    manager.amqp_svc_client.disconnect_sync()
