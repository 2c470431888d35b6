"""A straight line through samples, by least squares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

POINTS_MIN = 3
"""Fewer leave nothing to tell the scatter from."""


@dataclass(frozen=True)
class Slope:
    """Growth for each unit of time.

    Attributes:
        value: of the line.
        error: standard error of it, as if the samples scattered independently.
        points: samples that it was drawn through.
    """

    value: float
    error: float
    points: int


def least_squares(points: Sequence[tuple[float, float]]) -> Slope:
    """The line through samples (time, value).

    Raises:
        ValueError: fewer than `POINTS_MIN` samples, or all at one time.
    """
    count = len(points)
    if count < POINTS_MIN:
        raise ValueError(f"{count} samples; a slope needs {POINTS_MIN}")
    mean_x = math.fsum(x for x, _ in points) / count
    mean_y = math.fsum(y for _, y in points) / count
    width = math.fsum((x - mean_x) ** 2 for x, _ in points)
    if width == 0:
        raise ValueError("all samples are of one time")
    value = math.fsum((x - mean_x) * (y - mean_y) for x, y in points) / width
    scatter = math.fsum((y - mean_y - value * (x - mean_x)) ** 2 for x, y in points)
    return Slope(value, math.sqrt(scatter / (count - 2) / width), count)
