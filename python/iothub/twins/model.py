"""One twin as a value, its outward views, and the pure operations on it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from edgehub.common.merge_patch import difference, merge
from iothub.errors import ErrorCode, HubError, argument_invalid
from iothub.registry.model import Device, Module, check_match, iso_time
from iothub.twins import sections
from iothub.twins.sections import NEVER_UPDATED, Stamp


def _fresh_metadata() -> dict[str, Any]:
    return {"$lastUpdated": NEVER_UPDATED}


@dataclass(frozen=True, slots=True)
class Section:
    """Desired or reported properties.

    :ivar version: starts at 1, one more with every accepted change, never reset.
    """

    values: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=_fresh_metadata)
    version: int = 1

    def with_patch(self, patch: dict[str, Any], updated: str, what: str, *, versioned: bool) -> Section:
        """The section after a merge-patch.

        :raises HubError: 400004.
        """
        sections.check_patch(patch, what)
        values = merge(self.values, patch)
        sections.check_section(values, what)
        stamp = Stamp(updated, self.version + 1 if versioned else None)
        metadata = sections.merge_metadata(self.metadata, patch, stamp)
        return Section(values, sections.drop_stale_metadata(metadata, values), self.version + 1)

    def replaced(self, values: dict[str, Any], updated: str, what: str) -> Section:
        """The section with other content; everything counts as updated."""
        sections.check_section(values, what)
        stamp = Stamp(updated, self.version + 1)
        return Section(values, sections.merge_metadata({}, values, stamp), self.version + 1)

    def service_view(self) -> dict[str, Any]:
        """With metadata and version."""
        return {**self.values, "$metadata": self.metadata, "$version": self.version}

    def device_view(self) -> dict[str, Any]:
        """With version alone."""
        return {**self.values, "$version": self.version}


@dataclass(frozen=True, slots=True)
class Twin:
    """The documents of one identity.

    :ivar version: one more with any change.
    :ivar change: number of changes by the service; its etag. A report of the device leaves it alone.
    """

    tags: dict[str, Any] = field(default_factory=dict)
    desired: Section = field(default_factory=Section)
    reported: Section = field(default_factory=Section)
    version: int = 1
    change: int = 1

    @property
    def etag(self) -> str:
        """Base64 of the eight-byte change counter."""
        return base64.b64encode(self.change.to_bytes(8, "big")).decode()

    def device_view(self) -> dict[str, Any]:
        """What the device itself reads."""
        return {"desired": self.desired.device_view(), "reported": self.reported.device_view()}

    def service_view(
        self, device: Device, module: Module | None, *, connected: bool, messages: int = 0
    ) -> dict[str, Any]:
        """What the service reads (section 3.1).

        :param messages: cloud-to-device messages that are not settled.
        """
        authentication = (module or device).authentication
        view: dict[str, Any] = {"deviceId": device.device_id}
        if module is not None:
            view["moduleId"] = module.module_id
        view |= {
            "etag": self.etag,
            "deviceEtag": (module or device).etag,
            "status": device.status,
            "statusReason": device.status_reason,
            "statusUpdateTime": f"{iso_time(device.status_updated_ms)}Z",
            "connectionState": "Connected" if connected else "Disconnected",
            "lastActivityTime": NEVER_UPDATED,
            "cloudToDeviceMessageCount": messages,
            "authenticationType": authentication.type,
            "x509Thumbprint": authentication.view()["x509Thumbprint"],
            "modelId": "",
            "version": self.version,
            "tags": self.tags,
            "properties": {"desired": self.desired.service_view(), "reported": self.reported.service_view()},
        }
        if module is None:
            parents = [device.parent_scope] if device.parent_scope else []
            view |= {
                "capabilities": {"iotEdge": device.iot_edge},
                "deviceScope": device.device_scope,
                "parentScopes": parents,
            }
        return view


@dataclass(frozen=True, slots=True)
class TwinRequest:
    """A service's change. None means: leave alone."""

    tags: dict[str, Any] | None
    desired: dict[str, Any] | None


def parse_twin_request(document: dict[str, Any]) -> TwinRequest:
    """Reads the body of PATCH or PUT of a twin; other members are ignored.

    :raises HubError: 400004.
    """
    properties = document.get("properties")
    if properties is not None and not isinstance(properties, dict):
        raise argument_invalid("properties must be an object.")
    found: list[dict[str, Any] | None] = []
    for name, section in (
        ("tags", document.get("tags")),
        ("properties.desired", (properties or {}).get("desired")),
    ):
        if section is not None and not isinstance(section, dict):
            raise argument_invalid(f"{name} must be an object.")
        found.append(None if section is None else sections.without_reserved(section))
    return TwinRequest(found[0], found[1])


@dataclass(frozen=True, slots=True)
class TwinChange:
    """Result of a service's change.

    :ivar notification: patch for subscribers without `$version`, or None when desired did not change.
    """

    twin: Twin
    notification: dict[str, Any] | None


def iso_now(now: float) -> str:
    """Time stamp for metadata."""
    moment = datetime.fromtimestamp(now, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def patch_twin(twin: Twin, request: TwinRequest, if_match: str | None, now: float) -> TwinChange:
    """`PATCH /twins/...`: subscribers get the patch as it was sent.

    :raises HubError: 412001, 400004.
    """
    check_match(if_match, twin.etag)
    updated = iso_now(now)
    tags, desired = twin.tags, twin.desired
    if request.tags is not None:
        sections.check_patch(request.tags, "tags")
        tags = merge(twin.tags, request.tags)
        sections.check_section(tags, "tags", sections.TAGS_BYTES_MAX)
    if request.desired is not None:
        desired = twin.desired.with_patch(request.desired, updated, "desired", versioned=True)
    changed = replace(twin, tags=tags, desired=desired, version=twin.version + 1, change=twin.change + 1)
    return TwinChange(changed, request.desired)


def replace_twin(twin: Twin, request: TwinRequest, if_match: str | None, now: float) -> TwinChange:
    """`PUT /twins/...`: sections in the body are replaced whole; subscribers get the minimal difference.

    :raises HubError: 412001, 400004.
    """
    check_match(if_match, twin.etag)
    tags, desired = twin.tags, twin.desired
    notification = None
    if request.tags is not None:
        sections.check_section(request.tags, "tags", sections.TAGS_BYTES_MAX)
        tags = request.tags
    if request.desired is not None:
        desired = twin.desired.replaced(request.desired, iso_now(now), "desired")
        notification = difference(twin.desired.values, request.desired)
    changed = replace(twin, tags=tags, desired=desired, version=twin.version + 1, change=twin.change + 1)
    return TwinChange(changed, notification)


def report(twin: Twin, patch: dict[str, Any], expected_version: int | None, now: float) -> Twin:
    """A reported patch of the device. An empty one is a probe: nothing changes (row 108).

    :raises HubError: 412001 when the device names another version, 400004.
    """
    if expected_version is not None and expected_version != twin.reported.version:
        raise HubError(
            ErrorCode.PreconditionFailed,
            f"reported properties have version {twin.reported.version}, not {expected_version}.",
        )
    patch = sections.without_reserved(patch)
    if not patch:
        return twin
    reported = twin.reported.with_patch(patch, iso_now(now), "reported", versioned=False)
    return replace(twin, reported=reported, version=twin.version + 1)
