"""Filters that a client may have (section 1.5.3)."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.common.ids import IdentityId
from iothub.mqtt.rules import may_subscribe

DEVICE, MODULE = IdentityId("d1"), IdentityId("d1", "m$1")


@pytest.mark.parametrize(
    "topic_filter",
    [
        "devices/d1/messages/devicebound/#",
        "$iothub/twin/res/#",
        "$iothub/twin/PATCH/properties/desired/#",
        "$iothub/methods/POST/#",
    ],
)
def test_filters_of_a_device(topic_filter: str) -> None:
    assert may_subscribe(DEVICE, topic_filter)


@pytest.mark.parametrize(
    "topic_filter",
    [
        "#",
        "$iothub/#",
        "devices/d1/#",
        "devices/d2/messages/devicebound/#",
        "devices/+/messages/devicebound/#",
        "devices/d11/messages/devicebound/#",
        "devices/d1/modules/m/inputs/#",
        "messages/devicebound/#",
        "devices/d1/messages/events/#",
    ],
)
def test_filters_that_a_device_does_not_get(topic_filter: str) -> None:
    assert not may_subscribe(DEVICE, topic_filter)


@pytest.mark.parametrize(
    ("topic_filter", "granted"),
    [
        ("devices/d1/modules/m$1/#", True),
        ("devices/d1/modules/m$1/inputs/#", True),
        ("devices/d1/modules/m%241/inputs/#", True),
        ("devices/d1/modules/m$1/messages/devicebound/#", True),
        ("devices/d1/messages/devicebound/#", False),
        ("devices/d1/modules/other/inputs/#", False),
    ],
)
def test_filters_of_a_module(topic_filter: str, granted: bool) -> None:
    assert may_subscribe(MODULE, topic_filter) is granted


def test_an_id_may_look_as_if_it_were_encoded() -> None:
    assert may_subscribe(IdentityId("a%41"), "devices/a%41/messages/devicebound/#")


@given(st.text(alphabet="ab%61", min_size=1), st.text(alphabet="ab", min_size=1))
def test_only_the_own_id_in_either_spelling_is_granted(other: str, own: str) -> None:
    granted = may_subscribe(IdentityId(own), f"devices/{other}/messages/devicebound/#")
    assert granted == (own in (other, unquote(other)))
