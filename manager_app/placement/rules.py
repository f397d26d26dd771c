"""Where new replicas are placed and which leadership should move: pure decisions of the manager.

Everything is deterministic: equal brokers are told apart by their id.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence


@dataclass(frozen=True)
class BrokerLoad:
    """How much a broker that may be given replicas holds already."""

    broker_id: int
    replicas: int = 0
    leaders: int = 0
    """Partitions whose first replica it holds."""
    rack: str = ""
    """What it shares a failure with; "" stands for a rack of its own."""


@dataclass(frozen=True)
class LedPartition:
    """A partition, its leader and its other replicas."""

    group_id: int
    leader: int
    """Broker id."""
    replicas: tuple[int, ...]
    """Broker ids of all replicas, the leader's included."""


@dataclass(frozen=True)
class Transfer:
    """A leadership that should move."""

    group_id: int
    source: int
    target: int


def place_partitions(
    count: int, replication_factor: int, loads: Sequence[BrokerLoad]
) -> list[tuple[int, ...]]:
    """Choose brokers for the replicas of new partitions.

    The first of a partition's replicas campaigns at once. It goes to the broker with the fewest
    leaders, the others to racks that have none of it yet, there to the brokers with the fewest
    replicas.

    Args:
        count: partitions to place.
        replication_factor: replicas of each, all on different brokers.
        loads: the live brokers, at least `replication_factor` of them, in any order.

    Returns:
        Broker ids per partition, leader first.
    """
    assert 1 <= replication_factor <= len(loads), "the caller checks that there are enough brokers"
    replicas = {load.broker_id: load.replicas for load in loads}
    leaders = {load.broker_id: load.leaders for load in loads}
    racks = {load.broker_id: load.rack for load in loads}
    placed = []
    for _ in range(count):
        first = min(replicas, key=lambda broker: (leaders[broker], replicas[broker], broker))
        chosen = [first]
        crowd = Counter({racks[first]: 1})
        while len(chosen) < replication_factor:
            broker = min(
                replicas.keys() - set(chosen),
                key=lambda broker: (crowding(racks[broker], crowd), replicas[broker], broker),
            )
            chosen.append(broker)
            crowd[racks[broker]] += 1
        leaders[first] += 1
        for broker in chosen:
            replicas[broker] += 1
        placed.append(tuple(chosen))
    return placed


def crowding(rack: str, crowd: Mapping[str, int]) -> int:
    """Return how many replicas of a partition a rack has already, by rack; 0 where none is told."""
    return crowd.get(rack, 0) if rack else 0


def is_spread(led: Mapping[int | None, int], live: Collection[int]) -> bool:
    """Tell whether no transfer helps, whatever the partitions are.

    Args:
        led: how many partitions each broker leads, by its id; none where it leads none.
        live: ids of the brokers that may lead.
    """
    counts = [led.get(broker_id, 0) for broker_id in live]
    return not counts or max(counts) - min(counts) < 2


def choose_transfers(
    partitions: Iterable[LedPartition],
    live: Collection[int],
    *,
    without: Collection[tuple[int, int]] = (),
    at_most: int = 1,
) -> list[Transfer]:
    """Return the leaderships whose moves help most, one after the other; none when all is spread.

    A move helps when its source leads at least two partitions more than its target. Moves that
    help exist in chains too (a to b, b to c), so repeated calls reach a spread that no single
    move improves.

    Args:
        partitions: those with a leader.
        live: ids of the brokers that may lead.
        without: group ids with the brokers that their leadership is not to move to.
        at_most: so many, each of another partition.
    """
    partitions = list(partitions)
    led = Counter(dict.fromkeys(live, 0))
    led.update(partition.leader for partition in partitions if partition.leader in led)
    movable = _movable(partitions, led, without)
    chosen: dict[int, Transfer] = {}
    while len(chosen) < at_most:
        options = []
        for (source, target), group_ids in movable.items():
            while group_ids and group_ids[-1] in chosen:
                group_ids.pop()
            if group_ids and led[source] - led[target] >= 2:
                options.append((led[source] - led[target], -group_ids[-1], -target, source))
        if not options:
            break
        _, negative_group, negative_target, source = max(options)
        transfer = Transfer(-negative_group, source, -negative_target)
        chosen[transfer.group_id] = transfer
        led[source] -= 1
        led[transfer.target] += 1
    return list(chosen.values())


def _movable(
    partitions: Iterable[LedPartition],
    live: Collection[int],
    without: Collection[tuple[int, int]],
) -> dict[tuple[int, int], list[int]]:
    """Return the group ids by source and target of a move, the highest first."""
    movable: dict[tuple[int, int], list[int]] = defaultdict(list)
    for partition in partitions:
        if partition.leader in live:
            for target in partition.replicas:
                if target in live and (partition.group_id, target) not in without:
                    movable[partition.leader, target].append(partition.group_id)
    for group_ids in movable.values():
        group_ids.sort(reverse=True)
    return movable
