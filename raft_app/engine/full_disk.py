"""What a broker does about its leaderships while its disk has less free space than its reserve.

It refuses proposals anyway, so it hands every leadership to a peer that may have room. Nobody
knows which peers are full too: such a peer lets the request to campaign pass by, this replica goes
on leading after an election timeout, and the next peer is asked some seconds later. So where all
disks are full one replica leads on, and what makes room, a Truncate, finds a leader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_app.core.rpcs import TimeoutNow

if TYPE_CHECKING:
    from raft_app.core.rpcs import Rpc
    from raft_app.engine.failover import Failover
    from raft_app.engine.watchdog import DiskSpace

RETRY_MS = 5_000
"""Between two attempts; several election timeouts, in which the group works."""


class FullDisk:
    """Hands leaderships over while the disk is full; lives in the engine's loop."""

    def __init__(self, disk: DiskSpace, failover: Failover, *, tick_ms: int) -> None:
        """Watch a disk.

        Args:
            disk: tells whether it is full.
            failover: hands leaderships over.
            tick_ms: between two calls of `tick`.
        """
        self._disk = disk
        self._failover = failover
        self._retry_ticks = max(1, RETRY_MS // tick_ms)
        self._ticks_left = 0
        self._attempts = 0

    def declines(self, rpc: Rpc) -> bool:
        """Tell whether an RPC would make a replica here a leader that refuses every proposal."""
        return self._disk.full and isinstance(rpc, TimeoutNow)

    def tick(self) -> None:
        """Let one tick pass."""
        self._ticks_left = max(0, self._ticks_left - 1)
        if not self._disk.full:
            self._ticks_left = self._attempts = 0
            return
        if not self._ticks_left and self._failover.hand_over_soon(
            "the disk is full", attempt=self._attempts
        ):
            self._ticks_left = self._retry_ticks
            self._attempts += 1
