"""How often a broker's replicas saw a new term, and how often one of them was elected."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

    from raft_app.engine.replica import Replica


class Elections:
    """Counts what the engine tells of leaderships.

    Attributes:
        terms: new ones since the start, of all replicas; the first that is seen of one is none.
        won: terms in which a replica here became the leader.
    """

    def __init__(self) -> None:
        self.terms = self.won = 0
        self._terms: dict[int, int] = {}
        self._led: dict[int, int] = {}
        """By group id: the last term that was led here."""

    def note(self, replica: Replica) -> None:
        """Take in that role, leader or term of a replica may have changed."""
        group_id, term = replica.group_id, replica.node.term
        self.terms += max(0, term - self._terms.get(group_id, term))
        self._terms[group_id] = term
        if replica.is_leader and self._led.get(group_id) != term:
            self._led[group_id] = term
            self.won += 1

    def forget_others(self, group_ids: Container[int]) -> None:
        """Forget the replicas of all groups but these."""
        for group_id in [group_id for group_id in self._terms if group_id not in group_ids]:
            del self._terms[group_id]
            self._led.pop(group_id, None)
