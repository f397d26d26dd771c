"""Checkers of elections and promises: leaders, votes, durability, stickiness, nodes cut off."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.raft_app.core.simulation.checker import Checker

if TYPE_CHECKING:
    from raft_app.core.types import HardState


class OneLeader(Checker):
    """At most one replica leads a term (paper, section 5.2)."""

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}

    def leads(self, replica_id: int, term: int) -> None:
        """A replica is, or acts as, the leader of `term`."""
        known = self.leaders.setdefault(term, replica_id)
        self.require(
            known == replica_id, "replicas %s and %s both lead term %s", known, replica_id, term
        )


class OneVote(Checker):
    """A replica gives one vote per term, whatever happens to its process."""

    def __init__(self) -> None:
        self._votes: dict[tuple[int, int], int] = {}

    def votes(self, replica_id: int, term: int, candidate: int) -> None:
        """A vote of `replica_id` leaves; for itself when it asks for votes."""
        known = self._votes.setdefault((replica_id, term), candidate)
        self.require(
            known == candidate,
            "replica %s votes in term %s for %s and for %s",
            replica_id,
            term,
            known,
            candidate,
        )


class DurableFirst(Checker):
    """What promises something about a disk leaves after that disk has it."""

    def votes(self, replica_id: int, term: int, candidate: int, stored: HardState) -> None:
        """A vote leaves while `stored` is on the disk of its giver."""
        self.require(
            stored.term > term or (stored.term == term and stored.vote == candidate),
            "replica %s votes for %s in term %s with %s on disk",
            replica_id,
            candidate,
            term,
            stored,
        )

    def acknowledged(
        self, replica_id: int, index: int, *, needed_write_id: int, durable_write_id: int
    ) -> None:
        """An acknowledgement of `index` leaves.

        Args:
            replica_id: who acknowledges.
            index: the acknowledged index.
            needed_write_id: the write that put the acknowledged entry into the log.
            durable_write_id: the last write that is on disk.
        """
        self.require(
            durable_write_id >= needed_write_id,
            "replica %s acknowledges index %s of write %s with write %s on disk",
            replica_id,
            index,
            needed_write_id,
            durable_write_id,
        )


class Stickiness(Checker):
    """Who hears a leader grants no vote and no pre-vote, save in a transfer of leadership.

    A grant may leave later than it was decided, so each request that need not be refused allows one
    grant.
    """

    def __init__(self) -> None:
        self._allowed: Counter[tuple[type, int, int, int]] = Counter()

    def asked(self, kind: type, replica_id: int, candidate: int, term: int, *, hears: bool) -> None:
        """A request for a vote or pre-vote arrives; `hears` when it must be refused.

        Args:
            kind: class of the reply that answers it.
            replica_id: who is asked.
            candidate: who asks.
            term: the term of the election.
            hears: the asked one hears its leader, and this is no transfer.
        """
        if not hears:
            self._allowed[kind, replica_id, candidate, term] += 1

    def granted(self, kind: type, replica_id: int, candidate: int, term: int) -> None:
        """A grant leaves `replica_id`."""
        key = (kind, replica_id, candidate, term)
        self._allowed[key] -= 1
        self.require(
            self._allowed[key] >= 0,
            "replica %s hears a leader and yet grants %s to %s for term %s",
            replica_id,
            kind.__name__,
            candidate,
            term,
        )


class CutOff(Checker):
    """A node without any link keeps its term (pre-vote) and stops leading (check-quorum).

    One that sleeps may lead on until it notices, which takes it no longer than that again.
    """

    def __init__(self, step_down_ticks: int) -> None:
        self._step_down_ticks = step_down_ticks
        self._terms: dict[int, int] = {}
        self._ticks: dict[int, int] = {}
        self._slept: dict[int, int] = {}

    def begins(self, replica_id: int, term: int) -> None:
        """From now on nothing that is sent reaches or leaves the replica."""
        self._terms[replica_id] = term
        self._ticks[replica_id] = self._slept[replica_id] = 0

    def hears(self, replica_id: int, term: int) -> None:
        """An RPC that was on its way still arrived and left the replica with `term`."""
        if replica_id in self._terms:
            self.begins(replica_id, term)

    def ends(self, replica_id: int) -> None:
        """The replica has a link again, or its process ended."""
        self._terms.pop(replica_id, None)

    def ticked(self, replica_id: int, term: int, *, leads: bool, sleeps: bool = False) -> None:
        """The replica's clock ticked, or would have if it did not sleep."""
        before = self._terms.get(replica_id)
        if before is None:
            return
        self.require(
            term <= before,
            "replica %s raised its term from %s to %s while cut off",
            replica_id,
            before,
            term,
        )
        counted = self._slept if sleeps else self._ticks
        counted[replica_id] += 1
        self.require(
            not leads or counted[replica_id] <= self._step_down_ticks,
            "replica %s leads %s ticks after it was cut off",
            replica_id,
            counted[replica_id],
        )
