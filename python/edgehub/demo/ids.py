"""Message ids of the demo: a stream and a number that counts up from 1, `b01summer-000017`.

A message keeps its id on its whole way, so a ledger needs nothing else to follow it.
"""

from __future__ import annotations

import re
from typing import Final

EDGE_DEVICE: Final = "gateway"
MODULE: Final = "filter"
MODULE_INPUT: Final = "temperature"
READINGS_OUTPUT: Final = "readings"
SUMMARY_OUTPUT: Final = "summary"
SUMMARY_STREAM: Final = "summary"
ALERT_PROPERTY: Final = "temperatureAlert"

_ID = re.compile(r"([A-Za-z0-9]+)-([0-9]{6,12})", re.ASCII)


def message_id(stream: str, number: int) -> str:
    """The id of message `number` of a stream.

    :param stream: letters and digits.
    """
    return f"{stream}-{number:06d}"


def split_id(text: str) -> tuple[str, int] | None:
    """Stream and number of an id; None for a text that is no id of the demo."""
    match = _ID.fullmatch(text)
    return (match[1], int(match[2])) if match else None
