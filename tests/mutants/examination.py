"""Whether each fault is found: first the tests without any, then each test with its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from enum import StrEnum
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from tests.mutants.mutant import DoesNotApply
from tests.mutants.trial import Ending, Trial, run_tests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mutants.mutant import Mutant
    from tests.mutants.tree import Tree

Run = Callable[["Tree", Sequence[str]], Trial]
"""Runs tests in a tree."""


class Verdict(StrEnum):
    """What came of one mutant."""

    FOUND = "found"
    """Its test passes without the fault and fails with it."""
    MISSED = "MISSED"
    """Its test passes with the fault."""
    OUTDATED = "does not apply"
    """The text that it changes is no longer in the code."""
    UNFIT = "test unfit"
    """Its test does not pass without the fault."""
    UNDECIDED = "undecided"
    """With the fault, its test could not be run to its end."""


class Result(NamedTuple):
    """The verdict on one mutant and what led to it."""

    mutant: Mutant
    verdict: Verdict
    seconds: float = 0.0
    output: str = ""
    """Of the test, or why the fault cannot be planted."""


_VERDICTS = {
    Ending.FAILED: Verdict.FOUND,
    Ending.PASSED: Verdict.MISSED,
    Ending.UNDECIDED: Verdict.UNDECIDED,
}


def examine(
    mutants: Sequence[Mutant], trees: Sequence[Tree], *, run: Run = run_tests
) -> Iterator[Result]:
    """Yield the results as they come, one trial per tree at a time.

    Args:
        mutants: what to try.
        trees: unchanged copies of the repository, at least one.
        run: how tests are run.
    """
    unfit = unfit_tests(sorted({mutant.test for mutant in mutants}), trees[0], run=run)
    free: SimpleQueue[Tree] = SimpleQueue()
    for tree in trees:
        free.put(tree)

    def examine_next(mutant: Mutant) -> Result:
        if mutant.test in unfit:
            return Result(mutant, Verdict.UNFIT, output=unfit[mutant.test])
        tree = free.get()
        try:
            return examine_one(mutant, tree, run=run)
        finally:
            free.put(tree)

    with ThreadPoolExecutor(len(trees)) as pool:
        for future in as_completed([pool.submit(examine_next, mutant) for mutant in mutants]):
            yield future.result()


def unfit_tests(tests: Sequence[str], tree: Tree, *, run: Run = run_tests) -> dict[str, str]:
    """Return the tests that do not pass as things are, with their output.

    All are run at once, and one by one only when that does not pass.
    """
    if run(tree, tests).ending is Ending.PASSED:
        return {}
    trials = {test: run(tree, [test]) for test in tests}
    return {
        test: trial.output for test, trial in trials.items() if trial.ending is not Ending.PASSED
    }


def examine_one(mutant: Mutant, tree: Tree, *, run: Run = run_tests) -> Result:
    """Plant one fault, run its test, take the fault back."""
    try:
        with tree.with_fault(mutant):
            trial = run(tree, [mutant.test])
    except DoesNotApply as error:
        return Result(mutant, Verdict.OUTDATED, output=str(error))
    return Result(mutant, _VERDICTS[trial.ending], trial.seconds, trial.output)
