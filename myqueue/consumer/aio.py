"""The consumer: every message of its topics once, popped from the partitions' leaders."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Unpack, overload

from myqueue.consumer.options import AnyCore, ConsumerOptions, make_core
from myqueue.contract.errors import ClientClosed
from myqueue.contract.partitioner import Key
from myqueue.group.core import grouped
from myqueue.transport.aio_client_base import AsyncClientBase
from myqueue.transport.aio_settings import AsyncSettings
from myqueue.transport.settings import Address, one_address, with_token
from myqueue.transport.topic_names import Several, older_key, topic_names

if TYPE_CHECKING:
    from datetime import datetime

    from myqueue.config import ClientConfig
    from myqueue.contract.inputs import Start
    from myqueue.results import Fetched, Lag, Message, Registration
    from myqueue.transport.aio import AsyncTransport
    from myqueue.transport.clock import Clock


class AsyncConsumer(AsyncClientBase[AnyCore]):
    """Reads messages; a cursor per partition, kept by the cluster, moves with each pop.

        async with AsyncConsumer("logs", "http://127.0.0.1:8000") as consumer:
            async for message in consumer:
                print(message.text)

    The same as `Consumer`, for one event loop. A call that is cancelled loses nothing: what it may
    have popped comes with the next one. A member of a group sends its heartbeats from the event
    loop: a handler that blocks the loop for longer than `session_timeout` loses its partitions,
    one that awaits does not.

    A message counts as read when it was popped, before the program has it: a crash of the program
    loses what it popped and did not deal with, at most two times `prefetch_messages` of each
    partition. A lost answer loses nothing, and `close` gives back what was popped in advance, so
    that the next consumer under the same registration gets exactly the messages that this one's
    program was not handed.

    Args:
        topics: one name or several; they must exist, see `create`.
        address: a manager's address, or several as a list or separated by commas; when left out,
            MYQUEUE_ADDRESS of the environment.
        group: name of the consumer group to be a member of; none when left out.
        start: earliest reads what is stored, latest only what comes after the registration; with a
            group, where one begins that is new.
        attach: `registrations` of an earlier consumer, to go on at its cursors.
        config: settings; the defaults suit most programs.
        transport: how requests travel; HTTP when left out.
        clock: time and chance; the system's when left out.
        options: with a group alone: `auto_commit` (True), and `session_timeout` (30 seconds) after
            which a silent member's partitions go to others; `session_timeout_ms` is its older name.
            `create`: True creates a missing topic instead of raising TopicDoesNotExist. `token`:
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
        group: str | None = None,
        start: Start = "earliest",
        attach: dict[str, Registration] | None = None,
        config: ClientConfig | None = None,
        transport: AsyncTransport | None = None,
        clock: Clock | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None:
        settings = AsyncSettings(
            one_address(address, options), with_token(config, options), transport, clock
        )
        core = make_core(
            settings,
            settings.make_lock,
            group=group,
            start=start,
            options=options,
            attaches=bool(attach),
        )
        super().__init__(core, settings, topics, attach)

    # The original library's methods

    @overload
    async def dequeue(
        self, topics: str, key: Key | None = None, *, partition_key: Key | None = None
    ) -> str | bytes: ...

    @overload
    async def dequeue(
        self, topics: Several, key: Key | None = None, *, partition_key: Key | None = None
    ) -> list[str | bytes]: ...

    async def dequeue(
        self, topics: str | Several, key: Key | None = None, *, partition_key: Key | None = None
    ) -> str | bytes | list[str | bytes]:
        """Return the next message's value; for a list of topics, one of each as a list.

        When a later topic of a list fails, what was taken from earlier ones is kept for the next
        call.

        Args:
            topics: a topic, or several.
            key: reads the partition of this key alone; otherwise the partitions that have something
                take turns.
            partition_key: older name of `key`.

        Raises:
            QueueEmpty: nothing is left.
            UnauthorizedException: not registered for the topic.
        """
        if partition_key is not None:
            key = older_key(key, partition_key)
        taken = await self._run(self._core.dequeue(topic_names(topics), key))
        return taken[0].value if isinstance(topics, str) else [one.value for one in taken]

    @overload
    async def get_size(self, topics: str) -> int: ...

    @overload
    async def get_size(self, topics: Several) -> list[int]: ...

    async def get_size(self, topics: str | Several) -> int | list[int]:
        """Return how many messages are left for this consumer; for a list of topics, a list."""
        sizes = [await self._run(self._core.size(topic)) for topic in topic_names(topics)]
        return sizes[0] if isinstance(topics, str) else sizes

    @overload
    async def can_dequeue(self, topics: str) -> bool: ...

    @overload
    async def can_dequeue(self, topics: Several) -> list[bool]: ...

    async def can_dequeue(self, topics: str | Several) -> bool | list[bool]:
        """Return whether a message is left for this consumer; for a list of topics, a list."""
        answers = [await self._run(self._core.size(topic)) > 0 for topic in topic_names(topics)]
        return answers[0] if isinstance(topics, str) else answers

    # Beyond

    async def poll(
        self,
        max_messages: int = 500,
        timeout: float | None = 0.0,
        *,
        topics: str | Sequence[str] | None = None,
        partition: int | None = None,
    ) -> list[Message]:
        """Return up to `max_messages` of one partition; empty when none came in time.

        With one partition the broker holds the request until something arrives; with several, one
        request is held at each broker, for all of them there. A partition without a leader does not
        keep the others waiting.

        A wait with a timeout ends in time, also when nobody answers: then the list is empty, and
        the log has a warning, once a minute, that messages may not have been seen. With a timeout
        of 0 the call waits for no message, but until all have answered, so an empty list is
        certain. Whoever stays silent for `delivery_timeout_ms`, over one call or several, is
        raised. (A timeout below half a second gives answers that are on the way that time.)

        Args:
            max_messages: at least 1.
            timeout: seconds to wait for the first; None waits until one comes, 0 takes what is
                there, as all calls do that are not told to wait.
            topics: those to read; all registered ones when left out.
            partition: the only partition to read in each of them.

        Raises:
            QueueError: a partition, or with a group the managers while they have given none, did
                not answer for `delivery_timeout_ms`, and the others had nothing; or one refused.
        """
        return await self._run(
            self._core.poll(max_messages, timeout, topics=topics, partition=partition)
        )

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Yield every message as it comes, for ever; ends when the consumer is closed.

        Messages are taken `prefetch_messages` at a time, one request ahead; those left when the
        loop is broken off come with the next call, and `close` gives them back.
        """
        core, session = self._core, self._core.session
        while not session.closing:
            message = core.hand_out()
            if message is not None:
                yield message
                continue
            try:
                late = await self._run(core.fill())
            except ClientClosed:
                return
            for message in late:
                yield message

    async def fetch(
        self,
        topic: str,
        partition: int,
        offset: int,
        *,
        max_bytes: int = 1 << 20,
        timeout: float = 0.0,
        replica: str | None = None,
        wait_ms: int | None = None,
    ) -> Fetched:
        """Read from an offset without moving any cursor.

        Args:
            topic: a topic that this consumer is registered for.
            partition: its partition.
            offset: where to begin.
            max_bytes: about how much; at least one batch is returned when there is one.
            timeout: seconds that the broker waits for something to arrive, at most 30.
            replica: address of the broker to read from, alone; the leader, else another
                replica when left out.
            wait_ms: older name of `timeout`, in milliseconds.

        Raises:
            OffsetOutOfRange: below the log start or above the high watermark.
            CorruptBatch: a batch is damaged on that replica: its checksum is wrong.
        """
        return await self._run(
            self._core.fetcher.fetch(
                topic,
                partition,
                offset,
                max_bytes=max_bytes,
                wait_ms=int(timeout * 1000) if wait_ms is None else wait_ms,
                replica=replica,
            )
        )

    async def seek(self, topic: str, partition: int, offset: int) -> int:
        """Move the cursor of a partition; the next message read there is the one at `offset`.

        What was taken in advance of the partition is dropped. A member of a group moves the group.

        Returns:
            The offset.

        Raises:
            Rebalancing: the partition is not assigned to this member of the group.
            OffsetOutOfRange: there is no such offset.
            PartitionNotFound: there is no such partition.
        """
        offsets = await self._run(self._core.seek(topic, partition, offset=offset))
        return offsets[partition]

    async def seek_to_time(
        self, topic: str, timestamp: float | datetime, *, partition: int | None = None
    ) -> dict[int, int]:
        """Move cursors to the first message that was appended at or after a time.

        Args:
            topic: a topic that this consumer is registered for.
            timestamp: a time with its zone; a float is in seconds, as of `time.time()`, an integer
                in milliseconds, as `Message.timestamp`. The time is the leader's at the moment of
                the append, not the timestamp that the producer gave.
            partition: the only one to move; all of the topic when left out, of those that a
                member of a group is assigned.

        Returns:
            The new offsets by partition; the high watermark where everything is older.
        """
        return await self._run(self._core.seek(topic, partition, timestamp=timestamp))

    async def lag(self, topics: str | Sequence[str] | None = None) -> list[Lag]:
        """Return how far this consumer is behind in each partition, in messages and seconds.

        A member of a group tells about the partitions that it is assigned.

        Args:
            topics: one name or several; all registered ones when left out.
        """
        return await self._run(self._core.lag(topics))

    async def commit(self, offsets: Mapping[tuple[str, int], int] | None = None) -> None:
        """Have the group remember what was handed out, so that it is not read again.

        Without `offsets`: everything that this consumer was handed counts as done. Returns when it
        is durable.

        Args:
            offsets: (topic, partition) -> offset below which everything is done; for programs that
                finish messages in another order than they get them, with `auto_commit=False`.

        Raises:
            InvalidRequest: the consumer has no group, or an offset was not handed out yet.
            IllegalGeneration: a partition went to another member, which reads again what was not
                committed before; the other partitions are committed, and reading goes on.
        """
        await self._run(grouped(self._core, "commit").commit(offsets))

    def assignment(self) -> dict[str, list[int]]:
        """Return the partitions that this member of the group reads now, by topic.

        Raises:
            InvalidRequest: the consumer has no group.
        """
        return grouped(self._core, "assignment").assignment.by_topic()

    def missed(self) -> dict[tuple[str, int], int]:
        """Return how many messages retention deleted before this consumer read them.

        With a group, what this member of it came too late for. Each time is told to the program's
        log as a warning too.

        Returns:
            (topic, partition) -> messages; without the partitions of which none was missed.
        """
        return self._core.missed.by_partition()

    def corrupt(self) -> dict[tuple[str, int], int]:
        """Return how many messages were stepped over because nobody can decode them.

        Each time is told to the program's log as a warning too. What `fetch` steps over is in its
        answer instead.

        Returns:
            (topic, partition) -> messages; without the partitions that have none.
        """
        return self._core.corrupt.by_partition()

    async def close(self) -> None:
        """Give back what was taken in advance, then stop; the registration stays.

        It can be attached again for five days, the default of a cluster; `forget` ends it at once.

        A member of a group commits what is done and leaves it; what is in hand is read again.

        Raises:
            UnreadMessages: something could not be given back within `close_timeout_ms`;
                `details["messages"]` has it.
        """
        async with self._closing:
            if self._core.session.closing or self._core.session.closed:
                return
            self._core.refuse_calls()
        try:
            await self._drive(self._core.give_back())
        finally:
            await super().close()
            self._core.stop_waiting()

    async def forget(self) -> None:
        """Have the cluster forget this consumer and its cursors; then close it.

        Raises:
            ManagerNotFound: no manager answered in time.
        """
        await self._run(self._core.forget())
        # There is no cursor left to give anything back to.
        self._core.drop_popped()
        await self.close()
