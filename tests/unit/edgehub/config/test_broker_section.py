"""The `mqttBroker` section is validated although nothing uses it (settings spec 3.2)."""

from __future__ import annotations

from typing import Any

import pytest

from edgehub.config.broker_section import broker_section_fault, is_topic_filter
from edgehub.config.desired import DesiredConfigError, parse_desired

ALLOW = {"operations": ["mqtt:publish"], "resources": ["a/#"]}
STATEMENT = {"identities": ["{{iot:identity}}"], "allow": [ALLOW], "deny": []}
RULE = {"direction": "out", "topic": "a/#", "inPrefix": "x/", "outPrefix": "y/"}


def fault(**section: Any) -> str:
    found = broker_section_fault(section)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "section",
    [
        None,
        {},
        {"authorizations": None, "bridges": None},
        {"authorizations": [STATEMENT]},
        {"authorizations": [{"identities": ["a"]}]},
        {"authorizations": [{"identities": ["a"], "allow": [{"operations": ["mqtt:connect"]}]}]},
        {"bridges": [{"endpoint": "$upstream", "settings": []}]},
        {"bridges": [{"endpoint": "other", "settings": [RULE]}]},
        {"Bridges": [{"Endpoint": "$UPSTREAM", "Settings": [{"Direction": "Both", "Topic": "+/a"}]}]},
    ],
)
def test_good_sections(section: Any) -> None:
    assert broker_section_fault(section) is None


@pytest.mark.parametrize(
    ("statement", "part"),
    [
        (1, "not an object"),
        ({}, "Statement 0: Identities list must not be empty"),
        ({"identities": []}, "Identities list must not be empty"),
        ({"identities": [""]}, "Identity name is invalid"),
        ({"identities": ["{{iot:else}}"]}, "Statement 0: Invalid variable name: {{iot:else}}"),
        (
            {"identities": ["a"], "allow": [{"operations": []}]},
            "Statement 0: Allow: Operations list must not be empty",
        ),
        (
            {"identities": ["a"], "allow": [{"operations": ["x"], "resources": ["a"]}]},
            "Unknown mqtt operation: x",
        ),
        (
            {"identities": ["a"], "deny": [{"operations": ["mqtt:publish"]}]},
            "Statement 0: Deny: Resources list",
        ),
        ({"identities": ["a"], "deny": [{"operations": ["mqtt:publish"], "resources": ["a/#/b"]}]}, "a/#/b"),
        ({"identities": ["a"], "allow": [{"operations": ["mqtt:publish"], "resources": ["{{x}}"]}]}, "{{x}}"),
        ({"identities": ["a"], "allow": 1}, "rules must be a list"),
        ({"identities": ["a"], "allow": [1]}, "not an object"),
    ],
)
def test_bad_authorizations(statement: Any, part: str) -> None:
    found = fault(authorizations=[statement])
    assert found.startswith("Error validating authorization policy: ")
    assert part in found


@pytest.mark.parametrize(
    ("bridge", "part"),
    [
        (1, "not an object"),
        ({"settings": [RULE]}, "Endpoint must not be empty"),
        ({"endpoint": "other", "settings": []}, "Settings must not be empty"),
        ({"endpoint": "$upstream"}, "Settings must not be empty"),
        ({"endpoint": "e", "settings": [1]}, "not an object"),
        (
            {"endpoint": "e", "settings": [{"direction": "up", "topic": "a"}]},
            "Direction must be in, out or both",
        ),
        ({"endpoint": "e", "settings": [{"direction": "in", "topic": "a/#/b"}]}, "Topic is invalid: a/#/b"),
        ({"endpoint": "e", "settings": [RULE | {"inPrefix": "+"}]}, "inPrefix must not contain wildcards"),
        ({"endpoint": "e", "settings": [RULE | {"outPrefix": "#"}]}, "outPrefix must not contain wildcards"),
    ],
)
def test_bad_bridges(bridge: Any, part: str) -> None:
    found = fault(bridges=[bridge])
    assert found.startswith("Error validating bridge configuration: ")
    assert part in found


def test_all_faults_are_told_at_once() -> None:
    found = fault(authorizations=[{"identities": []}, {"identities": [""]}])
    assert found.count("; ") == 1


@pytest.mark.parametrize("section", [{"authorizations": {}}, {"bridges": "x"}, [], "x"])
def test_wrong_types(section: Any) -> None:
    assert broker_section_fault(section) is not None


def test_only_schemas_from_1_2_on_are_checked() -> None:
    document = {"routes": {}, "storeAndForwardConfiguration": {}, "mqttBroker": {"bridges": "x"}}
    parse_desired(document | {"schemaVersion": "1.1"})
    with pytest.raises(DesiredConfigError, match="bridge"):
        parse_desired(document | {"schemaVersion": "1.2"})


@pytest.mark.parametrize("text", ["a", "#", "+", "a/#", "+/a/+", "/", "a//b", "$x/#"])
def test_good_filters(text: str) -> None:
    assert is_topic_filter(text)


@pytest.mark.parametrize("text", ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "a\0"])
def test_bad_filters(text: str) -> None:
    assert not is_topic_filter(text)
