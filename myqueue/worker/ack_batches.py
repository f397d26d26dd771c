"""Which deliveries of one ack, nack or extend are settled, and why the others are not. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from myqueue.contract.errors import OUTCOME_UNKNOWN, QueueError, UnsettledDeliveries
from myqueue.contract.group_inputs import MAX_RECEIPTS
from myqueue.results import Settlement
from myqueue.transport.rotation import may_pass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myqueue.results import Delivery
    from myqueue.transport.rotation import TopicPartition


class AckBatch(NamedTuple):
    """Deliveries of one partition that one call settles."""

    where: TopicPartition
    indexes: tuple[int, ...]
    """Their places among the deliveries given."""


class AckBatches:
    """The deliveries of one call of the program.

    Args:
        deliveries: of any partitions.
    """

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        self._deliveries = deliveries
        self._results: dict[int, Settlement] = {}
        self._errors: dict[AckBatch, QueueError] = {}
        by_partition: dict[TopicPartition, list[int]] = {}
        for index, delivery in enumerate(deliveries):
            by_partition.setdefault((delivery.topic, delivery.partition), []).append(index)
        self._open = [
            AckBatch(where, tuple(indexes[start : start + MAX_RECEIPTS]))
            for where, indexes in by_partition.items()
            for start in range(0, len(indexes), MAX_RECEIPTS)
        ]

    def open_batches(self) -> list[AckBatch]:
        """Return the batches that are to be sent, again or for the first time."""
        return list(self._open)

    def answered(self, batch: AckBatch, rows: Sequence[dict[str, Any]]) -> None:
        """Note a partition's answer: a row per receipt."""
        by_receipt = {row["receipt"]: row for row in rows}
        for index in batch.indexes:
            delivery = self._deliveries[index]
            row = by_receipt.get(delivery.receipt, {})
            done, reason = bool(row.get("done")), str(row.get("reason") or "")
            self._results[index] = Settlement(delivery, done, reason)
        self._open.remove(batch)
        self._errors.pop(batch, None)

    def failed(self, batch: AckBatch, error: QueueError) -> None:
        """Note a failed call; a batch that cannot be retried is not sent again."""
        self._errors[batch] = error
        if not may_pass(error):
            self._open.remove(batch)

    def results(self) -> list[Settlement]:
        """Return what became of each delivery, in the order given.

        Raises:
            UnsettledDeliveries: some could not be brought to their partitions.
        """
        for batch, error in self._errors.items():
            for index in batch.indexes:
                self._results[index] = Settlement(self._deliveries[index], False, error.code)
        results = [self._results[index] for index in range(len(self._deliveries))]
        if self._errors:
            missing = sum(len(batch.indexes) for batch in self._errors)
            first = next(iter(self._errors.values()))
            known = all(error.outcome_known for error in self._errors.values())
            raise UnsettledDeliveries(
                f"{missing} of {len(results)} deliveries did not reach their partitions: "
                f"{first.code}: {first.message}",
                results=results,
                outcome=None if known else OUTCOME_UNKNOWN,
            ) from first
        return results
