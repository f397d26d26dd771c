"""Everything one workload showed in one invocation."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import msgspec

from benchmarks.floor import Floor, FloorKind
from benchmarks.job import CheckedRun
from benchmarks.measurement import Measurement, Summary, summarize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measurement import Figure


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of a workload on one system and the bare disk just before them."""

    workload: str
    system: str = "queuesite"
    runs: list[CheckedRun]
    """At least one."""
    floor: Floor

    @property
    def compared(self) -> int:
        """Messages read back and compared, in all runs."""
        return sum(run.compared for run in self.runs)

    def summary(self, figure: Figure) -> Summary:
        """Return median, least and greatest of a figure."""
        return summarize([run.measurement.value(figure) for run in self.runs])

    def medians(self) -> Measurement:
        """Return a measurement each of whose fields is the median of the runs."""
        return medians_of([run.measurement for run in self.runs])


def medians_of(measurements: Sequence[Measurement]) -> Measurement:
    """Return a measurement each of whose fields is the median of at least one."""
    return Measurement(
        messages=int(median(one.messages for one in measurements)),
        seconds=median(one.seconds for one in measurements),
        p50_ms=median(one.p50_ms for one in measurements),
        p99_ms=median(one.p99_ms for one in measurements),
        p999_ms=median(one.p999_ms for one in measurements),
        longest_ms=median(one.longest_ms for one in measurements),
        others={
            figure: median(one.others[figure] for one in measurements)
            for figure in measurements[0].others
        },
    )


def median_floor(floors: Sequence[Floor]) -> Floor:
    """Return the median of what the bare disk did several times."""
    kinds = FloorKind
    return Floor(
        **{one.value: medians_of([getattr(each, one) for each in floors]) for one in kinds}
    )
