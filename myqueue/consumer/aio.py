"""The consumer for event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Unpack, overload

from myqueue.consumer.core import ConsumerCore, ConsumerOptions, make_core
from myqueue.contract.errors import ClientClosed
from myqueue.contract.partitioner import Key
from myqueue.group.reading import grouped
from myqueue.transport.aio_client_base import AsyncFront, AsyncSettings
from myqueue.transport.registration import Several, topic_names
from myqueue.transport.settings import Address, one_address

if TYPE_CHECKING:
    from datetime import datetime

    from myqueue.config import ClientConfig
    from myqueue.results import Fetched, Lag, Message, Registration
    from myqueue.transport.aio import AsyncTransport
    from myqueue.transport.clock import Clock


class AsyncConsumer(AsyncFront[ConsumerCore]):
    """`Consumer` for asyncio: same names, same guarantees, one event loop.

    A call that is cancelled loses nothing: what it may have popped comes with the next one.

        async with AsyncConsumer("logs", "http://127.0.0.1:8000") as consumer:
            async for message in consumer:
                print(message.text)

    A member of a group sends its heartbeats from the event loop: a handler that blocks the loop for
    longer than `session_timeout_ms` loses its partitions, one that awaits does not.

    Args:
        topics: one name or several; they must exist.
        address: a manager's address, or several as a list or separated by commas; when left out,
            MYQUEUE_ADDRESS of the environment.
        group: name of the consumer group to be a member of; none when left out.
        start: earliest reads what is stored, latest only what comes after the registration; with a
            group, where one begins that is new.
        attach: `registrations` of an earlier consumer, to go on at its cursors.
        config: settings; the defaults suit most programs.
        transport: how requests travel; HTTP when left out.
        clock: time and chance; the system's when left out.
        options: with a group alone: `auto_commit` (True), and `session_timeout_ms` (30,000) after
            which a silent member's partitions go to others. `manager` or `broker`, older names of
            `address`; only one of the three is given.
    """

    def __init__(
        self,
        topics: str | Sequence[str],
        address: Address | None = None,
        *,
        group: str | None = None,
        start: str = "earliest",
        attach: dict[str, Registration] | None = None,
        config: ClientConfig | None = None,
        transport: AsyncTransport | None = None,
        clock: Clock | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None:
        settings = AsyncSettings(one_address(address, options), config, transport, clock)
        core = make_core(
            settings,
            asyncio.Lock,
            group=group,
            start=start,
            options=options,
            attaches=bool(attach),
        )
        super().__init__(core, settings, topics, attach)

    @overload
    async def dequeue(self, topics: str, partition_key: Key | None = None) -> str | bytes: ...

    @overload
    async def dequeue(
        self, topics: Several, partition_key: Key | None = None
    ) -> list[str | bytes]: ...

    async def dequeue(
        self, topics: str | Several, partition_key: Key | None = None
    ) -> str | bytes | list[str | bytes]:
        """Do what `Consumer.dequeue` does."""
        taken = await self._run(self._core.dequeue(topic_names(topics), partition_key))
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

    async def poll(
        self,
        max_messages: int = 500,
        timeout: float | None = 0.0,
        *,
        topics: str | Sequence[str] | None = None,
        partition: int | None = None,
    ) -> list[Message]:
        """Do what `Consumer.poll` does."""
        return await self._run(
            self._core.poll(max_messages, timeout, topics=topics, partition=partition)
        )

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Yield every message as it comes, for ever; ends when the consumer is closed.

        Messages are taken `prefetch_messages` at a time, one request ahead; those left when the
        loop is broken off come with the next call, and `close` gives them back.
        """
        core = self._core
        while not core.closing:
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
        wait_ms: int = 0,
        replica: str | None = None,
    ) -> Fetched:
        """Do what `Consumer.fetch` does."""
        return await self._run(
            self._core.fetch(
                topic, partition, offset, max_bytes=max_bytes, wait_ms=wait_ms, replica=replica
            )
        )

    async def seek(self, topic: str, partition: int, offset: int) -> int:
        """Do what `Consumer.seek` does."""
        return (await self._run(self._core.seek(topic, partition, offset=offset)))[partition]

    async def seek_to_time(
        self, topic: str, timestamp: int | datetime, *, partition: int | None = None
    ) -> dict[int, int]:
        """Do what `Consumer.seek_to_time` does."""
        return await self._run(self._core.seek(topic, partition, timestamp=timestamp))

    async def lag(self, topics: str | Sequence[str] | None = None) -> list[Lag]:
        """Do what `Consumer.lag` does."""
        return await self._run(self._core.lag(topics))

    async def commit(self, offsets: Mapping[tuple[str, int], int] | None = None) -> None:
        """Do what `Consumer.commit` does."""
        await self._run(grouped(self._core, "commit").commit(offsets))

    def assignment(self) -> dict[str, list[int]]:
        """Do what `Consumer.assignment` does."""
        return grouped(self._core, "assignment").assignment()

    def missed(self) -> dict[tuple[str, int], int]:
        """Do what `Consumer.missed` does."""
        return grouped(self._core, "missed").missed()

    def corrupt(self) -> dict[tuple[str, int], int]:
        """Do what `Consumer.corrupt` does."""
        return self._core.corrupt()

    async def close(self) -> None:
        """Give back what was taken in advance, then stop; the registration stays.

        It can be attached again for five days, the default of a cluster; `forget` ends it at once.

        Raises:
            UnreadMessages: something could not be given back within `close_timeout_ms`;
                `details["messages"]` has it.
        """
        if self._core.closing or self._core.closed:
            return
        self._core.refuse_calls()
        try:
            await self._drive(self._core.give_back())
        finally:
            await super().close()
            self._core.close_watches()

    async def forget(self) -> None:
        """Have the cluster forget this consumer and its cursors; then close it.

        Raises:
            ManagerNotFound: no manager answered in time.
        """
        await self._run(self._core.forget())
        # There is no cursor left to give anything back to.
        self._core.drop_popped()
        await self.close()
