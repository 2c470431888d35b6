""".NET ticks: tenths of microseconds since the year 1, as checkpoint and telemetry write moments. Pure."""

from __future__ import annotations

_TICKS_1970 = 621_355_968_000_000_000
_TICKS_OF_MS = 10_000


def ticks(at_ms: int) -> int:
    """Ticks of a moment.

    :param at_ms: UTC since 1970.
    """
    return _TICKS_1970 + at_ms * _TICKS_OF_MS


def ms_of_ticks(value: int) -> int:
    """The moment of ticks, in ms since 1970."""
    return (value - _TICKS_1970) // _TICKS_OF_MS
