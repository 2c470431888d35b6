"""From the desired properties of `$edgeAgent` to a deployment (agent spec 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeagent.manifest.create_options import read_create_options
from edgeagent.manifest.errors import EmptyManifestError, ManifestFormatError
from edgeagent.manifest.fields import Fields, json_type
from edgeagent.manifest.images import image_reference, resolve_upstream
from edgeagent.manifest.schema_version import check_schema_version
from edgeagent.model.canonical import canonical_json
from edgeagent.model.module import (
    EDGE_AGENT,
    EDGE_HUB,
    STARTUP_ORDER_MAX,
    SYSTEM_MODULES,
    Deployment,
    DesiredStatus,
    ImagePullPolicy,
    Module,
    RegistryCredentials,
    RestartPolicy,
    RuntimeInfo,
)

MODULES_MAX = 200
"""Modules of one deployment; the hub's limit is 50."""

_DOCKER = "docker"


@dataclass(frozen=True, slots=True)
class ParsedManifest:
    """A deployment, and what is odd about it without being wrong."""

    deployment: Deployment
    warnings: tuple[str, ...] = ()


def parse_manifest(desired: Any, parent_hostname: str | None = None) -> ParsedManifest:
    """Reads desired properties completely before anything of them is used.

    :param desired: decoded JSON; `$version` and `$metadata` are passed over.
    :param parent_hostname: what `$upstream` stands for in images and addresses.
    :raises EmptyManifestError: nothing in it (417).
    :raises SchemaVersionError: a version that is not served (412).
    :raises ManifestFormatError: anything else (400).
    """
    if not isinstance(desired, Mapping):
        raise ManifestFormatError("", f"expected a JSON object, found {json_type(desired)}")
    content = {name: value for name, value in desired.items() if not name.startswith("$")}
    if not content:
        raise EmptyManifestError
    fields = Fields(content, "")
    warning = check_schema_version(fields.text("schemaVersion"))
    runtime = _runtime(fields.object("runtime"), parent_hostname)
    modules = _system_modules(fields.object("systemModules"), parent_hostname)
    modules |= _user_modules(fields, parent_hostname)
    return ParsedManifest(Deployment(modules, runtime), (warning,) if warning else ())


def _runtime(fields: Fields, parent_hostname: str | None) -> RuntimeInfo:
    _check_type(fields)
    settings = fields.object("settings")
    return RuntimeInfo(
        min_docker_version=settings.text("minDockerVersion", ""),
        logging_options=settings.text("loggingOptions", ""),
        registry_credentials={
            name: _credentials(Fields(value, settings.place(f"registryCredentials.{name}")), parent_hostname)
            for name, value in settings.items("registryCredentials").items()
        },
    )


def _credentials(fields: Fields, parent_hostname: str | None) -> RegistryCredentials:
    address = _not_blank(fields, "address").strip()
    try:
        address = resolve_upstream(address, parent_hostname)
    except ValueError as fault:
        raise ManifestFormatError(fields.place("address"), str(fault)) from None
    return RegistryCredentials(address, _not_blank(fields, "username"), _not_blank(fields, "password"))


def _not_blank(fields: Fields, name: str) -> str:
    text = fields.text(name)
    if not text.strip():
        raise ManifestFormatError(fields.place(name), "must not be blank")
    return text


def _system_modules(fields: Fields, parent_hostname: str | None) -> dict[str, Module]:
    modules = {}
    if fields.get(EDGE_AGENT) is not None:
        modules[EDGE_AGENT] = _agent(fields.object(EDGE_AGENT), parent_hostname)
    if fields.get(EDGE_HUB) is not None:
        hub = fields.object(EDGE_HUB)
        modules[EDGE_HUB] = _module(EDGE_HUB, hub, parent_hostname, RestartPolicy.ALWAYS)
    return modules


def _agent(fields: Fields, parent_hostname: str | None) -> Module:
    """The agent itself: always running, always first (row M10)."""
    return Module(
        name=EDGE_AGENT,
        **_container(fields, parent_hostname),
        restart_policy=RestartPolicy.ALWAYS,
        image_pull_policy=fields.choice("imagePullPolicy", ImagePullPolicy, ImagePullPolicy.ON_CREATE),
        startup_order=0,
    )


def _user_modules(fields: Fields, parent_hostname: str | None) -> dict[str, Module]:
    given = fields.items("modules")
    if len(given) > MODULES_MAX:
        raise ManifestFormatError("modules", f"{len(given)} modules; at most {MODULES_MAX} are allowed")
    modules = {}
    for name, value in given.items():
        place = f"modules.{name}"
        _check_name(name, place)
        modules[name] = _module(name, Fields(value, place), parent_hostname, RestartPolicy.ON_UNHEALTHY)
    return modules


def _check_name(name: str, place: str) -> None:
    if name.lower() in {system.lower() for system in SYSTEM_MODULES}:
        raise ManifestFormatError(place, "is the name of a system module; it belongs to systemModules")


def _module(name: str, fields: Fields, parent_hostname: str | None, policy: RestartPolicy) -> Module:
    return Module(
        name=name,
        **_container(fields, parent_hostname),
        status=fields.choice("status", DesiredStatus),
        restart_policy=fields.choice("restartPolicy", RestartPolicy, policy),
        image_pull_policy=fields.choice("imagePullPolicy", ImagePullPolicy, ImagePullPolicy.ON_CREATE),
        startup_order=_startup_order(fields),
        version=fields.text("version", ""),
    )


def _container(fields: Fields, parent_hostname: str | None) -> dict[str, Any]:
    """The members that every module has, as arguments of :class:`Module`."""
    _check_type(fields)
    settings = fields.object("settings")
    try:
        image = image_reference(settings.text("image"), parent_hostname)
    except ValueError as fault:
        raise ManifestFormatError(settings.place("image"), str(fault)) from None
    return {
        "image": image,
        "create_options": read_create_options(settings),
        "digest": settings.text("digest", "") or None,
        "env": _env(fields),
    }


def _check_type(fields: Fields) -> None:
    kind = fields.text("type")
    if kind.lower() != _DOCKER:
        raise ManifestFormatError(fields.place("type"), f'"{kind}" is not known; only docker is')


def _startup_order(fields: Fields) -> int:
    if not fields.has("startupOrder"):
        return STARTUP_ORDER_MAX
    value = fields.get("startupOrder")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= STARTUP_ORDER_MAX:
        raise ManifestFormatError(
            fields.place("startupOrder"), f"expected a whole number from 0 to {STARTUP_ORDER_MAX}"
        )
    return value


def _env(fields: Fields) -> dict[str, str]:
    env = {}
    for name, value in fields.items("env").items():
        place = fields.place(f"env.{name}")
        if not name or "=" in name or "\0" in name:
            raise ManifestFormatError(place, "not a name for a variable: it is blank, or has = or NUL in it")
        env[name] = _env_value(Fields(value, place))
    return env


def _env_value(fields: Fields) -> str:
    """A string; null means an empty one, numbers and truth values are taken as they are written."""
    value = fields.get("value")
    if isinstance(value, bool | int | float):
        return canonical_json(value).decode()
    return fields.text("value", "")
