"""Pieces of create options, written and read again (rows M21 to M23)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.manifest.create_options import in_pieces, read_create_options
from edgeagent.manifest.fields import Fields
from edgeagent.model.canonical import canonical_json

values = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=900)
    | st.integers(-(2**53), 2**53)
    | st.none(),
    max_size=6,
).filter(lambda options: not {"Env", "Labels", "HostConfig", "NetworkingConfig"} & set(options))


def write_create_options(options: dict[str, Any]) -> dict[str, str]:
    return in_pieces(canonical_json(options).decode())


@given(values)
def test_m23_what_is_written_in_pieces_is_read_again(options: dict[str, Any]) -> None:
    pieces = write_create_options(options)
    assert read_create_options(Fields(pieces, "settings")) == options
    assert all(len(piece) <= 512 for piece in pieces.values())


def test_m23_names_of_the_pieces() -> None:
    pieces = write_create_options({"a": "x" * 1100})
    assert [len(piece) for piece in pieces.values()] == [512, 512, 84]
    assert list(pieces) == ["createOptions", "createOptions01", "createOptions02"]


def test_m23_a_hundred_pieces_and_one_more() -> None:
    whole = 512 * 100 - len('{"a":""}')
    assert len(write_create_options({"a": "x" * whole})) == 100
    with pytest.raises(ValueError, match="at most 51200 fit"):
        write_create_options({"a": "x" * (whole + 1)})
