"""From a module to the body of the engine's container create call (agent spec 3.2 to 3.5). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from edgeagent.model.canonical import canonical_json
from edgeagent.model.module import EDGE_AGENT, EDGE_HUB, Module
from edgeagent.runtime import labels
from edgeagent.runtime.errors import ContainerSpecError

WORKLOAD_API_VERSION = "2022-08-03"
WORKLOAD_FOLDER = "/var/run/iotedge"
"""Where a module finds its socket. A folder is mounted, not the socket: one that is made anew is seen too."""
WORKLOAD_URI = f"unix://{WORKLOAD_FOLDER}/workload.sock"
MANAGEMENT_SOCKET = f"{WORKLOAD_FOLDER}/mgmt.sock"
DEFAULT_NETWORK = "azure-iot-edge"

_KEPT_CAPABILITIES = ("CHOWN", "SETUID")
"""Dropped without elevated permissions, unless the module asks for them."""
_NETWORKS_OF_THEIR_OWN = ("host", "none", "container:")
"""Modes in which the engine can attach a container to nothing else."""


@dataclass(frozen=True, slots=True)
class ModuleContext:
    """What a container is told about its place, beside what the manifest says.

    :param workload_folder: on the host, with `workload.sock` of this module in it.
    :param device_hostname: of this device, which its modules use as gateway.
    :param parent_hostname: of the parent gateway; None unless nested.
    :param generation_id: of the module's identity.
    :param log_level: name of the agent's level, such as `Information`.
    :param upstream_protocol: such as `Mqtt`; None where the agent has no wish.
    :param allow_elevated: whether modules may be privileged or add capabilities.
    """

    hub_hostname: str
    device_id: str
    device_hostname: str
    generation_id: str
    workload_folder: str
    parent_hostname: str | None = None
    network: str = DEFAULT_NETWORK
    log_level: str = "Information"
    upstream_protocol: str | None = None
    api_version: str = WORKLOAD_API_VERSION
    allow_elevated: bool = True


def container_body(module: Module, context: ModuleContext) -> dict[str, Any]:
    """The body; the container's name, which is the module's, goes into the query.

    :raises ContainerSpecError: create options of a shape that nothing can be added to.
    """
    options = _Options(f"{module.name}.createOptions", module.create_options)
    host = options.object("HostConfig")
    network = options.object("NetworkingConfig")
    environment = _environment(module, context, options.texts("Env"))
    body = options.members | {"Image": module.image, "Env": environment}
    body["Labels"] = options.free_object("Labels") | _labels(module)
    body["HostConfig"] = _host_config(module, context, host)
    networking = _networking(module, context, host, network)
    if networking:
        body["NetworkingConfig"] = networking
    return body


class _Options:
    """An object of the create options, its known members in the engine's own case.

    The engine finds members in any case; with two of them the outcome would be a matter of luck.
    """

    def __init__(self, path: str, value: Any) -> None:
        self.path = path
        self.members: dict[str, Any] = {}
        for name, member in _mapping(path, value).items():
            known = _KNOWN.get(name.lower(), name)
            if known in self.members:
                raise ContainerSpecError(f"{path}.{name}", "stands twice, in different case")
            self.members[known] = member

    def object(self, name: str) -> _Options:
        return _Options(f"{self.path}.{name}", self.members.get(name))

    def free_object(self, name: str) -> dict[str, Any]:
        """A member whose own members may have any name."""
        return dict(_mapping(f"{self.path}.{name}", self.members.get(name)))

    def texts(self, name: str) -> list[str]:
        value = self.members.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ContainerSpecError(f"{self.path}.{name}", "expected an array of strings")
        return list(value)


def _mapping(path: str, value: Any) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise ContainerSpecError(path, "expected an object")
    return value or {}


_KNOWN = {
    name.lower(): name
    for name in (
        *("Env", "Labels", "HostConfig", "NetworkingConfig", "EndpointsConfig", "Image", "NetworkMode"),
        *("Binds", "CapAdd", "CapDrop", "Privileged"),
    )
}


def _labels(module: Module) -> dict[str, str]:
    """Rows C01 and C02."""
    ours = {
        labels.OWNER: labels.OWNER_VALUE,
        labels.ORIGINAL_IMAGE: module.image,
        labels.SPEC_HASH: module.spec_hash,
    }
    if module.is_agent:
        env = {name: {"value": value} for name, value in module.env.items()}
        ours[labels.CREATE_OPTIONS] = canonical_json(module.create_options).decode()
        ours[labels.ENV] = canonical_json(env).decode()
    return ours


def _environment(module: Module, context: ModuleContext, given: list[str]) -> list[str]:
    """What is injected, below the manifest's `env`, below `createOptions.Env`; sorted (row C07).

    An entry of `createOptions.Env` without `=` takes the variable away, as the engine has it.
    """
    chosen = dict(module.env)
    entries = {entry.partition("=")[0]: entry for entry in given}
    taken = {name.lower() for name in (*chosen, *entries)}
    injected = _injected(module, context) | {
        name: value for name, value in _wishes(context).items() if name.lower() not in taken
    }
    merged = {name: f"{name}={value}" for name, value in (injected | chosen).items()} | entries
    return [merged[name] for name in sorted(merged)]


def _wishes(context: ModuleContext) -> dict[str, str]:
    """Only where the module has none in any case (row C06)."""
    wishes = {"RuntimeLogLevel": context.log_level}
    if context.upstream_protocol:
        wishes["UpstreamProtocol"] = context.upstream_protocol
    return wishes


def _injected(module: Module, context: ModuleContext) -> dict[str, str]:
    """Rows C03 to C05."""
    common = {
        "IOTEDGE_WORKLOADURI": WORKLOAD_URI,
        "IOTEDGE_AUTHSCHEME": "sasToken",
        "IOTEDGE_MODULEGENERATIONID": context.generation_id,
        "IOTEDGE_IOTHUBHOSTNAME": context.hub_hostname,
        "IOTEDGE_DEVICEID": context.device_id,
        "IOTEDGE_MODULEID": module.identity,
        "IOTEDGE_APIVERSION": context.api_version,
    }
    if module.name == EDGE_AGENT:
        return common | _of_system(context) | _of_agent(context)
    if module.name == EDGE_HUB:
        return common | _of_system(context)
    return common | _of_user_module(context)


def _of_user_module(context: ModuleContext) -> dict[str, str]:
    parent = {"IOTEDGE_PARENTHOSTNAME": context.parent_hostname} if context.parent_hostname else {}
    return {"IOTEDGE_GATEWAYHOSTNAME": context.device_hostname, **parent}


def _of_system(context: ModuleContext) -> dict[str, str]:
    parent = {"IOTEDGE_GATEWAYHOSTNAME": context.parent_hostname} if context.parent_hostname else {}
    return {"EdgeDeviceHostName": context.device_hostname, **parent}


def _of_agent(context: ModuleContext) -> dict[str, str]:
    return {
        "IOTEDGE_MANAGEMENTURI": f"unix://{MANAGEMENT_SOCKET}",
        "NetworkId": context.network,
        "IOTEDGE_WORKLOADLISTEN_MNTURI": f"unix://{PurePosixPath(context.workload_folder).parent}",
        "Mode": "iotedged",
    }


def _host_config(module: Module, context: ModuleContext, host: _Options) -> dict[str, Any]:
    """Row C08: the socket behind the binds of the user. The agent serves the management API itself, in the
    folder that is mounted for it."""
    binds = [*host.texts("Binds"), f"{context.workload_folder}:{WORKLOAD_FOLDER}"]
    config = host.members | {"Binds": binds}
    return config if context.allow_elevated else _without_privileges(config, host)


def _without_privileges(config: dict[str, Any], host: _Options) -> dict[str, Any]:
    """Row C17."""
    wanted = {name.upper().removeprefix("CAP_") for name in host.texts("CapAdd")}
    dropped = host.texts("CapDrop")
    already = {name.upper().removeprefix("CAP_") for name in dropped}
    added = [name for name in _KEPT_CAPABILITIES if name not in wanted | already]
    config = config | {"Privileged": False, "CapDrop": [*dropped, *added]}
    config.pop("CapAdd", None)
    return config


def _networking(module: Module, context: ModuleContext, host: _Options, network: _Options) -> dict[str, Any]:
    """Row C09: our network, unless the user chose; the hub is found there by the device's name.

    A module in the network of the host, of another container, or in none, stays as it is: the engine could
    not start it with a second network.
    """
    if network.members.get("EndpointsConfig") is not None or _has_own_network(host):
        return network.members
    aliases = {"Aliases": [context.device_hostname]} if module.name == EDGE_HUB else {}
    return network.members | {"EndpointsConfig": {context.network: aliases}}


def _has_own_network(host: _Options) -> bool:
    mode = host.members.get("NetworkMode")
    return isinstance(mode, str) and mode.startswith(_NETWORKS_OF_THEIR_OWN)
