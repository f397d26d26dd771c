from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

import pytest

from myqueue.cli.text import broker_state, count_of, parse_since, print_line


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
    assert abs(datetime.now(UTC) - ago - parse_since(text)) < timedelta(seconds=30)


def test_a_time_of_the_calendar() -> None:
    assert parse_since("2026-01-31T12:00+00:00") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert parse_since("2026-01-31").tzinfo is not None


@pytest.mark.parametrize("text", ["", "10", "m", "10x", "-5m", "soon", "999999999d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse_since(text)


def test_a_line_has_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("a", 1)
    print_line()
    assert capsys.readouterr().out == "a\t1\n\n"


def test_one_thing_is_not_several() -> None:
    assert [count_of(n, "message") for n in range(3)] == ["0 messages", "1 message", "2 messages"]


def test_a_broker_that_is_being_emptied_says_so() -> None:
    assert broker_state({"state": "suspect", "draining": False}) == "suspect"
    assert broker_state({"state": "dead", "draining": True}) == "dead, draining"
    assert broker_state({}) == "-"
