from __future__ import annotations

import pytest

from benchmarks.scale.costs import Growth, Line


def test_a_line_goes_through_two_points():
    line = Line.through((10, 5.0), (30, 9.0))
    assert (line.at(10), line.at(30), line.at(0)) == pytest.approx((5.0, 9.0, 3.0))


def test_noise_makes_no_cost_negative():
    assert Line.through((10, 5.0), (30, 4.0)) == Line(5.0, 0.0)
    assert Line.through((10, 1.0), (30, 9.0)) == Line(0.0, 0.4)


@pytest.mark.parametrize(("larger_s", "exponent"), [(1.0, 0.0), (10.0, 1.0), (100.0, 2.0)])
def test_growth_is_told_by_its_exponent(larger_s, exponent):
    assert Growth("look", 100, 1_000, 1.0, larger_s).exponent == pytest.approx(exponent)
