"""Charts: what the script draws, the same as a table for who does not see it, the last values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from manager_app.console import formats
from manager_app.health.histories import MINUTE_S, STEP_S, thinned

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from manager_app.health.histories import Histories

POINTS = 120
"""Of a chart."""
WINDOWS = (POINTS, 3 * POINTS, 6 * POINTS)
"""Steps that a chart may show, as soon as there are so many: ten minutes, half an hour, an hour; of
a day two hours, six, twelve, all."""
ROWS = 12
"""Of its table."""


def rate(value: float | None) -> str:
    """Return how many in a second."""
    return formats.UNKNOWN if value is None else f"{formats.number(value)}/s"


def size_rate(value: float | None) -> str:
    """Return bytes in a second."""
    return formats.UNKNOWN if value is None else f"{formats.size(value)}/s"


def share(value: float | None) -> str:
    """Return a share as a percentage."""
    return formats.UNKNOWN if value is None else f"{value:.1%}"


UNITS: dict[str, Callable[[float | None], str]] = {
    "rate": rate,
    "bytes": size_rate,
    "seconds": formats.milliseconds,
    "duration": formats.duration,
    "count": formats.number,
    "share": share,
}
"""Unit -> how a value is written; the script knows the same units."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart."""

    name: str
    values: list[float | None]
    """Oldest first; None where nothing is known."""
    latest: float | None


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of the last hour or day."""

    key: str
    """Unique on its page."""
    title: str
    unit: str
    """Of `UNITS`."""
    lines: list[Line]
    step_s: float
    """Between two values."""

    @property
    def element(self) -> str:
        """Id of the element with its data."""
        return f"chart-{self.key}"

    @property
    def data(self) -> dict[str, Any]:
        """What the script draws."""
        return {
            "unit": self.unit,
            "step": self.step_s,
            "lines": [{"name": one.name, "values": one.values} for one in self.lines],
        }

    @property
    def latest(self) -> list[tuple[str, str]]:
        """The name and the last value of each line."""
        return [(one.name, UNITS[self.unit](one.latest)) for one in self.lines]

    @property
    def is_empty(self) -> bool:
        """Tell whether no line has a value."""
        return all(value is None for one in self.lines for value in one.values)

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """Lines of a table: how long ago, and the mean of each line since the one before."""
        if not self.lines:
            return []
        columns = [thinned(one.values, ROWS) for one in self.lines]
        whole_s = self.step_s * max(len(one.values) for one in self.lines)
        count = len(columns[0])
        return [
            (
                formats.age((count - number) * whole_s / count),
                [UNITS[self.unit](column[number]) for column in columns],
            )
            for number in range(count)
        ]


def chart_of(
    histories: Histories,
    key: str,
    title: str,
    unit: str,
    *,
    lines: Sequence[tuple[str, Hashable]],
    now_s: float,
    day: bool = False,
) -> Chart:
    """Return a chart of the last hour or day, or of as long as there was something.

    Args:
        histories: where the figures are.
        key: unique on the page.
        title: of the chart.
        unit: of `UNITS`.
        lines: (name, key of the figure) each.
        now_s: monotonic time.
        day: show the last day, and not the last hour.
    """
    look, step_s = (histories.day, MINUTE_S) if day else (histories.hour, STEP_S)
    known = [look(figure, now_s) for _, figure in lines]
    points = _window(known)
    drawn = [
        Line(name, thinned(values[-points:], POINTS), histories.latest(figure, now_s))
        for (name, figure), values in zip(lines, known, strict=True)
    ]
    return Chart(key, title, unit, drawn, step_s * points / POINTS)


def _window(values: Sequence[Sequence[float | None]]) -> int:
    """Return how many of the last points to show: the fewest of `WINDOWS` that hold all known."""
    whole = len(values[0])
    first = min(
        (place for line in values for place, value in enumerate(line) if value is not None),
        default=0,
    )
    return next((points for points in WINDOWS if whole - first <= points < whole), whole)
