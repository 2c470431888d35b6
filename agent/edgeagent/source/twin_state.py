"""What is known of the desired properties, and when they must be read anew: pure, time passed in.

Rows O01 to O04: a patch counts only when it is the next one; otherwise, at each connection and every
`refresh_s` the whole twin is read, after a connection at most once per 30 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgeagent.source.desired import Desired

REFRESH_S: Final = 3600.0
"""Setting `ConfigRefreshFrequencySecs`."""
CONNECT_READ_PERIOD_S: Final = 30.0
"""Connections that come and go in quick succession cause one read in this time."""
RETRY_S_MIN: Final = 2.0
RETRY_S_MAX: Final = 60.0
DEPTH_MAX: Final = 20
"""Of objects in a patch; the hub allows 10."""
_NEVER: Final = float("inf")


def merge(section: Mapping[str, Any], patch: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """A section after a patch: objects are merged, null takes away, anything else replaces.

    :raises ValueError: nested too deep.
    """
    if depth > DEPTH_MAX:
        raise ValueError(f"a patch with more than {DEPTH_MAX} objects in each other")
    merged = dict(section)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            known = merged.get(name)
            merged[name] = merge(known if isinstance(known, Mapping) else {}, value, depth + 1)
        else:
            merged[name] = value
    return merged


class TwinState:
    """Begins unknown and disconnected.

    :param refresh_s: between two reads of the whole twin.
    """

    def __init__(self, refresh_s: float = REFRESH_S) -> None:
        self._refresh_s = refresh_s
        self._desired: Desired | None = None
        self._connected = False
        self._reading = False
        self._read_at = _NEVER
        self._last_read = -_NEVER
        self._patched_meanwhile = False
        self._heard_of = 0
        self._failures = 0

    @property
    def desired(self) -> Desired | None:
        return self._desired

    @property
    def deadline(self) -> float | None:
        """When :meth:`should_read` says yes next; None while it will not."""
        if not self._connected or self._reading or self._read_at == _NEVER:
            return None
        return self._read_at

    def should_read(self, now: float) -> bool:
        """Whether the whole twin is to be read now; if so the read has begun."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return False
        self._reading = True
        self._patched_meanwhile = False
        self._read_at = _NEVER
        return True

    def connected(self, now: float) -> None:
        """Changes may have been missed (row O03)."""
        self._connected = True
        self._failures = 0
        self._read_at = max(now, self._last_read + CONNECT_READ_PERIOD_S)

    def disconnected(self) -> None:
        """Nothing can be read until the next connection."""
        self._connected = False

    def patch(self, version: int, patch: Mapping[str, Any], now: float) -> Desired | None:
        """A change: the new properties (row O01), or None when the twin must be read (row O02)."""
        known = self._desired
        if known is not None and version == known.version + 1 and isinstance(known.document, Mapping):
            try:
                document = merge(known.document, patch)
            except ValueError:
                self._again(now)
                return None
            self._desired = Desired(version, document)
            self._patched_meanwhile = self._reading
            return self._desired
        if self._reading:
            # The answer that is on its way may know of it.
            self._heard_of = max(self._heard_of, version)
        else:
            self._again(now)
        return None

    def read(self, desired: Desired, now: float) -> Desired | None:
        """The whole twin arrived: the properties to use, or None when a patch overtook it.

        A lower version is believed otherwise: the identity was made anew, and counts from the beginning.
        """
        self._reading = False
        self._failures = 0
        self._last_read = now
        known, heard_of = self._desired, self._heard_of
        self._heard_of = 0
        overtaken = self._patched_meanwhile and known is not None and desired.version < known.version
        if overtaken or desired.version < heard_of:
            self._again(now + RETRY_S_MIN)
        elif self._read_at == _NEVER:
            self._read_at = now + self._refresh_s
        if overtaken:
            return None
        self._desired = desired
        return desired

    def failed(self, now: float) -> float:
        """The twin could not be read; gives the wait in seconds."""
        self._reading = False
        wait_s = min(RETRY_S_MIN * 2.0 ** min(self._failures, 10), RETRY_S_MAX)
        self._failures += 1
        self._read_at = now + wait_s
        return wait_s

    def _again(self, at: float) -> None:
        self._read_at = min(self._read_at, at)
