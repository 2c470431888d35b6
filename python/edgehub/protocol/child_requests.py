"""The JSON of what child edge devices ask over HTTPS: the device scope (heads spec 3.3) and modules of the
devices below them (3.4). Pure.

Members that are not named here are ignored; so is paging, which a hub that answers from memory does not need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from edgehub.errors import EdgehubError

NESTED_VERSION: Final = "2020-06-30-preview"
"""`api-version` of all these calls."""
SCOPE_ERROR: Final = "ErrorMessage"
REGISTRY_ERROR: Final = "errorMessage"
"""Member with the text of an error, in answers of 3.3 and of 3.4."""

PUT_MODULE: Final = "putModuleOnBehalfOf"
GET_MODULE: Final = "getModuleOnBehalfOf"
LIST_MODULES: Final = "getModulesOnTargetDevice"
DELETE_MODULE: Final = "deleteModuleOnBehalfOf"


class ChildRequestError(EdgehubError):
    """A body that is not the request it should be. The text says what is wrong."""


class ScopeListing(msgspec.Struct, frozen=True, rename="camel"):
    """Asks for an edge device and what is directly below it."""

    auth_chain: str


class ScopeLookup(msgspec.Struct, frozen=True, rename="camel"):
    """Asks for one identity; `auth_chain` begins with the edge device that wants to know."""

    target_device_id: str
    auth_chain: str
    target_module_id: str | None = None


class ModulePut(msgspec.Struct, frozen=True, rename="camel"):
    """Creates or updates a module of the first device of the chain.

    :ivar module: JSON as it was sent.
    """

    auth_chain: str
    module: msgspec.Raw


class ModuleGet(msgspec.Struct, frozen=True, rename="camel"):
    """Reads a module of the first device of the chain."""

    auth_chain: str
    target_module_id: str


class ModulesList(msgspec.Struct, frozen=True, rename="camel"):
    """Reads all modules of the first device of the chain."""

    auth_chain: str


class ModuleDelete(msgspec.Struct, frozen=True, rename="camel"):
    """Removes a module of the first device of the chain."""

    auth_chain: str
    module_id: str


class _ModuleIds(msgspec.Struct, frozen=True, rename="camel"):
    device_id: str
    module_id: str


@dataclass(frozen=True, slots=True)
class RegistryCall:
    """A call on behalf of a device below, as it goes to the parent hub.

    :ivar method: of HTTP.
    :ivar operation: last part of the path.
    :ivar body: JSON.
    :ivar if_match: header to pass on.
    """

    method: str
    operation: str
    body: bytes
    if_match: str | None = None


T = TypeVar("T")


def parse_child_request(body: bytes, kind: type[T]) -> T:
    """Reads a body.

    :param kind: one of the requests above.
    :raises ChildRequestError: not JSON, or a member is missing or of the wrong kind; the text says which.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ChildRequestError(f"the request cannot be read: {error}") from None


def check_module(module: bytes, device_id: str, module_id: str | None) -> None:
    """Makes sure that a module object is what it is sent as.

    :param module_id: None takes any.
    :raises ChildRequestError: no module object, or of other ids.
    """
    named = parse_child_request(module, _ModuleIds)
    for member, found, wanted in (
        ("deviceId", named.device_id, device_id),
        ("moduleId", named.module_id, module_id),
    ):
        if not found.strip() or (wanted is not None and found != wanted):
            raise ChildRequestError(f"{member} of the module is {found!r}; expected {wanted or 'an id'!r}")


def put_call(chain: str, module: bytes, if_match: str | None) -> RegistryCall:
    """Creates a module, or with `if_match` updates it."""
    body = msgspec.json.encode({"authChain": chain, "module": msgspec.Raw(module)})
    return RegistryCall("PUT", PUT_MODULE, body, if_match)


def get_call(chain: str, module_id: str) -> RegistryCall:
    """Reads a module."""
    body = msgspec.json.encode({"authChain": chain, "targetModuleId": module_id})
    return RegistryCall("POST", GET_MODULE, body)


def list_call(chain: str) -> RegistryCall:
    """Reads all modules of the device."""
    return RegistryCall("POST", LIST_MODULES, msgspec.json.encode({"authChain": chain}))


def delete_call(chain: str, module_id: str) -> RegistryCall:
    """Removes a module."""
    body = msgspec.json.encode({"authChain": chain, "moduleId": module_id})
    return RegistryCall("POST", DELETE_MODULE, body)


def encode_error(member: str, text: str) -> bytes:
    """The body of an error."""
    return msgspec.json.encode({member: text})
