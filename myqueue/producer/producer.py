# Written by `make fronts` from myqueue/producer/aio.py; change it there.
"""The producer: messages to the leaders of their partitions, each exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Unpack, overload

from myqueue.contract.errors import QueueError
from myqueue.contract.partitioner import Key
from myqueue.producer.core import ProducerCore, first_failure
from myqueue.producer.futures import DeliveryFuture
from myqueue.producer.options import PRODUCER_OPTIONS, ProducerOptions, serializer_of
from myqueue.producer.sender import Sender
from myqueue.producer.splitting import CallBatches, Splitting, portions
from myqueue.results import Delivered, DeliveredBatch
from myqueue.transport.client_base import BlockingClient
from myqueue.transport.settings import Address, Settings, one_address, refuse_unknown, with_token
from myqueue.transport.topic_names import Several, older_key, topic_names

if TYPE_CHECKING:
    from concurrent.futures import Future

    from myqueue.config import ClientConfig
    from myqueue.transport.blocking import Transport
    from myqueue.transport.clock import Clock


class Producer(BlockingClient[ProducerCore]):
    """Sends messages; each is acknowledged when it is durable on a quorum of disks.

    Every message is delivered exactly once, also when answers are lost and leaders change: batches
    carry producer id, epoch and sequence, and a batch that was sent is only repeated under them.
    When that cannot be settled within `delivery_timeout_ms`, DeliveryTimeout says with its
    `outcome` whether the message may have arrived.

    Messages of one partition are stored in the order in which they were given. What arrives while
    a request is out forms the next batch, so many threads share few requests; a lone `enqueue`
    sends at once, in the calling thread.

        with Producer("logs", "http://127.0.0.1:8000") as producer:
            producer.enqueue("logs", "user 17 logged in")

    Args:
        topics: one name or several; one that does not exist is created, see `create`.
        address: a manager's address, or several as a list or separated by commas; when left out,
            MYQUEUE_ADDRESS of the environment.
        config: settings; the defaults suit most programs.
        transport: how requests travel; HTTP when left out.
        clock: time and chance; the system's when left out.
        options: `serializer`: `json` or `msgpack`, for any value that msgspec can encode, or a
            function of a value that returns a text or bytes. `create`: False raises
            TopicDoesNotExist for a missing topic instead of creating it. `connect`: `lazy` asks no
            manager before the first call, so that a program can start before its cluster. `token`:
            the API token where a cluster asks who calls; when left out, that of the settings, then
            MYQUEUE_TOKEN of the environment. `manager` or `broker`: older names of `address`; only
            one of the three is given.

    Raises:
        InvalidRequest: the address is missing, given twice or none.
        ManagerNotFound: no manager answered.
    """

    def __init__(
        self,
        topics: str | Sequence[str],
        address: Address | None = None,
        *,
        config: ClientConfig | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
        **options: Unpack[ProducerOptions],
    ) -> None:
        refuse_unknown("Producer", options, PRODUCER_OPTIONS)
        settings = Settings(
            one_address(address, options), with_token(config, options), transport, clock
        )
        self._serialize = serializer_of(options.get("serializer"))
        core = ProducerCore(
            settings.addresses,
            config=settings.config,
            clock=settings.clock,
            make_lock=settings.make_lock,
            make_future=DeliveryFuture,
            options=options,
        )
        self._sender = Sender(core, settings)
        super().__init__(core, settings, topics)

    @overload
    def enqueue(
        self,
        topics: str,
        message: Any,
        key: Key | None = None,
        *,
        partition: int | None = None,
        headers: dict[str, str | bytes] | None = None,
        partition_key: Key | None = None,
    ) -> Delivered: ...

    @overload
    def enqueue(
        self,
        topics: Several,
        message: Any,
        key: Key | None = None,
        *,
        partition: int | None = None,
        headers: dict[str, str | bytes] | None = None,
        partition_key: Key | None = None,
    ) -> list[Delivered]: ...

    def enqueue(
        self,
        topics: str | Several,
        message: Any,
        key: Key | None = None,
        *,
        partition: int | None = None,
        headers: dict[str, str | bytes] | None = None,
        partition_key: Key | None = None,
    ) -> Delivered | list[Delivered]:
        """Send one message and wait until it is durable.

        Args:
            topics: a topic, or several that each get the message.
            message: text or bytes, at most 1 MiB; with a `serializer` what that takes.
            key: picks the partition: messages of one key are in one, in their order. A text or
                bytes are hashed, and stored with the message; an integer is taken modulo the number
                of partitions, and not stored.
            partition: the partition itself; a key beside it is only stored.
            headers: at most 64, stored with the message.
            partition_key: older name of `key`.

        Returns:
            Partition and offset; a list of them for a list of topics.

        Raises:
            UnauthorizedException: not registered for the topic.
            PartitionNotFound: there is no such partition.
            MessageTooLarge: a limit is passed.
            BufferFull: the buffer stayed full.
            DeliveryTimeout: not acknowledged in time; `outcome_known` says what that means.
            RuntimeError: a thread was needed and the system starts none; it was not taken.
        """
        if partition_key is not None:
            key = older_key(key, partition_key, partition)
        if self._serialize is not None:
            message = self._serialize(message)
        stored = None if isinstance(key, int) else key
        names = topic_names(topics)
        record = self._core.record(",".join(names), message, stored, headers)
        if stored is not None:
            key = record.key
        sent = []
        for topic in names:
            index = self._choose(topic, key, partition)
            sent.append(self._sender.deliver((topic, index), record))
        results = self._sender.results(sent)
        return results[0] if isinstance(topics, str) else results

    def produce_many(
        self,
        topic: str,
        messages: Iterable[Any],
        key: Key | None = None,
        *,
        partition: int | None = None,
        partition_key: Key | None = None,
    ) -> list[DeliveredBatch]:
        """Send many messages in as few batches as take them, each batch all or nothing.

        A batch has at most 10,000 messages and 8 MiB. Fewer than that go as one batch per
        partition. Batches are sent while the messages of the next ones are taken from an iterable
        of any length, and at most `buffer_bytes` are out at once; when one batch failed, no
        further message is taken. What an iterable yielded before it raised may be on its way.

        Args:
            topic: the topic.
            messages: texts, bytes, or `Record`s with key and headers, in a list or any other
                iterable; their order is kept in each partition.
            key: picks the partition where all go, as in `enqueue`; stored with those that have none
                of their own.
            partition: where all go, instead. Without both, a record's key picks its partition and
                those without a key are dealt out in turn.
            partition_key: older name of `key`.

        Returns:
            One acknowledgement per batch, in the order of partitions, and of offsets in each;
            empty when there were no messages.

        Raises:
            InvalidRequest: `messages` is a single message, or one of them is of a wrong type.
            QueueError: as `enqueue`; batches that were acknowledged all the same are in
                `details["delivered"]`.
        """
        if partition_key is not None:
            key = older_key(key, partition_key, partition)
        self._ready()
        core, sender = self._core, self._sender
        parts = Splitting(held_bytes_max=core.config.buffer_bytes)
        given = CallBatches(core.config.buffer_bytes)
        refusal: QueueError | None = None
        try:
            for items in portions(messages, self._serialize):
                self._run(core.group(topic, items, parts, partition=partition, key=key))
                if not sender.hand_over(core.whole_batches(topic, parts.full()), given):
                    break
            else:
                sender.hand_over(core.whole_batches(topic, parts.rest()), given, last=True)
        except QueueError as error:
            # What was given before is on its way; what became of it is told with the error.
            refusal = error
        results = sender.outcomes(given.futures)
        return first_failure(results if refusal is None else [*results, refusal])

    def send(
        self,
        topic: str,
        message: Any,
        key: Key | None = None,
        *,
        partition: int | None = None,
        headers: dict[str, str | bytes] | None = None,
        partition_key: Key | None = None,
    ) -> Future[Delivered]:
        """Queue one message; a background thread joins what waits into batches.

        A message that fails is told by its future, and else by `close`; the log has a warning for
        the first of each cause in a minute. At the end of a program that does not close, what was
        queued is delivered within `exit_timeout_ms`, or its number is written to stderr.

        Args:
            topic: the topic.
            message: as of `enqueue`.
            key: as of `enqueue`.
            partition: the partition itself; a key beside it is only stored.
            headers: at most 64, stored with the message.
            partition_key: older name of `key`.

        Returns:
            A future with partition and offset. It cannot be cancelled: what was queued goes out.

        Raises:
            BufferFull: the buffer stayed full.
            QueueError: as `enqueue`, for what can be said before sending.
            RuntimeError: as `enqueue`.
        """
        if partition_key is not None:
            key = older_key(key, partition_key, partition)
        if self._serialize is not None:
            message = self._serialize(message)
        stored = None if isinstance(key, int) else key
        record = self._core.record(topic, message, stored, headers)
        index = self._choose(topic, key if stored is None else record.key, partition)
        future: DeliveryFuture[Delivered] = DeliveryFuture()
        self._sender.put((topic, index), record, future)
        return future

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything that was given before is delivered or failed.

        Args:
            timeout: seconds; None waits as long as it takes.

        Returns:
            False when the time was over before.
        """
        return self._sender.flush(timeout)

    def close(self) -> None:
        """Deliver what waits, then stop.

        Raises:
            UndeliveredMessages: what could not be delivered within `delivery_timeout_ms`, and what
                failed before without the program's taking the failure by `result` or `exception`
                of its future; `details["values"]` has the messages, those with an unknown outcome
                first. When more than `buffer_bytes` had failed, it has the last ones, and the text
                counts all.
        """
        session = self._core.session
        if session.closing or session.closed:
            return
        try:
            self._sender.stop(session.config.delivery_timeout_ms / 1000)
        finally:
            super().close()

    def forget(self) -> None:
        """Deliver what waits, have the cluster forget this producer and its sequences, and close.

        When one of these fails, the producer takes no more messages, but `forget` can be called
        again.

        Raises:
            UndeliveredMessages: as `close`; the cluster was not told to forget it.
            ManagerNotFound: no manager answered in time.
        """
        self._ready()
        # Its messages need the registration until the last of them is acknowledged.
        with self._sender.drained(self._core.config.delivery_timeout_ms / 1000):
            self._core.session.check_open()
            self._drive(self._core.forget())
        self.close()

    def _choose(self, topic: str, key: Key | None, partition: int | None) -> int:
        core = self._core
        if not self._is_ready or core.session.closing or core.session.closed:
            self._ready()
        chosen = core.choose_at_once(topic, key, partition)
        if chosen is None:
            chosen = self._drive(core.choose(topic, key, partition))
        return chosen
