"""The sections of `config.toml` that have a shape of their own (agent spec 7.6, 7.7, 7.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeagent.config.connection_string import decode_key, parse_connection_string
from edgeagent.config.toml_model import AgentSection, DeviceKey, EdgeCaFiles, MaxRequests, Provisioning
from edgeagent.model.module import EDGE_AGENT, RegistryCredentials
from edgeagent.runtime.networks import AddressPool, NetworkSettings
from edgeagent.runtime.spec import DEFAULT_NETWORK

if TYPE_CHECKING:
    from edgeagent.config.toml_table import Table

RETRIES_MAX = 2**32 - 1
REQUESTS_MAX = 1000
ENDLESS = "infinite"

_NOT_DPS = (
    "device provisioning (dps) is not served; make the device in the hub and use "
    'source = "manual" with its connection_string'
)


def read_provisioning(table: Table, *, wanted: bool) -> tuple[Provisioning | None, str]:
    """`[provisioning]`, and the name of a parent gateway that its connection string has.

    :param wanted: whether the section is there.
    """
    if not wanted:
        return None, ""
    source = table.one_of("source", ("manual", "dps", "none"), "manual")
    if source == "dps":
        raise table.error("source", _NOT_DPS)
    if source == "none":
        return None, ""
    for name in ("always_reprovision_on_startup", "dynamic_reprovisioning", "payload"):
        table.unserved(name, "a device that is provisioned by hand stays as it is")
    of_text = "connection_string" in table
    found = _of_connection_string(table) if of_text else (_of_parts(table), "")
    table.finish()
    return found


def _of_connection_string(table: Table) -> tuple[Provisioning, str]:
    try:
        device = parse_connection_string(table.required("connection_string"))
    except ValueError as fault:
        raise table.error("connection_string", str(fault)) from None
    for name in ("iothub_hostname", "device_id", "authentication"):
        if name in table:
            raise table.error(name, "is in the connection_string already; remove one of them")
    found = Provisioning(device.hub_hostname, device.device_id, DeviceKey(device.key))
    return found, device.gateway


def _of_parts(table: Table) -> Provisioning:
    if "iothub_hostname" not in table:
        raise table.error(
            "connection_string", "is missing; give it, or iothub_hostname, device_id and authentication"
        )
    hub, device_id = table.required("iothub_hostname"), table.required("device_id")
    authentication = table.table("authentication")
    method = authentication.one_of("method", ("sas", "x509", "tpm"), "sas")
    if method != "sas":
        raise authentication.error(
            "method", f'{method} is not served; expected "sas" with device_id_pk = {{ value = "<base64>" }}'
        )
    key = _device_key(authentication)
    authentication.finish()
    return Provisioning(hub, device_id, key)


def _device_key(table: Table) -> DeviceKey:
    if "device_id_pk" not in table:
        raise table.error(
            "device_id_pk", 'is missing; expected { value = "<base64>" } or { uri = "file:///..." }'
        )
    given = table.table("device_id_pk")
    if ("value" in given) == ("uri" in given):
        raise table.error("device_id_pk", "expected either value or uri, one of them")
    file = given.file("uri")
    if file is not None:
        given.finish()
        return DeviceKey(file=file)
    try:
        key = decode_key(given.required("value"), "the key")
    except ValueError as fault:
        raise given.error("value", str(fault)) from None
    given.finish()
    return DeviceKey(key)


def read_agent(table: Table) -> AgentSection:
    """`[agent]`."""
    name, kind = table.text("name", EDGE_AGENT), table.text("type", "docker")
    if name != EDGE_AGENT:
        raise table.error("name", f'expected "{EDGE_AGENT}"')
    if kind != "docker":
        raise table.error("type", 'expected "docker"')
    policy = table.one_of("imagePullPolicy", ("on-create", "never"), "on-create")
    config = table.table("config")
    options = config.raw("createOptions")
    if options is not None and not isinstance(options, dict):
        raise config.error("createOptions", "expected an inline table such as { HostConfig = { ... } }")
    auth = _auth(config.table("auth")) if "auth" in config else None
    found = AgentSection(config.text("image"), options or {}, policy, auth, table.texts("env"))
    config.finish()
    table.finish()
    return found


def _auth(table: Table) -> RegistryCredentials | None:
    names = ("serveraddress", "username", "password")
    if not any(name in table for name in names):
        return None
    found = RegistryCredentials(*(table.required(name) for name in names))
    table.finish()
    return found


def read_edge_ca(table: Table) -> EdgeCaFiles | None:
    """`[edge_ca]`; what would silently give another CA than the one asked for is an error."""
    method = table.one_of("method", ("self_signed", "est", "local_ca"), "self_signed")
    if method != "self_signed":
        raise table.error(
            "method", f"{method} is not served; expected cert and pk, files of your own CA, or nothing at all"
        )
    for name in ("auto_renew", "expiry_days", "common_name", "subject"):
        table.unserved(name, "a CA that is made here is valid for 90 days and renewed when 80 % are over")
    certificate, key = table.file("cert"), table.file("pk")
    table.finish()
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise table.error("pk" if key is None else "cert", "is missing; cert and pk are needed, both")
    return EdgeCaFiles(certificate, key)


def read_network(table: Table) -> NetworkSettings:
    """`network` of `[moby_runtime]`: a name, or a table."""
    if not isinstance(table.raw("network"), dict):
        return NetworkSettings(table.text("network", DEFAULT_NETWORK))
    network = table.table("network")
    ipam = network.table("ipam")
    pools = tuple(_pool(pool) for pool in ipam.tables("config"))
    found = NetworkSettings(network.text("name", DEFAULT_NETWORK), network.truth("ipv6", False), pools)
    ipam.finish()
    network.finish()
    return found


def _pool(table: Table) -> AddressPool:
    found = AddressPool(table.text("subnet"), table.text("gateway"), table.text("ip_range"))
    table.finish()
    return found


def read_retries(table: Table) -> int | None:
    """`max_retries` of `[watchdog]`: a number, or `"infinite"`, which is None."""
    value = table.raw("max_retries")
    table.finish()
    if value is None or value == ENDLESS:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= RETRIES_MAX:
        raise table.error("max_retries", f'expected "{ENDLESS}" or a whole number from 0 to {RETRIES_MAX}')
    return value


def read_max_requests(table: Table) -> MaxRequests:
    """`[iotedge_max_requests]`."""
    usual = MaxRequests()
    found = MaxRequests(
        table.whole("management", usual.management, 1, REQUESTS_MAX),
        table.whole("workload", usual.workload, 1, REQUESTS_MAX),
    )
    table.finish()
    return found
