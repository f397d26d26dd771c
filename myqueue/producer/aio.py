"""The producer for event loops."""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, Unpack, overload

from myqueue.contract.errors import BufferFull, ClientClosed, QueueError, UndeliveredMessages
from myqueue.contract.inputs import make_record
from myqueue.producer import exits
from myqueue.producer.accumulator import size_bytes_of
from myqueue.producer.delivery import Key, ProducerCore, first_failure
from myqueue.producer.splitting import Given, Splitting, portions
from myqueue.producer.undelivered import lines
from myqueue.results import Delivered, DeliveredBatch
from myqueue.transport.aio_client_base import AsyncFront, AsyncSettings
from myqueue.transport.registration import Several, topic_names
from myqueue.transport.settings import (
    ADDRESS_NAMES,
    Address,
    AddressNames,
    one_address,
    refuse_unknown,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from myqueue.config import ClientConfig
    from myqueue.contract.records import Record
    from myqueue.producer.lanes import Batch
    from myqueue.transport.aio import AsyncTransport
    from myqueue.transport.clock import Clock

logger = logging.getLogger(__name__)

T = TypeVar("T")


class LoopFuture(asyncio.Future[T]):
    """What a batch tells its fate to; whoever awaits it may have gone."""

    @property
    def is_told(self) -> bool:
        """True when the program took the failure: as for the warning that asyncio gives.

        Whoever cancelled the wait for a message was not told of it.
        """
        return self.done() and not self.cancelled() and not self._log_traceback

    def count_as_told(self) -> None:
        """Note that the program hears of the failure in another way."""
        if self.done() and not self.cancelled():
            self.exception()

    def settle(self, result: T) -> None:
        """Tell the result."""
        if not self.done():
            self.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Tell the failure."""
        if not self.done():
            self.set_exception(error)


class AsyncProducer(AsyncFront[ProducerCore]):
    """`Producer` for asyncio: same names, same guarantees, one event loop.

    A call that is cancelled leaves its message on the way: it was given, so it is delivered.

        async with AsyncProducer("logs", "http://127.0.0.1:8000") as producer:
            await producer.enqueue("logs", "user 17 logged in")

    Args:
        topics: one name or several; a topic that does not exist is created.
        address: a manager's address, or several as a list or separated by commas; when left out,
            MYQUEUE_ADDRESS of the environment.
        config: settings; the defaults suit most programs.
        transport: how requests travel; HTTP when left out.
        clock: time and chance; the system's when left out.
        names: `manager` or `broker`, older names of `address`; only one of the three is given.
    """

    def __init__(
        self,
        topics: str | Sequence[str],
        address: Address | None = None,
        *,
        config: ClientConfig | None = None,
        transport: AsyncTransport | None = None,
        clock: Clock | None = None,
        **names: Unpack[AddressNames],
    ) -> None:
        refuse_unknown("AsyncProducer", names, ADDRESS_NAMES)
        settings = AsyncSettings(one_address(address, names), config, transport, clock)
        core = ProducerCore(
            settings.addresses,
            config=settings.config,
            clock=settings.clock,
            make_lock=asyncio.Lock,
            make_future=LoopFuture,
        )
        self._deliveries: set[asyncio.Task[None]] = set()
        self._settled = asyncio.Condition()
        super().__init__(core, settings, topics)
        # Its loop may have ended by then: what it holds can only be named.
        self._name_lost = weakref.finalize(self, _name_lost, core, os.getpid())

    @overload
    async def enqueue(
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
    async def enqueue(
        self,
        topics: Several,
        message: str | bytes,
        partition_key: Key | None = None,
        *,
        partition: int | None = None,
        key: str | bytes | None = None,
        headers: dict[str, str | bytes] | None = None,
    ) -> list[Delivered]: ...

    async def enqueue(
        self,
        topics: str | Several,
        message: str | bytes,
        partition_key: Key | None = None,
        *,
        partition: int | None = None,
        key: str | bytes | None = None,
        headers: dict[str, str | bytes] | None = None,
    ) -> Delivered | list[Delivered]:
        """Do what `Producer.enqueue` does; messages for several topics are sent at once."""
        futures = [
            await self.send(
                topic,
                message,
                key,
                partition=partition,
                partition_key=partition_key,
                headers=headers,
            )
            for topic in topic_names(topics)
        ]
        results = await asyncio.gather(*futures)
        return results[0] if isinstance(topics, str) else results

    async def send(
        self,
        topic: str,
        message: str | bytes,
        key: str | bytes | None = None,
        *,
        partition: int | None = None,
        partition_key: Key | None = None,
        headers: dict[str, str | bytes] | None = None,
    ) -> asyncio.Future[Delivered]:
        """Do what `Producer.send` does; waits for room in the buffer alone.

        What a producer holds that was not closed when its loop ended is lost, and its number is
        written to stderr: without the loop nothing can be sent.

        Returns:
            A future with partition and offset.
        """
        record = make_record(message, key, headers, timestamp=self._clock.wall_ms())
        index = await self._choose(topic, partition_key, partition, record.key)
        future: LoopFuture[Delivered] = LoopFuture()
        while (more := self._core.buffer.put((topic, index), record, future)) is None:
            await self._wait_for_room(size_bytes_of(record))
        if more:
            self._deliver_ready()
        return future

    async def produce_many(
        self,
        topic: str,
        messages: Iterable[str | bytes | Record],
        *,
        partition: int | None = None,
        partition_key: Key | None = None,
    ) -> list[DeliveredBatch]:
        """Do what `Producer.produce_many` does; an iterable that waits holds up the event loop."""
        self._core.check_usable()
        await self.start()
        core = self._core
        parts = Splitting(held_bytes_max=core.config.buffer_bytes)
        given = Given(core.config.buffer_bytes)
        refusal: QueueError | None = None
        try:
            for items in portions(messages):
                await self._run(
                    core.group(
                        topic, items, parts, partition=partition, partition_key=partition_key
                    )
                )
                if not await self._hand_over(core.whole_batches(topic, parts.full()), given):
                    break
            else:
                await self._hand_over(core.whole_batches(topic, parts.rest()), given)
        except QueueError as error:
            # What was given before is on its way; what became of it is told with the error.
            refusal = error
        results = await asyncio.gather(*given.futures, return_exceptions=True)
        return first_failure(results if refusal is None else [*results, refusal])

    async def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything that was given before is delivered or failed.

        Args:
            timeout: seconds; None waits as long as it takes.

        Returns:
            False when the time was over before.
        """
        held = self._core.buffer.held()
        return await self._wait_until(lambda: all(batch.settled for batch in held), timeout)

    async def close(self) -> None:
        """Deliver what waits, then stop.

        Raises:
            UndeliveredMessages: what could not be delivered within `delivery_timeout_ms`, and what
                failed before without anybody's awaiting it; as `Producer.close`.
        """
        if self._core.closing or self._core.closed:
            return
        self._core.closing = True
        try:
            await self._deliver_held()
        finally:
            await self._abandon()
            await super().close()
            self._name_lost.detach()

    async def forget(self) -> None:
        """Deliver what waits, have the cluster forget this producer and its sequences, and close.

        When one of these fails, the producer stays open.

        Raises:
            UndeliveredMessages: as `close`; the cluster was not told to forget it.
            ManagerNotFound: no manager answered in time.
        """
        await self.start()
        self._core.check_usable()
        self._core.closing = True
        try:
            # Its messages need the registration until the last of them is acknowledged.
            await self._deliver_held()
            await self._drive(self._core.forget())
        finally:
            self._core.closing = False
        await self.close()

    async def _deliver_held(self) -> None:
        """Deliver what is held; what cannot be in time is given up.

        Raises:
            UndeliveredMessages: there was something; `values` has the messages.
        """
        await self.flush(self._core.config.delivery_timeout_ms / 1000)
        self._core.give_up()

    async def _abandon(self) -> None:
        """Cancel what is out, and tell everybody who waits that no more is sent."""
        with suppress(UndeliveredMessages):
            # Something is left only when closing was cancelled.
            self._core.give_up()
        for task in list(self._deliveries):
            task.cancel()
        if self._deliveries:
            await asyncio.wait(self._deliveries)
        for batch in self._core.buffer.held():
            # Its task was cancelled before it began.
            batch.settled = True
            batch.fail(UndeliveredMessages("the producer was closed before this was sent"))
        async with self._settled:
            self._settled.notify_all()

    async def _choose(
        self, topic: str, partition_key: Key | None, partition: int | None, key: Key | None
    ) -> int:
        self._core.check_usable()
        chosen = None
        if self._started:
            chosen = self._core.choose_at_once(topic, partition_key, partition, key)
        if chosen is None:
            chosen = await self._run(self._core.choose(topic, partition_key, partition, key))
        return chosen

    async def _hand_over(self, batches: list[Batch], given: Given) -> bool:
        """Send batches of a call behind its others; False when one of these failed before."""
        size_bytes = sum(batch.size_bytes for batch in batches)
        while (future := given.to_wait_for(size_bytes)) is not None:
            await asyncio.wait([future])
        if given.has_failed or not batches:
            return not given.has_failed
        await self._wait_for_room(size_bytes)
        for batch in batches:
            self._core.buffer.put_whole(batch)
        given.add(batches)
        self._deliver_ready()
        # They go out while the next ones are made.
        await asyncio.sleep(0)
        return True

    def _deliver_ready(self) -> None:
        """Begin the delivery of every batch that may go out."""
        for batch in self._core.buffer.take(self._core.producer_id):
            task = asyncio.create_task(self._deliver(batch))
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)

    async def _deliver(self, batch: Batch) -> None:
        try:
            more = await self._drive(self._core.deliver(batch))
            if more:
                self._deliver_ready()
        except Exception:  # the edge of the task: who waits for the batch was told by the core
            logger.exception("a delivery failed in an unexpected way")
            self._deliver_ready()
        finally:
            async with self._settled:
                self._settled.notify_all()

    async def _wait_for_room(self, size_bytes: int) -> None:
        buffer, config = self._core.buffer, self._core.config

        def over() -> bool:
            return self._core.closing or buffer.has_room(size_bytes)

        if not await self._wait_until(over, config.max_block_ms / 1000):
            raise BufferFull(
                f"{buffer.held_bytes} of {config.buffer_bytes} bytes are held; no room for "
                f"{size_bytes} within {config.max_block_ms} ms"
            )
        if self._core.closing:
            raise ClientClosed("this producer was closed")

    async def _wait_until(self, predicate: Callable[[], bool], timeout_s: float | None) -> bool:
        if predicate():
            return True
        try:
            async with asyncio.timeout(timeout_s), self._settled:
                await self._settled.wait_for(predicate)
        except TimeoutError:
            return predicate()
        return True


def _name_lost(core: ProducerCore, pid: int) -> None:
    """Name on stderr what a producer held that was dropped, or not closed at the program's end."""
    if pid == os.getpid() and not core.closed:
        exits.say(lines(*core.take_lost()))
