"""The producers of a partition: epoch and last sequences of each, so that a retry is recognised."""

from __future__ import annotations

from typing import NamedTuple

from broker_app.partition.aged_table import AgedTable
from broker_app.partition.commands import Appended

SEQUENCES_REMEMBERED = 5
"""Last batches of a producer whose retries are answered with their offsets."""

BatchRow = tuple[int, int, int]
"""(base sequence, record count, base offset)."""


class ProducerState(NamedTuple):
    """What a partition knows of one producer."""

    epoch: int
    next_sequence: int
    """Sequence that the next batch must begin with: sequences count messages."""
    batches: tuple[BatchRow, ...]
    """The last batches of this epoch, oldest first."""

    def answer_to(self, base_sequence: int, record_count: int) -> Appended | None:
        """Return the result of the remembered batch with that sequence and length, if any."""
        for sequence, count, base_offset in self.batches:
            if sequence == base_sequence and count == record_count:
                return Appended(base_offset, count)
        return None


class ProducerTable(AgedTable[int, ProducerState]):
    """Producer id -> what is known of it."""

    def append(self, producer_id: int, epoch: int, row: BatchRow) -> None:
        """Note an applied batch; a new epoch forgets the batches of the one before."""
        known = self.get(producer_id)
        earlier = known.batches if known is not None and known.epoch == epoch else ()
        batches = (*earlier, row)[-SEQUENCES_REMEMBERED:]
        self.put(producer_id, ProducerState(epoch, row[0] + row[1], batches))
