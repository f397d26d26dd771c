"""ReadIndex reads (thesis, section 6.4): which are waiting for which round of heartbeats.

A read is registered with the commit index of that moment. The next round of heartbeats confirms it
as soon as a quorum has answered that round or a later one. Reads that come before the round leaves
share it.
"""

from __future__ import annotations

from collections import deque

from raft_app.core.types import ReadConfirmed


class PendingReads:
    """The reads of one leader.

    Attributes:
        round_number: number of the last round that was started; rises over the node's whole life,
            so that no late reply can confirm a later read.
        confirmed: reads to hand out as confirmed.
        failed: contexts to hand out as failed.
        unstarted: reads that wait for a round to be started.
    """

    __slots__ = ("_waiting", "confirmed", "failed", "round_number", "unstarted")

    def __init__(self) -> None:
        self.round_number = 0
        self.confirmed: list[ReadConfirmed] = []
        self.failed: list[int] = []
        self.unstarted: list[ReadConfirmed] = []
        self._waiting: deque[tuple[int, list[ReadConfirmed]]] = deque()

    @property
    def is_waiting(self) -> bool:
        """A started round is not confirmed yet."""
        return bool(self._waiting)

    def add(self, context: int, index: int) -> None:
        """Register a read that needs `index` applied."""
        self.unstarted.append(ReadConfirmed(context, index))

    def start_round(self) -> None:
        """The next heartbeats carry a new round number, for every read registered so far."""
        self.round_number += 1
        self._waiting.append((self.round_number, self.unstarted))
        self.unstarted = []

    def confirm(self, round_number: int) -> None:
        """A quorum has answered `round_number` or later ones."""
        while self._waiting and self._waiting[0][0] <= round_number:
            self.confirmed.extend(self._waiting.popleft()[1])

    def fail_all(self) -> None:
        """Leadership is lost: no waiting read can be confirmed any more."""
        for _, reads in self._waiting:
            self.failed.extend(read.context for read in reads)
        self.failed.extend(read.context for read in self.unstarted)
        self._waiting.clear()
        self.unstarted = []
