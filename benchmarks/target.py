"""What a workload has to reach."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from benchmarks.measurement import Figure, Summary


class Bound(StrEnum):
    """Which side of the value is good."""

    AT_LEAST = ">="
    AT_MOST = "<="


class Target(NamedTuple):
    """A bound for one figure."""

    figure: Figure
    bound: Bound
    value: float
    worst: bool = False
    """The worst run has to reach it, not the median."""

    def is_met(self, summary: Summary) -> bool:
        """Tell whether the runs reached it."""
        if self.bound is Bound.AT_LEAST:
            return (summary.least if self.worst else summary.median) >= self.value
        return (summary.greatest if self.worst else summary.median) <= self.value

    def __str__(self) -> str:
        """Return the bound for a table."""
        return f"{self.bound} {self.value:,.10g}{' (worst)' if self.worst else ''}"


def at_least(figure: Figure, value: float) -> Target:
    """Return a target for the median from below."""
    return Target(figure, Bound.AT_LEAST, value)


def at_most(figure: Figure, value: float, *, worst: bool = False) -> Target:
    """Return a target from above, for the median or for the worst run."""
    return Target(figure, Bound.AT_MOST, value, worst)
