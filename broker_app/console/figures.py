"""The template library of a broker's pages: thousands separators, KiB and MiB."""

from __future__ import annotations

from django import template

register = template.Library()
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@register.filter
def number(value: int) -> str:
    """Return a count as people read it."""
    return f"{value:,}"


@register.filter
def size(value: int) -> str:
    """Return bytes in the unit that leaves one to four digits."""
    left, unit = float(value), 0
    while left >= 1024 and unit < len(_UNITS) - 1:
        left, unit = left / 1024, unit + 1
    return f"{left:,.{0 if unit == 0 or left >= 100 else 1}f} {_UNITS[unit]}"
