"""The manager of the simulation: where replicas should be, and asking until they are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myqueue.contract.errors import QueueError
from raft_app.core.types import Membership, RaftMember
from raft_app.storage.protocol import GroupSpec

if TYPE_CHECKING:
    from raft_app.engine.replica import Replica
    from tests.simulation.broker import Broker
    from tests.simulation.simulation import Simulation

LATE_ORDERS = 0.03
"""Part of the looks at a broker at which it hears an old order instead."""
REPLICAS_MAX = 12
"""Replica ids given out in one run for one group, unless a faulty replica needs another one."""


class Placement:
    """The replicas that one group should have.

    Attributes:
        target: by broker id, the replica id there.
        changes: targets so far.
    """

    def __init__(self, simulation: Simulation, group_id: int) -> None:
        self._simulation = simulation
        self._random = simulation.random
        self._group_id = group_id
        count = simulation.plan.replica_count
        brokers = _choose(simulation, count)
        self._given = count
        self._version = 1
        self.target = {
            broker_id: self._replica_id(n) for n, broker_id in enumerate(brokers, start=1)
        }
        self.changes = 0
        self._lost: dict[int, int] = {}
        """By broker id: the replica there that was made unusable, until its broker drops it."""
        self._orders: list[tuple[int, GroupSpec]] = []
        """Replicas that brokers were ever told to make."""

    async def create(self) -> None:
        """Make the group on all its brokers; the first one leads."""
        members = tuple(RaftMember(replica, broker) for broker, replica in self.target.items())
        membership = Membership(voters=members, version=self._version)
        for member in reversed(members):
            broker = self._simulation.brokers[member.broker_id]
            await broker.engine.create_replica(
                self._spec(member.replica_id), membership, campaign=member == members[0]
            )

    def start(self) -> None:
        """Begin to look after the group."""
        self._later()

    # --- targets ----------------------------------------------------------------------------

    def replace(self) -> None:
        """A new replica is wanted in place of one, there or on another broker."""
        if self._misses_one:
            return
        old = self._random.choice(sorted(self.target))
        new = self._random.choice([old, *sorted(set(self._simulation.brokers) - set(self.target))])
        self._change(old, new)

    def resize(self) -> None:
        """One replica more or less is wanted."""
        if self._misses_one:
            return
        free = sorted(set(self._simulation.brokers) - set(self.target))
        if len(self.target) > 3 or (len(self.target) > 2 and not free):
            self._change(self._random.choice(sorted(self.target)), 0)
        elif free:
            self._change(0, self._random.choice(free))

    def replace_faulty(self, broker_id: int) -> None:
        """A replica is faulty: it is to be replaced by a new one."""
        self._set_target(broker_id, broker_id)

    def lose(self, broker_id: int) -> None:
        """Note that the replica on a broker is about to be lost: it takes no other one with it."""
        self._lost[broker_id] = self.target[broker_id]

    @property
    def _misses_one(self) -> bool:
        """A lost replica is still there: to remove another one could leave no quorum."""
        for broker_id, replica_id in list(self._lost.items()):
            replica = self._simulation.brokers[broker_id].disk.replica(self._group_id)
            if replica is None or replica.spec.replica_id != replica_id:
                del self._lost[broker_id]
        is_about_to = any(broker.disk.will_fail for broker in self._simulation.brokers.values())
        return is_about_to or bool(self._lost)

    def may_lose(self, broker_id: int) -> bool:
        """Tell whether all replicas that are wanted are sound voters, the one there among them."""
        replicas = [
            self._simulation.brokers[broker_id].replicas.get(self._group_id)
            for broker_id in self.target
        ]
        return (
            broker_id in self.target
            and len(replicas) >= 3
            and not self._misses_one
            and self._given < REPLICAS_MAX
            and all(
                replica is not None
                and not replica.faulty
                and not replica.node.is_installing
                and replica.node.membership.voter_ids == set(self.target.values())
                and replica.hears_leader
                for replica in replicas
            )
        )

    def _change(self, old: int, new: int) -> None:
        if not new or self._given < REPLICAS_MAX:
            self._set_target(old, new)

    def _set_target(self, old: int, new: int) -> None:
        target = {broker: replica for broker, replica in self.target.items() if broker != old}
        if new:
            self._given += 1
            target[new] = self._replica_id(self._given)
        self.target = target
        self._version += 1
        self.changes += 1
        self._simulation.note("target", self._group_id, target)

    # --- steps ------------------------------------------------------------------------------

    def is_reached(self, membership: Membership) -> bool:
        """Tell whether the replicas are those that are wanted."""
        members = {member.broker_id: member.replica_id for member in membership.voters}
        return members == self.target and not membership.learners

    def _later(self) -> None:
        self._simulation.network.later(0.1 + 0.5 * self._random.random(), self._look)

    def _look(self) -> None:
        self._later()
        leader = self._leader()
        for broker in self._simulation.brokers.values():
            if broker.alive and broker.is_ready and not broker.is_stopping:
                self._look_at(broker, leader)
        if leader is not None:
            leader.serve(self._change_replicas, lambda _: None)

    def _look_at(self, broker: Broker, leader: Broker | None) -> None:
        replica = broker.replicas.get(self._group_id)
        wanted = self.target.get(broker.broker_id)
        if self._orders and self._random.random() < LATE_ORDERS:
            broker.serve(self._join_as_told_before, lambda _: None)
            return
        if replica is None:
            if wanted is None:
                return
            if self._simulation.managers.have_seen(broker.broker_id, self._group_id, wanted):
                self.replace_faulty(broker.broker_id)  # It had it, and an older copy has not.
            else:
                broker.serve(self._join, lambda _: None)
            return
        if replica.faulty and replica.spec.replica_id == wanted:
            self.replace_faulty(broker.broker_id)
        if leader is not None and self._is_superfluous(replica, leader.replicas[self._group_id]):
            broker.serve(self._drop, lambda _: None)

    def _is_superfluous(self, replica: Replica, leader: Replica) -> bool:
        """Tell whether a leader has a committed membership without a replica that nobody wants."""
        replica_id = replica.spec.replica_id
        members = {member.replica_id for member in leader.applied.membership.members}
        in_force = {member.replica_id for member in leader.node.membership.members}
        return replica_id not in {*self.target.values(), *members, *in_force}

    def _leader(self) -> Broker | None:
        leaders = [
            broker
            for broker in self._simulation.brokers.values()
            if self._group_id in broker.replicas and broker.replicas[self._group_id].serves
        ]
        if not leaders or self._random.random() < 0.1:
            return None
        return max(leaders, key=lambda broker: broker.replicas[self._group_id].node.term)

    async def _join(self, broker: Broker) -> None:
        replica_id = self.target.get(broker.broker_id)
        if replica_id is not None:
            self._orders.append((broker.broker_id, self._spec(replica_id)))
            await broker.engine.join_replica(self._spec(replica_id))

    async def _join_as_told_before(self, broker: Broker) -> None:
        """An order for a replica comes late, or once more: perhaps that one is long gone."""
        orders = [spec for broker_id, spec in self._orders if broker_id == broker.broker_id]
        if orders:
            await broker.engine.join_replica(self._random.choice(orders))

    async def _drop(self, broker: Broker) -> None:
        replica = broker.engine.replica(self._group_id)
        if replica.spec.replica_id not in self.target.values():
            self._simulation.note("drops", broker.broker_id, replica.spec)
            await broker.engine.delete_replica(self._group_id)

    async def _change_replicas(self, broker: Broker) -> None:
        if self.changes:
            members = tuple(RaftMember(replica, broker) for broker, replica in self.target.items())
            try:
                broker.engine.change_replicas(self._group_id, members, self._version)
            except QueueError as error:
                self._simulation.note("refuses", broker.broker_id, error)

    def _replica_id(self, number: int) -> int:
        return 100 * self._group_id + number

    def _spec(self, replica_id: int) -> GroupSpec:
        return GroupSpec(self._group_id, replica_id, "logs", self._group_id)


def _choose(simulation: Simulation, count: int) -> list[int]:
    """Return so many brokers, of different racks where there are any."""
    racks = simulation.plan.racks
    if not racks:
        return simulation.random.sample(list(simulation.brokers), count)
    chosen = simulation.random.sample(range(racks), count)
    return [
        simulation.random.choice([one for one in simulation.brokers if one % racks == rack])
        for rack in chosen
    ]
