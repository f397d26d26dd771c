"""Many brokers, groups and clients go on without a broker, and without a rack."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.simulation import large
from tests.simulation.__main__ import main
from tests.simulation.large import BROKERS, GROUPS, RACKS, LargeRun, large_plan
from tests.simulation.simulation import SimulationFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.simulation

FEW_GROUPS = 20


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("seed", "groups"), [(1, GROUPS), (2, GROUPS), (3, FEW_GROUPS)])
def test_every_group_is_led_without_a_broker_and_without_a_rack(seed: int, groups: int) -> None:
    run = LargeRun(seed, groups=groups)
    outcome = run.run()
    assert run.losses == 2
    assert outcome.crashes >= 1 + BROKERS // RACKS
    assert outcome.elections >= groups
    assert outcome.acknowledged > 2 * groups


def test_replicas_placed_without_racks_go_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Placed by chance, two replicas of a group may be in one rack of three."""

    def without_racks(seed: int, *, groups: int) -> object:
        return replace(large_plan(seed, groups=groups), racks=0)

    monkeypatch.setattr(large, "large_plan", without_racks)
    with pytest.raises(SimulationFailure, match=r"Led: without brokers .* nobody leads"):
        LargeRun(1, groups=FEW_GROUPS).run()


def test_the_command_line_runs_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--large", "--groups", "3", "--seed", "4"]) == 0
    output = capsys.readouterr().out
    assert "1 seeds clean" in output
    assert "4 crashes" in output


def test_the_command_line_tells_how_to_run_a_failure_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "LED_SECONDS", 0.0)
    assert main(["--large", "--groups", "3", "--seed", "4"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("seed 4: Led: without brokers")
    assert lines[-1].endswith("--seed 4 --large --groups 3")
