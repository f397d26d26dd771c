"""The consumer: every message of its topics once, popped from the partitions' leaders."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from myqueue.errors import (
    BrokerUnreachable,
    ClientClosed,
    ClientError,
    InvalidRequest,
    PartitionNotFound,
    QueueEmpty,
    QueueError,
)
from myqueue.fetching import fetch_call, read_fetched
from myqueue.http1 import Request
from myqueue.partitioner import partition_for_key
from myqueue.popping import pop_call, popped_message, size_request
from myqueue.pops import Pop, Pops, Rotation, TopicPartition
from myqueue.protocol import MAX_FETCH_BYTES
from myqueue.registered import topic_names
from myqueue.results import Fetched, Message, Registration
from myqueue.retry import Attempts
from myqueue.session import LeaderCall, Session
from myqueue.transport import read_body
from myqueue.watches import Watches

if TYPE_CHECKING:
    from myqueue.clock import Clock
    from myqueue.config import ClientConfig
    from myqueue.transport import Exchange, Transport

Key = int | str | bytes
Several = list[str] | tuple[str, ...]
FOREVER_S = 10 * 365 * 86_400.0


class Consumer(Session):
    """Reads messages; a cursor per partition, kept by the cluster, moves with each pop.

    A message counts as read when it was popped, before the program has it: a crash of the program
    loses what it popped and did not deal with. A lost answer loses nothing.

    Args:
        topics: one name or several; they must exist.
        address: a manager's address, or several as a list or separated by commas.
        start: earliest reads what is stored, latest only what comes after the registration.
        attach: `registrations` of an earlier consumer, to go on at its cursors.
        config: settings; the defaults suit most programs.
        transport: how requests travel; HTTP when left out.
        clock: time and chance; the system's when left out.

    Raises:
        TopicDoesNotExist: a topic is unknown.
        ManagerNotFound: no manager answered.
    """

    def __init__(
        self,
        topics: str | Sequence[str],
        address: str | Sequence[str],
        *,
        start: str = "earliest",
        attach: dict[str, Registration] | None = None,
        config: ClientConfig | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._pops = Pops()
        self._rotation = Rotation()
        self._pops_lock = threading.Lock()
        self._watch_lock = threading.Lock()
        self._watches: Watches | None = None
        super().__init__(
            "consumer",
            topics,
            address,
            config=config,
            transport=transport,
            clock=clock,
            register_fields={"start": start},
            attach=attach,
        )

    # The original library's methods

    @overload
    def dequeue(self, topics: str, partition_key: Key | None = None) -> str | bytes: ...

    @overload
    def dequeue(self, topics: Several, partition_key: Key | None = None) -> list[str | bytes]: ...

    def dequeue(
        self, topics: str | Several, partition_key: Key | None = None
    ) -> str | bytes | list[str | bytes]:
        """Return the next message's value; for a list of topics, one of each as a list.

        Args:
            topics: a topic, or several.
            partition_key: reads the partition of this key alone; otherwise the partitions that
                have something take turns.

        Raises:
            QueueEmpty: nothing is left; what a list took from earlier topics is kept for the next
                call.
            UnauthorizedException: not registered for the topic.
        """
        taken: list[Message] = []
        for topic in topic_names(topics):
            found = self._dequeue_one(topic, partition_key)
            if found is None:
                with self._pops_lock:
                    self._pops.keep(taken)
                raise QueueEmpty(f"QEmpty: nothing is left in topic {topic!r} for this consumer")
            taken.append(found)
        return taken[0].value if isinstance(topics, str) else [one.value for one in taken]

    @overload
    def get_size(self, topics: str) -> int: ...

    @overload
    def get_size(self, topics: Several) -> list[int]: ...

    def get_size(self, topics: str | Several) -> int | list[int]:
        """Return how many messages are left for this consumer; for a list of topics, a list."""
        sizes = [self._size(topic) for topic in topic_names(topics)]
        return sizes[0] if isinstance(topics, str) else sizes

    @overload
    def can_dequeue(self, topics: str) -> bool: ...

    @overload
    def can_dequeue(self, topics: Several) -> list[bool]: ...

    def can_dequeue(self, topics: str | Several) -> bool | list[bool]:
        """Return whether a message is left for this consumer; for a list of topics, a list."""
        answers = [self._size(topic) > 0 for topic in topic_names(topics)]
        return answers[0] if isinstance(topics, str) else answers

    # Beyond

    def poll(
        self,
        max_messages: int = 500,
        timeout: float | None = 0.0,
        *,
        topics: str | Sequence[str] | None = None,
        partition: int | None = None,
    ) -> list[Message]:
        """Return up to `max_messages` of one partition; empty when none came in time.

        With one partition the broker holds the request until something arrives; with several, one
        size request per partition is held, all by this thread.

        Args:
            max_messages: at least 1.
            timeout: seconds to wait for the first; None waits until one comes.
            topics: those to read; all registered ones when left out.
            partition: the only partition to read in each of them.
        """
        if max_messages < 1:
            raise InvalidRequest(f"max_messages must be at least 1, not {max_messages}")
        names = list(self.topics) if topics is None else topic_names(topics)
        deadline_s = self._clock.monotonic() + (FOREVER_S if timeout is None else timeout)
        quiet: set[TopicPartition] = set()
        while True:
            with self._pops_lock:
                ready = self._pops.take(names, max_messages, partition)
            if ready:
                return ready
            partitions = self._partitions(names, partition)
            remaining_s = deadline_s - self._clock.monotonic()
            if len(partitions) == 1:
                found = self._pop_waiting(partitions[0], max_messages, remaining_s)
            else:
                found = self._pop_first(partitions, max_messages, quiet)
            if found or deadline_s <= self._clock.monotonic():
                return found
            if len(partitions) != 1:
                quiet = self._wait(partitions, deadline_s)

    def __iter__(self) -> Iterator[Message]:
        """Yield every message as it comes, for ever; ends when the consumer is closed.

        Messages are taken `prefetch_messages` at a time; those left when the loop is broken off
        are kept for the next call.
        """
        while not self._closed:
            try:
                batch = self.poll(self._config.prefetch_messages, timeout=None)
            except ClientClosed:
                return
            position = 0
            try:
                for message in batch:
                    position += 1
                    yield message
            finally:
                if position < len(batch):
                    with self._pops_lock:
                        self._pops.keep(batch[position:])

    def fetch(
        self,
        topic: str,
        partition: int,
        offset: int,
        *,
        max_bytes: int = 1 << 20,
        wait_ms: int = 0,
        replica: str | None = None,
    ) -> Fetched:
        """Read from an offset without moving any cursor.

        Args:
            topic: a topic that this consumer is registered for.
            partition: its partition.
            offset: where to begin.
            max_bytes: about how much; at least one batch is returned when there is one.
            wait_ms: how long the broker waits for something to arrive, at most 30,000.
            replica: address of the broker to read from, alone; the leader, else another
                replica when left out.

        Raises:
            OffsetOutOfRange: below the log start or above the high watermark.
            CorruptBatch: a batch is damaged.
        """
        call = fetch_call(
            topic, partition, offset, max_bytes=min(max_bytes, MAX_FETCH_BYTES), wait_ms=wait_ms
        )
        attempts = Attempts(self._config, deadline_s=self._deadline_s())

        def read(answer: Any) -> Fetched:
            return read_fetched(answer, topic=topic, partition=partition, offset=offset)

        if replica is not None:
            registration = self.registration(topic)
            timeout_s = (self._config.request_timeout_ms + wait_ms) / 1000
            return read(
                self._transport.request(replica, call.direct(registration), timeout_s=timeout_s)
            )
        found = self.at_leader(call, attempts, read)
        assert isinstance(found, Fetched), "a fetch never goes through a manager"
        return found

    def close(self) -> None:
        """Stop; the registration and its cursors stay in the cluster."""
        super().close()
        if self._watches is not None and self._watch_lock.acquire(blocking=False):
            try:
                self._watches.close()
            finally:
                self._watch_lock.release()

    def restart_after_fork(self) -> None:
        """Start anew in the child: parent and child share the cursors, each message goes to one.

        What the parent popped and did not hand out yet stays the parent's.
        """
        super().restart_after_fork()
        self._pops = Pops()
        self._pops_lock = threading.Lock()
        self._watch_lock = threading.Lock()
        if self._watches is not None:
            self._watches.forget()

    # Popping

    def _dequeue_one(self, topic: str, partition_key: Key | None) -> Message | None:
        partition = None
        if partition_key is not None:
            self.registration(topic)
            partition = partition_for_key(partition_key, self.partition_count(topic))
        found = self.poll(1, topics=topic, partition=partition)
        return found[0] if found else None

    def _partitions(self, topics: list[str], partition: int | None) -> list[TopicPartition]:
        found: list[TopicPartition] = []
        for topic in topics:
            self.registration(topic)
            count = self.partition_count(topic)
            if partition is None:
                found += [(topic, index) for index in range(count)]
            elif 0 <= partition < count:
                found.append((topic, partition))
            else:
                raise PartitionNotFound(
                    f"topic {topic!r} has partitions 0 to {count - 1}, not {partition}"
                )
        if not found:
            raise InvalidRequest("this consumer is registered for no topic", field="topics")
        return found

    def _pop_waiting(
        self, where: TopicPartition, max_messages: int, remaining_s: float
    ) -> list[Message]:
        """Pop from the only partition, which holds the request while it is empty."""
        wait_ms = max(0, min(int(remaining_s * 1000), self._config.long_poll_ms))
        return self._pop(where, max_messages, wait_ms)

    def _pop_first(
        self, partitions: list[TopicPartition], max_messages: int, quiet: set[TopicPartition]
    ) -> list[Message]:
        """Pop from the first partition that has something; those in `quiet` have not."""
        with self._pops_lock:
            order = self._rotation.order(partitions)
        for where in order:
            if where in quiet and not self._pops.has_unsettled(where):
                continue
            found = self._pop(where, max_messages, 0)
            if found:
                with self._pops_lock:
                    self._rotation.served(where)
                return found
        return []

    def _wait(self, partitions: list[TopicPartition], deadline_s: float) -> set[TopicPartition]:
        """Wait until a partition may have something; return those that certainly have not."""
        remaining_s = deadline_s - self._clock.monotonic()
        slice_s = min(remaining_s, self._config.long_poll_ms / 1000)
        if slice_s <= 0 or not self._watch_lock.acquire(timeout=slice_s):
            return set()
        try:
            if self._watches is None:
                self._watches = Watches(self._watch, self._transport, self._clock)
            self._watches.wait(partitions, slice_s)
            return self._watches.quiet(partitions)
        finally:
            self._watch_lock.release()

    def _watch(self, where: TopicPartition) -> Exchange:
        """Send the size request that answers when the partition has something."""
        topic, partition = where
        registration = self.registration(topic)
        with self._lock:
            address = self._metadata.partition(topic, partition).leader
            if not address or self._metadata.avoids(address, now_s=self._clock.monotonic()):
                raise BrokerUnreachable("the leader is unknown or out of reach")
        wait_ms = self._config.long_poll_ms
        timeout_s = (self._config.request_timeout_ms + wait_ms) / 1000
        request = size_request(where, registration, wait_ms=wait_ms)
        return self._transport.begin(address, request, timeout_s=timeout_s)

    def _pop(self, where: TopicPartition, max_messages: int, wait_ms: int) -> list[Message]:
        """Pop from one partition, after whatever was left unsettled there."""
        with self._pops_lock:
            pop = self._pops.begin(where, max_messages)
        attempts = Attempts(self._config, deadline_s=self._deadline_s())
        call = pop_call(where, pop, wait_ms=wait_ms, timeout_ms=self._config.request_timeout_ms)
        try:
            body = self.at_leader(call, attempts, read_body)
        except QueueError as error:
            if attempts.outcome_unknown or isinstance(error, ClientError):
                self._leave_unsettled(where, pop)
            raise attempts.verdict(error) from error
        except BaseException:
            # Interrupted in the middle: the pop may have happened.
            self._leave_unsettled(where, pop)
            raise
        messages = [popped_message(item, where) for item in body["messages"]]
        if len(messages) > max_messages:
            with self._pops_lock:
                self._pops.keep(messages[max_messages:])
        return messages[:max_messages]

    def _leave_unsettled(self, where: TopicPartition, pop: Pop) -> None:
        with self._pops_lock:
            self._pops.unsettled(where, pop)

    # Sizes

    def _size(self, topic: str) -> int:
        """Return what is left in all partitions, and what was popped and not handed out."""
        self.registration(topic)
        total = 0
        for partition in range(self.partition_count(topic)):
            total += self._partition_size((topic, partition))
        with self._pops_lock:
            return total + self._pops.waiting(topic)

    def _partition_size(self, where: TopicPartition) -> int:
        def request(registration: Registration) -> Request:
            return size_request(where, registration, wait_ms=0)

        attempts = Attempts(self._config, deadline_s=self._deadline_s())
        body = self.at_leader(LeaderCall(*where, request, request), attempts, read_body)
        return int(body["size"])
