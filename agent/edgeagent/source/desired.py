"""What every source gives: the newest desired properties, and a bell that rings when they change."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgeagent.model.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_WAIT_S: Final = 5.0
"""How long the first reconcile waits for a deployment (row O08)."""


@dataclass(frozen=True, slots=True)
class Desired:
    """Desired properties of `$edgeAgent`, not checked yet.

    :ivar version: goes up with each change.
    :ivar document: decoded JSON, without `$version` and `$metadata`.
    """

    version: int
    document: Any

    def same_as(self, other: Desired | None) -> bool:
        """Whether version and JSON are equal; unlike with `==` true is not 1."""
        if other is None or self.version != other.version:
            return False
        return canonical_json(self.document) == canonical_json(other.document)


class DesiredBox:
    """Between one source and one consumer: the newest value counts, older ones are gone.

    :param wake: called at each change.
    :ivar changed: set at each change; the consumer clears it.
    """

    def __init__(self, wake: Callable[[], None] | None = None) -> None:
        self._wake = wake
        self.changed = asyncio.Event()
        self._arrived = asyncio.Event()
        self._latest: Desired | None = None
        self._fault: Exception | None = None

    def latest(self) -> Desired | None:
        """The newest one that could be read; None as long as there was none."""
        return self._latest

    @property
    def fault(self) -> Exception | None:
        """Why there is nothing newer; None when :meth:`latest` is the last word.

        A `ManifestError` is a fault of a file, a `LinkError` one of the way to the hub, of which nobody need
        be told."""
        return self._fault

    def put(self, desired: Desired) -> None:
        """There are new ones; equal ones ring no bell."""
        if self._fault is None and desired.same_as(self._latest):
            return
        self._latest, self._fault = desired, None
        self._ring()

    def fail(self, fault: Exception) -> None:
        """They could not be read; the last ones stay."""
        if self._fault is not None and str(fault) == str(self._fault):
            return
        self._fault = fault
        self._ring()

    def _ring(self) -> None:
        self._arrived.set()
        self.changed.set()
        if self._wake is not None:
            self._wake()

    async def first(self, wait_s: float = FIRST_WAIT_S) -> Desired | None:
        """Waits for the first word of the source, but not for long (row O08)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._arrived.wait()
        return self._latest
