"""`config.toml` (agent spec 7.9): what it says, and what is said of mistakes in it."""

from __future__ import annotations

import base64
import contextlib
import re
from datetime import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.config.toml_file import (
    FILE_BYTES_MAX,
    load_config,
    parse_config,
    read_device_key,
)
from edgeagent.config.toml_model import ConfigFile, DeviceKey, EdgeCaFiles, MaxRequests
from edgeagent.config.toml_table import ConfigFileError
from edgeagent.runtime.networks import AddressPool, NetworkSettings

KEY = base64.b64encode(b"k3y-of-the-device").decode()
CONNECTION = f"HostName=hub.example.net;DeviceId=gw1;SharedAccessKey={KEY}"

WHOLE = f"""
hostname = "gateway-1.example.net"
parent_hostname = "gateway-0.example.net"
trust_bundle_cert = "file:///etc/edge/root%20ca.pem"
allow_elevated_docker_permissions = false
auto_reprovisioning_mode = "OnErrorOnly"
cloud_timeout_sec = 90
cloud_retries = 2

[provisioning]
source = "manual"
iothub_hostname = "hub.example.net"
device_id = "gw1"
[provisioning.authentication]
method = "sas"
device_id_pk = {{ value = "{KEY}" }}

[agent]
name = "edgeAgent"
type = "docker"
imagePullPolicy = "never"
[agent.config]
image = "reg.example.net/agent:1"
createOptions = {{ HostConfig = {{ Binds = ["/a:/a"] }} }}
[agent.config.auth]
serveraddress = "reg.example.net"
username = "u"
password = "pass-7731"
[agent.env]
RuntimeLogLevel = "debug"

[edge_ca]
cert = "file:///etc/edge/ca.pem"
pk = "file:///etc/edge/ca.key"

[moby_runtime]
uri = "unix:///run/other.sock"
[moby_runtime.network]
name = "edge"
ipv6 = true
[moby_runtime.network.ipam]
[[moby_runtime.network.ipam.config]]
subnet = "172.20.0.0/16"
gateway = "172.20.0.1"
ip_range = "172.20.1.0/24"

[image_garbage_collection]
enabled = true
cleanup_recurrence = "48h"
image_age_cleanup_threshold = "3d"
cleanup_time = "04:30"

[listen]
management_uri = "unix:///run/edge/mgmt.sock"

[watchdog]
max_retries = 3

[iotedge_max_requests]
management = 7
workload = 8
"""


def _error(text: str) -> ConfigFileError:
    with pytest.raises(ConfigFileError) as raised:
        parse_config(text.encode(), "/etc/c.toml")
    assert str(raised.value).startswith("/etc/c.toml: ")
    return raised.value


def test_everything() -> None:
    config = parse_config(WHOLE.encode())
    assert [text.partition(":")[0] for text in config.warnings] == [
        "cloud_timeout_sec",
        "cloud_retries",
        "watchdog.max_retries",
        "iotedge_max_requests.workload",
    ]
    assert (config.hostname, config.parent_hostname) == ("gateway-1.example.net", "gateway-0.example.net")
    assert config.trust_bundle == Path("/etc/edge/root ca.pem")
    assert (config.allow_elevated, config.cloud_timeout_s, config.cloud_retries) == (False, 90, 2)
    assert config.provisioning is not None
    assert (config.provisioning.hub_hostname, config.provisioning.device_id) == ("hub.example.net", "gw1")
    assert read_device_key(config.provisioning.key) == b"k3y-of-the-device"
    assert (config.agent.image, config.agent.image_pull_policy) == ("reg.example.net/agent:1", "never")
    assert config.agent.create_options == {"HostConfig": {"Binds": ["/a:/a"]}}
    assert config.agent.auth is not None
    assert config.agent.auth.address == "reg.example.net"
    assert config.agent.env == {"RuntimeLogLevel": "debug"}
    assert config.edge_ca == EdgeCaFiles(Path("/etc/edge/ca.pem"), Path("/etc/edge/ca.key"))
    assert config.engine_address == "unix:///run/other.sock"
    pool = AddressPool("172.20.0.0/16", "172.20.0.1", "172.20.1.0/24")
    assert config.network == NetworkSettings("edge", True, (pool,))
    assert (config.image_gc.recurrence_days, config.image_gc.cleanup_time) == (2, time(4, 30))
    assert config.management_socket == Path("/run/edge/mgmt.sock")
    assert (config.watchdog_retries, config.max_requests) == (3, MaxRequests(7, 8))


def test_an_empty_file_is_all_defaults() -> None:
    assert parse_config(b"") == ConfigFile()
    assert ConfigFile().max_requests == MaxRequests(50, 10)
    assert ConfigFile().network.name == "azure-iot-edge"


def test_a_connection_string() -> None:
    config = parse_config(f'[provisioning]\nconnection_string = "{CONNECTION};GatewayHostName=p"'.encode())
    assert config.provisioning is not None
    assert config.provisioning.hub_hostname == "hub.example.net"
    assert config.warnings == (
        "provisioning.connection_string: GatewayHostName has no effect; set parent_hostname",
    )


def test_no_secret_is_in_any_text_of_it() -> None:
    config = parse_config(WHOLE.encode())
    for secret in (KEY, "k3y-of-the-device", "pass-7731", "debug"):
        assert secret not in repr(config)


def test_the_network_by_its_name_alone() -> None:
    assert parse_config(b'[moby_runtime]\nnetwork = "mine"').network == NetworkSettings("mine")


def test_provisioning_done_elsewhere() -> None:
    assert parse_config(b'[provisioning]\nsource = "none"').provisioning is None


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ('hostnam = "x"', "hostnam: is not known"),
        ("[watchdog]\nretries = 1", "watchdog.retries: is not known"),
        ("[edge_ca]\nauto_renew = {}", "edge_ca.auto_renew: has no effect here"),
        ("[tpm]\ntcti = 'device'", "tpm: has no effect here: keys are in files"),
        ("[cert_issuance.est]\nx = 1", "cert_issuance: has no effect here"),
        ("[aziot_keys]\npkcs11_lib_path = '/x'", "aziot_keys: has no effect here"),
        ("[moby_runtime.content_trust.ca_certs]\n", "moby_runtime.content_trust: has no effect"),
        ("[connect]\nworkload_uri = 'unix:///x'", "connect.workload_uri: has no effect"),
        ("[agent.config]\ndigest = 'x'", "agent.config.digest: is not known"),
    ],
)
def test_what_has_no_effect_is_a_warning(text: str, warning: str) -> None:
    found = parse_config(text.encode()).warnings
    assert len(found) == 1
    assert found[0].startswith(warning)


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("hostname = 1", "hostname", "a text in quotation marks"),
        ('hostname = " "', "hostname", "not blank"),
        ("allow_elevated_docker_permissions = 'yes'", "allow_elevated_docker_permissions", "true or false"),
        ("cloud_timeout_sec = 10", "cloud_timeout_sec", "from 70 to 3600"),
        ("auto_reprovisioning_mode = 'Never'", "auto_reprovisioning_mode", "Dynamic, AlwaysOnStartup"),
        ("parent_hostname='a'\nlocal_gateway_hostname='b'", "local_gateway_hostname", "remove one"),
        ("trust_bundle_cert = '/x'", "trust_bundle_cert", "file:///path"),
        ("provisioning = 1", "provisioning", r"\[provisioning\]"),
        ("[provisioning]\nsource = 'dps'", "provisioning.source", "connection_string"),
        ("[provisioning]\nsource = 'cloud'", "provisioning.source", "manual, dps, none"),
        ("[provisioning]", "provisioning.connection_string", "is missing"),
        ("[provisioning]\nconnection_string = 'x'", "provisioning.connection_string", "HostName="),
        ("[provisioning]\niothub_hostname='h'", "provisioning.device_id", "is missing"),
        (
            f"[provisioning]\nconnection_string='{CONNECTION}'\ndevice_id='x'",
            "provisioning.device_id",
            "in the connection_string already",
        ),
        (
            "[provisioning]\niothub_hostname='h'\ndevice_id='d'\nauthentication={method='tpm'}",
            "provisioning.authentication.method",
            "tpm is not served",
        ),
        (
            "[provisioning]\niothub_hostname='h'\ndevice_id='d'\nauthentication={device_id_pk={}}",
            "provisioning.authentication.device_id_pk",
            "either value or uri",
        ),
        (
            "[provisioning]\niothub_hostname='h'\ndevice_id='d'\nauthentication={device_id_pk={value='?'}}",
            "provisioning.authentication.device_id_pk.value",
            "is not base64",
        ),
        (
            "[provisioning]\niothub_hostname='h'\ndevice_id='d'\n"
            "authentication={device_id_pk={uri='pkcs11:token=x'}}",
            "provisioning.authentication.device_id_pk.uri",
            "pkcs11",
        ),
        ("[agent]\nname = 'a'", "agent.name", "edgeAgent"),
        ("[agent]\ntype = 'snap'", "agent.type", "docker"),
        ("[agent]\nimagePullPolicy = 'always'", "agent.imagePullPolicy", "on-create, never"),
        ("[agent.env]\nA = 1", "agent.env.A", "a text"),
        ("[agent.config]\ncreateOptions = 'x'", "agent.config.createOptions", "inline table"),
        ("[agent.config.auth]\nusername = 'u'", "agent.config.auth.serveraddress", "is missing"),
        ("[edge_ca]\nmethod = 'est'", "edge_ca.method", "est is not served"),
        ("[edge_ca]\ncert = 'file:///c'", "edge_ca.pk", "both"),
        ("[edge_ca]\npk = 'pkcs11:x'\ncert = 'file:///c'", "edge_ca.pk", "pkcs11"),
        ("[moby_runtime]\nuri = '/x.sock'", "moby_runtime.uri", "unix:///var/run/docker.sock"),
        ("[moby_runtime.network.ipam]\nconfig = 1", "moby_runtime.network.ipam.config", "an array of tables"),
        (
            "[image_garbage_collection]\ncleanup_recurrence = '25h'",
            "image_garbage_collection.cleanup_recurrence",
            "multiple of days",
        ),
        ("image_garbage_collection = 1", "image_garbage_collection", "expected a table"),
        ("[watchdog]\nmax_retries = 'many'", "watchdog.max_retries", "infinite"),
        ("[iotedge_max_requests]\nworkload = 0", "iotedge_max_requests.workload", "from 1 to 1000"),
        ("[listen]\nmanagement_uri = 'http://x'", "listen.management_uri", "unix:///"),
    ],
)
def test_mistakes_have_file_place_and_what_would_be_right(text: str, place: str, why: str) -> None:
    fault = _error(text)
    assert fault.place == place
    assert str(fault).startswith(f"/etc/c.toml: {place}: ")
    assert re.search(why, str(fault))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a = ?\n", "is not TOML: .*line 1"),
        (b"a = \xff", "is not UTF-8 text .byte 4."),
        (b"a = " + b"[" * 100_000, "is not TOML"),
        (b"#" * (FILE_BYTES_MAX + 1), "is longer than 262144 bytes"),
    ],
)
def test_no_toml(content: bytes, why: str) -> None:
    with pytest.raises(ConfigFileError, match=why):
        parse_config(content)


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    with pytest.raises(ConfigFileError, match=f"{file}: cannot be read: No such file"):
        load_config(file)
    file.write_text('hostname = "h"')
    assert load_config(file).hostname == "h"


def test_a_key_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    with pytest.raises(ConfigFileError, match="cannot be read"):
        read_device_key(DeviceKey(file=file))
    file.write_text(f"{KEY}\n")
    assert read_device_key(DeviceKey(file=file)) == b"k3y-of-the-device"
    file.write_bytes(b"\x00\xff raw")
    assert read_device_key(DeviceKey(file=file)) == b"\x00\xff raw"
    for wrong in (b"", b"x" * 5000):
        file.write_bytes(wrong)
        with pytest.raises(ConfigFileError, match="1 to 4096 bytes"):
            read_device_key(DeviceKey(file=file))


def test_infinite_is_no_limit() -> None:
    assert parse_config(b"[watchdog]\nmax_retries = 'infinite'").watchdog_retries is None


@given(st.integers(0, len(WHOLE)), st.binary(max_size=8))
def test_cut_and_changed_files_give_no_other_error(at: int, noise: bytes) -> None:
    content = WHOLE.encode()
    for changed in (content[:at] + noise, content[:at] + noise + content[at + len(noise) :]):
        with contextlib.suppress(ConfigFileError):
            parse_config(changed)


VALUES = st.recursive(
    st.booleans() | st.integers(-5, 100) | st.sampled_from(['""', '"x"', '"file:///a"']),
    lambda below: (
        st.lists(below, max_size=2)
        | st.dictionaries(st.sampled_from(["method", "value", "uri", "config", "cert"]), below, max_size=2)
    ),
    max_leaves=5,
)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_toml(item)}' for name, item in value.items())} }}"
    return str(value)


SECTIONS = (
    "hostname", "provisioning", "agent", "edge_ca", "moby_runtime", "watchdog", "listen", "connect",
    "image_garbage_collection", "iotedge_max_requests", "trust_bundle_cert", "cloud_retries",
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(SECTIONS), VALUES))
def test_any_shape_is_read_or_refused(values: dict[str, object]) -> None:
    text = "\n".join(f"{name} = {_toml(value)}" for name, value in values.items())
    with contextlib.suppress(ConfigFileError):
        parse_config(text.encode())
