"""Idempotent producers of a partition: epoch and last sequences of each, to recognise a retry."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from myqueue.contract.errors import OutOfOrderSequence, ProducerFenced, UnknownProducer
from myqueue.contract.rules.aged_table import AgedTable

if TYPE_CHECKING:
    from myqueue.contract.records import BatchHeader

SEQUENCES_REMEMBERED = 5
"""Last batches of a producer whose retries are answered with their offsets: as many as a client may
have in flight to one partition."""

BatchRow = tuple[int, int, int]
"""(base sequence, record count, base offset)."""


class ProducerState(NamedTuple):
    """Epoch, next sequence and last batches of one producer."""

    epoch: int
    next_sequence: int
    """Sequence that the next batch must begin with: sequences count messages."""
    batches: tuple[BatchRow, ...]
    """The last batches of this epoch, oldest first."""

    def find(self, header: BatchHeader) -> int | None:
        """Return the offset of the remembered batch of that epoch, sequence and length, if any."""
        if header.producer_epoch != self.epoch:
            return None
        for sequence, count, base_offset in self.batches:
            if sequence == header.base_sequence and count == header.record_count:
                return base_offset
        return None


class ProducerTable(AgedTable[int, ProducerState]):
    """Producer id -> its state."""

    def append(self, producer_id: int, epoch: int, row: BatchRow) -> None:
        """Note an applied batch; a new epoch forgets the batches of the one before."""
        known = self.get(producer_id)
        earlier = known.batches if known is not None and known.epoch == epoch else ()
        batches = (*earlier, row)[-SEQUENCES_REMEMBERED:]
        self.put(producer_id, ProducerState(epoch, row[0] + row[1], batches))


class ProducerPlace(Protocol):
    """Epoch and next sequence of a producer: applied, or after the batches in flight."""

    @property
    def epoch(self) -> int:
        """Its highest epoch."""
        ...

    @property
    def next_sequence(self) -> int:
        """Sequence that the next batch of that epoch must begin with."""
        ...


def follows(header: BatchHeader, known: ProducerPlace | None) -> bool:
    """Tell whether a batch has the next sequence of its producer; if not, it may be a repetition.

    Raises:
        UnknownProducer: the producer is unknown, and the batch does not begin at sequence 0.
        ProducerFenced: the producer was used with a higher epoch.
    """
    producer_id, epoch, sequence = header.producer_id, header.producer_epoch, header.base_sequence
    if known is None:
        if sequence:
            raise UnknownProducer(
                f"the partition does not know producer {producer_id}: begin at sequence 0,"
                f" with a higher epoch than {epoch} if it was used before, not at {sequence}",
                expected_sequence=0,
            )
        return True
    if epoch < known.epoch:
        raise ProducerFenced(
            f"producer {producer_id} was used with epoch {known.epoch}, not {epoch}",
            producer_epoch=known.epoch,
        )
    return sequence == _expected_sequence(epoch, known)


def out_of_order(header: BatchHeader, known: ProducerPlace) -> OutOfOrderSequence:
    """Return the error of a batch that does not follow and is no repetition."""
    epoch = header.producer_epoch
    expected = _expected_sequence(epoch, known)
    return OutOfOrderSequence(
        f"producer {header.producer_id} must go on at sequence {expected} in epoch {epoch},"
        f" not with {header.record_count} messages from {header.base_sequence}",
        expected_sequence=expected,
    )


def _expected_sequence(epoch: int, known: ProducerPlace) -> int:
    return known.next_sequence if epoch == known.epoch else 0
