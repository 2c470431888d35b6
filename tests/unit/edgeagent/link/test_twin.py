"""Twins as they are read."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.link.errors import TopicError
from edgeagent.link.twin import Twin, read_twin


def test_metadata_is_left_out() -> None:
    body = b'{"desired":{"a":{"b":1},"$version":3,"$metadata":{}},"reported":{"c":2,"$version":9}}'
    assert read_twin(body) == Twin(3, {"a": {"b": 1}}, {"c": 2})
    assert read_twin(b'{"desired":{"$version":1}}') == Twin(1, {}, {})


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"desired":{}}', b'{"desired":{"$version":"1"}}', b'{"desired":[],"reported":{}}'],
)
def test_no_twin(body: bytes) -> None:
    with pytest.raises(TopicError):
        read_twin(body)


@given(st.binary(max_size=80))
def test_anything_else_is_refused(body: bytes) -> None:
    with contextlib.suppress(TopicError):
        read_twin(body)
