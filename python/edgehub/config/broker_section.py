"""Validation of the `mqttBroker` section of the desired properties (settings spec 3.2).

The broker it configured is gone from the reference, which still validates the section and then ignores
it. The same is done here: a configuration that the reference refuses is refused in the same words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgehub.common.json_types import Json
_IDENTITY_VARIABLES = frozenset(
    (
        "{{iot:identity}}",
        "{{iot:device_id}}",
        "{{iot:module_id}}",
        "{{mqtt:client_id}}",
        "{{iot:this_device_id}}",
    )
)
_OPERATIONS = frozenset(("mqtt:publish", "mqtt:subscribe", "mqtt:connect"))
_DIRECTIONS = frozenset(("in", "out", "both"))
_VARIABLE = re.compile(r"\{\{[^}]*\}\}")


def broker_section_fault(section: Json) -> str | None:
    """Everything wrong with the section in one text, or None when it is fine or absent."""
    if section is None:
        return None
    if not isinstance(section, Mapping):
        return "'mqttBroker' must be an object"
    folded = {key.casefold(): value for key, value in section.items()}
    errors = list(_authorization_faults(folded.get("authorizations")))
    if errors:
        return "Error validating authorization policy: " + "; ".join(errors)
    errors = list(_bridge_faults(folded.get("bridges")))
    if errors:
        return "Error validating bridge configuration: " + "; ".join(errors)
    return None


def _items(section: Json, name: str) -> Iterator[tuple[int, dict[str, Json] | None]]:
    """Objects of a list with their index, keys in lower case; None where something else stands."""
    if section is None:
        return
    if not isinstance(section, list):
        yield -1, None
        return
    for index, item in enumerate(section):
        if isinstance(item, Mapping):
            yield index, {str(key).casefold(): value for key, value in item.items()}
        else:
            yield index, None


def _authorization_faults(section: Json) -> Iterator[str]:
    for index, statement in _items(section, "authorizations"):
        if statement is None:
            yield (
                "authorizations must be a list of objects"
                if index < 0
                else f"Statement {index}: not an object"
            )
            continue
        yield from _identity_faults(index, statement.get("identities"))
        # The reference evaluates deny rules first, and reports in that order.
        for kind in ("Deny", "Allow"):
            yield from _rule_faults(f"Statement {index}: {kind}", statement.get(kind.lower()))


def _identity_faults(index: int, identities: Json) -> Iterator[str]:
    if not isinstance(identities, list) or not identities:
        yield f"Statement {index}: Identities list must not be empty"
        return
    for identity in identities:
        if not isinstance(identity, str) or not identity.strip():
            yield f"Statement {index}: Identity name is invalid: {identity}"
        else:
            yield from _variable_faults(f"Statement {index}", identity)


def _variable_faults(where: str, text: str) -> Iterator[str]:
    for variable in _VARIABLE.findall(text):
        if variable not in _IDENTITY_VARIABLES:
            yield f"{where}: Invalid variable name: {variable}"


def _rule_faults(where: str, rules: Json) -> Iterator[str]:
    for index, rule in _items(rules, where):
        if rule is None:
            yield (
                f"{where}: rules must be a list of objects"
                if index < 0
                else f"{where}: {index}: not an object"
            )
            continue
        operations = rule.get("operations")
        if not isinstance(operations, list) or not operations:
            yield f"{where}: Operations list must not be empty"
            operations = []
        for operation in operations:
            if operation not in _OPERATIONS:
                yield f"{where}: Unknown mqtt operation: {operation}"
        if operations != ["mqtt:connect"]:
            yield from _resource_faults(where, rule.get("resources"))


def _resource_faults(where: str, resources: Json) -> Iterator[str]:
    if not isinstance(resources, list) or not resources:
        yield f"{where}: Resources list must not be empty"
        return
    for resource in resources:
        if not isinstance(resource, str) or not is_topic_filter(resource):
            yield f"{where}: Resource (topic filter) is invalid: {resource}"
        else:
            yield from _variable_faults(where, resource)


def _bridge_faults(section: Json) -> Iterator[str]:
    for index, bridge in _items(section, "bridges"):
        if bridge is None:
            yield "bridges must be a list of objects" if index < 0 else f"Bridge {index}: not an object"
            continue
        endpoint = bridge.get("endpoint")
        if not isinstance(endpoint, str) or not endpoint:
            yield f"Bridge {index}: Endpoint must not be empty"
            endpoint = ""
        settings = bridge.get("settings")
        if not isinstance(settings, list) or (not settings and endpoint.casefold() != "$upstream"):
            yield f"Bridge {index}: Settings must not be empty"
            continue
        for number, rule in _items(settings, "settings"):
            yield from _bridge_rule_faults(f"Bridge {index}: Rule {number}", rule)


def _bridge_rule_faults(where: str, rule: dict[str, Json] | None) -> Iterator[str]:
    if rule is None:
        yield f"{where}: not an object"
        return
    direction = rule.get("direction")
    if not isinstance(direction, str) or direction.casefold() not in _DIRECTIONS:
        yield f"{where}: Direction must be in, out or both, found: {direction}"
    topic = rule.get("topic")
    if not isinstance(topic, str) or not is_topic_filter(topic):
        yield f"{where}: Topic is invalid: {topic}"
    for prefix in ("inPrefix", "outPrefix"):
        value = rule.get(prefix.casefold())
        if value is not None and (not isinstance(value, str) or "+" in value or "#" in value):
            yield f"{where}: {prefix} must not contain wildcards (+, #): {value}"


def is_topic_filter(text: str) -> bool:
    """Whether a text is a well-formed MQTT topic filter (MQTT 3.1.1, 4.7.1): `#` stands alone and last,
    `+` stands alone in its level."""
    if not text or "\0" in text:
        return False
    levels = text.split("/")
    if any("#" in level for level in levels[:-1]) or any("+" in level and level != "+" for level in levels):
        return False
    return "#" not in levels[-1] or levels[-1] == "#"
