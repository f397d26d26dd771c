"""Counts by size, for `GET /metrics`: adding one is one call, and nothing is made for it."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Bounds for what takes from a millisecond to some seconds."""


class Histogram:
    """How often something had which size. One thread adds; any may look.

    Attributes:
        bounds: upper ends of the buckets, ascending; what is larger is in a bucket of its own.
        sum: of all that was added.
    """

    __slots__ = ("_counts", "bounds", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = bounds
        self.sum = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def add(self, size: float) -> None:
        """Count one."""
        self._counts[bisect_left(self.bounds, size)] += 1
        self.sum += size

    def cumulated(self) -> list[int]:
        """Return for each bound how many were within it, and then how many in all."""
        return list(accumulate(self._counts))

    def buckets(self) -> list[tuple[str, float]]:
        """Return (bound, how many were within it), with `+Inf` at the end."""
        names = [*(str(float(bound)) for bound in self.bounds), "+Inf"]
        return list(zip(names, map(float, self.cumulated()), strict=True))
