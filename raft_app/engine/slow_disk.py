"""What a broker does about its leaderships while its disk is slower than those of its peers.

Heartbeats need no disk, so a leader whose disk takes seconds for a sync, or hangs, is deposed by
nobody; but it applies only what its own disk has, too, and everybody waits for it. That a quorum
has stored what is still being written here shows that others are quicker. A leader that finds
itself in that place most of the time, for some seconds, hands over. Where all disks are slow the
leader is the last one only now and then, and leads on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raft_app.engine.failover import Failover
    from raft_app.engine.group import Group
    from raft_app.storage.stream import StorageStream

SLOW_MS = 200
"""A transaction that takes longer than this may be waited for."""
PATIENCE_MS = 3_000
"""How long a leader is the last one, without a break, before it hands over."""
FORGIVEN = 2
"""So much time in which it is not makes up for one part in which it is: a leader that is the last
one for less than a third of the time leads on."""
REST_MS = 30_000
"""After handing over, before the next time; and without a slow transaction, before the disk counts
as quick again."""
SLOW_TRANSACTION_MS = 1_000
"""A transaction that takes longer than this tells by itself that the disk is slow now."""


class SlowDisk:
    """Hands leaderships over while the disk is slow; lives in the engine's loop."""

    def __init__(
        self,
        stream: StorageStream,
        groups: Mapping[int, Group],
        failover: Failover,
        *,
        tick_ms: int,
    ) -> None:
        """Watch a disk.

        Args:
            stream: the transactions of this broker.
            groups: the engine's, by group id.
            failover: hands leaderships over.
            tick_ms: between two calls of `tick`.
        """
        self._stream = stream
        self._groups = groups
        self._failover = failover
        self._tick_seconds = tick_ms / 1000
        self._slow_ticks = max(1, SLOW_MS // tick_ms)
        self._patience = FORGIVEN * max(1, PATIENCE_MS // tick_ms)
        self._rest_ticks = max(1, REST_MS // tick_ms)
        self._transactions = 0
        self._ticks_under_way = 0
        """Since the transaction under way was first seen."""
        self._score = 0
        self._ticks_left = 0
        """Before it may hand over again."""
        self._ticks_until_quick = 0
        self._attempts = 0

    @property
    def seconds_so_far(self) -> float:
        """How long the transaction under way has taken; 0 when there is none."""
        return self._ticks_under_way * self._tick_seconds

    @property
    def is_slow(self) -> bool:
        """Whether leaderships had better stay away: they would be handed over again.

        So it is from a hand-over until no transaction was slow for `REST_MS`, and while a
        transaction takes longer than `SLOW_TRANSACTION_MS`.
        """
        return self._ticks_until_quick > 0 or self.seconds_so_far >= SLOW_TRANSACTION_MS / 1000

    def tick(self) -> None:
        """Let one tick pass."""
        self._look_at_transaction()
        if self._ticks_until_quick:
            is_slow_now = self._ticks_under_way >= self._slow_ticks
            self._ticks_until_quick = (
                self._rest_ticks if is_slow_now else self._ticks_until_quick - 1
            )
        if self._ticks_left:
            self._ticks_left -= 1
            return
        if not self._is_waited_for():
            self._score = max(0, self._score - 1)
            return
        self._score += FORGIVEN
        if self._score >= self._patience:
            self._score, self._ticks_left = 0, self._rest_ticks
            self._ticks_until_quick = self._rest_ticks
            self._failover.hand_over_soon(
                "the disk is slower than those of a quorum", attempt=self._attempts
            )
            self._attempts += 1

    def _look_at_transaction(self) -> None:
        transactions = self._stream.transactions
        is_same = self._stream.is_writing and transactions == self._transactions
        self._ticks_under_way = self._ticks_under_way + 1 if is_same else 0
        self._transactions = transactions

    def _is_waited_for(self) -> bool:
        """Tell whether a quorum has stored what is being written here for long."""
        return self._ticks_under_way >= self._slow_ticks and any(
            group.is_leader and group.applied_index < group.commit_index
            for group in self._groups.values()
        )
