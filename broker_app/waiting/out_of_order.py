"""Batches that came before their predecessor and wait a moment for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from myqueue.contract.records import MAX_RECORDS

if TYPE_CHECKING:
    from broker_app.partition.statemachine import PartitionState
    from http_base.memory_budget import MemoryShare
    from myqueue.contract.records import BatchHeader

BATCHES_AHEAD_MAX = 4
"""How many batches may come before the one that is due."""


@dataclass(eq=False, slots=True)
class _Parked:
    epoch: int
    base_sequence: int
    size_bytes: int
    woken: asyncio.Future[bool]


class OutOfOrderBatches:
    """Parked batches by group and producer."""

    def __init__(self, *, bytes_max: int, share: MemoryShare) -> None:
        """Make an empty place.

        Args:
            bytes_max: most bytes of all parked batches.
            share: counts them, and half of it bounds them too.
        """
        self._share = share
        self._bytes_max = min(bytes_max, self._share.limit_bytes // 2)
        self._parked: dict[tuple[int, int], list[_Parked]] = {}
        self.parked_bytes = 0
        """Bytes of all parked batches at the moment."""

    async def wait(
        self, state: PartitionState, header: BatchHeader, size_bytes: int, deadline: float
    ) -> bool:
        """Wait for the predecessor of a batch that was refused as too early.

        Args:
            state: the partition, led here.
            header: of the batch.
            size_bytes: of the batch.
            deadline: loop time at which to give up.

        Returns:
            True to try again; False when the batch must be refused: it is too far ahead, its
            predecessor did not come or was refused, or there is no room.
        """
        expected = state.expected_sequence(header.producer_id, header.producer_epoch)
        ahead = header.base_sequence - expected
        if ahead == 0:
            return True
        key = (state.spec.group_id, header.producer_id)
        loop = asyncio.get_running_loop()
        if (
            not 0 < ahead <= BATCHES_AHEAD_MAX * MAX_RECORDS
            or len(self._parked.get(key, ())) >= BATCHES_AHEAD_MAX
            or self.parked_bytes + size_bytes > self._bytes_max
            or deadline <= loop.time()
        ):
            return False
        state.on_sequence = self.sequence_entered
        parked = _Parked(
            header.producer_epoch, header.base_sequence, size_bytes, loop.create_future()
        )
        self._parked.setdefault(key, []).append(parked)
        self._count(size_bytes)
        timer = loop.call_at(deadline, _resolve, parked, False)
        try:
            return await parked.woken
        finally:
            timer.cancel()
            self._count(-size_bytes)
            self._leave(key, parked)

    def sequence_entered(self, group_id: int, producer_id: int) -> None:
        """Wake the parked batches of a producer, one of whose batches entered the log."""
        for parked in self._parked.get((group_id, producer_id), ()):
            _resolve(parked, True)

    def predecessor_refused(self, group_id: int, header: BatchHeader) -> None:
        """Have the batches behind a refused one refused too."""
        for parked in self._parked.get((group_id, header.producer_id), ()):
            behind = parked.base_sequence > header.base_sequence
            if behind and parked.epoch == header.producer_epoch:
                _resolve(parked, False)

    def _count(self, change_bytes: int) -> None:
        self.parked_bytes += change_bytes
        self._share.move(change_bytes)

    def _leave(self, key: tuple[int, int], parked: _Parked) -> None:
        behind = self._parked[key]
        behind.remove(parked)
        if not behind:
            del self._parked[key]


def _resolve(parked: _Parked, again: bool) -> None:
    if not parked.woken.done():
        parked.woken.set_result(again)
