from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mutants.trial import Ending, run_tests

if TYPE_CHECKING:
    from tests.mutants.tree import Tree


@pytest.fixture(autouse=True)
def _without_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def test_test_that_is_not_there_decides_nothing(tree: Tree) -> None:
    trial = run_tests(tree, ["test_sums.py::test_that_is_not_there"])
    assert trial.ending is Ending.UNDECIDED
    assert "not found" in trial.output


def test_test_that_takes_too_long_decides_nothing(tree: Tree) -> None:
    trial = run_tests(tree, ["test_sums.py"], timeout_s=0.0)
    assert trial.ending is Ending.UNDECIDED
    assert "not over after 0 s" in trial.output
