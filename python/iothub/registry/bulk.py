"""Many identities in one request: changes (section 2.3, row 4) and new keys (row 26).

Every entry is done for itself, in the order of the request; one that fails is told and stops no other.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from iothub.errors import ErrorCode, HubError, argument_invalid
from iothub.registry.model import KeyChoice, parse_device, parse_module
from iothub.twins.model import TwinRequest, parse_twin_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgehub.common.json_types import Json
    from iothub.registry.service import Registry
    from iothub.twins.service import Twins

BULK_MAX: Final = 100
"""Entries of one request; more are refused with 413002 and nothing is done."""
RENEW_OPERATION: Final = "regenerateKeys"
_WITHOUT_TWIN: Final = "DeviceRegisteredWithoutTwin"


class ImportMode(enum.Enum):
    """What an entry asks for."""

    CREATE = "create"
    UPDATE = "update"
    UPDATE_IF_MATCH = "updateIfMatchETag"
    DELETE = "delete"
    DELETE_IF_MATCH = "deleteIfMatchETag"
    UPDATE_TWIN = "updateTwin"
    UPDATE_TWIN_IF_MATCH = "updateTwinIfMatchETag"


_MODES: Final = {mode.value.lower(): mode for mode in ImportMode}


@dataclass(frozen=True, slots=True)
class BulkEntry:
    """One identity of a request.

    :ivar module_id: None for a device.
    :ivar document: the whole entry.
    """

    device_id: str
    module_id: str | None
    document: dict[str, Any]

    @property
    def key(self) -> tuple[str, str | None]:
        """The identity."""
        return self.device_id, self.module_id

    @property
    def operation(self) -> str:
        """The import mode as it is told in errors."""
        mode = self.document.get("importMode")
        return mode if isinstance(mode, str) else ImportMode.CREATE.value

    def mode(self) -> ImportMode:
        """What is asked for; without a word, to create.

        :raises HubError: 400004.
        """
        named = self.document.get("importMode")
        if named is None:
            return ImportMode.CREATE
        mode = _MODES.get(named.lower()) if isinstance(named, str) else None
        if mode is None:
            known = ", ".join(item.value for item in ImportMode)
            raise argument_invalid(f"importMode {named!r} is not one of {known}.")
        return mode

    def etag(self, member: str) -> str:
        """The etag that must match.

        :raises HubError: 400005, it is missing.
        """
        etag = self.document.get(member)
        if not isinstance(etag, str) or not etag:
            raise HubError(ErrorCode.ArgumentNull, f"importMode {self.operation} needs {member}.")
        return etag


@dataclass(slots=True)
class BulkResult:
    """What became of a request, with members as REST shows them."""

    errors: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)

    def fail(self, entry: BulkEntry, error: HubError, operation: str) -> None:
        """Tells of an entry that was refused."""
        self.errors.append(
            {
                "deviceId": entry.device_id,
                "moduleId": entry.module_id,
                "errorCode": error.code.name,
                "errorStatus": error.message,
                "operation": operation,
            }
        )

    def warn(self, entry: BulkEntry, error: HubError) -> None:
        """Tells of an identity that was made, but whose twin is empty."""
        status = f"The twin was not written: {error.message}"
        self.warnings.append(
            {"deviceId": entry.device_id, "warningCode": _WITHOUT_TWIN, "warningStatus": status}
        )

    def view(self) -> dict[str, Any]:
        """As REST shows it."""
        return {"isSuccessful": not self.errors, "errors": self.errors, "warnings": self.warnings}


@dataclass(frozen=True, slots=True)
class Renewal:
    """A request for new keys."""

    choice: KeyChoice
    entries: list[BulkEntry]


def read_entries(values: list[Any]) -> list[BulkEntry]:
    """Reads a list of identities; what each wants is judged when it is its turn.

    :raises HubError: 413002, too many; 400005 or 400006, an entry that names no identity.
    """
    if len(values) > BULK_MAX:
        text = f"A request may have {BULK_MAX} identities, not {len(values)}."
        raise HubError(ErrorCode.TooManyDevices, text)
    return [_entry(value, number) for number, value in enumerate(values)]


def _entry(value: Json, number: int) -> BulkEntry:
    if not isinstance(value, dict):
        raise HubError(ErrorCode.IotHubFormatError, f"Entry {number} must be a JSON object.")
    device_id, module_id = value.get("id"), value.get("moduleId")
    if not isinstance(device_id, str) or not device_id:
        raise HubError(ErrorCode.ArgumentNull, f"Entry {number} has no id.")
    if not isinstance(module_id, str | None):
        raise HubError(ErrorCode.IotHubFormatError, f"moduleId of entry {number} must be text.")
    return BulkEntry(device_id, module_id or None, value)


def parse_renewal(document: dict[str, Any]) -> Renewal:
    """Reads the body of `POST /devices/keys/regenerate`.

    :raises HubError: 400004; 413002, 400005 and 400006 as of `read_entries`.
    """
    named, devices = document.get("policyKey"), document.get("devices")
    known = {choice.value.lower(): choice for choice in KeyChoice}
    choice = known.get(named.lower()) if isinstance(named, str) else None
    if choice is None:
        names = ", ".join(item.value for item in KeyChoice)
        raise argument_invalid(f"policyKey {named!r} is not one of {names}.")
    if not isinstance(devices, list) or not devices:
        raise argument_invalid("devices must be a list of at least one identity.")
    return Renewal(choice, read_entries(devices))


class BulkRegistry:
    """Carries such requests out."""

    def __init__(self, registry: Registry, twins: Twins) -> None:
        self._registry = registry
        self._twins = twins

    async def apply(self, entries: list[BulkEntry]) -> BulkResult:
        """Changes identities and twins. Never fails: what was refused is in the result."""
        result = BulkResult()

        async def one(entry: BulkEntry) -> None:
            await self._apply(entry, result)

        await self._each(entries, one, result, None)
        return result

    async def renew_keys(self, renewal: Renewal) -> tuple[list[dict[str, Any]], BulkResult]:
        """Makes keys anew: the new ones, and what was refused."""
        result = BulkResult()
        renewed: list[dict[str, Any]] = []

        async def one(entry: BulkEntry) -> None:
            keys = await self._registry.renew_keys(*entry.key, renewal.choice)
            shown = {"primaryKey": keys.primary_key, "secondaryKey": keys.secondary_key}
            renewed.append({"id": entry.device_id, "moduleId": entry.module_id, **shown})

        await self._each(renewal.entries, one, result, RENEW_OPERATION)
        return renewed, result

    async def _each(
        self,
        entries: list[BulkEntry],
        do: Callable[[BulkEntry], Awaitable[None]],
        result: BulkResult,
        operation: str | None,
    ) -> None:
        seen: set[tuple[str, str | None]] = set()
        unavailable: HubError | None = None
        for entry in entries:
            try:
                # Each further attempt could wait for the database as long as the one before.
                if unavailable is not None:
                    raise unavailable
                if entry.key in seen:
                    text = "The request names this identity before; that entry alone was taken."
                    raise HubError(ErrorCode.DeviceDefinedMultipleTimes, text)
                seen.add(entry.key)
                await do(entry)
            except HubError as error:
                result.fail(entry, error, operation or entry.operation)
                if error.code is ErrorCode.ServiceUnavailable:
                    unavailable = error

    async def _apply(self, entry: BulkEntry, result: BulkResult) -> None:
        match entry.mode():
            case ImportMode.CREATE:
                await self._create(entry, result)
            case ImportMode.UPDATE:
                await self._put(entry, "*")
            case ImportMode.UPDATE_IF_MATCH:
                await _matching(self._put(entry, entry.etag("eTag")))
            case ImportMode.DELETE:
                await self._delete(entry, None)
            case ImportMode.DELETE_IF_MATCH:
                await _matching(self._delete(entry, entry.etag("eTag")))
            case ImportMode.UPDATE_TWIN:
                await self._patch_twin(entry, None)
            case ImportMode.UPDATE_TWIN_IF_MATCH:
                await _matching(self._patch_twin(entry, entry.etag("twinETag")))

    async def _create(self, entry: BulkEntry, result: BulkResult) -> None:
        """Registers an identity; what the entry says of its twin follows, with a warning if it cannot."""
        twin = parse_twin_request(entry.document)
        await self._put(entry, None)
        if twin == TwinRequest(None, None):
            return
        try:
            await self._twins.patch(*entry.key, twin, None)
        except HubError as error:
            result.warn(entry, error)

    async def _put(self, entry: BulkEntry, if_match: str | None) -> None:
        if entry.module_id is None:
            await self._registry.put_device(parse_device(entry.device_id, entry.document), if_match)
        else:
            request = parse_module(entry.device_id, entry.module_id, entry.document)
            await self._registry.put_module(request, if_match)

    async def _delete(self, entry: BulkEntry, if_match: str | None) -> None:
        if entry.module_id is None:
            await self._registry.delete_device(entry.device_id, if_match)
        else:
            await self._registry.delete_module(entry.device_id, entry.module_id, if_match)

    async def _patch_twin(self, entry: BulkEntry, if_match: str | None) -> None:
        await self._twins.patch(*entry.key, parse_twin_request(entry.document), if_match)


async def _matching(change: Awaitable[None]) -> None:
    """A change that may be refused for its etag, which has a code of its own in lists."""
    try:
        await change
    except HubError as error:
        if error.code is not ErrorCode.PreconditionFailed:
            raise
        raise HubError(ErrorCode.EtagDoesNotMatch, error.message) from None
