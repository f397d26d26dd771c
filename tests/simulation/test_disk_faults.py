"""What brokers do when their disks are full, slow, or broken."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.simulation.disk import Breakage
from tests.simulation.plan import Fault
from tests.simulation.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.broker import Broker

pytestmark = pytest.mark.simulation

SEEDS = (1,)
BEGIN_SECONDS = 3.0


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Scene:
    """A quiet run in which one thing happens to the leader's disk."""

    def __init__(self, seed: int, *, seconds: float = 14.0) -> None:
        self.simulation = Simulation(seed, seconds=seconds, faults=(Fault.SCRUB,), naps=False)
        self.victim: Broker
        self.replica_id = 0

    def at(self, seconds: float, action: Callable[[], object]) -> None:
        self.simulation.network.later(seconds, action)

    def begin(self, action: Callable[[Broker], object]) -> None:
        """Do something to the broker that leads group 1."""

        def choose() -> None:
            self.victim = self.leader()
            self.replica_id = self.victim.replicas[1].spec.replica_id
            action(self.victim)

        self.at(BEGIN_SECONDS, choose)

    def leader(self) -> Broker:
        brokers = self.simulation.brokers.values()
        [leader] = [one for one in brokers if 1 in one.replicas and one.replicas[1].serves]
        return leader

    @property
    def term(self) -> int:
        return max(
            broker.replicas[1].node.term
            for broker in self.simulation.brokers.values()
            if 1 in broker.replicas
        )

    @property
    def acknowledged(self) -> int:
        return self.simulation.watch.groups[1].history.acknowledged


@pytest.mark.parametrize("seed", SEEDS)
def test_leader_on_a_full_disk_hands_over_and_may_lead_again_once_there_is_room(seed: int) -> None:
    scene, seen = Scene(seed), []
    scene.begin(lambda broker: setattr(broker.disk, "free_bytes", 0))
    scene.at(9.0, lambda: seen.append((scene.leader(), scene.acknowledged)))
    scene.at(11.0, lambda: seen.append((scene.leader(), scene.acknowledged)))
    scene.at(11.5, lambda: scene.victim.disk.make_room())
    scene.at(13.5, lambda: seen.append(scene.victim.engine.disk.full))
    scene.simulation.run()
    (early, before), (late, after), is_full = seen
    assert scene.victim not in (early, late)
    assert after > before
    assert not is_full


@pytest.mark.parametrize("breakage", [Breakage.WRITE, Breakage.SYNC])
@pytest.mark.parametrize("seed", SEEDS)
def test_broker_whose_disk_fails_comes_back_with_faulty_replicas_and_is_healed(
    seed: int, breakage: Breakage
) -> None:
    scene, seen = Scene(seed), []

    def fail(broker: Broker) -> None:
        broker.disk.breakage = breakage
        for placement in scene.simulation.placements:
            if broker.broker_id in placement.target:
                placement.lose(broker.broker_id)

    scene.begin(fail)
    scene.at(
        BEGIN_SECONDS + 1.0,
        lambda: seen.append((scene.victim.lives, scene.victim.disk.replica(1))),
    )
    outcome = scene.simulation.run()
    [(lives, replica)] = seen
    assert (outcome.disk_errors, lives) == (1, 2)
    assert replica is None or replica.faulty or replica.spec.replica_id != scene.replica_id
    assert scene.victim.replicas[1].spec.replica_id != scene.replica_id


@pytest.mark.parametrize("seed", SEEDS)
def test_broker_without_any_room_goes_on_where_it_was_once_there_is_some(seed: int) -> None:
    scene = Scene(seed)

    def fill(broker: Broker) -> None:
        broker.disk.free_bytes, broker.disk.breakage = 0, Breakage.NO_ROOM

    scene.begin(fill)
    scene.at(8.0, lambda: scene.victim.disk.make_room())
    outcome = scene.simulation.run()
    assert outcome.disk_errors >= 1
    assert scene.victim.replicas[1].spec.replica_id == scene.replica_id
    assert not scene.victim.replicas[1].faulty


@pytest.mark.parametrize("seconds", [0.2, 2.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_slow_disk_causes_no_election_but_a_much_slower_one_is_handed_over(
    seed: int, seconds: float
) -> None:
    scene, terms = Scene(seed), []
    scene.begin(lambda broker: setattr(broker.disk, "slow_seconds", seconds))
    scene.at(BEGIN_SECONDS + 0.01, lambda: terms.append(scene.term))
    scene.at(12.0, lambda: terms.append(scene.term))
    scene.simulation.run()
    assert terms[1] - terms[0] == (seconds > 1.0)
