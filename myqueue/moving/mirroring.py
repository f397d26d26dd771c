"""Mirror: the messages of topics go to another cluster as they come, at least once and in order.

It reads as a member of a group at the source, which keeps how far it is, shows its lag, gives it
partitions that are added, and shares the work where several run. What it writes says where it comes
from (`marks`): after any interruption the target tells what has arrived, and no more than the batch
that was on its way comes twice. A cluster that is away is waited for, as long as it takes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

from myqueue.client import Client
from myqueue.config import ClientConfig
from myqueue.consumer.consumer import Consumer
from myqueue.contract.errors import (
    Forbidden,
    GroupNotFound,
    InvalidRequest,
    InvalidTopicName,
    MessageTooLarge,
    OffsetOutOfRange,
    QueueError,
    TopicDoesNotExist,
    UnauthorizedException,
)
from myqueue.contract.group_inputs import check_group_name
from myqueue.contract.records import Record, make_record
from myqueue.moving.folder import Kind
from myqueue.moving.marks import Copied, Marks
from myqueue.moving.place import Place
from myqueue.producer.producer import Producer
from myqueue.results import Message

logger = logging.getLogger(__name__)

BATCH_MESSAGES = 2_000
"""At most, and so the most that one interruption repeats in a partition."""
BATCH_BYTES = 1 << 20
GLANCE_S = 0.5
"""How long a wait for messages lasts before something else is looked at."""
COMMIT_EVERY_S = 1.0
LOOK_EVERY_S = 10.0
"""Between two looks at partitions, groups and lag."""
PAUSE_S = 1.0
"""Before a cluster that did not answer is tried again."""
PATIENCE_MS = 15_000
"""How long one call is tried before the mirror says that it waits."""
SESSION_TIMEOUT_S = 10.0
"""After this another mirror of the name has the partitions of one that was killed."""

Where = tuple[str, int]
_FOR_GOOD = (Forbidden, InvalidTopicName, TopicDoesNotExist, UnauthorizedException)
"""What no patience helps against."""


@dataclass(frozen=True, kw_only=True)
class MirrorOptions:
    """What is mirrored, and how."""

    topics: Sequence[str]
    name: str = "mirror"
    """Of the mirror: of its group at the source, and in the marks of its messages."""
    groups: Sequence[str] | None = ()
    """Whose offsets are brought along; None for all."""
    replication_factor: int | None = None
    """Of topics that are made; that of the source when left out."""


@dataclass
class Mirrored:
    """What a mirror did; grows while it goes on."""

    messages: int = 0
    dropped: int = 0
    """Read again after an interruption, and found in the target."""
    refused: int = 0
    """Messages that the target may not have: with more headers than a program may send."""
    lag: int = 0
    """Messages that are not copied yet."""
    groups: dict[str, str] = field(default_factory=dict)
    """What became of each group in each partition, in words."""
    trouble: str = ""
    """Why it waits; empty while it does not."""


class Mirror:
    """Copies topics from one cluster to another.

    Args:
        source: a manager's address, or several.
        target: the same of the other cluster.
        options: what to copy.
        source_config: settings of the clients at the source; patient for `PATIENCE_MS` if left out.
        target_config: settings of those at the target; the same.

    Raises:
        InvalidRequest: both are one cluster, there is no topic, or the name is none.
    """

    def __init__(
        self,
        source: str,
        target: str,
        options: MirrorOptions,
        *,
        source_config: ClientConfig | None = None,
        target_config: ClientConfig | None = None,
    ) -> None:
        if source == target:
            raise InvalidRequest("source and target are the same cluster", field="target")
        if not options.topics:
            raise InvalidRequest("name at least one topic", field="topics")
        check_group_name(options.name)
        self._source, self._target = source, target
        patient = ClientConfig(delivery_timeout_ms=PATIENCE_MS)
        self._source_config = source_config or patient
        self._target_config = target_config or patient
        self._options = options
        self.mirrored = Mirrored()

    def run(self, is_over: Callable[[], bool]) -> Iterator[Mirrored]:
        """Copy until it is over; yield what was done, now and then.

        Raises:
            TopicDoesNotExist: a topic is unknown at the source.
            Forbidden | UnauthorizedException: the mirror may not do this.
        """
        while not is_over():
            try:
                with ExitStack() as stack:
                    run = self._open(stack)
                    self.mirrored.trouble = ""
                    while not is_over():
                        if run.step():
                            yield self.mirrored
            except _FOR_GOOD:
                raise
            except QueueError as error:
                # What was not committed is read again, and what has arrived found in the target.
                self.mirrored.trouble = f"{error.code}: {error.message}"
                yield self.mirrored
                time.sleep(PAUSE_S)

    def _open(self, stack: ExitStack) -> _Run:
        topics = list(self._options.topics)
        source = stack.enter_context(Client(self._source, config=self._source_config))
        target = stack.enter_context(Client(self._target, config=self._target_config))
        for topic in topics:
            _ensure_topic(source, target, topic, self._options)
        reader = stack.enter_context(Place(topics, self._target, config=self._target_config))
        producer = stack.enter_context(
            Producer(topics, self._target, config=self._target_config, create=False)
        )
        consumer = stack.enter_context(
            Consumer(
                topics,
                self._source,
                group=self._options.name,
                auto_commit=False,
                session_timeout=SESSION_TIMEOUT_S,
                config=self._source_config,
            )
        )
        copying = _Copying(_Ends(consumer, producer), reader, self._options, self.mirrored)
        translation = _Translation(_Clusters(source, target), reader, self._options, self.mirrored)
        return _Run(copying, translation, lambda: self._follow(source, target))

    def _follow(self, source: Client, target: Client) -> None:
        for topic in self._options.topics:
            _ensure_topic(source, target, topic, self._options)


def _ensure_topic(source: Client, target: Client, topic: str, options: MirrorOptions) -> None:
    """Make a topic at the target that has as many partitions as at the source, or add some."""
    described = source.describe_topic(topic)
    wanted = described.number_of_partitions
    try:
        present = target.describe_topic(topic).number_of_partitions
    except TopicDoesNotExist:
        settings = described.get("settings") or {}
        target.create_topic(
            topic,
            wanted,
            options.replication_factor or settings.get("replication_factor") or 1,
            retention_ms=settings.get("retention_ms"),
            retention_bytes=settings.get("retention_bytes"),
        )
        return
    if present < wanted:
        target.update_topic(topic, number_of_partitions=wanted)


class _Run:
    """One session: from the time at which both clusters answered until one does not."""

    def __init__(
        self, copying: _Copying, translation: _Translation, follow: Callable[[], None]
    ) -> None:
        self._copying = copying
        self._translation = translation
        self._follow = follow
        self._looked_s = 0.0

    def step(self) -> bool:
        """Copy what is there; True when the figures are new."""
        self._copying.step()
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_EVERY_S:
            return False
        self._follow()
        self._translation.bring()
        self._copying.measure()
        self._looked_s = time.monotonic()
        return True


class _Ends(NamedTuple):
    """What reads at the source and what writes at the target."""

    consumer: Consumer
    producer: Producer


class _Clusters(NamedTuple):
    """Both, for what an administrator does."""

    source: Client
    target: Client


class _Copying:
    """Brings messages, partition by partition, one batch at a time."""

    def __init__(
        self, ends: _Ends, reader: Place, options: MirrorOptions, mirrored: Mirrored
    ) -> None:
        self._consumer, self._producer = ends
        self._reader = reader
        self._options = options
        self._mirrored = mirrored
        self._next: dict[Where, int] = {}
        """The source's offset that comes next, of partitions whose target was asked."""
        self._sought: dict[Where, int] = {}
        self._uncommitted: dict[Where, int] = {}
        self._committed_s = time.monotonic()

    def step(self) -> None:
        """Wait for messages of one partition for a moment, and bring them."""
        messages = self._consumer.poll(BATCH_MESSAGES, timeout=GLANCE_S)
        assigned = {
            (topic, index)
            for topic, indexes in self._consumer.assignment().items()
            for index in indexes
        }
        for where in set(self._next) - assigned:
            del self._next[where]
        if messages:
            self._bring((messages[0].topic, messages[0].partition), messages)
        if time.monotonic() - self._committed_s >= COMMIT_EVERY_S:
            self._commit(assigned)

    def measure(self) -> None:
        """Find out how far behind it is."""
        self._mirrored.lag = sum(one.messages for one in self._consumer.lag())

    def _bring(self, where: Where, messages: list[Message]) -> None:
        if self._next.get(where) != messages[0].offset:
            self._next[where] = self._after_last(where, messages[0].offset)
        expected = self._next[where]
        if messages[0].offset > expected and self._sought.get(where) != expected:
            # The group is ahead of what the target has. What is not there is read once more; where
            # it is gone from the source, the same message comes again, and that is that.
            self._sought[where] = expected
            try:
                self._consumer.seek(*where, expected)
            except OffsetOutOfRange:  # retention was faster
                logger.warning("%s/%d has lost what comes before %d", *where, messages[0].offset)
            else:
                return
        wanted = [one for one in messages if one.offset >= expected]
        self._mirrored.dropped += len(messages) - len(wanted)
        for batch in _batches(wanted):
            self._send(where, batch)
            self._next[where] = batch[-1].offset + 1
        self._uncommitted[where] = messages[-1].offset + 1

    def _after_last(self, where: Where, offset: int) -> int:
        """Return the offset behind all that the target has; where it has nothing, the first."""
        last = Copied(self._reader, where, self._marks(where)).last()
        if last is not None:
            return last.source_offset + 1
        _, end = self._reader.range_of(*where)
        return offset if end else 0

    def _marks(self, where: Where) -> Marks:
        return Marks(self._options.name, *where)

    def _send(self, where: Where, batch: Sequence[Message]) -> None:
        marks = self._marks(where)
        records = [
            Record(one.value, one.key, marks.headers(one.headers, one.offset), one.timestamp)
            for one in batch
        ]
        try:
            self._produce(where, records)
        except (InvalidRequest, MessageTooLarge):
            pairs = list(zip(batch, records, strict=True))
            self._produce(where, [record for one, record in pairs if self._may_be(one, record)])

    def _produce(self, where: Where, records: list[Record]) -> None:
        self._producer.produce_many(where[0], records, partition=where[1])
        self._mirrored.messages += len(records)

    def _may_be(self, one: Message, record: Record) -> bool:
        try:
            make_record(*record[:3], timestamp=record.timestamp)
        except QueueError as error:
            logger.warning(
                "%s/%d offset %d is not copied: %s",
                *(one.topic, one.partition, one.offset, error.message),
            )
            self._mirrored.refused += 1
            return False
        return True

    def _commit(self, assigned: set[Where]) -> None:
        wanted = {where: one for where, one in self._uncommitted.items() if where in assigned}
        self._uncommitted.clear()
        if wanted:
            self._consumer.commit(wanted)
        self._committed_s = time.monotonic()


def _batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Yield messages in parts that are one batch each."""
    start = size = 0
    for index, one in enumerate(messages):
        length = len(one.value) + len(one.key or "") + 64
        if index > start and size + length > BATCH_BYTES:
            yield messages[start:index]
            start, size = index, 0
        size += length
    if messages[start:]:
        yield messages[start:]


class _Translation:
    """Brings the offsets of groups along, forward alone."""

    def __init__(
        self, clusters: _Clusters, reader: Place, options: MirrorOptions, mirrored: Mirrored
    ) -> None:
        self._source, self._target = clusters
        self._reader = reader
        self._options = options
        self._mirrored = mirrored
        self._brought: dict[tuple[str, Where], int] = {}

    def bring(self) -> None:
        """Bring what has changed since the last time."""
        names = self._options.groups
        if names is None:
            names = [one for one in self._source.list_groups() if one != self._options.name]
        for name in names:
            try:
                group = self._source.describe_group(name)
            except GroupNotFound:
                continue
            kind = group.kind or "consumers"
            for one in group.partitions:
                where = (one.topic, one.partition)
                if one.topic not in self._options.topics or one.offset is None:
                    continue
                if self._brought.get((name, where)) != one.offset:
                    label = f"{name} {one.topic}/{one.partition}"
                    try:
                        told = self._move(name, kind, where, one.offset)
                    except QueueError as error:
                        told = f"not moved: {error.code}: {error.message}"
                    self._mirrored.groups[label] = told

    def _move(self, name: str, kind: Kind, where: Where, offset: int) -> str:
        marks = Marks(self._options.name, *where)
        place = Copied(self._reader, where, marks).place_of(offset)
        if place < self._reader.range_of(*where)[1]:  # else more may come that the group has read
            self._brought[name, where] = offset
        try:
            group = self._target.describe_group(name)
        except GroupNotFound:
            self._reader.commit_group(name, kind, where, place)
            return f"at {place}"
        there = {(one.topic, one.partition): one.offset for one in group.partitions}
        present = there.get(where)
        if present is not None and present >= place:
            return f"is at {present}"
        self._target.reset_group(name, where[0], to=place, partitions=[where[1]])
        return f"at {place}"
