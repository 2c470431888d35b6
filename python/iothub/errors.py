"""The hub's error catalogue and the one factory that turns a code into every outward form.

A code fixes the HTTP status (its first three digits), the `iothub-errorcode` header, the body and the AMQP
condition, so they can never disagree (clients compare header and body). Numbers and names are those of IoT
Hub.
"""

from __future__ import annotations

import enum
import json
import uuid
from datetime import UTC, datetime
from typing import Any, Final

from edgehub.errors import EdgehubError
from edgehub.protocol import amqp_errors
from edgehub.protocol.amqp_errors import AmqpFault

ERROR_HEADER: Final = "iothub-errorcode"


class ErrorCode(enum.Enum):
    """Codes this hub gives. Value: number and AMQP condition."""

    GenericBadRequest = (400000, amqp_errors.ARGUMENT_ERROR)
    InvalidProtocolVersion = (400001, amqp_errors.ARGUMENT_ERROR)
    InvalidOperation = (400003, amqp_errors.ARGUMENT_ERROR)
    ArgumentInvalid = (400004, amqp_errors.ARGUMENT_ERROR)
    ArgumentNull = (400005, amqp_errors.ARGUMENT_ERROR)
    IotHubFormatError = (400006, amqp_errors.DECODE_ERROR)
    DeviceDefinedMultipleTimes = (400011, amqp_errors.ARGUMENT_ERROR)
    BulkRegistryOperationFailure = (400013, amqp_errors.ARGUMENT_ERROR)
    DefaultStorageEndpointNotConfigured = (400014, amqp_errors.ARGUMENT_ERROR)
    EtagDoesNotMatch = (400023, amqp_errors.ARGUMENT_ERROR)
    InvalidDeviceScope = (400028, amqp_errors.ARGUMENT_ERROR)
    CannotRegisterModuleToModule = (400301, amqp_errors.ARGUMENT_ERROR)
    IotHubNotFound = (401001, amqp_errors.HUB_NOT_FOUND)
    IotHubUnauthorizedAccess = (401002, amqp_errors.UNAUTHORIZED)
    IotHubUnauthorized = (401003, amqp_errors.UNAUTHORIZED)
    SystemModuleModifyUnauthorizedAccess = (401100, amqp_errors.UNAUTHORIZED)
    DeviceMaximumQueueDepthExceeded = (403004, amqp_errors.RESOURCE_LIMIT)
    InvalidMessageExpiryTime = (403009, amqp_errors.ARGUMENT_ERROR)
    DeviceDisabled = (403012, amqp_errors.UNAUTHORIZED)
    DeviceMaximumInflightMethodExceeded = (403800, amqp_errors.RESOURCE_LIMIT)
    GenericNotFound = (404000, amqp_errors.NOT_FOUND)
    DeviceNotFound = (404001, amqp_errors.NOT_FOUND)
    AmqpAddressNotFound = (404006, amqp_errors.NOT_FOUND)
    ModuleNotFound = (404010, amqp_errors.NOT_FOUND)
    DeviceNotOnline = (404103, amqp_errors.NOT_FOUND)
    DeviceConnectionClosedRemotely = (404104, amqp_errors.NOT_FOUND)
    GenericMethodNotAllowed = (405000, amqp_errors.NOT_ALLOWED)
    DeviceAlreadyExists = (409001, "com.microsoft:device-already-exists")
    LinkCreationConflict = (409002, amqp_errors.DETACH_FORCED)
    ModuleAlreadyExistsOnDevice = (409301, "com.microsoft:device-already-exists")
    PreconditionFailed = (412001, amqp_errors.PRECONDITION_FAILED)
    DeviceMessageLockLost = (412002, amqp_errors.LOCK_LOST)
    MessageTooLarge = (413001, amqp_errors.MESSAGE_SIZE)
    TooManyDevices = (413002, amqp_errors.RESOURCE_LIMIT)
    TooManyModulesOnDevice = (413003, amqp_errors.RESOURCE_LIMIT)
    GenericUnsupportedMediaType = (415000, amqp_errors.ARGUMENT_ERROR)
    ThrottlingException = (429001, amqp_errors.THROTTLED)
    ServerError = (500001, amqp_errors.INTERNAL_ERROR)
    ServiceUnavailable = (503001, amqp_errors.TIMEOUT)
    GatewayTimeout = (504101, amqp_errors.TIMEOUT)

    @property
    def number(self) -> int:
        """Six-digit code."""
        return self.value[0]

    @property
    def http_status(self) -> int:
        """HTTP status: the first three digits."""
        return self.number // 1000

    @property
    def condition(self) -> str:
        """AMQP error condition."""
        return self.value[1]


class HubError(EdgehubError):
    """An operation is refused with one code of the catalogue.

    :ivar code: member of `ErrorCode`.
    :ivar message: for people; says what was wrong.
    :ivar structured: of an operation whose errors have JSON in `Message`, as direct methods have.
    """

    def __init__(self, code: ErrorCode, message: str, *, structured: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.structured = structured

    def fault(self) -> AmqpFault:
        """The error as an AMQP condition; the description is the JSON object clients of the hub parse."""
        details = {"errorCode": self.code.number, "message": self.message}
        return AmqpFault(self.code.condition, json.dumps(details))

    def headers(self) -> dict[str, str]:
        """HTTP headers that go with the body."""
        return {ERROR_HEADER: self.code.name}

    def body(self, now: float, *, structured: bool = False, tracking_id: str | None = None) -> dict[str, Any]:
        """HTTP body.

        :param now: Unix time for the tracking id.
        :param structured: `Message` is itself JSON (newer operations), else `ErrorCode:Name;text`.
        """
        details = self.details(now, tracking_id)
        if not (structured or self.structured):
            text = f"ErrorCode:{self.code.name};{self.message}"
            return {"Message": text, "ExceptionMessage": f"Tracking ID:{details['trackingId']}"}
        return {"Message": json.dumps(details), "ExceptionMessage": ""}

    def details(self, now: float, tracking_id: str | None = None) -> dict[str, Any]:
        """The error as one JSON object, as MQTT clients get it.

        :param now: Unix time.
        """
        moment = datetime.fromtimestamp(now, UTC)
        return {
            "errorCode": self.code.number,
            "trackingId": tracking_id or f"{uuid.uuid4().hex}-G:0-TimeStamp:{moment:%m/%d/%Y %H:%M:%S}",
            "message": self.message,
            "timestampUtc": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }


def device_not_found(device_id: str) -> HubError:
    """404001."""
    return HubError(ErrorCode.DeviceNotFound, f"Device {device_id} is not registered.")


def module_not_found(device_id: str, module_id: str) -> HubError:
    """404010."""
    return HubError(ErrorCode.ModuleNotFound, f"Module {module_id} of device {device_id} is not registered.")


def argument_invalid(text: str) -> HubError:
    """400004."""
    return HubError(ErrorCode.ArgumentInvalid, text)
