"""`config.toml`, the settings of a device (agent spec 7.9).

```python
config = load_config(Path("/etc/aziot/config.toml"))
for warning in config.warnings: ...
```

What is left out has its default. What this agent does not serve is an error where the device would run
otherwise than asked for, and else a warning; unknown keys are warnings.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeagent.config.connection_string import decode_key
from edgeagent.config.toml_model import ConfigFile
from edgeagent.config.toml_sections import (
    read_agent,
    read_edge_ca,
    read_max_requests,
    read_network,
    read_provisioning,
    read_retries,
)
from edgeagent.config.toml_table import ConfigFileError, Table
from edgeagent.image_gc.settings import SECTION, GcSettingsError, read_gc_settings
from edgeagent.runtime.engine import DEFAULT_ADDRESS

if TYPE_CHECKING:
    from edgeagent.config.toml_model import DeviceKey
    from edgeagent.image_gc.settings import GcSettings

FILE_BYTES_MAX = 256 * 1024
KEY_BYTES_MAX = 4096
CLOUD_TIMEOUT_S_MIN = 70

_UNSERVED = {
    "prefer_module_identity_cache": "the hub is asked first, its last answer is used when it is out of reach",
    "additional_info": "the management API tells what the engine knows of the machine",
    "auto_generated_edge_ca_expiry_days": "a CA that is made here is valid for 90 days",
    "aziot_max_requests": "there are no separate services for keys, certificates and identities",
    "cert_issuance": "certificates are issued by the CA of the device; see [edge_ca]",
    "tpm": "keys are in files",
    "aziot_keys": "keys are in files, hardware modules (pkcs11) are not used",
    "preloaded_keys": "keys are named by file where they are used",
    "preloaded_certs": "certificates are named by file where they are used",
}


def load_config(file: Path) -> ConfigFile:
    """Reads a file.

    :raises ConfigFileError: it cannot be read or used; the text says file, place, and what would be right.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)
    except OSError as fault:
        raise ConfigFileError("", f"{file}: cannot be read: {fault.strerror or fault}") from None
    return parse_config(content, str(file))


def parse_config(content: bytes, file: str = "config.toml") -> ConfigFile:
    """Reads the content of a file.

    :param file: its name, for errors.
    :raises ConfigFileError: it cannot be used.
    """
    try:
        return _read(_root(content))
    except ConfigFileError as fault:
        named = ConfigFileError("", f"{file}: {fault}")
        named.place = fault.place
        raise named from None


def _root(content: bytes) -> Table:
    if len(content) > FILE_BYTES_MAX:
        raise ConfigFileError("", f"is longer than {FILE_BYTES_MAX} bytes")
    try:
        values = tomllib.loads(content.decode())
    except UnicodeDecodeError as fault:
        raise ConfigFileError("", f"is not UTF-8 text (byte {fault.start})") from None
    except (ValueError, RecursionError) as fault:
        raise ConfigFileError("", f"is not TOML: {fault}") from None
    return Table("", values, [])


def _read(root: Table) -> ConfigFile:
    for name, text in _UNSERVED.items():
        root.unserved(name, text)
    root.one_of("auto_reprovisioning_mode", ("Dynamic", "AlwaysOnStartup", "OnErrorOnly"), "Dynamic")
    provisioning, gateway = read_provisioning(root.table("provisioning"), wanted="provisioning" in root)
    parent = _parent(root)
    if gateway and not parent:
        root.note("provisioning.connection_string", "GatewayHostName has no effect; set parent_hostname")
    engine = root.table("moby_runtime")
    engine.unserved("content_trust", "signatures of images are not checked")
    watchdog, limits = root.table("watchdog"), root.table("iotedge_max_requests")
    config = ConfigFile(
        hostname=root.text("hostname"),
        parent_hostname=parent,
        trust_bundle=root.file("trust_bundle_cert"),
        allow_elevated=root.truth("allow_elevated_docker_permissions", True),
        cloud_timeout_s=root.whole("cloud_timeout_sec", CLOUD_TIMEOUT_S_MIN, CLOUD_TIMEOUT_S_MIN, 3600),
        cloud_retries=root.whole("cloud_retries", 1, 0, 1000),
        provisioning=provisioning,
        agent=read_agent(root.table("agent")),
        edge_ca=read_edge_ca(root.table("edge_ca")),
        engine_address=_engine_address(engine),
        network=read_network(engine),
        management_socket=_management_socket(root),
        image_gc=_image_gc(root),
        watchdog_retries=read_retries(watchdog),
        max_requests=read_max_requests(limits),
    )
    for name in ("cloud_timeout_sec", "cloud_retries"):
        root.unserved(name, "the agent's own times hold")
    watchdog.unserved("max_retries", "what keeps the agent running is its service manager or its container")
    limits.unserved("workload", "a module's socket takes ten connections")
    engine.finish()
    root.finish()
    return replace(config, warnings=tuple(root.notes))


def _parent(root: Table) -> str:
    if "parent_hostname" in root and "local_gateway_hostname" in root:
        raise root.error("local_gateway_hostname", "is another name of parent_hostname; remove one of them")
    return root.text("parent_hostname") or root.text("local_gateway_hostname")


def _engine_address(table: Table) -> str:
    address = table.text("uri", DEFAULT_ADDRESS)
    scheme, _, rest = address.partition("://")
    is_socket = scheme == "unix" and rest.startswith("/")
    if not is_socket and not (scheme in ("tcp", "http") and rest.strip("/")):
        raise table.error("uri", f'expected "{DEFAULT_ADDRESS}" or another address of that form')
    return address


def _management_socket(root: Table) -> Path:
    listen, connect = root.table("listen"), root.table("connect")
    for table in (listen, connect):
        table.unserved("workload_uri", "each module has a socket of its own")
    connect.unserved("management_uri", "what the agent listens on is told with listen.management_uri")
    address = listen.text("management_uri", f"unix://{ConfigFile().management_socket}")
    listen.finish()
    connect.finish()
    scheme, _, path = address.partition("://")
    if scheme != "unix" or not path.startswith("/") or "\0" in path:
        raise listen.error("management_uri", 'expected "unix:///path/of/a/socket"')
    return Path(path)


def _image_gc(root: Table) -> GcSettings:
    value = root.raw(SECTION)
    if value is not None and not isinstance(value, dict):
        raise root.error(SECTION, f"expected a table, [{SECTION}]")
    try:
        return read_gc_settings(value or {})
    except GcSettingsError as fault:
        raise ConfigFileError(fault.name, str(fault).removeprefix(f"{fault.name}: ")) from None


def read_device_key(key: DeviceKey) -> bytes:
    """The key itself; a file has it as it is, or in base64.

    :raises ConfigFileError: the file cannot be read or is empty.
    """
    if key.value is not None:
        return key.value
    assert key.file is not None
    try:
        with key.file.open("rb") as opened:
            content = opened.read(KEY_BYTES_MAX + 1)
    except OSError as fault:
        raise ConfigFileError("", f"{key.file}: cannot be read: {fault.strerror or fault}") from None
    if not content.strip() or len(content) > KEY_BYTES_MAX:
        raise ConfigFileError("", f"{key.file}: expected a key of 1 to {KEY_BYTES_MAX} bytes")
    try:
        return decode_key(content.decode("ascii"), "the key")
    except ValueError:
        return content
