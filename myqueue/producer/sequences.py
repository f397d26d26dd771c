"""Producer id, epoch and sequence of one partition, by which it recognises retries. Pure.

Rules: sequences count messages and start at 0 in each epoch; a batch that was sent keeps its stamp
for all its retries; a batch that was certainly not appended gives its sequence back when no later
one was stamped; after a batch with unknown outcome the epoch is raised and counting restarts at 0,
so the unknown batch can no longer be mistaken for a later one.
"""

from __future__ import annotations

from typing import NamedTuple


class Stamp(NamedTuple):
    """The deduplication key of a batch."""

    producer_id: int
    epoch: int
    base_sequence: int


class PartitionSequence:
    """The counter of one producer in one partition; its owner holds the lock.

    Invariant: (epoch, next sequence) never goes back for a producer id below a stamp that may have
    been sent and taken, so that no stamp is used for two batches that may both have happened.
    """

    def __init__(self) -> None:
        self._producer_id = 0
        self._epoch = 0
        self._next = 0

    def take(self, producer_id: int, count: int) -> Stamp:
        """Return the stamp of the next batch of `count` messages.

        Another producer id starts anew.
        """
        assert count > 0, "a batch has at least one message"
        if producer_id != self._producer_id:
            self._producer_id, self._epoch, self._next = producer_id, 0, 0
        stamp = Stamp(producer_id, self._epoch, self._next)
        self._next += count
        return stamp

    def give_back(self, stamp: Stamp, count: int) -> bool:
        """Take back the stamp of a batch that was certainly not appended, if it was the last."""
        last = (self._producer_id, self._epoch, self._next - count)
        if last != stamp:
            return False
        self._next = stamp.base_sequence
        return True

    def restart(self) -> None:
        """Raise the epoch: an earlier stamp may be taken, or the partition forgot the producer."""
        self._epoch += 1
        self._next = 0
