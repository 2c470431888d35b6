"""What became of telemetry, for metrics."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class QualityCounts:
    """Since the start of the process.

    :ivar scrapes: pages read.
    :ivar scrapes_failed: pages that could not be read.
    :ivar samples_dropped: samples beyond a limit of one scrape, or too long for a message.
    :ivar scrapes_lost: scrapes that were too old, damaged, too many, or that the disk did not take.
    :ivar messages: sent.
    :ivar sends_failed: tries to send one that failed.
    :ivar given_up: times that everything stored was deleted, as sending it failed for good.
    """

    scrapes: int = 0
    scrapes_failed: int = 0
    samples_dropped: int = 0
    scrapes_lost: int = 0
    messages: int = 0
    sends_failed: int = 0
    given_up: int = 0

    def events(self) -> dict[str, int]:
        """By name, for a metric."""
        return asdict(self)
