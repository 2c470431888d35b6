"""Filters, control topics and grants (M-025, M-034, M-035, M-043, M-044, M-049, M-050)."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.common.ids import IdentityId
from edgehub.protocol.topics import (
    METHOD_RESPONSE_PREFIX,
    TWIN_PREFIX,
    SubscriptionKind,
    TopicError,
    classify_filter,
    grants_for,
    method_topic,
    parse_method_response,
    parse_twin_topic,
    topic_properties,
    twin_response_topic,
)

FOLDER = Path(__file__).parents[3] / "vectors/topics"
FILTERS = json.loads((FOLDER / "filters.json").read_text())["filters"]
CONTROL = json.loads((FOLDER / "control.json").read_text())


@pytest.mark.parametrize(("topic_filter", "kind"), FILTERS)
def test_kinds_of_filters(topic_filter: str, kind: str) -> None:
    assert classify_filter(topic_filter) is SubscriptionKind[kind]


@pytest.mark.parametrize("vector", CONTROL["twin"], ids=lambda vector: vector["topic"])
def test_twin_topics(vector: dict[str, Any]) -> None:
    if "closes" in vector:
        with pytest.raises(TopicError) as error:
            parse_twin_topic(vector["topic"])
        assert error.value.closes is vector["closes"]
    else:
        request = parse_twin_topic(vector["topic"])
        assert (request.operation.name, request.rid) == (vector["operation"], vector["rid"])


@pytest.mark.parametrize("vector", CONTROL["method"], ids=lambda vector: vector["topic"])
def test_m_043_method_response_topics(vector: dict[str, Any]) -> None:
    if "closes" in vector:
        with pytest.raises(TopicError) as error:
            parse_method_response(vector["topic"])
        assert error.value.closes is vector["closes"]
    else:
        response = parse_method_response(vector["topic"])
        assert (response.status, response.rid) == (vector["status"], vector["rid"])


def test_properties_keep_percent_text_and_empty_values() -> None:
    assert topic_properties("$rid=a%20b&$random&=value&&") == {"$rid": "a%20b", "$random": "", "": "value"}


def test_the_answer_names_status_and_request() -> None:
    assert twin_response_topic(501, "r1") == "$iothub/twin/res/501/?$rid=r1"
    assert twin_response_topic(204, "r1", 7) == "$iothub/twin/res/204/?$rid=r1&$version=7"


@pytest.mark.parametrize(
    ("name", "level"), [("re set", "re set"), ("a/b+c#d", "a%2Fb%2Bc%23d"), ("what?$rid=x", "what%3F$rid=x")]
)
def test_the_name_of_a_method_is_one_level_and_ends_before_the_id(name: str, level: str) -> None:
    assert method_topic(name, "7") == f"$iothub/methods/POST/{level}/?$rid=7"


def test_a_patch_may_name_the_version_it_is_for() -> None:
    topic = "$iothub/twin/PATCH/properties/reported/"
    assert parse_twin_topic(topic + "?$rid=1&$version=7").version == "7"
    assert parse_twin_topic(topic + "?$rid=1").version is None


def test_a_device_sends_telemetry_and_has_no_inputs() -> None:
    grants = grants_for(IdentityId("leaf"), "edge1", "dtmi:m;1")
    assert grants.telemetry_topics == ("devices/leaf/messages/events",)
    assert grants.inputs_endpoint_prefix is None
    assert grants.inputs_topic_prefixes == ()
    assert grants.model_id == "dtmi:m;1"


def test_a_module_of_this_device_has_inputs() -> None:
    grants = grants_for(IdentityId("edge1", "mod"), "edge1")
    assert grants.telemetry_topics == ("devices/edge1/modules/mod/messages/events",)
    assert grants.inputs_endpoint_prefix == "edge1/mod/"
    assert grants.inputs_topic_prefixes == ("devices/edge1/modules/mod/inputs/",)


def test_a_module_of_another_device_has_no_inputs() -> None:
    assert grants_for(IdentityId("leaf", "mod"), "edge1").inputs_endpoint_prefix is None


def test_ids_that_sdks_encode_are_granted_in_both_spellings() -> None:
    grants = grants_for(IdentityId("aa:bb", "m$1"), "edge1")
    assert grants.telemetry_topics == (
        "devices/aa:bb/modules/m$1/messages/events",
        "devices/aa%3Abb/modules/m%241/messages/events",
    )
    assert grants_for(IdentityId("aa:bb", "m$1"), "aa:bb").inputs_topic_prefixes == (
        "devices/aa:bb/modules/m$1/inputs/",
        "devices/aa%3Abb/modules/m%241/inputs/",
    )


@given(st.text(max_size=60))
def test_any_control_topic_is_read_or_refused(rest: str) -> None:
    for prefix, parse in ((TWIN_PREFIX, parse_twin_topic), (METHOD_RESPONSE_PREFIX, parse_method_response)):
        with contextlib.suppress(TopicError):
            parse(prefix + rest)


@given(st.text(max_size=60))
def test_every_filter_has_a_kind(topic_filter: str) -> None:
    assert classify_filter(topic_filter) in SubscriptionKind
