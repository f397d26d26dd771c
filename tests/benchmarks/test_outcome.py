from __future__ import annotations

from benchmarks.measurement import Figure
from tests.benchmarks.samples import measured, outcome


def test_an_outcome_sums_up_its_runs():
    found = outcome("sync_1", measured(100), measured(300), measured(200))
    assert found.summary(Figure.PER_SECOND) == (200, 100, 300)
    assert found.compared == 30
    assert found.medians().messages == 200
