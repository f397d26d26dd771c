from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from myqueue.cli import values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("90s", 90),
        ("1.5m", 90),
        ("10min", 600),
        (" 2h ", 7_200),
        ("7d", 604_800),
        ("1w", 604_800),
        ("120", 120),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert values.duration_s(text) == seconds


def test_a_number_without_a_unit_has_that_of_the_option() -> None:
    assert values.duration_ms("86400000") == 86_400_000 == values.duration_ms("1d")
    assert values.retention_ms("60000") == 60_000 == values.retention("1m")
    assert values.retention("unlimited") is values.retention_ms("unlimited") is None
    with pytest.raises(argparse.ArgumentTypeError, match="a duration like"):
        values.retention("60000")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512),
        ("512B", 512),
        ("64KiB", 64 << 10),
        ("10 GiB", 10 << 30),
        ("10GB", 10**10),
        ("1.5mib", 3 << 19),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert values.size(text) == size == values.size_or_unlimited(text)


def test_a_size_may_be_unlimited() -> None:
    assert values.size_or_unlimited("unlimited") is None


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("30s", timedelta(seconds=30)),
        ("10m", timedelta(minutes=10)),
        (" 2h ", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
    ],
)
def test_a_time_ago(text: str, ago: timedelta) -> None:
    assert abs(datetime.now(UTC) - ago - values.moment(text)) < timedelta(seconds=30)


def test_a_time_of_the_calendar() -> None:
    assert values.moment("2026-01-31T12:00+00:00") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert values.moment("2026-01-31").tzinfo is not None


REFUSED: list[tuple[Callable[[str], Any], list[str]]] = [
    (values.moment, ["", "10", "m", "10x", "-5m", "soon", "999999999d"]),
    (values.duration_s, ["", "x", "-1s", "1y", "1e9s", "999999999999w", "٣s"]),
    (values.size, ["", "GiB", "-1", "1gig", "1s"]),
    (values.size_or_unlimited, ["0", "none"]),
    (values.retention, ["0s", "0.1ms"]),
    (values.retention_ms, ["0"]),
    (values.at_least_one, ["0", "x", "-1", "1.5", "²"]),
    (values.from_zero, ["-1", ""]),
    (values.numbers, ["", "1,,2", "1,x"]),
    (values.pattern, ["("]),
    (values.pair, ["", "name", "=value"]),
    (values.address, ["", "8000"]),
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, of in REFUSED for text in of])
def test_what_means_nothing_is_refused(kind: Callable[[str], Any], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        kind(text)


def test_what_means_something_is_taken() -> None:
    assert values.at_least_one("1_000") == 1_000
    assert values.from_zero("0") == 0
    assert values.numbers("0,2") == [0, 2]
    assert values.pair("a=b=c") == ("a", "b=c")
    assert values.pattern("a+").pattern == "a+"
    assert values.address("http://a:1,http://b:1") == "http://a:1,http://b:1"
