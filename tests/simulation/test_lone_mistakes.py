"""Each checker of the simulation finds a planted mistake although all others look away."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.raft_app.core.simulation.checker import Checker
from tests.simulation.asking import Answers
from tests.simulation.lone_mistakes import LONE_MISTAKES, LoneMistake, lets_only_see
from tests.simulation.mistakes import require_sound
from tests.simulation.promises import Admission
from tests.simulation.simulation import Complete, Liveness, Simulation, SimulationFailure
from tests.simulation.watch import GroupWatch

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.simulation

SECONDS = 6.0
SEEDS = 8
"""One of the first so many seeds shows each mistake; most do at once."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_every_checker_has_a_mistake_to_find() -> None:
    of_groups = [value for value in vars(GroupWatch(1)).values() if isinstance(value, Checker)]
    checkers = {type(checker) for checker in of_groups} | {Admission, Answers, Complete, Liveness}
    assert {mistake.checker for mistake in LONE_MISTAKES} == {one.__name__ for one in checkers}


@pytest.mark.parametrize("mistake", LONE_MISTAKES, ids=str)
def test_mistake_is_found_by_its_checker_alone(
    mistake: LoneMistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake.plant(monkeypatch)
    lets_only_see(mistake.checker, monkeypatch)
    for seed in (*mistake.seeds, *range(1, SEEDS + 1)):
        try:
            Simulation(
                seed, seconds=SECONDS, faults=mistake.faults, naps=mistake.naps, rollbacks=False
            ).run()
        except SimulationFailure as failure:
            require_sound(failure)
            if failure.checker == mistake.checker and mistake.says in str(failure):
                return
    pytest.fail(f"no seed up to {SEEDS} shows it")
