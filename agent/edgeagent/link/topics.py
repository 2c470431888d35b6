"""Topics of twins and methods: what is published, and what arrives. Pure.

| direction | topic | means |
|---|---|---|
| out | `$iothub/twin/GET/?$rid={rid}` | read the twin |
| out | `$iothub/twin/PATCH/properties/reported/?$rid={rid}` | change reported properties |
| in | `$iothub/twin/res/{status}/?$rid={rid}[&$version={n}]` | answer to one of them |
| in | `$iothub/twin/PATCH/properties/desired/?$version={n}` | desired properties changed |
| in | `$iothub/methods/POST/{name}/?$rid={rid}` | a direct method |
| out | `$iothub/methods/res/{status}/?$rid={rid}` | its answer |
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote, unquote

import msgspec

from edgeagent.link.errors import TopicError

if TYPE_CHECKING:
    from collections.abc import Mapping

TWIN_RESPONSES: Final = "$iothub/twin/res/#"
DESIRED_PATCHES: Final = "$iothub/twin/PATCH/properties/desired/#"
METHODS: Final = "$iothub/methods/POST/#"
FILTERS: Final = (TWIN_RESPONSES, DESIRED_PATCHES, METHODS)
"""Everything that the agent follows."""

PAYLOAD_BYTES_MAX: Final = 256 * 1024
"""Longer bodies are not read; the hub sends none."""

_TWIN_RESPONSE: Final = "$iothub/twin/res/"
_DESIRED: Final = "$iothub/twin/PATCH/properties/desired/"
_METHOD: Final = "$iothub/methods/POST/"
_STATUS: Final = re.compile(r"\d{3}", re.ASCII)
_VERSION: Final = re.compile(r"\d{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class TwinAnswer:
    """Answer to a request about the twin.

    :ivar version: of the reported properties after a patch, where the hub tells it.
    """

    status: int
    rid: str
    payload: bytes
    version: int | None = None


@dataclass(frozen=True, slots=True)
class DesiredPatch:
    """Desired properties changed.

    :ivar version: after the change.
    :ivar patch: members to merge, those with None to take away; without `$version`.
    """

    version: int
    patch: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MethodCall:
    """A direct method, its payload as sent; what it says is judged by whoever serves it."""

    name: str
    rid: str
    payload: bytes = field(repr=False)


Incoming: TypeAlias = TwinAnswer | DesiredPatch | MethodCall


def twin_get_topic(rid: str) -> str:
    """To read the twin."""
    return f"$iothub/twin/GET/?$rid={rid}"


def reported_topic(rid: str) -> str:
    """To patch reported properties."""
    return f"$iothub/twin/PATCH/properties/reported/?$rid={rid}"


def method_answer_topic(status: int, rid: str) -> str:
    """To answer a method."""
    return f"$iothub/methods/res/{status}/?$rid={rid}"


def event_topic(device_id: str, module_id: str, properties: Mapping[str, str]) -> str:
    """To send a message as a module; ids and properties are percent-encoded."""
    ids = f"devices/{quote(device_id, safe='')}/modules/{quote(module_id, safe='')}"
    pairs = (f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in properties.items())
    return f"{ids}/messages/events/{'&'.join(pairs)}"


def read_message(topic: str, payload: bytes) -> Incoming:
    """What a publish of the hub means.

    :raises TopicError: nothing that is served; the text says why.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise TopicError(f"a body of {len(payload)} bytes; at most {PAYLOAD_BYTES_MAX} are read")
    if topic.startswith(_TWIN_RESPONSE):
        return _twin_answer(topic.removeprefix(_TWIN_RESPONSE), payload)
    if topic.startswith(_DESIRED):
        return _desired_patch(topic.removeprefix(_DESIRED), payload)
    if topic.startswith(_METHOD):
        return _method_call(topic.removeprefix(_METHOD), payload)
    raise TopicError(f"the topic {topic[:80]!r} is not served")


def read_object(payload: bytes, what: str) -> dict[str, Any]:
    """A JSON object.

    :raises TopicError: not one.
    """
    try:
        value = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise TopicError(f"{what} is not JSON: {fault}") from None
    if not isinstance(value, dict):
        raise TopicError(f"{what} is not a JSON object")
    return value


def error_text(payload: bytes) -> str:
    """What an error body says, short; empty when it says nothing readable."""
    try:
        body = read_object(payload, "the error")
    except TopicError:
        return ""
    text = next((body[name] for name in ("message", "Message") if isinstance(body.get(name), str)), "")
    return str(text)[:300]


def _twin_answer(rest: str, payload: bytes) -> TwinAnswer:
    status, values = _split(rest)
    rid = values.get("$rid")
    if not _STATUS.fullmatch(status) or not rid:
        raise TopicError("a twin answer needs {status}/?$rid={id}")
    return TwinAnswer(int(status), rid, payload, _version(values.get("$version")))


def _desired_patch(rest: str, payload: bytes) -> DesiredPatch:
    """The version of the body counts, that of the topic where the body has none."""
    patch = read_object(payload, "a desired patch")
    version = patch.pop("$version", None)
    if not isinstance(version, int) or isinstance(version, bool):
        version = _version(_split(f"/{rest}")[1].get("$version"))
    if version is None:
        raise TopicError("a desired patch without $version")
    patch.pop("$metadata", None)
    return DesiredPatch(version, patch)


def _method_call(rest: str, payload: bytes) -> MethodCall:
    name, values = _split(rest)
    rid = values.get("$rid")
    if not name or not rid:
        raise TopicError("a method call needs {name}/?$rid={id}")
    return MethodCall(unquote(name), rid, payload)


def _split(rest: str) -> tuple[str, dict[str, str]]:
    """What is before `/?`, and the properties behind it. They are not percent-decoded."""
    path, _, text = rest.partition("/?")
    values = {}
    for pair in text.split("&"):
        name, equals, value = pair.partition("=")
        if equals:
            values[name] = value
    return path, values


def _version(text: str | None) -> int | None:
    return int(text) if text is not None and _VERSION.fullmatch(text) else None
