"""What options mean: durations, sizes, times and numbers, read at one place for all commands.

Each is a `type` of argparse, which names the option when it refuses a value.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta

from myqueue.contract.errors import InvalidRequest

_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([a-z]*)", re.ASCII | re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_BYTES: dict[str, int] = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgtp", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgtp", 1)},
}
UNLIMITED = "unlimited"
_SECONDS_MAX = 3.2e10
"""A thousand years: no time ago is before the calendar begins."""


def duration_s(text: str) -> float:
    """Return seconds: `500ms`, `90s`, `10m`, `2h`, `7d`, `1w`; a plain number is in seconds."""
    return _duration(text, plain="s")


def duration_ms(text: str) -> int:
    """Return milliseconds: the same, but a plain number is in milliseconds."""
    return round(_duration(text, plain="ms") * 1000)


def retention(text: str) -> int | None:
    """Return milliseconds, at least 1: a duration with its unit; None for `unlimited`."""
    if text == UNLIMITED:
        return None
    return at_least_one(str(round(_duration(text, plain=None) * 1000)))


def retention_ms(text: str) -> int | None:
    """Return milliseconds, at least 1: a duration, a plain number is in milliseconds."""
    return None if text == UNLIMITED else at_least_one(str(duration_ms(text)))


def _duration(text: str, *, plain: str | None) -> float:
    found = _AMOUNT.fullmatch(text.strip())
    unit = (found[2].lower() or plain) if found else None
    if found is None or unit not in _SECONDS:
        raise ArgumentTypeError(f"a duration like 500ms, 90s, 10m, 2h or 7d, not {text!r}")
    seconds = float(found[1]) * _SECONDS[unit]
    if seconds > _SECONDS_MAX:
        raise ArgumentTypeError(f"a duration of at most a thousand years, not {text!r}")
    return seconds


def size(text: str) -> int:
    """Return bytes: `512`, `64KiB`, `10GiB`; `10GB` are thousands of thousands."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or found[2].lower() not in _BYTES:
        raise ArgumentTypeError(f"a size like 512, 64KiB, 10GiB or 10GB, not {text!r}")
    return round(float(found[1]) * _BYTES[found[2].lower()])


def size_or_unlimited(text: str) -> int | None:
    """Return bytes, at least 1; None for `unlimited`."""
    return None if text == UNLIMITED else at_least_one(str(size(text)))


def moment(text: str) -> datetime:
    """Return the time that a duration ago, `10m`, or an ISO 8601 text means.

    A text without a zone is local time.
    """
    try:
        if _AMOUNT.fullmatch(text.strip()):
            return datetime.now(UTC) - timedelta(seconds=_duration(text, plain=None))
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError, ArgumentTypeError) as error:
        raise ArgumentTypeError(
            f"a time like 30s, 10m, 2h, 1d ago, or 2026-01-31T12:00, not {text!r}"
        ) from error


def at_least_one(text: str) -> int:
    """Return a whole number from 1."""
    return _whole(text, 1)


def from_zero(text: str) -> int:
    """Return a whole number from 0."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    digits = text.strip().replace("_", "")
    if not (digits.isdecimal() and digits.isascii()) or int(digits) < least:
        raise ArgumentTypeError(f"a number of at least {least}, not {text!r}")
    return int(digits)


def numbers(text: str) -> list[int]:
    """Return whole numbers separated by commas."""
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise ArgumentTypeError(f"numbers separated by commas, not {text!r}")
    return [int(part) for part in parts]


def pattern(text: str) -> re.Pattern[str]:
    """Return a regular expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise ArgumentTypeError(f"no regular expression: {error}") from error


def address(text: str) -> str:
    """Return addresses of managers, as they were given."""
    from myqueue.transport.managers import parse_addresses

    try:
        parse_addresses(text)
    except InvalidRequest as error:
        raise ArgumentTypeError(error.message) from error
    return text


def pair(text: str) -> tuple[str, str]:
    """Return the two sides of `name=value`."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ArgumentTypeError(f"name=value, not {text!r}")
    return name, value
