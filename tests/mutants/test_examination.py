from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mutants.examination import Verdict, examine, examine_one, unfit_tests
from tests.mutants.tree import Tree
from tests.mutants.trial import Ending, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.mutants.mutant import Mutant


class Runner:
    """Says what pytest would say of the small repository, and remembers what was run."""

    def __init__(self) -> None:
        self.runs: list[list[str]] = []

    def __call__(self, tree: Tree, tests: Sequence[str]) -> Trial:
        names = [test.rpartition("::")[2] for test in tests]
        self.runs.append(names)
        has_fault = "a - b" in (tree.root / "sums.py").read_text()
        fails = "test_that_fails" in names or (has_fault and "test_two_and_three" in names)
        return Trial(Ending.FAILED if fails else Ending.PASSED, 0.5, "what pytest wrote")


def test_each_verdict_comes_from_its_cause(
    tree: Tree, subtracting: Mutant, missed: Mutant, outdated: Mutant, unfit: Mutant
) -> None:
    results = examine((subtracting, missed, outdated, unfit), [tree], run=Runner())
    assert {result.mutant.name: result.verdict for result in results} == {
        "subtracting": Verdict.FOUND,
        "missed": Verdict.MISSED,
        "outdated": Verdict.OUTDATED,
        "unfit": Verdict.UNFIT,
    }


def test_tests_are_run_together_before_the_first_fault(
    tree: Tree, subtracting: Mutant, missed: Mutant
) -> None:
    runner = Runner()
    list(examine((subtracting, missed), [tree], run=runner))
    assert runner.runs == [
        ["test_nothing", "test_two_and_three"],
        ["test_two_and_three"],
        ["test_nothing"],
    ]


def test_tests_that_fail_without_a_fault_are_singled_out(tree: Tree) -> None:
    tests = ["test_sums.py::test_nothing", "test_sums.py::test_that_fails"]
    assert unfit_tests(tests, tree, run=Runner()) == {tests[1]: "what pytest wrote"}


def test_run_without_an_end_is_undecided(tree: Tree, subtracting: Mutant) -> None:
    def run(tree: Tree, tests: Sequence[str]) -> Trial:
        return Trial(Ending.UNDECIDED, 9.0, "")

    assert examine_one(subtracting, tree, run=run).verdict is Verdict.UNDECIDED


def test_several_trees_share_the_work(
    repository: Path, tmp_path: Path, subtracting: Mutant, missed: Mutant
) -> None:
    trees = [Tree.copy(repository, tmp_path / str(number)) for number in range(3)]
    results = list(examine([subtracting, missed] * 5, trees, run=Runner()))
    assert [result.verdict for result in results].count(Verdict.FOUND) == 5
    assert {(tree.root / "sums.py").read_text() for tree in trees} == {
        (repository / "sums.py").read_text()
    }


def test_pytest_itself_finds_one_fault_and_misses_the_other(
    tree: Tree, subtracting: Mutant, missed: Mutant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    results = {result.mutant.name: result for result in examine((subtracting, missed), [tree])}
    assert results["subtracting"].verdict is Verdict.FOUND
    assert "assert -1 == 5" in results["subtracting"].output
    assert results["missed"].verdict is Verdict.MISSED
