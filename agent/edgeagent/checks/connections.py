"""Checks of connections: of the agent, and from host and containers to the hub."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edgeagent.checks.model import (
    Category,
    Check,
    Finding,
    cannot_be_checked,
    error,
    not_applicable,
    ok,
    warning,
)
from edgeagent.checks.ports import ProbeError, ProbeMissing, Route

if TYPE_CHECKING:
    from edgeagent.checks.situation import Situation

PORTS = {"amqp": 5671, "https": 443, "mqtt": 8883}
CLOCK_OFF_S_MAX = 10.0
_NEEDED = {
    "": ("mqtt", "https"),
    "mqtt": ("mqtt", "https"),
    "mqttws": ("https",),
    "amqp": ("amqp", "mqtt", "https"),
    "amqpws": ("https",),
}
"""Ports by `UpstreamProtocol`. The registry of identities is always asked by HTTPS; where AMQP is wanted,
which modules may speak, the agent speaks MQTT."""


def is_needed(kind: str, upstream_protocol: str) -> bool:
    """Whether the device uses this port of the hub."""
    return kind in _NEEDED.get(upstream_protocol.lower(), _NEEDED[""])


async def management(given: Situation) -> Finding:
    """`connect-management-uri`."""
    try:
        info = await given.probes.management(given.options.management)
    except ProbeError as fault:
        return error(
            str(fault),
            "is the agent running? `iotedge system status` tells; may you use its socket, or is sudo needed?",
        )
    return ok(version=info.get("version"))


async def agent_version(given: Situation) -> Finding:
    """`aziot-edge-version`: against the one that is expected; nobody is asked for the newest."""
    wanted = given.options.expected_version
    if not wanted:
        return not_applicable("no --expected-aziot-edged-version")
    try:
        info = await given.probes.management(given.options.management)
    except ProbeError:
        return cannot_be_checked()
    if info.get("version") == wanted:
        return ok(version=wanted)
    return warning(f"the agent has version {info.get('version')}, expected is {wanted}", "update it")


async def clock(given: Situation) -> Finding:
    """`host-local-time`."""
    try:
        offset_s = await given.probes.clock_offset_s(given.options.time_server)
    except ProbeError as fault:
        return not_applicable(f"no answer of {given.options.time_server}: {fault}")
    except ValueError as fault:
        return error(str(fault), "name it as host:port with --ntp-server")
    if abs(offset_s) < CLOCK_OFF_S_MAX:
        return ok(offset_s=round(offset_s, 3))
    return warning(
        f"the clock of this device is off by {offset_s:.0f} s from {given.options.time_server}; tokens and "
        "certificates may be refused",
        "let the system set its clock: timedatectl set-ntp true",
    )


async def parent_from_container(given: Situation) -> Finding:
    """`container-resolve-parent-hostname`."""
    if given.config is None:
        return cannot_be_checked()
    parent = given.config.parent_hostname
    if not parent:
        return not_applicable("no parent_hostname in config.toml")
    return await _from_container(given, given.config.network.name, parent, None)


async def host_connects(given: Situation, kind: str) -> Finding:
    """`host-connect-iothub-...`: with a TLS handshake."""
    if (because := _not_needed(given, kind)) is not None:
        return because
    try:
        trust = _trust_pem(given)
        await given.probes.tls(Route(given.upstream_host, PORTS[kind], trust, _proxy(given, kind)))
    except ProbeError as fault:
        return error(
            f"cannot connect to {given.upstream_host}:{PORTS[kind]}: {fault}",
            "check name, firewall, proxy and trust_bundle_cert",
        )
    return ok()


def _proxy(given: Situation, kind: str) -> str:
    """A proxy is for HTTPS and WebSocket."""
    return given.proxy if kind == "https" else ""


def _trust_pem(given: Situation) -> str:
    path = given.config.trust_bundle if given.config else None
    content = given.probes.read(path) if path else b""
    if content is None:
        raise ProbeError(f"{path}, the trust_bundle_cert, does not exist")
    return content.decode("utf-8", "replace")


async def container_connects(given: Situation, kind: str, on_network: bool) -> Finding:
    """`container-...connect-upstream-...`: without TLS, which is the same as from the host."""
    if (because := _not_needed(given, kind)) is not None:
        return because
    if kind == "https" and given.proxy:
        return not_applicable("the proxy, by way of which connections go")
    assert given.config is not None
    network = given.config.network.name if on_network else ""
    return await _from_container(given, network, given.upstream_host, PORTS[kind])


def _not_needed(given: Situation, kind: str) -> Finding | None:
    if given.config is None:
        return cannot_be_checked()
    if not given.upstream_host:
        return not_applicable("no hub: none is configured, and no --iothub-hostname was given")
    protocol = given.settings.upstream_protocol
    if not is_needed(kind, protocol):
        return not_applicable(f"UpstreamProtocol {protocol or 'Mqtt'}, which does not need the port")
    return None


async def _from_container(given: Situation, network: str, host: str, port: int | None) -> Finding:
    if given.engine is None or given.engine_info is None:
        return cannot_be_checked()
    try:
        await given.probes.from_container(network, given.options.image, host, port)
    except ProbeMissing as fault:
        return not_applicable(str(fault))
    except ProbeError as fault:
        where = f"on the network {network}" if network else "on the default network"
        return error(
            f"a container {where} fails: {fault}",
            "check the DNS servers of the container engine, and the rules of its firewall",
        )
    return ok()


def host_check(kind: str) -> Check:
    return Check(
        f"host-connect-iothub-{kind}",
        Category.CONNECTIVITY,
        f"host can connect to and perform TLS handshake with iothub {kind.upper()} port",
        partial(host_connects, kind=kind),
    )


def container_check(kind: str, *, on_network: bool) -> Check:
    where = "IoT Edge module network" if on_network else "default network"
    return Check(
        f"container-{'' if on_network else 'default-'}connect-upstream-{kind}",
        Category.CONNECTIVITY,
        f"container on the {where} can connect to upstream {kind.upper()} port",
        partial(container_connects, kind=kind, on_network=on_network),
    )
