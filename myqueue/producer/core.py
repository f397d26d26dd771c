"""The producer's core: chooses partitions, and delivers batches until they are settled. Pure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from myqueue.contract.errors import (
    OUTCOME_UNKNOWN,
    ClientClosed,
    DeliveryTimeout,
    InvalidRequest,
    OutOfOrderSequence,
    PartitionNotFound,
    ProducerFenced,
    QueueError,
    UndeliveredMessages,
    UnknownProducer,
)
from myqueue.contract.partitioner import Key, RoundRobin, partition_for_key
from myqueue.contract.records import (
    CODEC_NONE,
    CODEC_ZSTD,
    PlainRecords,
    Record,
    Records,
    make_record,
)
from myqueue.contract.tracing import header_lines, tracing_of
from myqueue.producer.accumulator import Accumulator, size_bytes_of
from myqueue.producer.futures import DeliveryFuture
from myqueue.producer.lanes import RESTAMPS_MAX, Batch, DeliverySink, Lane
from myqueue.producer.options import checked_options
from myqueue.producer.produce_call import Target, produce_call, records_of_items
from myqueue.producer.traces import ProducerTraces
from myqueue.producer.undelivered import Undelivered, UnreportedFailures, cause_of, undelivered
from myqueue.results import Delivered, DeliveredBatch
from myqueue.transport.blocking import read_body
from myqueue.transport.client_core import ClientCore
from myqueue.transport.effects import Flow, Lock, Pause
from myqueue.transport.retry import Attempts, RetryAction
from myqueue.transport.rotation import TopicPartition
from myqueue.transport.session import Session

if TYPE_CHECKING:
    from collections import Counter

    from myqueue.config import ClientConfig
    from myqueue.producer.options import ProducerOptions
    from myqueue.producer.splitting import Group, Splitting
    from myqueue.results import Registration
    from myqueue.transport.clock import Clock

CODECS = {"none": CODEC_NONE, "zstd": CODEC_ZSTD}
_STAMP_ERRORS = (UnknownProducer, OutOfOrderSequence, ProducerFenced)
_UNSENT = UndeliveredMessages("the program ended before this was sent")
_OUT = UndeliveredMessages("no answer came in time", outcome=OUTCOME_UNKNOWN)


class ProducerCore(ClientCore):
    """The core of `Producer` and `AsyncProducer`.

    Attributes:
        session: its registrations, and how it reaches managers and leaders.
        config: settings.
        lock: guards the buffer; never held while a flow waits.
        changed: has the lock; where threads that share a producer wait for each other.
        buffer: what is not settled.

    Args: those of `Session`, for a producer, and what makes a future of the driver's kind.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        *,
        config: ClientConfig,
        clock: Clock,
        make_lock: Callable[[], Lock],
        make_future: Callable[[], Any] = DeliveryFuture,
        options: ProducerOptions | None = None,
    ) -> None:
        options = options or {}
        create, connect = checked_options(options)
        super().__init__(
            Session(
                "producer",
                address,
                config=config,
                clock=clock,
                make_lock=make_lock,
                create=create,
            )
        )
        self._is_lazy = connect == "lazy"
        self.config = config
        self._clock = clock
        self._make_future = make_future
        tracing = tracing_of("myqueue")
        self._traces = None if tracing is None else ProducerTraces(tracing)
        self._codec = CODECS[config.compression]
        if self._codec != CODEC_NONE:
            _require_zstd()
        self._begin_empty()

    def _begin_empty(self) -> None:
        config = self.config
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self._turns: dict[str, RoundRobin] = {}
        self._unreported = UnreportedFailures(bytes_max=config.buffer_bytes)
        self.buffer = Accumulator(
            buffer_bytes=config.buffer_bytes,
            batch_messages=config.batch_messages,
            batch_bytes=config.batch_bytes,
            now_s=self._clock.monotonic,
            patience_s=config.delivery_timeout_ms / 1000,
        )

    def restart_after_fork(self) -> None:
        """Start anew in the child, empty and under new ids: what waits is the parent's."""
        super().restart_after_fork()
        self.session.forget_ids()
        self._begin_empty()

    def open(
        self, topics: Iterable[str], attach: dict[str, Registration] | None = None
    ) -> Flow[None]:
        """Register for the topics; a lazy producer does it with its first call."""
        if self._is_lazy:
            self.session.expect(topics)
        else:
            yield from super().open(topics, attach)

    def record(
        self,
        topic: str,
        message: str | bytes,
        key: str | bytes | None,
        headers: dict[str, str | bytes] | None,
    ) -> Record:
        """Return a message given now, checked against the limits.

        Raises:
            InvalidRequest | MessageTooLarge: something of it is wrong.
        """
        record = make_record(message, key, headers, timestamp=self._clock.wall_ms())
        if self._traces is None:
            return record
        return self._traces.made(topic, record)

    # Where to

    def choose(self, topic: str, key: Key | None, partition: int | None) -> Flow[int]:
        """Return the partition of a message.

        Raises:
            UnauthorizedException: not registered for the topic.
            PartitionNotFound: there is no such partition.
            InvalidRequest: the partition or the key is of a wrong type.
        """
        chosen = self.choose_at_once(topic, key, partition)
        if chosen is not None:
            return chosen
        yield from self.session.registration(topic)
        count = yield from self.session.partition_count(topic)
        if partition is None:
            return self._choose_of(count, topic, key)
        if partition >= count:
            self.session.mark_stale(topic)
            count = yield from self.session.partition_count(topic)
        if not 0 <= partition < count:
            raise PartitionNotFound(
                f"topic {topic!r} has partitions 0 to {count - 1}, not {partition}"
            )
        return partition

    def choose_at_once(self, topic: str, key: Key | None, partition: int | None) -> int | None:
        """Return the partition of a message, or None when a manager must be asked first."""
        found = self.session.require_registered(topic)
        count = self.session.known_partition_count(topic) if found.client_id else 0
        if partition is not None:
            if isinstance(key, int):
                raise InvalidRequest(
                    "give partition or an integer as key, not both: each picks the partition",
                    field="partition",
                )
            if isinstance(partition, bool) or not isinstance(partition, int):
                raise InvalidRequest(
                    f"partition must be an integer, not {partition!r}", field="partition"
                )
            return partition if 0 <= partition < count else None
        if not count:
            return None
        turns = self._turns.get(topic)
        if key is not None or turns is None:
            return self._choose_of(count, topic, key)
        with self.lock:
            return turns.next(count)

    def _choose_of(self, count: int, topic: str, key: Key | None) -> int:
        if key is not None:
            return partition_for_key(key, count)
        with self.lock:
            return self._turn(topic).next(count)

    def _turn(self, topic: str) -> RoundRobin:
        return self._turns.get(topic) or self._turns.setdefault(topic, RoundRobin())

    def group(
        self,
        topic: str,
        items: Sequence[str | bytes | Record],
        parts: Splitting,
        *,
        partition: int | None,
        key: Key | None,
    ) -> Flow[None]:
        """Add messages to the groups of their partitions.

        Raises:
            InvalidRequest: one is of a wrong type; none was added.
            MessageTooLarge: one passes a limit; none was added.
        """
        if isinstance(key, bytearray | memoryview):
            key = bytes(key)
        stored = None if isinstance(key, int) else key
        records = records_of_items(items, now_ms=self._clock.wall_ms(), key=stored)
        if self._traces is not None:
            records = [self._traces.made(topic, record) for record in records]
        if partition is not None or key is not None:
            parts.add((yield from self.choose(topic, key, partition)), records)
            return
        yield from self.session.registration(topic)
        count = yield from self.session.partition_count(topic)
        for index, group in self._grouped(records, topic, count):
            parts.add(index, group)

    def _grouped(self, records: Records, topic: str, count: int) -> Iterable[tuple[int, Records]]:
        """Return the messages of each of `count` partitions, those of a partition in order."""
        if count == 1:
            return [(0, records)]
        keys = () if isinstance(records, PlainRecords) else [record.key for record in records]
        if keys.count(None) == len(keys):
            with self.lock:
                first = self._turn(topic).first_of(len(records), count)
            some = range(min(count, len(records)))
            return [((first + place) % count, records[place::count]) for place in some]
        groups: dict[int, list[Record]] = {}
        for record in records:
            groups.setdefault(self._choose_of(count, topic, record.key), []).append(record)
        return groups.items()

    def whole_batches(self, topic: str, groups: Iterable[Group]) -> list[Batch]:
        """Return a batch for each group, given now."""
        return [
            Batch(
                (topic, group.partition),
                deadline_s=self.deadline_s(),
                records=group.records,
                whole=self._make_future(),
                size_bytes=group.size_bytes,
            )
            for group in groups
        ]

    def single(
        self, where: TopicPartition, record: Record, future: DeliverySink[Delivered]
    ) -> Batch:
        """Return a batch of one message."""
        batch = Batch(where, deadline_s=self.deadline_s(), records=[record])
        batch.futures.append(future)
        batch.size_bytes = size_bytes_of(record)
        return batch

    def deadline_s(self) -> float:
        """Return the monotonic time until which a message given now has to be delivered."""
        return self._clock.monotonic() + self.config.delivery_timeout_ms / 1000

    def producer_id(self, topic: str) -> int:
        """Return the producer id for a topic that messages were taken for."""
        return self.session.require_registered(topic).client_id

    # On the way

    def deliver(self, batch: Batch) -> Flow[bool]:
        """Send a stamped batch until it is durable, given up or to be stamped anew.

        Settles its futures and tells its lane.

        Returns:
            True when another batch of its partition may be sent.
        """
        lane = self.buffer.lane(batch)
        if batch.attempts is None:
            batch.attempts = Attempts(self.config, deadline_s=batch.deadline_s)
        if self._traces is not None and batch.span is None:
            batch.span = self._traces.begin(batch.where, batch.records)
        try:
            base_offset = yield from self._send(lane, batch, batch.attempts)
        except QueueError as error:
            return self._came_back(lane, batch, batch.attempts, error)
        except BaseException as error:
            # Interrupted in the middle, or a bug: the batch may have been sent.
            told = error if isinstance(error, Exception) else _interrupted(error)
            self._give_up(lane, batch, told, stamp_spent=True)
            raise
        with self.lock:
            lane.acknowledged(batch)
            more = self.buffer.settled(batch)
        if self._traces is not None and batch.span is not None:
            self._traces.end(batch.span)
        batch.acknowledge(base_offset)
        return more

    def _send(self, lane: Lane, batch: Batch, attempts: Attempts) -> Flow[int]:
        """Return the base offset of a batch once it is durable."""
        if self._clock.monotonic() >= batch.deadline_s:
            raise DeliveryTimeout("not sent in time: earlier messages of its partition were stuck")
        topic, partition = batch.where
        if batch.call is None:
            batch.call = produce_call(
                Target(topic, partition, batch.stamp),
                batch.records,
                timeout_ms=self.config.request_timeout_ms,
                codec=self._codec,
                marks="" if batch.span is None else self._marks(batch),
            )
        while True:
            with self.lock:
                waits = lane.has_open_before(batch)
            try:
                body = yield from self.session.at_leader(batch.call, attempts, read_body)
            except (OutOfOrderSequence, UnknownProducer) as error:
                if not waits:
                    raise
                # An earlier batch was not there yet; it may be by now.
                decision = attempts.wait(
                    error, now_s=self._clock.monotonic(), jitter=self._clock.jitter()
                )
                if decision.step is RetryAction.STOP:
                    raise
                yield Pause(decision.delay_s)
            else:
                return int(body["base_offset"] if "base_offset" in body else body["offset"])

    def _marks(self, batch: Batch) -> str:
        """Return the header lines that say where the requests of a batch belong."""
        if self._traces is None or batch.span is None:
            return ""
        return header_lines(self._traces.place_of(batch.span))

    def _came_back(self, lane: Lane, batch: Batch, attempts: Attempts, error: QueueError) -> bool:
        """Settle a batch that was refused, or whose time is over."""
        stamp_refused = isinstance(error, _STAMP_ERRORS)
        clean = not attempts.outcome_unknown
        again = clean and stamp_refused and not isinstance(error, ProducerFenced)
        if again and not attempts.expired and batch.restamps < RESTAMPS_MAX:
            with self.lock:
                lane.refused(batch)
                return self.buffer.look_at(batch)
        verdict = attempts.delivery_verdict(error)
        verdict.__cause__ = error if verdict is not error else None
        return self._give_up(lane, batch, verdict, stamp_spent=stamp_refused or not clean)

    def _give_up(
        self, lane: Lane, batch: Batch, error: BaseException, *, stamp_spent: bool
    ) -> bool:
        with self.lock:
            lane.failed(batch, stamp_spent=stamp_spent)
            more = self.buffer.settled(batch)
            is_reported = batch.is_reported
            if not is_reported:
                self._unreported.add(batch, error)
        if self._traces is not None and batch.span is not None:
            self._traces.end(batch.span, error)
        batch.fail(error)
        if not is_reported and batch.whole is None:
            self.session.complaints.warn(
                type(error).__name__,
                "%d messages for %s/%d were not delivered: %s",
                *(len(batch.records), *batch.where, cause_of(error)),
            )
        return more

    def give_up(self) -> None:
        """Give up what waits, because the producer is closed.

        Raises:
            UndeliveredMessages: messages waited, or had failed unreported; `values` has them.
        """
        with self.lock:
            waiting, out = self.buffer.give_up()
            lost, dropped = self._unreported.take()
        unsent = UndeliveredMessages("the producer was closed before this was sent")
        for batch in waiting:
            lost += _all_of(batch, unsent)
            batch.settled = True
            batch.fail(unsent)
            batch.take_unreported_records()
        for batch in out:
            lost += _all_of(batch, _OUT)
        if lost or dropped:
            raise undelivered(lost, dropped)

    def take_lost(self) -> tuple[list[Undelivered], Counter[str]]:
        """Return what was not delivered, at the end of a program that did not close its producer.

        Returns:
            Messages that wait, are in flight, or failed unreported; and by topic the number of
            unreported failures whose messages were not kept.
        """
        with self.lock:
            lost, dropped = self._unreported.take()
            for batch in self.buffer.held():
                tries = batch.attempts
                error: QueueError = _OUT if tries else _UNSENT
                if tries is not None and tries.last_error is not None:
                    error = tries.verdict(tries.last_error)
                lost += _all_of(batch, error)
        return lost, dropped


def first_failure(results: Sequence[DeliveredBatch | BaseException]) -> list[DeliveredBatch]:
    """Return where the batches of one call are, in the order of partitions.

    Raises:
        QueueError: of the first that failed; `details["delivered"]` has the others.
    """
    delivered = [one for one in results if isinstance(one, DeliveredBatch)]
    for failure in results:
        if isinstance(failure, BaseException):
            if delivered and isinstance(failure, QueueError):
                failure.details["delivered"] = delivered
            raise failure
    return sorted(delivered, key=lambda batch: batch.partition)


def _require_zstd() -> None:
    """Raise at once, not with the first message, when the package is missing."""
    if find_spec("zstandard") is None:
        raise InvalidRequest(
            "compression zstd needs the package zstandard: pip install zstandard",
            field="compression",
        )


def _interrupted(error: BaseException) -> ClientClosed:
    return ClientClosed(
        f"{type(error).__name__} while the message was sent; it may have arrived",
        outcome=OUTCOME_UNKNOWN,
    )


def _all_of(batch: Batch, error: QueueError) -> list[Undelivered]:
    cause = cause_of(error)
    return [
        Undelivered(batch.where[0], record.value, cause, error.outcome_known)
        for record in batch.records
    ]
