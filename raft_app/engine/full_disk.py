"""What a broker does about its leaderships while its disk has less free space than its reserve.

It refuses proposals anyway, so it hands every leadership to a peer that may have room. Nobody
knows which peers are full too: such a peer lets the request to campaign pass by, this replica goes
on leading after an election timeout, and the next peer is asked some seconds later. So where all
disks are full one replica leads on, and what makes room, a Truncate, finds a leader.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from myqueue.errors import QueueError
from raft_app.core.rpcs import TimeoutNow
from raft_app.engine.failover import successors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from raft_app.core.rpcs import Rpc
    from raft_app.engine.failover import Failover
    from raft_app.engine.group import Group
    from raft_app.engine.watchdog import DiskSpace

logger = logging.getLogger(__name__)

RETRY_MS = 5_000
"""Between two attempts; several election timeouts, in which the group works."""
TRANSFER_TIMEOUT_MS = 2_000


class FullDisk:
    """Hands leaderships over while the disk is full; lives in the engine's loop."""

    def __init__(
        self, disk: DiskSpace, groups: Mapping[int, Group], failover: Failover, *, tick_ms: int
    ) -> None:
        """Watch a disk.

        Args:
            disk: tells whether it is full.
            groups: the engine's, by group id.
            failover: hands leaderships over.
            tick_ms: between two calls of `tick`.
        """
        self._disk = disk
        self._groups = groups
        self._failover = failover
        self._retry_ticks = max(1, RETRY_MS // tick_ms)
        self._ticks_left = 0
        self._attempts = 0
        self._transfers: set[asyncio.Task[None]] = set()

    def declines(self, rpc: Rpc) -> bool:
        """Tell whether an RPC would make a replica here a leader that refuses every proposal."""
        return self._disk.full and isinstance(rpc, TimeoutNow)

    def tick(self) -> None:
        """Let one tick pass."""
        self._ticks_left = max(0, self._ticks_left - 1)
        if not self._disk.full:
            self._ticks_left = self._attempts = 0
            return
        if self._ticks_left:
            return
        led = [group for group in self._groups.values() if group.serves]
        if led:
            self._ticks_left = self._retry_ticks
            for group in led:
                self._hand_over(group)
            self._attempts += 1

    async def stop(self) -> None:
        """End the transfers under way."""
        for task in self._transfers:
            task.cancel()
        await asyncio.gather(*self._transfers, return_exceptions=True)

    def _hand_over(self, group: Group) -> None:
        brokers = successors(group)
        if brokers:
            broker_id = brokers[self._attempts % len(brokers)]
            task = asyncio.get_running_loop().create_task(self._transfer(group, broker_id))
            self._transfers.add(task)
            task.add_done_callback(self._transfers.discard)

    async def _transfer(self, group: Group, broker_id: int) -> None:
        try:
            await self._failover.transfer(group, broker_id, timeout_ms=TRANSFER_TIMEOUT_MS)
        except QueueError as error:
            logger.warning("%s: the disk is full, and: %s", group.label, error)
        else:
            logger.warning("%s: the disk is full, broker %d leads", group.label, broker_id)
