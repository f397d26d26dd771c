"""A cluster of many brokers, groups and clients, scaled down: it loses a broker, then a rack.

What 100 brokers with 100,000 partitions would do is a matter of arithmetic; that nothing of what is
promised depends on there being few of them is shown here, with every checker on. The placement of
the product knows no racks: this one puts each replica of a group into another rack, so that what
is left has a quorum of every group, and has to go on.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from broker_app.partition.commands import SetRetention
from raft_app.core.config import RaftConfig
from raft_app.engine.config import EngineConfig
from tests.raft_app.core.simulation.checker import Checker
from tests.simulation.plan import Plan, sleepy
from tests.simulation.simulation import Outcome, Simulation

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.broker import Broker

BROKERS = 9
RACKS = 3
GROUPS = 100
SECONDS = 1.0
"""Of virtual time at least; a run goes on until both losses are over."""
PAUSE_SECONDS = 0.5
"""From the time that every group is led until brokers are lost."""
LED_SECONDS = 10.0
"""After a loss every group is led by others: mostly at once, since connections break; where nobody
noticed that, after an election timeout of up to 2 s; after several where votes were split."""
LOOK_SECONDS = 0.1


class Led(Checker):
    """While a broker or a rack is away, those that are left lead every group."""


def large_plan(seed: int, *, groups: int = GROUPS) -> Plan:
    """Return the plan of a run: nothing goes wrong but that brokers are lost.

    Groups without traffic sleep with every other seed.
    """
    random = Random(seed)
    plan = Plan(
        seed=seed,
        broker_count=BROKERS,
        group_count=groups,
        replica_count=3,
        seconds=SECONDS,
        engine=EngineConfig(raft=RaftConfig()),
        memory_share_bytes=128 << 20,
        loss=0.0,
        duplication=0.0,
        network_delay=random.choice((20, 100)),
        in_order=True,
        cut_keeps_sent=random.random() < 0.5,
        disk_delay=random.choice((0.001, 0.005)),
        clock_drift=random.choice((0.0, 0.02)),
        wall_skew_ms=100,
        faults=(),
        fault_interval=1.0,
        upkeep_interval=2.0,
        retention=SetRetention(),
        producer_count=1,
        consumer_count=1,
        members=False,
        worker_count=0,
        batches_in_flight=1,
        client_pause=1.0,
        racks=RACKS,
    )
    return sleepy(plan) if seed % 2 else plan


class LargeRun:
    """One run.

    Args:
        seed: decides which broker and which rack are lost, and everything else.
        groups: how many.
    """

    def __init__(self, seed: int, *, groups: int = GROUPS) -> None:
        self.simulation = Simulation(seed, plan=large_plan(seed, groups=groups))
        self.led = Led()
        random = Random(f"losses {seed}")
        broker, rack = random.choice(list(self.simulation.brokers)), random.randrange(RACKS)
        racked = [one for one in self.simulation.brokers if one % RACKS == rack]
        self._losses = [[broker], racked]
        self.losses = 0
        """Those after which every group was led by others."""
        self.simulation.is_over = lambda: self.losses == len(self._losses)
        self._later(LOOK_SECONDS, self._begin)

    def run(self) -> Outcome:
        """Run it.

        Raises:
            SimulationFailure: a rule was broken.
        """
        return self.simulation.run()

    def _begin(self) -> None:
        """Lose brokers soon, once all groups are made and have a leader."""
        brokers = self.simulation.brokers.values()
        if self._without_leader() or not all(broker.is_ready for broker in brokers):
            self._later(LOOK_SECONDS, self._begin)
        else:
            self._later(PAUSE_SECONDS, self._lose, self._losses[self.losses])

    def _lose(self, broker_ids: list[int]) -> None:
        lost = [self.simulation.brokers[broker_id] for broker_id in broker_ids]
        for broker in lost:
            self.simulation.faults.kill(broker, 2 * LED_SECONDS)
        self._look(lost, self.simulation.loop.time() + LED_SECONDS)

    def _look(self, lost: list[Broker], until: float) -> None:
        """Wait until every group is led by others, then let the lost brokers come back."""
        without = self._without_leader()
        if without:
            is_late = self.simulation.loop.time() >= until
            ids = [broker.broker_id for broker in lost]
            self.led.require(not is_late, "without brokers %s nobody leads %s", ids, without)
            self._later(LOOK_SECONDS, self._look, lost, until)
            return
        assert not any(broker.alive for broker in lost), "they stay away for longer"
        self.losses += 1
        for broker in lost:
            self.simulation.faults.start_again(broker)
        if self.losses < len(self._losses):
            self._later(LOOK_SECONDS, self._begin)

    def _without_leader(self) -> list[int]:
        led = {
            group_id
            for broker in self.simulation.brokers.values()
            for group_id, replica in broker.replicas.items()
            if replica.serves
        }
        return [one for one in range(1, self.simulation.plan.group_count + 1) if one not in led]

    def _later(self, seconds: float, action: Callable[..., None], *args: object) -> None:
        self.simulation.network.later(seconds, action, *args)
