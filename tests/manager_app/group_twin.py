"""A partition in memory, as if perfectly replicated, whose leader changes its members."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from http_base.cluster import ReplicaPlace
from myqueue.contract.errors import StalePlacement

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from http_base.cluster import ReplicaOrder, ReplicaTarget
    from myqueue.contract.records import Record


@dataclass
class CommittedTwin:
    """Where a consumer group is in a partition."""

    generation: int = 0
    offset: int = 0
    unsettled: int = 0
    dead: int = 0
    age_ms: int = 0
    """Of the oldest message left."""


@dataclass
class GroupTwin:
    """A partition as all its replicas see it."""

    order: ReplicaOrder
    leader: int = 0
    term: int = 0
    records: list[Record] = field(default_factory=list)
    begin: int = 0
    """The log start offset; what is below is purged."""
    cursors: dict[int, int] = field(default_factory=dict)
    missed: int = 0
    """What every pop says that the consumer missed."""
    corrupt: int = 0
    """What every pop says that it stepped over."""
    offsets: dict[str, CommittedTwin] = field(default_factory=dict)
    """By consumer group."""
    pops: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    appends: dict[tuple[int, object], int] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    voters: dict[int, int] = field(default_factory=dict)
    """Replica id -> broker id, as `learners`."""
    learners: dict[int, int] = field(default_factory=dict)
    target: dict[int, int] = field(default_factory=dict)
    version: int = 0
    suspects: set[int] = field(default_factory=set)
    history: list[list[int]] = field(default_factory=list)
    """The voters after each step."""

    def __post_init__(self) -> None:
        self.voters = {place.replica_id: place.broker_id for place in self.order.replicas}
        self.target = dict(self.voters)
        self.version = self.order.version

    @property
    def brokers(self) -> list[int]:
        return list(self.voters.values())

    @property
    def members(self) -> dict[int, int]:
        return self.voters | self.learners

    @staticmethod
    def places(members: Mapping[int, int]) -> list[ReplicaPlace]:
        return [ReplicaPlace(replica_id, broker_id) for replica_id, broker_id in members.items()]

    def append(self, records: list[Record]) -> int:
        offset = len(self.records)
        self.records += records
        self.arrived.set()
        self.arrived = asyncio.Event()
        return offset

    def change(self, target: ReplicaTarget) -> None:
        """Take another target."""
        wanted = {place.replica_id: place.broker_id for place in target.replicas}
        assert wanted
        if target.version < self.version:
            raise StalePlacement
        if target.version == self.version and wanted != self.target:
            raise StalePlacement
        self.target, self.version = wanted, target.version

    def advance(self, sound: Collection[int]) -> bool:
        """Do one step towards the target; return whether there was one.

        Args:
            sound: ids of the replicas that are there and well; the others never catch up.
        """
        new = [one for one in self.target if one not in self.members]
        ready = [one for one in self.learners if one in self.target and one in sound]
        old = [one for one in self.voters if one not in self.target]
        stale = [one for one in self.learners if one not in self.target]
        if stale:
            del self.learners[stale[0]]
        elif new:
            assert self.target[new[0]] not in self.members.values(), "one replica per broker"
            self.learners[new[0]] = self.target[new[0]]
        elif ready:
            self.voters[ready[0]] = self.learners.pop(ready[0])
        elif old and len(self.voters) > len(self.target):
            if self.voters[old[0]] == self.leader:
                heirs = [broker for one, broker in self.voters.items() if one in self.target]
                self.leader = heirs[0]
                self.term += 1
            del self.voters[old[0]]
        else:
            return False
        self.history.append(sorted(self.voters))
        return True
