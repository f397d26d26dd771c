"""The queue worker for event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, TypedDict, Unpack, cast

from myqueue.contract.errors import ClientClosed
from myqueue.contract.group_inputs import DEFAULT_DELIVERY_LIMIT, DEFAULT_VISIBILITY_MS
from myqueue.transport.aio_client_base import AsyncFront, AsyncSettings
from myqueue.worker.work_loop import WorkerCore
from myqueue.worker.work_requests import ACK, EXTEND, NACK, WorkOptions, milliseconds

if TYPE_CHECKING:
    from myqueue.config import ClientConfig
    from myqueue.contract.inputs import Start
    from myqueue.results import Delivery, Settlement
    from myqueue.transport.aio import AsyncTransport
    from myqueue.transport.clock import Clock


class AsyncMeans(TypedDict, total=False):
    """What every client takes besides."""

    config: ClientConfig | None
    """Settings; the defaults suit most programs."""
    transport: AsyncTransport | None
    """How requests travel; HTTP when left out."""
    clock: Clock | None
    """Time and chance; the system's when left out."""


class AsyncWorker(AsyncFront[WorkerCore]):
    """`Worker` for asyncio: same names, same guarantees, one event loop.

    A `receive` that is cancelled while it waits takes nothing; what it is just being handed comes
    again after its time.

        async with AsyncWorker("jobs", "http://127.0.0.1:8000", group="mailers") as worker:
            async for delivery in worker:
                await send_mail(delivery.text)
                await worker.ack(delivery)

    Args: those of `Worker`.
    """

    def __init__(
        self,
        topics: str | Sequence[str],
        address: str | Sequence[str],
        group: str,
        *,
        visibility_ms: int = DEFAULT_VISIBILITY_MS,
        delivery_limit: int = DEFAULT_DELIVERY_LIMIT,
        dead_letter_topic: str | None = None,
        start: str = "earliest",
        **means: Unpack[AsyncMeans],
    ) -> None:
        options = WorkOptions(
            group=group,
            visibility_ms=visibility_ms,
            delivery_limit=delivery_limit,
            dead_letter_topic=dead_letter_topic,
            start=cast("Start", start),
        )
        settings = AsyncSettings(
            address, means.get("config"), means.get("transport"), means.get("clock")
        )
        core = WorkerCore(
            settings.addresses,
            options=options,
            config=settings.config,
            clock=settings.clock,
            make_lock=asyncio.Lock,
        )
        super().__init__(core, settings, topics)

    @property
    def group(self) -> str:
        """The name of the group."""
        return self._core.options.group

    @property
    def missed(self) -> int:
        """How many messages retention deleted before the group had dealt with them, as told here.

        Each is told to one worker of the group.
        """
        return self._core.missed

    @property
    def corrupt(self) -> int:
        """How many messages were stepped over because nobody can decode them, as told here.

        Each is told to one worker of the group.
        """
        return self._core.corrupt

    async def receive(self, max_messages: int = 10, timeout: float | None = None) -> list[Delivery]:
        """Do what `Worker.receive` does."""
        return await self._run(self._core.receive(max_messages, timeout))

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        """Yield one message after the other, for ever; ends when the worker is closed.

        Each must be acknowledged by the program, as after `receive`.
        """
        while not self._core.closing:
            try:
                found = await self._run(self._core.receive(1, None))
            except ClientClosed:
                return
            for delivery in found:
                yield delivery

    async def ack(self, *deliveries: Delivery) -> list[Settlement]:
        """Do what `Worker.ack` does."""
        return await self._run(self._core.settle(ACK, deliveries))

    async def nack(self, *deliveries: Delivery, delay: float = 0.0) -> list[Settlement]:
        """Do what `Worker.nack` does."""
        delay_ms = milliseconds("delay", delay)
        return await self._run(self._core.settle(NACK, deliveries, delay_ms=delay_ms))

    async def extend(
        self, *deliveries: Delivery, visibility: float | None = None
    ) -> list[Settlement]:
        """Do what `Worker.extend` does."""
        visibility_ms = self._core.visibility_ms(visibility)
        return await self._run(self._core.settle(EXTEND, deliveries, visibility_ms=visibility_ms))

    async def close(self) -> None:
        """Stop. What was received and not settled comes again after its time."""
        if self._core.closing or self._core.closed:
            return
        self._core.closing = True
        try:
            await self._drive(self._core.leave())
        finally:
            await super().close()
            self._core.close_watches()
