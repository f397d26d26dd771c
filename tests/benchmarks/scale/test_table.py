from __future__ import annotations

import pytest

from benchmarks.scale.check import AT_MOST, Compared
from benchmarks.scale.costs import Growth
from benchmarks.scale.model import Demand, Recovery
from benchmarks.scale.table import (
    compared_lines,
    demand_lines,
    growth_lines,
    number,
    recovery_lines,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01234, "0.0123"), (12, "12"), (1_234, "1.23 k"), (5.6e6, "5.6 M"), (8e9, "8 G")],
)
def test_three_digits_count(value, text):
    assert number(value) == text


def test_a_demand_without_a_limit_has_no_ratio():
    lines = list(
        demand_lines(
            [Demand("manager", "memory", 4e9, "bytes", 8e9), Demand("broker", "file", 7, "bytes")]
        )
    )
    assert lines[2].split("|")[3:6] == [" 4 G bytes ", " 8 G      ", " 50 %  "]
    assert lines[3].split("|")[3:6] == [" 7 bytes   ", "          ", "       "]


def test_a_loss_is_told_in_minutes():
    (_, _, line) = recovery_lines([("a rack", Recovery(34, 0.25, (1, 3), 12, 65, 600, 90, 30))])
    assert " 25 % " in line
    assert " 10 min " in line
    assert " 1.5 min " in line


def test_a_cost_that_grows_badly_is_marked():
    good, bad = Growth("good", 10, 100, 1.0, 10.0), Growth("bad", 10, 100, 1.0, 50.0)
    (_, _, first, second) = growth_lines([good, bad])
    assert "!" not in first
    assert " 1.70 ! " in second


def test_a_prediction_stands_beside_what_was_measured():
    compared = [
        Compared("report", 1.2, 1.0, "s"),
        Compared(f"led again{AT_MOST}", 2.0, 0.2, "s"),
        Compared(f"frames{AT_MOST}", 2.0, 3.0, "frames/s"),
        Compared("nothing", 2.0, 0.0, "s"),
    ]
    ends = [line.split("|")[-2].strip() for line in compared_lines(compared)][2:]
    assert ends == ["+20 %", "holds", "DOES NOT HOLD", ""]
