"""The core survives what seeds do to it, and the simulation finds planted mistakes."""

from __future__ import annotations

import statistics

import pytest

from tests.raft_app.core.simulation.__main__ import main
from tests.raft_app.core.simulation.broken_changes import CHANGE_MISTAKES
from tests.raft_app.core.simulation.broken_cores import MISTAKES, Mistake, acknowledges_early
from tests.raft_app.core.simulation.plan import Fault
from tests.raft_app.core.simulation.simulation import Simulation, SimulationFailure

pytestmark = pytest.mark.simulation

MISTAKE_SEEDS = 300
"""One of the first so many seeds shows each planted mistake; most do at once."""


@pytest.mark.parametrize("seed", range(1, 21))
def test_group_keeps_all_promises_under_faults_and_recovers(seed: int) -> None:
    Simulation(seed).run()


@pytest.mark.parametrize("seed", range(2_001, 2_013))
def test_group_keeps_all_promises_while_its_members_change_and_take_snapshots(seed: int) -> None:
    Simulation(seed, changing=True).run()


def test_runs_are_full_of_changes_and_snapshots() -> None:
    outcomes = [Simulation(seed, changing=True).run() for seed in range(3_001, 3_006)]
    assert sum(outcome.changes for outcome in outcomes) > 10 * len(outcomes)
    assert sum(outcome.snapshots for outcome in outcomes) > 3 * len(outcomes)


def test_groups_sleep_again_and_again() -> None:
    outcomes = [Simulation(seed, naps=True).run() for seed in range(4_001, 4_011)]
    assert sum(outcome.sleeps for outcome in outcomes) > 6 * len(outcomes)
    assert sum(outcome.strands for outcome in outcomes) > len(outcomes)


def test_disks_that_are_put_back_to_an_earlier_state_lose_nothing() -> None:
    faults = (Fault.ROLLBACK, Fault.CRASH_LEADER, Fault.ISOLATE_LEADER)
    runs = [Simulation(seed, faults=faults) for seed in range(1, 7)]
    for run in runs:
        run.run()
    assert sum(run.faults.rollbacks for run in runs) > 3


def test_no_group_sleeps_unless_told_to() -> None:
    assert Simulation(4_001, naps=False).run().sleeps == 0


def test_one_seed_always_gives_the_same_run() -> None:
    assert Simulation(7).run() == Simulation(7).run()
    assert Simulation(7).run() != Simulation(8).run()


def test_runs_are_full_of_events() -> None:
    outcomes = [Simulation(seed, naps=False).run() for seed in range(1_001, 1_009)]
    assert sum(outcome.elections for outcome in outcomes) > 5 * len(outcomes)
    assert sum(outcome.crashes for outcome in outcomes) > 5 * len(outcomes)
    assert sum(outcome.reads for outcome in outcomes) > 20 * len(outcomes)
    assert sum(outcome.acknowledged for outcome in outcomes) > 100 * len(outcomes)


def test_killed_leader_is_replaced_in_a_fraction_of_the_election_timeout() -> None:
    runs = [Simulation(seed, node_count=3, steps=300) for seed in range(1, 41)]
    parts = [run.run().failover_ticks / run.plan.config.election_timeout_ticks for run in runs]
    assert statistics.median(parts) < 0.3


@pytest.mark.parametrize("fault", Fault)
def test_group_survives_each_kind_of_fault_alone(fault: Fault) -> None:
    Simulation(3, steps=3_000, faults=(fault,)).run()


@pytest.mark.parametrize(
    "mistake", [*MISTAKES, *CHANGE_MISTAKES], ids=lambda mistake: mistake.plant.__name__
)
def test_planted_mistake_is_found(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake.plant(monkeypatch)
    for seed in (*mistake.seeds, *range(1, MISTAKE_SEEDS + 1)):
        try:
            Simulation(
                seed, faults=mistake.faults, changing=mistake.changing, naps=mistake.naps
            ).run()
        except SimulationFailure as failure:
            if failure.checker in mistake.checkers:
                return
    pytest.fail(f"no seed up to {MISTAKE_SEEDS} shows it")


def test_command_line_tells_of_clean_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3", "--steps", "500"]) == 0
    output = capsys.readouterr().out
    assert "3/3 seeds" in output
    assert "3 seeds clean" in output


def test_command_line_tells_seed_checker_and_trace_of_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledges_early(monkeypatch)
    assert main(["--seed", "5", "--nodes", "3"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 10
    assert any("receives" in line for line in lines)
    assert lines[-2].startswith("seed 5: DurableFirst: ")
    assert lines[-1].endswith("--seed 5 --steps 6000 --nodes 3")
