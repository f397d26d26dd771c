"""Figures as people read them: thousands separators, KiB and MiB, ages in words."""

from __future__ import annotations

UNKNOWN = "unknown"
"""Shown for what nobody has said."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_AGES = (
    (60.0, 1.0, "s"),
    (3_600.0, 60.0, "min"),
    (86_400.0, 3_600.0, "h"),
    (float("inf"), 86_400.0, "d"),
)
"""(below this many seconds, seconds of a unit, unit)."""


def number(value: float | None) -> str:
    """Return a count with thousands separators; a small fraction keeps one digit."""
    if value is None:
        return UNKNOWN
    if isinstance(value, float) and abs(value) < 10 and value != int(value):
        return f"{value:,.1f}"
    return f"{value:,.0f}"


def size(value: float | None) -> str:
    """Return bytes in the unit that leaves one to four digits."""
    if value is None:
        return UNKNOWN
    left, unit = float(value), 0
    while abs(left) >= 1024 and unit < len(_UNITS) - 1:
        left /= 1024
        unit += 1
    digits = 0 if unit == 0 or abs(left) >= 100 else 1
    return f"{left:,.{digits}f} {_UNITS[unit]}"


def duration(seconds: float | None) -> str:
    """Return a length of time in the largest unit of which there is a whole one."""
    if seconds is None:
        return UNKNOWN
    if abs(seconds) < 1:
        return milliseconds(seconds)
    for below, of_unit, name in _AGES:
        if abs(seconds) < below:
            return f"{int(seconds // of_unit):,} {name}"
    raise AssertionError("the last unit has no bound")


def milliseconds(seconds: float | None) -> str:
    """Return a short length of time in milliseconds."""
    if seconds is None:
        return UNKNOWN
    value = seconds * 1_000
    return f"{value:,.0f} ms" if abs(value) >= 10 or value == 0 else f"{value:,.1f} ms"


def age(seconds: float | None) -> str:
    """Return how long ago something was."""
    if seconds is None:
        return "never"
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: `1 replica`, `12 replicas`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"
