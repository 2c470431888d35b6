"""One module of a deployment, and the deployment itself (agent spec 1.2 to 1.7)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgeagent.model.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

EDGE_AGENT = "edgeAgent"
EDGE_HUB = "edgeHub"
SYSTEM_MODULES = (EDGE_AGENT, EDGE_HUB)

CONTAINER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}")
"""Names that engine and hub both take."""
NAME_RULE = "letters, digits and _ . - behind a letter or digit, 2 to 128 of them"

STARTUP_ORDER_MAX = 2**32 - 1
"""Largest `startupOrder`, and the default: such modules are started last."""


class DesiredStatus(StrEnum):
    """What a deployment may ask of a module."""

    RUNNING = "running"
    STOPPED = "stopped"


class RestartPolicy(StrEnum):
    """When a module that ended is started again."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ON_UNHEALTHY = "on-unhealthy"
    ALWAYS = "always"


class ImagePullPolicy(StrEnum):
    """Whether an image is pulled before a container is made of it."""

    ON_CREATE = "on-create"
    NEVER = "never"


class ModuleUpdateMode(StrEnum):
    """Setting `ModuleUpdateMode`: whether one image that cannot be pulled holds up all updates."""

    NON_BLOCKING = "NonBlocking"
    WAIT_FOR_ALL_PULLS = "WaitForAllPulls"


_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Module:
    """One module as desired.

    :param image: reference with a tag or digest, `$upstream` replaced.
    :param create_options: body of the engine's container create call, members unknown to us included.
    :param digest: carried through and compared, otherwise without meaning.
    :param env: of the manifest alone; what the agent injects comes on top (:mod:`edgeagent.runtime.spec`).
    """

    name: str
    image: str
    create_options: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    digest: str | None = None
    status: DesiredStatus = DesiredStatus.RUNNING
    restart_policy: RestartPolicy = RestartPolicy.ON_UNHEALTHY
    image_pull_policy: ImagePullPolicy = ImagePullPolicy.ON_CREATE
    startup_order: int = STARTUP_ORDER_MAX
    version: str = ""
    env: Mapping[str, str] = field(default_factory=lambda: _NOTHING)

    @property
    def identity(self) -> str:
        """Module id in the hub: `$edgeAgent` and `$edgeHub` for the system modules."""
        return f"${self.name}" if self.name in SYSTEM_MODULES else self.name

    @property
    def is_agent(self) -> bool:
        return self.name == EDGE_AGENT

    @property
    def wants_running(self) -> bool:
        return self.status is DesiredStatus.RUNNING

    @property
    def spec_hash(self) -> str:
        """Digest of everything but the desired status: another value means another container (spec 2.3).

        It is kept in a label of the container, so that an update that failed half-way is found again;
        the order of JSON members makes no difference.
        """
        content = {
            "image": self.image,
            "createOptions": self.create_options,
            "digest": self.digest,
            "restartPolicy": self.restart_policy,
            "imagePullPolicy": self.image_pull_policy,
            "startupOrder": self.startup_order,
            "version": self.version,
            "env": self.env,
        }
        return hashlib.sha256(canonical_json(content)).hexdigest()


@dataclass(frozen=True, slots=True)
class RegistryCredentials:
    """Who we are to one registry; the password is in no text of it."""

    address: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """`runtime.settings`: the first two are only reported, the credentials are used for pulls."""

    min_docker_version: str = ""
    logging_options: str = ""
    registry_credentials: Mapping[str, RegistryCredentials] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything that should run on the device.

    :param modules: by name, the system modules among them. Without `edgeAgent` the agent stays as it is.
    """

    modules: Mapping[str, Module]
    runtime: RuntimeInfo = field(default_factory=RuntimeInfo)
