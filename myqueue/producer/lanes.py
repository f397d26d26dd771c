"""A producer's messages for one partition: waiting, stamped and in flight, or to be stamped anew.

Pure. A stamp is a batch's deduplication key: producer id, epoch and sequence. At most
`BATCHES_IN_FLIGHT_MAX` batches are in flight, counted from the oldest whose outcome is open: a
partition remembers that many batches of a producer, so that it recognises a retry of each.

When a batch fails, the partition refuses those behind it, because a sequence has no gaps. The lane
then restarts: it stamps nothing until the outcome of all batches in flight is known. Those that
were certainly not appended (each try was refused, none was lost) are sent again first, in their
order, in a higher epoch. A batch that may have been appended is never stamped anew.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol, TypeVar

from myqueue.producer.gathering import Gathering
from myqueue.producer.sequences import PartitionSequence, Stamp
from myqueue.results import Delivered, DeliveredBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

    from myqueue.contract.records import Record, Records
    from myqueue.transport.leader_call import LeaderCall
    from myqueue.transport.retry import Attempts
    from myqueue.transport.rotation import TopicPartition

T = TypeVar("T", contravariant=True)


class DeliverySink(Protocol[T]):
    """Takes the result or the failure of a message or a batch, once."""

    @property
    def is_reported(self) -> bool:
        """True when the failure was reported: the program took it, or is certain to."""
        ...

    def count_as_reported(self) -> None:
        """Note that the failure is reported in another way."""
        ...

    def settle(self, result: T) -> None:
        """Take the result."""
        ...

    def fail(self, error: BaseException) -> None:
        """Take the failure."""
        ...


BATCHES_IN_FLIGHT_MAX = 5
"""As many batches as a partition remembers of a producer; see the top."""
RESTAMPS_MAX = 3
"""How often a batch that was refused for its stamp gets another one.

One new stamp is enough after any single cause: a batch before it failed, or the partition forgot
the producer. The others are for causes that meet, as a change of leader right behind; what is
still refused then has a cause that a further stamp does not mend, and its error says more.
"""


_NO_STAMP = Stamp(0, 0, 0)


class Batch:
    """Messages that are sent as one record batch, and the futures of their outcomes.

    Attributes:
        where: topic and partition.
        records: the messages.
        futures: one per message; empty when `whole` is there.
        whole: the future of the batch as a whole.
        callers: how many of the messages have a thread that waits for the outcome.
        size_bytes: what it counts for in the buffer.
        deadline_s: monotonic time at which it is given up.
        taken_s: monotonic time at which it was stamped.
        stamp: its deduplication key, once it was taken.
        attempts: all of its tries, those under earlier stamps included.
        call: the request under its stamp, encoded once.
        span: about its delivery, where spans are recorded.
        settled: whether its futures are done.
    """

    __slots__ = (
        "attempts",
        "call",
        "callers",
        "deadline_s",
        "futures",
        "position",
        "records",
        "restamps",
        "settled",
        "size_bytes",
        "span",
        "stamp",
        "taken_s",
        "where",
        "whole",
    )

    def __init__(
        self,
        where: TopicPartition,
        *,
        deadline_s: float,
        records: Records | None = None,
        whole: DeliverySink[DeliveredBatch] | None = None,
        size_bytes: int = 0,
    ) -> None:
        self.where = where
        self.records: Records = [] if records is None else records
        self.futures: list[DeliverySink[Delivered]] = []
        self.whole = whole
        self.callers = 0
        self.size_bytes = size_bytes
        self.deadline_s = deadline_s
        self.taken_s = 0.0
        self.position = 0
        self.restamps = 0
        self.settled = False
        self.stamp = _NO_STAMP
        self.attempts: Attempts | None = None
        self.call: LeaderCall | None = None
        self.span: Span | None = None

    def acknowledge(self, base_offset: int) -> None:
        """Set partition and offset of the messages as results of the futures."""
        partition = self.where[1]
        if self.whole is not None:
            self.whole.settle(DeliveredBatch(partition, base_offset, len(self.records)))
        for offset, future in enumerate(self.futures, base_offset):
            future.settle(Delivered(partition, offset))

    @property
    def is_reported(self) -> bool:
        """True when the program took the failure of each of its messages."""
        if self.whole is not None:
            return self.whole.is_reported
        return all(future.is_reported for future in self.futures)

    def take_unreported_records(self) -> list[Record]:
        """Return the messages whose failure was not reported, and count it as reported."""
        if self.whole is not None:
            unreported = [] if self.whole.is_reported else list(self.records)
            self.whole.count_as_reported()
            return unreported
        unreported = []
        for record, future in zip(self.records, self.futures, strict=True):
            if not future.is_reported:
                unreported.append(record)
                future.count_as_reported()
        return unreported

    def fail(self, error: BaseException) -> None:
        """Set the failure of the messages that are not, or may not be, stored."""
        if self.whole is not None:
            self.whole.fail(error)
        for future in self.futures:
            future.fail(error)


class Lane:
    """The order of one partition. Not thread-safe: its owner holds a lock.

    Args:
        where: topic and partition.
        batch_messages: most messages of a batch that the lane joins.
        batch_bytes: most bytes of such a batch when it has more than one message.
        now_s: returns the monotonic time.
        patience_s: after how long a message is given up.
    """

    def __init__(
        self,
        where: TopicPartition,
        *,
        batch_messages: int,
        batch_bytes: int,
        now_s: Callable[[], float],
        patience_s: float,
    ) -> None:
        self.where = where
        self._batch_messages = batch_messages
        self._batch_bytes = batch_bytes
        self._now_s = now_s
        self._patience_s = patience_s
        self._gathering = Gathering()
        self._sequence = PartitionSequence()
        self._waiting: deque[Batch] = deque()
        self._out: list[Batch] = []
        """Stamped and not settled, oldest first."""
        self._again: list[Batch] = []
        """To be stamped anew, oldest first."""
        self._restarting = False
        self._position = 0

    # Coming in

    def put(
        self,
        record: Record,
        future: DeliverySink[Delivered],
        size_bytes: int,
        *,
        has_caller: bool = False,
    ) -> None:
        """Add a message behind the others, to the last batch if there is room in it.

        Args:
            record: the message.
            future: gets its outcome.
            size_bytes: what it counts for in the buffer.
            has_caller: a thread waits for the outcome, and sends nothing else until then.
        """
        waiting = self._waiting
        last = waiting[-1] if waiting else None
        if (
            last is None
            or last.whole is not None
            or len(last.records) >= self._batch_messages
            or last.size_bytes + size_bytes > self._batch_bytes
        ):
            last = Batch(self.where, deadline_s=self._now_s() + self._patience_s)
            waiting.append(last)
        assert isinstance(last.records, list), "only a whole batch has others"
        last.records.append(record)
        last.futures.append(future)
        last.size_bytes += size_bytes
        if has_caller:
            last.callers += 1
            self._gathering.came(last.callers)
        elif self._gathering.until_s is not None:
            self._gathering.stop()

    def put_whole(self, batch: Batch) -> None:
        """Add a batch that is sent as it is."""
        self._waiting.append(batch)
        self._gathering.stop()

    # Going out

    @property
    def is_idle(self) -> bool:
        """True when nothing waits, is waited for or is in flight."""
        if self._waiting or self._out or self._again:
            return False
        return self._gathering.until_s is None

    @property
    def held_until_s(self) -> float | None:
        """Until when what waits is held for callers that may come; None when it is not."""
        return self._gathering.until_s

    @property
    def may_send(self) -> bool:
        """True when `take` gives a batch.

        While a batch is in flight, the next one is sent only when it is full: messages that arrive
        meanwhile join it, so that many small messages share few requests. After it, those whom its
        answer has woken may join for a moment.
        """
        if not self._out:
            if self._again or not self._waiting:
                return bool(self._again)
            return self._gathering.until_s is None or self._is_full(self._waiting[0])
        if self._restarting:
            return False
        if self._position - self._out[0].position >= BATCHES_IN_FLIGHT_MAX:
            return False
        return bool(self._again) or (bool(self._waiting) and self._is_full(self._waiting[0]))

    def take(self, producer_id: int) -> Batch:
        """Stamp the next batch, which is in flight from now on; `may_send` is True."""
        assert self.may_send, "nothing may go out"
        batch = self._again.pop(0) if self._again else self._waiting.popleft()
        self._gathering.stop()
        self.stamp(batch, producer_id)
        return batch

    def stamp(self, batch: Batch, producer_id: int) -> None:
        """Stamp a batch, which is in flight from now on; this lane is idle, or gave it."""
        if self._restarting:
            self._restarting = False
            self._sequence.restart()
        batch.taken_s = self._now_s()
        batch.stamp = self._sequence.take(producer_id, len(batch.records))
        batch.call = None
        batch.position = self._position
        self._position += 1
        self._out.append(batch)

    def has_open_before(self, batch: Batch) -> bool:
        """Return True while the outcome of a batch before this one is open."""
        return self._out[0] is not batch

    # Coming back

    def acknowledged(self, batch: Batch) -> None:
        """Note that a batch is durable."""
        self._out.remove(batch)
        if batch.callers > 1 and not (self._out or self._again):
            now_s = self._now_s()
            self._gathering.begin(
                batch.callers, self._callers, took_s=now_s - batch.taken_s, now_s=now_s
            )

    def end_hold(self) -> bool:
        """End the hold of what waits if its time is over; False when it is not."""
        return self._gathering.expire(self._callers, self._now_s())

    def failed(self, batch: Batch, *, stamp_spent: bool) -> None:
        """Note that a batch is given up.

        Args:
            batch: one in flight.
            stamp_spent: the stamp must not be used again: the partition may have taken it, or never
                takes it.
        """
        self._out.remove(batch)
        if stamp_spent or not self._sequence.give_back(batch.stamp, len(batch.records)):
            self._restarting = True

    def refused(self, batch: Batch) -> None:
        """Have a batch stamped anew that was certainly not appended and whose stamp was refused."""
        self._out.remove(batch)
        batch.restamps += 1
        self._again.append(batch)
        self._again.sort(key=lambda one: one.position)
        self._restarting = True

    def give_up(self) -> list[Batch]:
        """Remove and return what waits."""
        left = [*self._again, *self._waiting]
        self._again.clear()
        self._waiting.clear()
        self._gathering.stop()
        return left

    @property
    def held(self) -> list[Batch]:
        """All batches that are not settled, in order: those in flight, then those that wait."""
        return [*self._out, *self._again, *self._waiting]

    @property
    def _callers(self) -> int:
        """How many callers wait in the batch that goes next."""
        return self._waiting[0].callers if self._waiting else 0

    def _is_full(self, batch: Batch) -> bool:
        return (
            batch.whole is not None
            or len(self._waiting) > 1
            or len(batch.records) >= self._batch_messages
            or batch.size_bytes >= self._batch_bytes
        )
