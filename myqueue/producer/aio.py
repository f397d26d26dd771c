"""The producer: messages to the leaders of their partitions, each exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Unpack, overload

from myqueue.contract.errors import QueueError
from myqueue.contract.partitioner import Key
from myqueue.producer.aio_futures import LoopFuture
from myqueue.producer.aio_sender import AsyncSender
from myqueue.producer.core import ProducerCore, first_failure
from myqueue.producer.options import PRODUCER_OPTIONS, ProducerOptions, serializer_of
from myqueue.producer.splitting import CallBatches, Splitting, portions
from myqueue.results import Delivered, DeliveredBatch
from myqueue.transport.aio_client_base import AsyncClientBase
from myqueue.transport.aio_settings import AsyncSettings
from myqueue.transport.settings import Address, one_address, refuse_unknown, with_token
from myqueue.transport.topic_names import Several, older_key, topic_names

if TYPE_CHECKING:
    import asyncio

    from myqueue.config import ClientConfig
    from myqueue.transport.aio import AsyncTransport
    from myqueue.transport.clock import Clock


class AsyncProducer(AsyncClientBase[ProducerCore]):
    """Sends messages; each is acknowledged when it is durable on a quorum of disks.

    Every message is delivered exactly once, also when answers are lost and leaders change: batches
    carry producer id, epoch and sequence, and a batch that was sent is only repeated under them.
    When that cannot be settled within `delivery_timeout_ms`, DeliveryTimeout says with its
    `outcome` whether the message may have arrived.

    Messages of one partition are stored in the order in which they were given. What arrives while
    a request is out forms the next batch, so many tasks share few requests.

        async with AsyncProducer("logs", "http://127.0.0.1:8000") as producer:
            await producer.enqueue("logs", "user 17 logged in")

    The same as `Producer`, for one event loop. A call that is cancelled leaves its message on the
    way: it was given, so it is delivered.

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
    """

    def __init__(
        self,
        topics: str | Sequence[str],
        address: Address | None = None,
        *,
        config: ClientConfig | None = None,
        transport: AsyncTransport | None = None,
        clock: Clock | None = None,
        **options: Unpack[ProducerOptions],
    ) -> None:
        refuse_unknown("AsyncProducer", options, PRODUCER_OPTIONS)
        settings = AsyncSettings(
            one_address(address, options), with_token(config, options), transport, clock
        )
        self._serialize = serializer_of(options.get("serializer"))
        core = ProducerCore(
            settings.addresses,
            config=settings.config,
            clock=settings.clock,
            make_lock=settings.make_lock,
            make_future=LoopFuture,
            options=options,
        )
        self._sender = AsyncSender(core, settings)
        super().__init__(core, settings, topics)

    @overload
    async def enqueue(
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
    async def enqueue(
        self,
        topics: Several,
        message: Any,
        key: Key | None = None,
        *,
        partition: int | None = None,
        headers: dict[str, str | bytes] | None = None,
        partition_key: Key | None = None,
    ) -> list[Delivered]: ...

    async def enqueue(
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
            topics: a topic, or several that each get the message, at once.
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
            index = await self._choose(topic, key, partition)
            sent.append(await self._sender.deliver((topic, index), record))
        results = await self._sender.results(sent)
        return results[0] if isinstance(topics, str) else results

    async def produce_many(
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
        further message is taken. What an iterable yielded before it raised may be on its way. One
        that waits holds up the event loop.

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
        await self._ready()
        core, sender = self._core, self._sender
        parts = Splitting(held_bytes_max=core.config.buffer_bytes)
        given = CallBatches(core.config.buffer_bytes)
        refusal: QueueError | None = None
        try:
            for items in portions(messages, self._serialize):
                await self._run(core.group(topic, items, parts, partition=partition, key=key))
                if not await sender.hand_over(core.whole_batches(topic, parts.full()), given):
                    break
            else:
                await sender.hand_over(core.whole_batches(topic, parts.rest()), given, last=True)
        except QueueError as error:
            # What was given before is on its way; what became of it is told with the error.
            refusal = error
        results = await sender.outcomes(given.futures)
        return first_failure(results if refusal is None else [*results, refusal])

    async def send(
        self,
        topic: str,
        message: Any,
        key: Key | None = None,
        *,
        partition: int | None = None,
        headers: dict[str, str | bytes] | None = None,
        partition_key: Key | None = None,
    ) -> asyncio.Future[Delivered]:
        """Queue one message, once the buffer has room; what waits is joined into batches.

        A message that fails is told by its future, and else by `close`; the log has a warning for
        the first of each cause in a minute. What a producer holds that was not closed when its loop
        ended is lost, and its number is written to stderr: without the loop nothing can be sent.

        Args:
            topic: the topic.
            message: as of `enqueue`.
            key: as of `enqueue`.
            partition: the partition itself; a key beside it is only stored.
            headers: at most 64, stored with the message.
            partition_key: older name of `key`.

        Returns:
            A future with partition and offset. When it is cancelled, what was queued still goes
            out.

        Raises:
            BufferFull: the buffer stayed full.
            QueueError: as `enqueue`, for what can be said before sending.
        """
        if partition_key is not None:
            key = older_key(key, partition_key, partition)
        if self._serialize is not None:
            message = self._serialize(message)
        stored = None if isinstance(key, int) else key
        record = self._core.record(topic, message, stored, headers)
        index = await self._choose(topic, key if stored is None else record.key, partition)
        future: LoopFuture[Delivered] = LoopFuture()
        await self._sender.put((topic, index), record, future)
        return future

    async def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything that was given before is delivered or failed.

        Args:
            timeout: seconds; None waits as long as it takes.

        Returns:
            False when the time was over before.
        """
        return await self._sender.flush(timeout)

    async def close(self) -> None:
        """Deliver what waits, then stop.

        Raises:
            UndeliveredMessages: what could not be delivered within `delivery_timeout_ms`, and what
                failed before without anybody's awaiting its future; `details["values"]` has the
                messages, those with an unknown outcome first. When more than `buffer_bytes` had
                failed, it has the last ones, and the text counts all.
        """
        session = self._core.session
        if session.closing or session.closed:
            return
        try:
            await self._sender.stop(session.config.delivery_timeout_ms / 1000)
        finally:
            await super().close()

    async def forget(self) -> None:
        """Deliver what waits, have the cluster forget this producer and its sequences, and close.

        When one of these fails, the producer stays open.

        Raises:
            UndeliveredMessages: as `close`; the cluster was not told to forget it.
            ManagerNotFound: no manager answered in time.
        """
        await self._ready()
        # Its messages need the registration until the last of them is acknowledged.
        async with self._sender.drained(self._core.config.delivery_timeout_ms / 1000):
            self._core.session.check_open()
            await self._drive(self._core.forget())
        await self.close()

    async def _choose(self, topic: str, key: Key | None, partition: int | None) -> int:
        core = self._core
        if not self._is_ready or core.session.closing or core.session.closed:
            await self._ready()
        chosen = core.choose_at_once(topic, key, partition)
        if chosen is None:
            chosen = await self._drive(core.choose(topic, key, partition))
        return chosen
