"""All checks, in the order in which they run: later ones use what earlier ones found."""

from __future__ import annotations

from edgeagent.checks import connections, engine, files
from edgeagent.checks.model import Category, Check

_KINDS = tuple(connections.PORTS)


CHECKS: tuple[Check, ...] = (
    Check(
        "aziot-edged-config-well-formed",
        Category.CONFIGURATION,
        "aziot-edged configuration is well-formed",
        files.config_well_formed,
    ),
    Check(
        "config-up-to-date",
        Category.CONFIGURATION,
        "configuration up-to-date with config.toml",
        files.config_up_to_date,
    ),
    Check(
        "container-engine-uri",
        Category.CONFIGURATION,
        "container engine is installed and functional",
        engine.engine_answers,
    ),
    Check("hostname", Category.CONFIGURATION, "configuration has correct hostname", files.hostname),
    Check(
        "parent_hostname",
        Category.CONFIGURATION,
        "configuration has correct parent_hostname",
        files.parent_hostname,
    ),
    Check(
        "container-resolve-parent-hostname",
        Category.CONFIGURATION,
        "parent hostname resolvable from containers",
        connections.parent_from_container,
    ),
    Check(
        "connect-management-uri",
        Category.CONFIGURATION,
        "the agent answers at its management URI",
        connections.management,
    ),
    Check(
        "aziot-edge-version",
        Category.CONFIGURATION,
        "expected version of the agent",
        connections.agent_version,
    ),
    Check("host-local-time", Category.CONFIGURATION, "host time is close to real time", connections.clock),
    Check(
        "identity-certificate-expiry",
        Category.CONFIGURATION,
        "production readiness: identity certificates expiry",
        files.identity_certificate,
    ),
    Check(
        "edge-ca-certificate-expiry",
        Category.CONFIGURATION,
        "production readiness: certificates expiry",
        files.ca_certificate,
    ),
    Check(
        "certs-match-private-keys",
        Category.CONFIGURATION,
        "certificates and private keys match",
        files.ca_pair,
    ),
    Check(
        "container-engine-dns",
        Category.CONFIGURATION,
        "DNS server of the container engine",
        engine.engine_dns,
    ),
    Check("container-engine-ipv6", Category.CONFIGURATION, "IPv6 network configuration", engine.engine_ipv6),
    Check(
        "container-engine-logrotate",
        Category.CONFIGURATION,
        "production readiness: logs policy",
        engine.engine_logrotate,
    ),
    Check(
        "edge-agent-storage-mounted-from-host",
        Category.CONFIGURATION,
        "production readiness: Edge Agent's storage directory is persisted on the host filesystem",
        engine.agent_storage,
    ),
    Check(
        "edge-hub-storage-mounted-from-host",
        Category.CONFIGURATION,
        "production readiness: Edge Hub's storage directory is persisted on the host filesystem",
        engine.hub_storage,
    ),
    Check(
        "check-agent-image",
        Category.CONFIGURATION,
        "the agent's image is on the container engine",
        engine.agent_image,
    ),
    Check("proxy-settings", Category.CONFIGURATION, "proxy settings are consistent", files.proxy),
    *(connections.host_check(kind) for kind in _KINDS),
    *(connections.container_check(kind, on_network=False) for kind in _KINDS),
    *(connections.container_check(kind, on_network=True) for kind in _KINDS),
)
IDS = frozenset(check.id for check in CHECKS)
