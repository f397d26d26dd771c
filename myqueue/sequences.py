"""Producer id, epoch and sequence of one partition: what makes a retry recognisable. Pure.

Rules (consensus.md section 6): sequences count messages and start at 0 in each epoch; a batch that
was sent keeps its stamp for all its retries; a batch that certainly did not happen gives its
sequence back; after a batch with unknown outcome the epoch is raised and counting restarts at 0, so
the unknown batch can no longer be mistaken for a later one.
"""

from __future__ import annotations

from typing import NamedTuple


class Stamp(NamedTuple):
    """The deduplication key of a batch."""

    producer_id: int
    epoch: int
    base_sequence: int


class PartitionSequence:
    """The counter of one producer in one partition; its owner holds the partition's lock.

    Invariant: (epoch, next sequence) never goes back for a producer id, so that no stamp is used
    for two batches that may both have been sent.
    """

    def __init__(self) -> None:
        self._producer_id = 0
        self._epoch = 0
        self._next = 0

    def stamp(self, producer_id: int) -> Stamp:
        """Return the stamp of the next batch; another producer id starts anew."""
        if producer_id != self._producer_id:
            self._producer_id, self._epoch, self._next = producer_id, 0, 0
        return Stamp(self._producer_id, self._epoch, self._next)

    def acknowledged(self, count: int) -> None:
        """Count a batch of `count` messages that is durable."""
        assert count > 0, "a batch has at least one message"
        self._next += count

    def restart(self) -> None:
        """Raise the epoch: the last stamp may be taken, or the partition forgot the producer."""
        self._epoch += 1
        self._next = 0
