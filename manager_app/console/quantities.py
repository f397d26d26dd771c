"""Lengths of time and sizes as people type them: `7 days`, `36 h`, `10 GiB`; empty for no limit."""

from __future__ import annotations

import re

from myqueue.contract.errors import InvalidRequest

_AMOUNT = re.compile(r"\s*([0-9]{1,12}(?:[.,][0-9]{1,6})?)\s*([A-Za-z]*)\s*", re.ASCII)
MILLISECONDS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
"""Unit -> milliseconds."""
BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
"""Unit -> bytes."""
_ALSO = {
    "ms": ("millisecond", "milliseconds"),
    "s": ("sec", "second", "seconds"),
    "min": ("m", "minute", "minutes"),
    "h": ("hour", "hours"),
    "d": ("day", "days"),
    "B": ("byte", "bytes"),
    "KiB": ("k", "kb"),
    "MiB": ("m", "mb"),
    "GiB": ("g", "gb"),
    "TiB": ("t", "tb"),
}


def read_duration_ms(text: str) -> int | None:
    """Return milliseconds; None where nothing is typed.

    Raises:
        InvalidRequest: it is no length of time.
    """
    return _read(text, MILLISECONDS, "7 days, 36 h or 90 min")


def read_bytes(text: str) -> int | None:
    """Return bytes; None where nothing is typed.

    Raises:
        InvalidRequest: it is no size.
    """
    return _read(text, BYTES, "500 MiB or 10 GiB")


def write_duration_ms(milliseconds: int | None) -> str:
    """Return what reads as the same length of time, in the largest unit that fits."""
    return _write(milliseconds, MILLISECONDS)


def write_bytes(count: int | None) -> str:
    """Return what reads as the same size, in the largest unit that fits."""
    return _write(count, BYTES)


def _read(text: str, units: dict[str, int], like: str) -> int | None:
    if not text.strip():
        return None
    found = _AMOUNT.fullmatch(text)
    of_unit = _unit(found[2], units) if found else 0
    if found is None or not of_unit:
        raise InvalidRequest(f"{text[:40]!r} is none: write it like {like}")
    amount = round(float(found[1].replace(",", ".")) * of_unit)
    if amount < 1:
        raise InvalidRequest("it must be above 0; leave it empty for no limit")
    return amount


def _unit(typed: str, units: dict[str, int]) -> int:
    for name, size in units.items():
        if typed.lower() in (name.lower(), *_ALSO[name]):
            return size
    return 0


def _write(amount: int | None, units: dict[str, int]) -> str:
    if amount is None:
        return ""
    name, size = [(name, size) for name, size in units.items() if amount % size == 0][-1]
    return f"{amount // size} {name}"
