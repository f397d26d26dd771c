"""The assignment of partitions to the members of a consumer group: balanced, sticky, deterministic.

Balanced: no sequence of hand-overs would bring two members' numbers of partitions closer together;
members with the same topics differ by one at most. Sticky: as far as the balance allows, a member
keeps its partitions, so that a rebalance moves as few as possible.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


Assignment = dict[str, frozenset[TopicPartition]]
"""Member id -> its partitions."""


def assign(
    subscriptions: Mapping[str, Collection[str]],
    counts: Mapping[str, int],
    held: Mapping[str, Collection[TopicPartition]],
) -> Assignment:
    """Return the partitions of each member.

    Args:
        subscriptions: member id -> the names of its topics.
        counts: topic -> number of its partitions; a topic that is missing here has none.
        held: member id -> its partitions before the rebalance; no partition has two members.

    Returns:
        Every member, some with no partition. Each partition of a subscribed topic has exactly one
        member.
    """
    topics = {member: frozenset(names) for member, names in sorted(subscriptions.items())}
    if not topics:
        return {}
    wanted = sorted(frozenset[str]().union(*topics.values()) & counts.keys())
    partitions = [TopicPartition(name, index) for name in wanted for index in range(counts[name])]
    kept = {
        member: sorted(
            one
            for one in set(held.get(member, ()))
            if one.topic in names and 0 <= one.partition < counts.get(one.topic, 0)
        )
        for member, names in topics.items()
    }
    if len(set(topics.values())) == 1:
        shared = _share(partitions, kept)
    else:
        shared = _Exchange(topics, partitions, kept).settle()
    return {member: frozenset(ones) for member, ones in shared.items()}


def _share(
    partitions: Iterable[TopicPartition], kept: Mapping[str, list[TopicPartition]]
) -> dict[str, list[TopicPartition]]:
    """Share partitions among members that may all have any: each keeps up to its limit.

    The limits differ by one; those who keep most get the higher one, and of two who are past it
    always the same, so that giving up the rest changes no limit.
    """
    everything = list(partitions)
    low, extra = divmod(len(everything), len(kept))
    by_kept = sorted(kept, key=lambda member: (-min(len(kept[member]), low + 1), member))
    limits = {member: low + (position < extra) for position, member in enumerate(by_kept)}
    shared = {member: ones[: limits[member]] for member, ones in kept.items()}
    taken = {one for ones in shared.values() for one in ones}
    waiting = [(len(ones), member) for member, ones in shared.items() if len(ones) < limits[member]]
    heapq.heapify(waiting)
    for one in everything:
        if one in taken:
            continue
        load, member = heapq.heappop(waiting)
        shared[member].append(one)
        if load + 1 < limits[member]:
            heapq.heappush(waiting, (load + 1, member))
    return shared


class _Exchange:
    """Shares partitions among members with different topics.

    An assignment whose loads no chain of hand-overs can bring closer together is balanced as well
    as it can be (Harvey, Ladner, Lovász, Tamir: Semi-matchings for bipartite graphs, 2006).
    """

    def __init__(
        self,
        topics: Mapping[str, frozenset[str]],
        partitions: Iterable[TopicPartition],
        kept: Mapping[str, list[TopicPartition]],
    ) -> None:
        self._topics = topics
        self._readers: dict[str, list[str]] = {}
        for member, names in topics.items():
            for name in names:
                self._readers.setdefault(name, []).append(member)
        self._home = {one: member for member, ones in kept.items() for one in ones}
        self._has: dict[str, dict[str, set[TopicPartition]]] = {member: {} for member in topics}
        self._load = dict.fromkeys(topics, 0)
        for one, member in self._home.items():
            self._give(one, member)
        self._place([one for one in partitions if one not in self._home])

    def settle(self) -> dict[str, list[TopicPartition]]:
        """Balance, then give partitions back where that costs no balance; return the shares."""
        self._balance()
        while sum(self._bring_home(one, home) for one, home in sorted(self._home.items())):
            pass
        return {member: list(self._all_of(member)) for member in self._topics}

    def _place(self, free: Iterable[TopicPartition]) -> None:
        """Give free partitions to the members with fewest; topics with few members come first."""
        by_topic: dict[str, list[TopicPartition]] = {}
        for one in free:
            by_topic.setdefault(one.topic, []).append(one)
        for name in sorted(by_topic, key=lambda name: (len(self._readers[name]), name)):
            members = [(self._load[member], member) for member in self._readers[name]]
            heapq.heapify(members)
            for one in by_topic[name]:
                load, member = members[0]
                heapq.heapreplace(members, (load + 1, member))
                self._give(one, member)

    def _balance(self) -> None:
        """Hand over along chains while that brings the loads of two members closer together."""
        loaded = [(-load, member) for member, load in self._load.items()]
        heapq.heapify(loaded)
        settled: set[str] = set()
        while loaded:
            load, member = loaded[0]
            if member in settled or -load != self._load[member]:
                heapq.heappop(loaded)  # Each change of a load has put in a line of its own.
                continue
            chain, seen = self._find_chain(member, settled)
            if not chain:
                # Nobody within reach has fewer by two or more: they all are balanced.
                settled |= seen
                continue
            for (giver, name), taker in zip(
                chain[:-1], [taker for taker, _ in chain[1:]], strict=True
            ):
                self._hand_over(self._choose(giver, name, taker), giver, taker)
            last = chain[-1][0]
            heapq.heapreplace(loaded, (-self._load[member], member))
            heapq.heappush(loaded, (-self._load[last], last))

    def _find_chain(
        self, source: str, settled: Collection[str]
    ) -> tuple[list[tuple[str, str]], set[str]]:
        """Return the shortest chain from a member to one with at least two partitions less.

        Returns:
            (member, topic that it hands over) for each of the chain, empty when there is none; and
            the members that were looked at.
        """
        came: dict[str, tuple[str, str]] = {}
        seen, names_seen = {source}, set[str]()
        line = deque([source])
        while line:
            giver = line.popleft()
            for name in sorted(self._has[giver].keys() - names_seen):
                names_seen.add(name)
                takers = [one for one in self._readers[name] if one not in seen]
                takers = [one for one in takers if one not in settled]
                came.update(dict.fromkeys(takers, (giver, name)))
                seen.update(takers)
                line.extend(takers)
                least = min(takers, key=lambda one: (self._load[one], one), default=source)
                if self._load[least] <= self._load[source] - 2:
                    return self._chain_to(least, source, came), seen
        return [], seen

    @staticmethod
    def _chain_to(
        taker: str, source: str, came: Mapping[str, tuple[str, str]]
    ) -> list[tuple[str, str]]:
        chain = [(taker, "")]
        while chain[-1][0] != source:
            chain.append(came[chain[-1][0]])
        return chain[::-1]

    def _choose(self, giver: str, name: str, taker: str) -> TopicPartition:
        """Return the partition of a topic to hand over: best the taker's own, last the giver's."""
        return max(
            self._has[giver][name],
            key=lambda one: (self._home.get(one) == taker, self._home.get(one) != giver, one),
        )

    def _bring_home(self, one: TopicPartition, home: str) -> bool:
        """Give a partition back to its last member if that costs no balance; return whether so."""
        if one in self._has[home].get(one.topic, ()):
            return False
        holder = next(
            member
            for member in self._readers[one.topic]
            if one in self._has[member].get(one.topic, ())
        )
        if self._load[holder] == self._load[home] + 1:
            self._hand_over(one, holder, home)
            return True
        strange = (
            other
            for other in self._all_of(home)
            if self._home.get(other) != home and other.topic in self._topics[holder]
        )
        other = max(
            strange, key=lambda other: (self._home.get(other) == holder, other), default=None
        )
        if other is None:
            return False
        self._hand_over(one, holder, home)
        self._hand_over(other, home, holder)
        return True

    def _all_of(self, member: str) -> Iterator[TopicPartition]:
        return (one for ones in self._has[member].values() for one in ones)

    def _give(self, one: TopicPartition, member: str) -> None:
        self._has[member].setdefault(one.topic, set()).add(one)
        self._load[member] += 1

    def _hand_over(self, one: TopicPartition, giver: str, taker: str) -> None:
        of_topic = self._has[giver][one.topic]
        of_topic.remove(one)
        if not of_topic:
            del self._has[giver][one.topic]
        self._load[giver] -= 1
        self._give(one, taker)
