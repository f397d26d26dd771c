"""Checkers of sleep: on whom a node sleeps, and with what."""

from __future__ import annotations

from tests.raft_app.core.simulation.checker import Checker


class SleepsOnTheLiving(Checker):
    """No follower sleeps long past the death, the pause or the silence of its leader's process."""

    def __init__(self, limit_ticks: int) -> None:
        self._limit_ticks = limit_ticks
        self._ticks: dict[int, int] = {}

    def ticked(self, replica_id: int, leader: int, *, sleeps: bool, leader_is_heard: bool) -> None:
        """The clock of a follower ticked.

        Args:
            replica_id: who it is.
            leader: on whom it sleeps, if it does.
            sleeps: whether it does.
            leader_is_heard: the leader's process runs, and the link from it works.
        """
        if not sleeps or leader_is_heard:
            self._ticks.pop(replica_id, None)
            return
        ticks = self._ticks[replica_id] = self._ticks.get(replica_id, 0) + 1
        self.require(
            ticks <= self._limit_ticks,
            "replica %s sleeps %s ticks after its leader %s was last heard",
            replica_id,
            ticks,
            leader,
        )


class SleepsStranded(Checker):
    """Nobody who knows no leader sleeps for long while a quorum is in reach."""

    def __init__(self, limit_ticks: int) -> None:
        self._limit_ticks = limit_ticks
        self._ticks: dict[int, int] = {}
        self.strands = 0
        """How often a node was seen to sleep without a leader."""

    def ticked(self, replica_id: int, *, sleeps: bool, quorum_is_heard: bool) -> None:
        """The clock of a node that knows no leader ticked.

        Args:
            replica_id: who it is.
            sleeps: whether it sleeps, and knows no leader.
            quorum_is_heard: so many voters run, and the links from them work.
        """
        if not sleeps:
            self._ticks.pop(replica_id, None)
            return
        self.strands += replica_id not in self._ticks
        ticks = self._ticks.get(replica_id, 0) + 1 if quorum_is_heard else 0
        self._ticks[replica_id] = ticks
        self.require(
            ticks <= self._limit_ticks,
            "replica %s sleeps without a leader, and hears a quorum for %s ticks",
            replica_id,
            ticks,
        )


class SleepsComplete(Checker):
    """Who sleeps on a leader has nothing in its log that is not committed."""

    def __init__(self) -> None:
        self.sleeps = 0
        """How often a node was seen to fall asleep."""
        self._asleep: set[int] = set()

    def ticked(self, replica_id: int, *, sleeps: bool, last_index: int, committed: int) -> None:
        """The clock of a node ticked.

        Args:
            replica_id: who it is.
            sleeps: whether it sleeps, and knows a leader.
            last_index: the end of its log.
            committed: up to where the log is known to be committed, by anybody.
        """
        if not sleeps:
            self._asleep.discard(replica_id)
            return
        self.sleeps += replica_id not in self._asleep
        self._asleep.add(replica_id)
        self.require(
            last_index <= committed,
            "replica %s sleeps with a log up to %s, of which %s is committed",
            replica_id,
            last_index,
            committed,
        )
