"""Which images go, and when (agent spec 7.10, row X10). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from edgeagent.image_gc.settings import GcSettings


@dataclass(frozen=True, slots=True)
class GcPlan:
    """What one run does.

    :param delete: ids of images, those used longest ago first.
    :param keep: id to the last use, in seconds since 1970.
    """

    delete: tuple[str, ...]
    keep: Mapping[str, int]


def plan(
    uses: Mapping[str, int],
    now_s: int,
    image_age_s: float,
    in_use: Collection[str],
    protected: Collection[str],
) -> GcPlan:
    """Only images that this agent used are in `uses`; others are never deleted.

    :param uses: id to the last use, in seconds since 1970. One in the future, from before the clock was set
        back, counts as now.
    :param in_use: images of containers of ours: used now.
    :param protected: images that stay, whatever their age.
    """
    keep: dict[str, int] = {}
    delete: list[tuple[int, str]] = []
    for image_id, used_s in uses.items():
        last_s = now_s if image_id in in_use else min(used_s, now_s)
        if image_id in protected or now_s - last_s < image_age_s:
            keep[image_id] = last_s
        else:
            delete.append((last_s, image_id))
    return GcPlan(tuple(image_id for _, image_id in sorted(delete)), keep)


def first_run(now: datetime, settings: GcSettings) -> datetime:
    """The next time that the clock shows the time of the cleanup.

    :param now: local time without zone, as people read it off the clock.
    """
    today = datetime.combine(now.date(), settings.cleanup_time)
    return today if today > now else today + timedelta(days=1)


def next_run(now: datetime, settings: GcSettings) -> datetime:
    """After a run: so many days later at the same time of the day, however late this run was."""
    today = datetime.combine(now.date(), settings.cleanup_time)
    return today + timedelta(days=settings.recurrence_days)


def still_due(due: datetime, now: datetime, settings: GcSettings) -> datetime:
    """When the next run is, now that some time has passed; sooner if the clock was set back by days."""
    longest = timedelta(days=settings.recurrence_days)
    return due if due - now <= longest else first_run(now, settings)
