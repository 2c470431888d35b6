"""Topics of the MQTT head: kinds of subscription filters, control topics, and what an identity may do.

Telemetry topics never reach Python; they are part of the grant that the core applies per message.
Rules: heads spec 1.4, 1.5, 1.7, 1.8. All literals are case-sensitive.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from edgehub.errors import EdgehubError

if TYPE_CHECKING:
    from edgehub.common.ids import IdentityId

TWIN_PREFIX = "$iothub/twin/"
METHOD_RESPONSE_PREFIX = "$iothub/methods/res/"
METHOD_STATUS_UNREADABLE = 400_000
"""Status a caller gets when the answering module sent something else than an integer (M-044)."""

_MODULE_FILTER = re.compile(r"devices/.+/modules/.+/#")
_PLAIN_ID = re.compile(r"[A-Za-z0-9_.~-]+").fullmatch
"""Ids that percent-encoding leaves as they are (RFC 3986, 2.3)."""
_INT32 = re.compile(r"[+-]?\d{1,10}", re.ASCII)


class TopicError(EdgehubError):
    """A control topic that cannot be served.

    :param closes: whether the connection ends for it (heads spec 1.3); else the publish is dropped and
        acknowledged.
    """

    def __init__(self, problem: str, *, closes: bool) -> None:
        super().__init__(problem)
        self.closes = closes


class SubscriptionKind(Enum):
    """What a filter subscribes to; decides what is set up for the client."""

    METHODS = auto()
    DESIRED_PROPERTIES = auto()
    CLOUD_TO_DEVICE = auto()
    TWIN_RESPONSE = auto()
    MODULE_MESSAGES = auto()
    UNKNOWN = auto()


def classify_filter(topic_filter: str) -> SubscriptionKind:
    """Kind of a filter by its text; the first rule that fits wins (heads spec 1.5, M-025)."""
    if topic_filter.startswith("$iothub/methods/POST/"):
        return SubscriptionKind.METHODS
    if topic_filter.startswith("$iothub/twin/PATCH/properties/desired/"):
        return SubscriptionKind.DESIRED_PROPERTIES
    if topic_filter.endswith("messages/devicebound/#"):
        return SubscriptionKind.CLOUD_TO_DEVICE
    if topic_filter == "$iothub/twin/res/#":
        return SubscriptionKind.TWIN_RESPONSE
    if _MODULE_FILTER.fullmatch(topic_filter):
        return SubscriptionKind.MODULE_MESSAGES
    return SubscriptionKind.UNKNOWN


class TwinOperation(Enum):
    """The two things a client may ask of its twin over MQTT."""

    GET = auto()
    PATCH_REPORTED = auto()


@dataclass(frozen=True, slots=True)
class TwinRequest:
    """A publish below `$iothub/twin/`.

    :param rid: request id, echoed verbatim; None only for a patch that wants no answer (M-048).
    :param version: text of `$version`: the version that a patch is for; None for any.
    """

    operation: TwinOperation
    rid: str | None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class MethodResponse:
    """A publish below `$iothub/methods/res/`.

    :param status: as sent, or `METHOD_STATUS_UNREADABLE`.
    """

    status: int
    rid: str


def parse_twin_topic(topic: str) -> TwinRequest:
    """Reads a topic that starts with `TWIN_PREFIX` (heads spec 1.7).

    :raises TopicError: closes the connection: another operation, an extra segment, or a GET without `$rid`.
    """
    path, values = _split_topic(topic.removeprefix(TWIN_PREFIX))
    rid = values.get("$rid") or None
    if path == "GET":
        if rid is None:
            raise TopicError("twin GET without $rid", closes=True)
        return TwinRequest(TwinOperation.GET, rid)
    if path == "PATCH/properties/reported":
        return TwinRequest(TwinOperation.PATCH_REPORTED, rid, values.get("$version"))
    raise TopicError(f"unknown twin operation {path!r}", closes=True)


def parse_method_response(topic: str) -> MethodResponse:
    """Reads a topic that starts with `METHOD_RESPONSE_PREFIX` (heads spec 1.8, DEV-28).

    :raises TopicError: does not close: the publish is dropped and acknowledged.
    """
    path, values = _split_topic(topic.removeprefix(METHOD_RESPONSE_PREFIX))
    rid = values.get("$rid")
    if not rid or "/" in path:
        raise TopicError("expected $iothub/methods/res/{status}/?$rid={id}", closes=False)
    return MethodResponse(_status(path), rid)


def twin_response_topic(status: int, rid: str, version: int | None = None) -> str:
    """Topic of the answer to a twin request.

    :param version: of the reported properties after a patch, where it is told (iothub spec 1.5.2).
    """
    told = "" if version is None else f"&$version={version}"
    return f"$iothub/twin/res/{status}/?$rid={rid}{told}"


def method_topic(name: str, rid: str) -> str:
    """Topic of a method call. The name stands as it is (heads spec 1.6), but for what would not be one level
    of a topic name, and for what begins the properties behind it, where SDKs look for the id."""
    level = re.sub(r"[/+#?\x00]", lambda found: f"%{ord(found[0]):02X}", name)
    return f"$iothub/methods/POST/{level}/?$rid={rid}"


def desired_topic(version: int | None) -> str:
    """Topic of a desired patch; some SDKs read the version from it (heads spec 1.7)."""
    return "$iothub/twin/PATCH/properties/desired/" + ("" if version is None else f"?$version={version}")


def topic_properties(text: str) -> dict[str, str]:
    """Properties after the `?` of a control topic. They are not percent-decoded (M-050)."""
    values: dict[str, str] = {}
    for pair in text.split("&"):
        if pair:
            key, _, value = pair.partition("=")
            values[key] = value
    return values


def _split_topic(rest: str) -> tuple[str, dict[str, str]]:
    path, _, properties = rest.partition("/?")
    return path.removesuffix("/"), topic_properties(properties)


def _status(text: str) -> int:
    if _INT32.fullmatch(text) and -(2**31) <= int(text) < 2**31:
        return int(text)
    return METHOD_STATUS_UNREADABLE


class GrantSpec(NamedTuple):
    """What a session may do, in the words of `edgehub._core.Grants`."""

    device_id: str
    module_id: str | None
    telemetry_topics: tuple[str, ...]
    inputs_endpoint_prefix: str | None
    inputs_topic_prefixes: tuple[str, ...]
    model_id: str | None


def grants_for(identity: IdentityId, edge_device_id: str, model_id: str | None = None) -> GrantSpec:
    """Grants of an authenticated identity: it speaks for itself alone (DEV-6).

    Only modules of this edge device have inputs, for only they can be named in a route. SDKs percent-encode
    ids in topics, so both spellings are granted where they differ, of telemetry topics and
    of the topics of inputs; messages go to the one that the client subscribed to.
    """
    device_id, module_id = identity
    bases = base_topics(identity)
    telemetry_topics = tuple([f"{base}/messages/events" for base in bases])
    if module_id is None or device_id != edge_device_id:
        return GrantSpec(device_id, module_id, telemetry_topics, None, (), model_id)
    topic_prefixes = tuple([f"{base}/inputs/" for base in bases])
    return GrantSpec(device_id, module_id, telemetry_topics, f"{identity}/", topic_prefixes, model_id)


def base_topics(identity: IdentityId) -> tuple[str, ...]:
    """Where the topics of an identity begin: as it is and, where that differs, percent-encoded."""
    device_id, module_id = identity
    plain = _base_topic(device_id, module_id)
    if _PLAIN_ID(device_id) and (module_id is None or _PLAIN_ID(module_id)):
        return (plain,)
    return plain, _base_topic(quote(device_id, safe=""), module_id and quote(module_id, safe=""))


def _base_topic(device_id: str, module_id: str | None) -> str:
    return f"devices/{device_id}" if module_id is None else f"devices/{device_id}/modules/{module_id}"
