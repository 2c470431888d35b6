"""Answers of the service to the agent, decoded."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - msgspec reads the annotations

import msgspec


class RegisteredModule(msgspec.Struct, frozen=True, rename="camel"):
    """A module that is served.

    :ivar generation_id: for `IOTEDGE_MODULEGENERATIONID`; made up by the service when no hub gave one.
    :ivar folder: on the device; to be mounted as `/var/run/iotedge`, `workload.sock` is in it.
    """

    module_id: str
    generation_id: str
    folder: Path


class CaState(msgspec.Struct, frozen=True, rename="camel"):
    """The CA of the device.

    :ivar kind: `quickstart` or `operator`.
    :ivar not_after: end of validity, ISO 8601 in UTC.
    :ivar warning: what the operator should do, None when there is nothing.
    """

    kind: str
    common_name: str
    fingerprint: str
    not_before: str
    not_after: str
    warning: str | None


class ServiceHead(msgspec.Struct, frozen=True, rename="camel"):
    """What every version of the service says about itself, so that any other can replace it.

    :ivar detached: an agent started it, so an agent may replace it.
    :ivar settings: digest of its settings.
    """

    version: str
    pid: int
    detached: bool
    settings: str


class ServiceState(ServiceHead, frozen=True, rename="camel"):
    """What the service says about itself.

    :ivar modules: how many are served.
    :ivar renewals: how often the CA became another one.
    :ivar restart_due: modules run with certificates of an earlier CA: restart them all, the agent last.
    """

    modules: int
    renewals: int
    restart_due: bool
    ca: CaState


class ModuleList(msgspec.Struct):
    modules: list[RegisteredModule]


class Failure(msgspec.Struct):
    message: str


class SealedData(msgspec.Struct):
    data: str

    def __repr__(self) -> str:
        return "SealedData(not shown)"


class KeyPair(msgspec.Struct, rename="camel"):
    primary_key: str
    secondary_key: str

    def __repr__(self) -> str:
        return "KeyPair(not shown)"
