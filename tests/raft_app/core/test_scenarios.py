"""Every scenario file prints exactly what it says.

`pytest tests/raft_app/core/test_scenarios.py --rewrite` writes the outputs anew; commit only the
differences that you understand.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.raft_app.core.scenario import run_text

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


def test_there_are_scenarios():
    assert len(SCENARIOS) >= 12


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario_prints_exactly_what_its_file_says(path: Path, request: pytest.FixtureRequest):
    given = path.read_text()

    printed = run_text(given)

    if request.config.getoption("--rewrite", default=False):
        path.write_text(printed)
    else:
        assert printed == given
