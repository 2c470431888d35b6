from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehub.demo.ids import message_id, split_id


@given(st.text("abcXYZ09", min_size=1, max_size=12), st.integers(1, 10**9))
def test_an_id_splits_into_what_it_was_made_of(stream: str, number: int) -> None:
    assert split_id(message_id(stream, number)) == (stream, number)


@pytest.mark.parametrize(
    "text",
    ["", "a", "a-1", "-000001", "a-00000x", "a-000001 ", "ä-000001", "a-" + "\N{ARABIC-INDIC DIGIT ONE}" * 6],
)
def test_other_texts_are_no_ids(text: str) -> None:
    assert split_id(text) is None
