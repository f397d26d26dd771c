"""The tasks behind a producer: send what waits, several requests at once, in order."""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from myqueue.contract.errors import ClientClosed, UndeliveredMessages
from myqueue.producer import exits
from myqueue.producer.accumulator import size_bytes_of
from myqueue.producer.aio_futures import LoopFuture
from myqueue.producer.undelivered import lines
from myqueue.transport.aio_driving import drive_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable

    from myqueue.contract.records import Record
    from myqueue.producer.core import ProducerCore
    from myqueue.producer.lanes import Batch, DeliverySink
    from myqueue.producer.splitting import CallBatches
    from myqueue.results import Delivered, DeliveredBatch
    from myqueue.transport.aio_settings import AsyncSettings
    from myqueue.transport.rotation import TopicPartition

logger = logging.getLogger(__name__)


class AsyncSender:
    """Takes messages in one event loop; a task per batch delivers them.

    Args:
        core: of the producer.
        settings: how requests travel.
    """

    def __init__(self, core: ProducerCore, settings: AsyncSettings) -> None:
        self._core = core
        self._transport = settings.transport
        self._deliveries: set[asyncio.Task[None]] = set()
        self._is_taking = False
        """True while a task is about to take what may be sent."""
        self._settled = asyncio.Condition()
        # Its loop may have ended by then: what it holds can only be named.
        self._name_lost = weakref.finalize(self, _name_lost, core, os.getpid())

    async def deliver(self, where: TopicPartition, record: Record) -> LoopFuture[Delivered]:
        """Queue a message; `results` waits for its outcome.

        Raises: what `put` raises.
        """
        future: LoopFuture[Delivered] = LoopFuture()
        await self.put(where, record, future)
        return future

    async def results(self, sent: Iterable[LoopFuture[Delivered]]) -> list[Delivered]:
        """Wait for messages of one call, and return where they are.

        Raises:
            QueueError: the first failure.
        """
        if len(futures := list(sent)) == 1:
            return [await futures[0]]
        return await asyncio.gather(*futures)

    async def put(
        self, where: TopicPartition, record: Record, future: DeliverySink[Delivered]
    ) -> None:
        """Queue a message; the future gets its outcome.

        Raises:
            BufferFull: there was no room for `max_block_ms`.
            ClientClosed: the producer was closed.
        """
        while (more := self._core.buffer.put(where, record, future)) is None:
            await self._wait_for_room(size_bytes_of(record))
        if more:
            self._deliver_ready()

    async def hand_over(
        self, batches: list[Batch], given: CallBatches, *, last: bool = False
    ) -> bool:
        """Send batches of a call behind its others.

        Args:
            batches: those that come next.
            given: those before, to which they are added.
            last: whether no more come.

        Returns:
            False when one of those before failed; then these are not sent.
        """
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

    async def outcomes(self, futures: Iterable[Any]) -> list[DeliveredBatch | BaseException]:
        """Wait for batches of one call, and return the result or failure of each."""
        outcomes: list[DeliveredBatch | BaseException] = await asyncio.gather(
            *futures, return_exceptions=True
        )
        return outcomes

    async def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until everything that is held now is settled; False when time was over before."""
        held = self._core.buffer.held()
        return await self._wait_until(lambda: all(batch.settled for batch in held), timeout_s)

    async def stop(self, timeout_s: float) -> None:
        """Take nothing more, deliver what is held, and give up the rest.

        Raises:
            UndeliveredMessages: what was not delivered in time; `values` has the messages.
        """
        self._core.session.closing = True
        try:
            await self.flush(timeout_s)
            self._core.give_up()
        finally:
            await self._abandon()

    @asynccontextmanager
    async def drained(self, timeout_s: float) -> AsyncIterator[None]:
        """Deliver what is held, and take nothing more until the block is left.

        Raises:
            UndeliveredMessages: as `stop`; the block is not entered.
        """
        self._core.session.closing = True
        try:
            await self.flush(timeout_s)
            self._core.give_up()
            yield
        finally:
            self._core.session.closing = False

    async def _abandon(self) -> None:
        """Cancel the requests in flight, and fail every future that waits."""
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
        self._name_lost.detach()
        async with self._settled:
            self._settled.notify_all()

    def _deliver_ready(self) -> None:
        """Begin the delivery of every batch that may be sent.

        They are taken when its task runs: what other tasks give in this turn of the loop is taken
        with them, and so is what those give who are woken by the same answer.
        """
        if not self._is_taking:
            self._is_taking = True
            self._begin(self._take())

    async def _take(self) -> None:
        """Take every batch that may be sent, and deliver them side by side."""
        self._is_taking = False
        batches = self._core.buffer.take(self._core.producer_id)
        for batch in batches[1:]:
            self._begin(self._deliver(batch))
        if batches:
            await self._deliver(batches[0])

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)

    async def _deliver(self, batch: Batch) -> None:
        try:
            more = await drive_async(self._core.deliver(batch), self._transport)
            if more:
                self._deliver_ready()
        except Exception:  # the edge of the task: who waits for the batch was told by the core
            logger.exception("a delivery failed in an unexpected way")
            self._deliver_ready()
        finally:
            async with self._settled:
                self._settled.notify_all()

    async def _wait_for_room(self, size_bytes: int) -> None:
        core, buffer = self._core, self._core.buffer
        max_block_ms = core.config.max_block_ms

        def over() -> bool:
            return core.session.closing or buffer.has_room(size_bytes)

        if not await self._wait_until(over, max_block_ms / 1000):
            raise buffer.no_room(size_bytes, max_block_ms)
        if core.session.closing:
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
    """Write to stderr what a producer held that was collected, or not closed, unsent."""
    if pid == os.getpid() and not core.session.closed:
        exits.say(lines(*core.take_lost()))
