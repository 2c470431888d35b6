"""From the `config.yaml` of releases before 1.2 to `config.toml` (agent spec 8.3). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeagent.config.toml_table import ConfigFileError

_CONVERTED = frozenset(
    ("certificates", "hostname", "parent_hostname", "provisioning", "agent", "moby_runtime", "watchdog")
)


def convert_yaml(old: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The members of a `config.toml`, and warnings about what was left out.

    :raises ConfigFileError: it cannot be converted.
    """
    notes: list[str] = []
    certificates = _object(old, "certificates")
    new: dict[str, Any] = {
        "hostname": old.get("hostname"),
        "parent_hostname": old.get("parent_hostname"),
        "trust_bundle_cert": _uri(certificates.get("trusted_ca_certs")),
        "provisioning": _provisioning(_object(old, "provisioning"), notes),
        "agent": _agent(_object(old, "agent")),
        "edge_ca": _edge_ca(certificates),
        "moby_runtime": _engine(_object(old, "moby_runtime")),
        "watchdog": _watchdog(_object(old, "watchdog")),
    }
    notes.extend(f"{name}: is left out, it has no effect here" for name in old if name not in _CONVERTED)
    return {name: value for name, value in new.items() if value not in (None, {})}, notes


def _provisioning(old: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    if not old:
        return {}
    source = str(old.get("source") or "manual").lower()
    if source == "external":
        raise ConfigFileError("provisioning.source", "external provisioning is not supported.")
    if source != "manual":
        return {"source": source}
    authentication = _object(old, "authentication")
    text = old.get("device_connection_string") or authentication.get("device_connection_string")
    notes.extend(
        f"provisioning.{name}: is left out, a device that is provisioned by hand stays so"
        for name in ("always_reprovision_on_startup", "dynamic_reprovisioning")
        if name in old
    )
    if not text:
        raise ConfigFileError("provisioning.device_connection_string", "is missing")
    return {"source": "manual", "connection_string": text}


def _agent(old: Mapping[str, Any]) -> dict[str, Any]:
    config = _object(old, "config")
    env = {str(name): _shown(value) for name, value in _object(old, "env").items()}
    kept = {name: config[name] for name in ("image", "createOptions", "auth") if config.get(name)}
    new = {name: value for name, value in (("config", kept), ("env", env)) if value}
    return {"name": old.get("name", "edgeAgent"), "type": old.get("type", "docker"), **new} if new else {}


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _edge_ca(certificates: Mapping[str, Any]) -> dict[str, Any]:
    cert, key = certificates.get("device_ca_cert"), certificates.get("device_ca_pk")
    return {name: uri for name, value in (("cert", cert), ("pk", key)) if (uri := _uri(value))}


def _engine(old: Mapping[str, Any]) -> dict[str, Any]:
    return {name: old[name] for name in ("uri", "network") if old.get(name)}


def _watchdog(old: Mapping[str, Any]) -> dict[str, Any]:
    retries = old.get("max_retries")
    return {} if retries is None else {"max_retries": retries}


def _uri(value: Any) -> str | None:
    """Paths were allowed as well."""
    if not isinstance(value, str) or not value:
        return None
    return f"file://{value}" if value.startswith("/") else value


def _object(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    member = value.get(name)
    if member is not None and not isinstance(member, Mapping):
        raise ConfigFileError(name, "expected a map")
    return member or {}
