"""Which replicas should move so that racks and brokers share them: pure decisions of the manager.

A rack counts more than a number: first the partitions that have two replicas in one rack while
another rack has none, then brokers that hold two replicas more than others. Nothing here looks at
time; how fast moves follow each other is the executor's concern.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class HeldReplica:
    """One of the voters of a partition that needs no repair."""

    replica_id: int
    broker_id: int


@dataclass(frozen=True, slots=True)
class HeldPartition:
    """A partition that needs no repair."""

    group_id: int
    version: int
    """Of the placement."""
    leader: int
    """Broker id."""
    size_bytes: int
    replicas: tuple[HeldReplica, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """A replica that should be on another broker."""

    group_id: int
    version: int
    replica_id: int
    source: int
    target: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RecentPlan:
    """A plan, and of when it is."""

    at_s: float
    """Monotonic time."""
    version: int
    """Of the metadata."""
    moves: list[Move]


@dataclass(frozen=True, slots=True)
class Balance:
    """The brokers between which replicas move."""

    sources: Collection[int]
    """Brokers that stay."""
    targets: Collection[int]
    """Those of them that may be given more."""
    racks: Mapping[int, str]
    """Of all brokers; "" and none are a rack of their own."""
    held: Mapping[int, int]
    """Replicas of each broker, those that are on their way to it included."""


def is_level(balance: Balance) -> bool:
    """Tell whether there is nothing to move, whatever the partitions are.

    Every broker is then a rack of its own, so that no partition has two replicas in one, and none
    holds two replicas more than another that may be given more.
    """
    racks = [rack for one in balance.sources if (rack := balance.racks.get(one))]
    if len(set(racks)) < len(racks):
        return False
    held = balance.held
    most = max((held.get(one, 0) for one in balance.sources), default=0)
    fewest = min((held.get(one, 0) for one in balance.targets), default=most)
    return most - fewest < 2


def plan_moves(partitions: Sequence[HeldPartition], balance: Balance) -> list[Move]:
    """Return the moves after which everything is shared, in the order in which to make them.

    A partition moves once at most; what is left then shows in the next plan. No move puts a
    partition into fewer racks.

    Args:
        partitions: those that need no repair and are not on the move.
        balance: the brokers.
    """
    plan = _Plan(partitions, balance)
    plan.spread_racks()
    plan.level()
    return plan.moves


class _Plan:
    def __init__(self, partitions: Sequence[HeldPartition], balance: Balance) -> None:
        self._balance = balance
        self._count = Counter({one: balance.held.get(one, 0) for one in balance.sources})
        self._partitions = {one.group_id: one for one in partitions}
        self._brokers = {
            one.group_id: {replica.broker_id for replica in one.replicas} for one in partitions
        }
        self._moved: set[int] = set()
        self.moves: list[Move] = []

    def spread_racks(self) -> None:
        """Move one of two replicas in a rack to a rack that has none."""
        for partition in self._partitions.values():
            racks = Counter(self._rack(replica.broker_id) for replica in partition.replicas)
            crowded = [
                replica
                for replica in partition.replicas
                if racks[self._rack(replica.broker_id)] > 1
                and replica.broker_id in self._balance.sources
            ]
            free = [
                broker_id
                for broker_id in self._balance.targets
                if broker_id not in self._brokers[partition.group_id]
                and self._rack(broker_id) not in racks
            ]
            if crowded and free:
                replica = max(
                    crowded,
                    key=lambda one: (
                        one.broker_id != partition.leader,
                        self._count[one.broker_id],
                        one.broker_id,
                    ),
                )
                self._move(partition, replica, min(free, key=self._fewest))

    def level(self) -> None:
        """Move from the brokers with the most replicas to those with the fewest."""
        exhausted: set[tuple[int, int]] = set()
        movable = self._movable()
        while True:
            for source, target in self._unequal(exhausted):
                if self._move_one(source, target, movable.get(source, deque())):
                    break
                exhausted.add((source, target))
            else:
                return

    def _movable(self) -> dict[int, deque[int]]:
        """Return the group ids by broker, those first that cost least: not led there, and small."""
        movable: dict[int, list[HeldPartition]] = defaultdict(list)
        for partition in self._partitions.values():
            for replica in partition.replicas:
                movable[replica.broker_id].append(partition)
        return {
            broker_id: deque(
                one.group_id
                for one in sorted(
                    held, key=lambda one: (one.leader == broker_id, one.size_bytes, one.group_id)
                )
            )
            for broker_id, held in movable.items()
        }

    def _unequal(self, exhausted: Collection[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Yield pairs of brokers between which a move helps, the most unequal first."""
        count = self._count
        pairs = [
            (count[target] - count[source], source, target)
            for source in self._balance.sources
            for target in self._balance.targets
            if count[source] - count[target] >= 2 and (source, target) not in exhausted
        ]
        for _, source, target in sorted(pairs):
            yield source, target

    def _move_one(self, source: int, target: int, held: deque[int]) -> bool:
        while held and held[0] in self._moved:
            held.popleft()
        for group_id in held:
            partition = self._partitions[group_id]
            if self._may_move(partition, source, target):
                replica = next(one for one in partition.replicas if one.broker_id == source)
                self._move(partition, replica, target)
                return True
        return False

    def _may_move(self, partition: HeldPartition, source: int, target: int) -> bool:
        brokers = self._brokers[partition.group_id]
        if partition.group_id in self._moved or target in brokers:
            return False
        stay = {self._rack(broker_id) for broker_id in brokers if broker_id != source}
        return self._rack(target) not in stay or self._rack(source) in stay

    def _move(self, partition: HeldPartition, replica: HeldReplica, target: int) -> None:
        self._moved.add(partition.group_id)
        self._count[replica.broker_id] -= 1
        self._count[target] += 1
        self.moves.append(
            Move(
                group_id=partition.group_id,
                version=partition.version,
                replica_id=replica.replica_id,
                source=replica.broker_id,
                target=target,
                size_bytes=partition.size_bytes,
            )
        )

    def _rack(self, broker_id: int) -> str | int:
        return self._balance.racks.get(broker_id) or broker_id

    def _fewest(self, broker_id: int) -> tuple[int, int]:
        return self._count[broker_id], broker_id
