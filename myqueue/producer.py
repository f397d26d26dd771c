"""The producer: messages to the leaders of their partitions, each exactly once."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, overload

from myqueue.errors import (
    InvalidRequest,
    MessageTooLarge,
    OutOfOrderSequence,
    PartitionNotFound,
    ProducerFenced,
    QueueError,
    UndeliveredMessages,
    UnknownProducer,
)
from myqueue.partitioner import RoundRobin, partition_for_key
from myqueue.producing import Target, produce_call, records_of_items
from myqueue.protocol import make_record
from myqueue.records import MAX_RECORDS, Record
from myqueue.registered import topic_names
from myqueue.results import Delivered, DeliveredBatch, Registration
from myqueue.retry import Attempts
from myqueue.sequences import PartitionSequence
from myqueue.session import Session
from myqueue.transport import read_body

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import TracebackType

    from myqueue.clock import Clock
    from myqueue.config import ClientConfig
    from myqueue.sender import Sender
    from myqueue.transport import Transport

Key = int | str | bytes
Several = list[str] | tuple[str, ...]


class Lane:
    """One partition's order: whoever holds the lock is the only one that sends there."""

    def __init__(self, where: tuple[str, int]) -> None:
        self.where = where
        self.lock = threading.Lock()
        self.sequence = PartitionSequence()


class Producer(Session):
    """Sends messages; each call returns when they are durable on a quorum of disks.

    Every message is delivered exactly once, also when answers are lost and leaders change: batches
    carry producer id, epoch and sequence, and a batch that was sent is only repeated under them.
    When that cannot be settled within `delivery_timeout_ms`, DeliveryTimeout says with its
    `outcome` whether the message may have arrived.

    Args:
        topics: one name or several; a topic that does not exist is created.
        address: a manager's address, or several as a list or separated by commas.
        config: settings; the defaults suit most programs.
        transport: how requests travel; HTTP when left out.
        clock: time and chance; the system's when left out.

    Raises:
        ManagerNotFound: no manager answered.
    """

    def __init__(
        self,
        topics: str | Sequence[str],
        address: str | Sequence[str],
        *,
        config: ClientConfig | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._make_lanes()
        super().__init__(
            "producer", topics, address, config=config, transport=transport, clock=clock
        )

    def _make_lanes(self) -> None:
        self._lanes_lock = threading.Lock()
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._turns: dict[str, RoundRobin] = {}
        self._sender: Sender | None = None

    @overload
    def enqueue(
        self,
        topics: str,
        message: str | bytes,
        partition_key: Key | None = None,
        *,
        partition: int | None = None,
        key: str | bytes | None = None,
        headers: dict[str, str | bytes] | None = None,
    ) -> Delivered: ...

    @overload
    def enqueue(
        self,
        topics: Several,
        message: str | bytes,
        partition_key: Key | None = None,
        *,
        partition: int | None = None,
        key: str | bytes | None = None,
        headers: dict[str, str | bytes] | None = None,
    ) -> list[Delivered]: ...

    def enqueue(
        self,
        topics: str | Several,
        message: str | bytes,
        partition_key: Key | None = None,
        *,
        partition: int | None = None,
        key: str | bytes | None = None,
        headers: dict[str, str | bytes] | None = None,
    ) -> Delivered | list[Delivered]:
        """Send one message and wait until it is durable.

        Args:
            topics: a topic, or several that each get the message.
            message: text or bytes, at most 1 MiB.
            partition_key: an integer is taken modulo the number of partitions, a text is hashed.
            partition: the partition itself instead.
            key: stored with the message; picks the partition when nothing else does.
            headers: at most 64, stored with the message.

        Returns:
            Partition and offset; a list of them for a list of topics.

        Raises:
            UnauthorizedException: not registered for the topic.
            PartitionNotFound: there is no such partition.
            MessageTooLarge: a limit is passed.
            DeliveryTimeout: not acknowledged in time; `outcome_known` says what that means.
        """
        record = make_record(message, key, headers, timestamp=self._clock.wall_ms())
        results = []
        for topic in topic_names(topics):
            index = self._choose(topic, partition_key, partition, key)
            results.append(self._enqueue_one(topic, index, record))
        return results[0] if isinstance(topics, str) else results

    def _enqueue_one(self, topic: str, partition: int, record: Record) -> Delivered:
        """Send directly, or behind what `send` has queued for the partition."""
        if self._sender is not None and self._sender.holds((topic, partition)):
            return self._sender.put((topic, partition), record).result()
        batch = self._deliver(topic, partition, [record])
        return Delivered(partition, batch.base_offset)

    def produce_many(
        self,
        topic: str,
        messages: Iterable[str | bytes | Record],
        *,
        partition: int | None = None,
        partition_key: Key | None = None,
    ) -> list[DeliveredBatch]:
        """Send many messages as one batch per partition, each batch all or nothing.

        Args:
            topic: the topic.
            messages: texts, bytes, or `Record`s with key and headers; their order is kept in
                each partition.
            partition: where all go, as one batch; at most 10,000 messages and 8 MiB.
            partition_key: picks that partition. Without both, a record's key picks its partition
                and those without a key are dealt out in turn.

        Returns:
            One acknowledgement per partition, in the order of partitions.

        Raises:
            QueueError: as `enqueue`; batches acknowledged before it are in `details["delivered"]`.
        """
        records = self._records(messages)
        if partition is not None or partition_key is not None:
            groups = {self._choose(topic, partition_key, partition, None): records}
        else:
            groups = {}
            for record in records:
                groups.setdefault(self._choose(topic, None, None, record.key), []).append(record)
        delivered: list[DeliveredBatch] = []
        for index, group in sorted(groups.items()):
            try:
                delivered.append(self._deliver(topic, index, group))
            except QueueError as error:
                if delivered:
                    error.details["delivered"] = delivered
                raise
        return delivered

    def send(
        self,
        topic: str,
        message: str | bytes,
        key: str | bytes | None = None,
        *,
        partition: int | None = None,
        partition_key: Key | None = None,
        headers: dict[str, str | bytes] | None = None,
    ) -> Future[Delivered]:
        """Queue one message for the background sender, which joins what waits into batches.

        Returns:
            A future with partition and offset.

        Raises:
            BufferFull: the buffer stayed full.
            QueueError: as `enqueue`, for what can be said before sending.
        """
        self._check_open()
        record = make_record(message, key, headers, timestamp=self._clock.wall_ms())
        index = self._choose(topic, partition_key, partition, key)
        return self._background().put((topic, index), record)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything that `send` took is delivered or failed.

        Args:
            timeout: seconds; None waits as long as it takes.

        Returns:
            False when the time was over before.
        """
        return self._sender is None or self._sender.flush(timeout)

    def close(self) -> None:
        """Deliver what waits, then stop.

        Raises:
            UndeliveredMessages: what could not be delivered within `delivery_timeout_ms`.
        """
        if self._closed:
            return
        try:
            if self._sender is not None:
                self._sender.stop(self._config.delivery_timeout_ms / 1000)
        finally:
            super().close()

    def restart_after_fork(self) -> None:
        """Start anew in the child: what waits is the parent's, and the child gets a new id."""
        super().restart_after_fork()
        self._make_lanes()
        self._registrations = {topic: Registration(0, "") for topic in self._registrations}

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; an error that is under way is not replaced by UndeliveredMessages."""
        try:
            self.close()
        except UndeliveredMessages as undelivered:
            if error is None:
                raise
            error.add_note(str(undelivered))

    # Where to

    def _choose(
        self, topic: str, partition_key: Key | None, partition: int | None, key: Key | None
    ) -> int:
        """Return the partition of a message."""
        self.registration(topic)
        count = self.partition_count(topic)
        if partition is not None:
            if partition_key is not None:
                raise InvalidRequest("give partition or partition_key, not both", field="partition")
            return self._existing(topic, partition, count)
        chosen_by = key if partition_key is None else partition_key
        if chosen_by is not None:
            return partition_for_key(chosen_by, count)
        with self._lanes_lock:
            return self._turns.setdefault(topic, RoundRobin()).next(count)

    def _existing(self, topic: str, partition: int, count: int) -> int:
        """Return an explicit partition; asks again when it is not among those known."""
        if isinstance(partition, bool) or not isinstance(partition, int):
            raise InvalidRequest(
                f"partition must be an integer, not {partition!r}", field="partition"
            )
        if partition >= count:
            with self._lock:
                self._metadata.mark_stale(topic)
            count = self.partition_count(topic)
        if not 0 <= partition < count:
            raise PartitionNotFound(
                f"topic {topic!r} has partitions 0 to {count - 1}, not {partition}"
            )
        return partition

    def _records(self, messages: Iterable[str | bytes | Record]) -> list[Record]:
        items = list(messages)
        if not items:
            raise InvalidRequest("messages is empty", field="messages")
        return records_of_items(items, now_ms=self._clock.wall_ms())

    # Delivery

    def _background(self) -> Sender:
        with self._lanes_lock:
            if self._sender is None:
                from myqueue.sender import Sender

                self._sender = Sender(self._deliver, self._config)
            return self._sender

    def _lane(self, topic: str, partition: int) -> Lane:
        lane = self._lanes.get((topic, partition))
        if lane is None:
            with self._lanes_lock:
                lane = self._lanes.setdefault((topic, partition), Lane((topic, partition)))
        return lane

    def _deliver(self, topic: str, partition: int, records: list[Record]) -> DeliveredBatch:
        """Deliver one batch under the partition's lock."""
        if len(records) > MAX_RECORDS:
            raise MessageTooLarge(f"a batch has at most {MAX_RECORDS} messages, not {len(records)}")
        attempts = Attempts(self._config, deadline_s=self._deadline_s())
        lane = self._lane(topic, partition)
        with lane.lock:
            try:
                return self._deliver_stamped(lane, records, attempts)
            except UnknownProducer:
                if attempts.outcome_unknown:
                    raise
            # The partition forgot this producer and certainly took nothing of this batch.
            return self._deliver_stamped(lane, records, attempts)

    def _deliver_stamped(
        self, lane: Lane, records: list[Record], attempts: Attempts
    ) -> DeliveredBatch:
        """Send a batch under one stamp until its fate is known or time is over."""
        topic, partition = lane.where
        stamp = lane.sequence.stamp(self.registration(topic).client_id)
        call = produce_call(
            Target(topic, partition, stamp), records, timeout_ms=self._config.request_timeout_ms
        )
        try:
            body = self.at_leader(call, attempts, read_body)
        except (UnknownProducer, OutOfOrderSequence, ProducerFenced) as error:
            lane.sequence.restart()
            raise attempts.verdict(error) from error
        except QueueError as error:
            if attempts.outcome_unknown:
                lane.sequence.restart()
            raise attempts.delivery_verdict(error) from error
        except BaseException:
            # Interrupted in the middle: the batch may have been sent.
            lane.sequence.restart()
            raise
        lane.sequence.acknowledged(len(records))
        base_offset = body["base_offset"] if "base_offset" in body else body["offset"]
        return DeliveredBatch(partition, int(base_offset), len(records))
