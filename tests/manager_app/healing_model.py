"""One partition with its brokers and its manager, small enough to think about.

Replicas hold all acknowledged messages, or nothing yet, or are bad. A manager knows what was
reported, decides by `next_steps`, and may be interrupted before each step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from manager_app.placement.repair_rules import (
    AskLeader,
    Discard,
    Flaw,
    Forget,
    MemberRole,
    PartitionFacts,
    ReplicaFacts,
    Retarget,
    next_steps,
)

if TYPE_CHECKING:
    import random

    from manager_app.placement.repair_rules import Step

FULL, EMPTY, BAD = "full", "empty", "bad"


@dataclass
class Row:
    """What the manager stores of a replica."""

    replica_id: int
    broker_id: int
    role: MemberRole
    leaving: bool = False
    reported: bool = False
    bad: bool = False
    gone: bool = False


class Model:
    def __init__(self, chance: random.Random, *, brokers: int, factor: int) -> None:
        self.chance = chance
        self.factor = factor
        self.up = dict.fromkeys(range(1, brokers + 1), True)
        self.draining: set[int] = set()
        self.abandoned: set[int] = set()
        self.held: dict[int, tuple[int, str]] = {}
        """Broker id -> replica id and what it holds."""
        self.voters: dict[int, int] = {}
        """Replica id -> broker id."""
        self.learners: dict[int, int] = {}
        self.target: dict[int, int] = {}
        self.rows: list[Row] = []
        self.last_id = 0
        for broker_id in range(1, factor + 1):
            row = self._new_row(broker_id, MemberRole.VOTER)
            self.held[broker_id] = (row.replica_id, FULL)
            self.voters[row.replica_id] = broker_id
        self.target = dict(self.voters)

    def is_full(self, replica_id: int) -> bool:
        return (replica_id, FULL) in self.held.values()

    def answers(self, replica_id: int, broker_id: int) -> bool:
        return self.up[broker_id] and self.held.get(broker_id) == (replica_id, FULL)

    @property
    def is_led(self) -> bool:
        answering = [one for one in self.voters.items() if self.answers(*one)]
        return 2 * len(answering) > len(self.voters)

    def disturb(self) -> None:
        """Let a broker end, come back, be drained or not, or a replica go bad."""
        broker_id = self.chance.choice(list(self.up))
        match self.chance.randrange(8):
            case 0:
                self.up[broker_id] = False
            case 1 | 2:
                self.up[broker_id] = True
                self.abandoned.discard(broker_id)
            case 3 if not self.up[broker_id]:
                self.abandoned.add(broker_id)
            case 4:
                self.draining ^= {broker_id}
            case 5 | 6 if broker_id in self.held:
                self._spoil(broker_id)

    def calm(self) -> None:
        self.up = dict.fromkeys(self.up, True)
        self.draining.clear()
        self.abandoned.clear()

    def turn(self) -> None:
        """Let brokers report, the manager act, and replicas catch up."""
        self._report()
        loads = {one: 0 for one, up in self.up.items() if up and one not in self.draining}
        for step in next_steps(self.facts(), loads):
            if self.chance.random() < 0.1:
                return
            self._act(step)
        for row in self.rows:
            if not row.leaving and not row.reported and self.up[row.broker_id]:
                self.held.setdefault(row.broker_id, (row.replica_id, EMPTY))
        for replica_id, broker_id in self.learners.items():
            if (
                self.is_led
                and self.up[broker_id]
                and self.held.get(broker_id)
                == (
                    replica_id,
                    EMPTY,
                )
            ):
                self.held[broker_id] = (replica_id, FULL)

    def facts(self) -> PartitionFacts:
        return PartitionFacts(
            group_id=1,
            version=1,
            replication_factor=self.factor,
            led=self.is_led,
            replicas=tuple(self._facts_of(row) for row in self.rows),
            strangers=len({*self.voters, *self.learners} - {row.replica_id for row in self.rows}),
        )

    def check(self) -> None:
        """Check that the messages are safe."""
        full = [one for one in self.voters if self.is_full(one)]
        assert 2 * len(full) > len(self.voters), "a majority has the messages"
        assert any(not row.leaving for row in self.rows)
        brokers = [*self.voters.values(), *self.learners.values()]
        assert len(set(brokers)) == len(brokers)

    def check_healed(self) -> None:
        assert self.is_led
        assert len(self.voters) == self.factor
        assert all(self.is_full(one) for one in self.voters)
        assert not self.learners
        assert {row.replica_id for row in self.rows} == set(self.voters)
        assert {replica_id for replica_id, _ in self.held.values()} == set(self.voters)

    def _new_row(self, broker_id: int, role: MemberRole) -> Row:
        assert all(row.broker_id != broker_id for row in self.rows)
        self.last_id += 1
        row = Row(self.last_id, broker_id, role)
        self.rows.append(row)
        return row

    def _spoil(self, broker_id: int) -> None:
        """Damage a replica, unless a majority of the voters would not have the messages."""
        replica_id, _ = self.held[broker_id]
        left = [one for one in self.voters if one != replica_id and self.is_full(one)]
        if replica_id not in self.voters or 2 * len(left) > len(self.voters):
            self.held[broker_id] = (replica_id, BAD)

    def _report(self) -> None:
        for row in self.rows:
            if self.is_led:
                row.role = self._role(row.replica_id)
            if not self.up[row.broker_id]:
                continue
            replica_id, content = self.held.get(row.broker_id, (0, EMPTY))
            if replica_id == row.replica_id:
                row.reported, row.bad = True, content == BAD
            elif row.reported or row.leaving:
                row.gone = True

    def _role(self, replica_id: int) -> MemberRole:
        if replica_id in self.voters:
            return MemberRole.VOTER
        return MemberRole.LEARNER if replica_id in self.learners else MemberRole.NONE

    def _facts_of(self, row: Row) -> ReplicaFacts:
        up, drained = self.up[row.broker_id], row.broker_id in self.draining
        flaw = Flaw.DRAINING if drained else Flaw.NONE
        if row.bad or row.gone:
            flaw = Flaw.LOST
        elif not up:
            flaw = Flaw.ABANDONED if row.broker_id in self.abandoned else Flaw.SILENT
        return ReplicaFacts(
            replica_id=row.replica_id,
            broker_id=row.broker_id,
            flaw=flaw,
            role=row.role,
            leaving=row.leaving,
            gone=row.gone,
            reachable=up,
            refillable=up and not drained,
        )

    def _act(self, step: Step) -> None:
        match step:
            case AskLeader():
                self.target = {
                    row.replica_id: row.broker_id for row in self.rows if not row.leaving
                }
                for _ in range(self.chance.randrange(4)):
                    self._advance()
            case Retarget():
                self._retarget(step)
            case Discard():
                replica_id, broker_id = step.replica_id, step.broker_id
                assert replica_id not in self.voters, "only what left is dropped"
                assert self.up[broker_id]
                if replica_id not in self.learners:
                    if self.held.get(broker_id, (0, EMPTY))[0] == replica_id:
                        del self.held[broker_id]
                    self._forget(replica_id)
            case Forget():
                self._forget(step.replica_id)

    def _forget(self, replica_id: int) -> None:
        self.rows = [row for row in self.rows if row.replica_id != replica_id]

    def _retarget(self, step: Retarget) -> None:
        for row in self.rows:
            if row.replica_id == step.drop:
                row.leaving = True
                if row.role == MemberRole.VOTER and self.answers(row.replica_id, row.broker_id):
                    assert (step.add, step.keep) != (None, None), "it has a successor"
            if row.replica_id == step.keep:
                row.leaving = False
        if step.add is not None:
            self._new_row(step.add, MemberRole.NONE)

    def _advance(self) -> None:
        """Let the leader do one step."""
        if not self.is_led:
            return
        members = self.voters | self.learners
        stale = [one for one in self.learners if one not in self.target]
        new = [
            one
            for one, broker_id in self.target.items()
            if one not in members and broker_id not in members.values()
        ]
        ready = [
            one
            for one, broker_id in self.learners.items()
            if one in self.target and self.answers(one, broker_id)
        ]
        old = sorted(
            (one for one in self.voters if one not in self.target),
            key=lambda one: self.answers(one, self.voters[one]),
        )
        if stale:
            del self.learners[stale[0]]
        elif new:
            self.learners[new[0]] = self.target[new[0]]
        elif ready:
            self.voters[ready[0]] = self.learners.pop(ready[0])
        elif old and len(self.voters) > len(self.target):
            removed = self.voters.pop(old[0])
            if not self.is_led:  # the entry does not commit without a majority
                self.voters[old[0]] = removed
