"""Calls a handler for each message of a worker, in tasks of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Protocol

from myqueue.contract.errors import ClientClosed, InvalidRequest, QueueError
from myqueue.tracing import processing
from myqueue.worker.jobs import AtWork, HandlerOptions, failed, unsettled

if TYPE_CHECKING:
    from myqueue.results import Delivery, Settlement
    from myqueue.transport.clock import Clock

AsyncHandler = Callable[["Delivery"], Awaitable[object]]


class AsyncHands(Protocol):
    """What a worker does for its handler."""

    async def receive(self, max_messages: int, timeout: float) -> list[Delivery]:
        """Take up to so many messages."""
        ...

    async def ack(self, *deliveries: Delivery) -> list[Settlement]:
        """Say that the work is done."""
        ...

    async def nack(self, *deliveries: Delivery, delay: float) -> list[Settlement]:
        """Give messages back, for later."""
        ...

    async def extend(self, *deliveries: Delivery) -> list[Settlement]:
        """Keep messages for longer."""
        ...


class AsyncHandling:
    """A handler, and the messages that it works at.

    Args:
        worker: receives and settles.
        handler: awaited with each message, in a task.
        options: how.
        clock: time.
    """

    def __init__(
        self, worker: AsyncHands, handler: AsyncHandler, options: HandlerOptions, clock: Clock
    ) -> None:
        if not iscoroutinefunction(handler):
            raise InvalidRequest(
                "the handler of an AsyncWorker is a coroutine function; Worker takes others",
                field="handler",
            )
        self._worker = worker
        self._handler = handler
        self._options = options
        self._clock = clock
        self._finishing = asyncio.Event()

    def finish(self) -> None:
        """Receive nothing more."""
        self._finishing.set()

    async def run(self, visibility_s: float) -> None:
        """Work until `finish`, or until the worker is closed; what is at work is ended first.

        Raises:
            QueueError: the cluster did not answer for `delivery_timeout_ms`.
        """
        at_work = AtWork(visibility_s)
        tasks: set[asyncio.Task[None]] = set()

        async def work(delivery: Delivery) -> None:
            try:
                await self._work(delivery)
            finally:
                at_work.end(delivery)

        async def keep_until(enough: int) -> None:
            """Wait until so few are at work, and keep them for longer meanwhile."""
            await self._keep(at_work.due(self._clock.monotonic()))
            while len(tasks) > enough:
                first = asyncio.FIRST_COMPLETED
                await asyncio.wait(tasks, timeout=at_work.look_s, return_when=first)
                await self._keep(at_work.due(self._clock.monotonic()))

        try:
            while not self._finishing.is_set():
                await keep_until(self._options.concurrency - 1)
                free = self._options.concurrency - len(tasks)
                found = await self._worker.receive(free, at_work.look_s)
                at_work.begin(found, self._clock.monotonic())
                for delivery in found:
                    task = asyncio.create_task(work(delivery))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
        except ClientClosed:
            return
        finally:
            await keep_until(0)

    async def _work(self, delivery: Delivery) -> None:
        try:
            try:
                with processing(delivery):
                    await self._handler(delivery)
            except Exception as error:  # noqa: BLE001 - of the program: its message comes again
                delay_s = self._options.delay_s(delivery)
                failed(delivery, delay_s, error)
                await self._worker.nack(delivery, delay=delay_s)
            else:
                await self._worker.ack(delivery)
        except QueueError as error:
            unsettled("what became of a message", error)

    async def _keep(self, due: list[Delivery]) -> None:
        try:
            if due:
                await self._worker.extend(*due)
        except QueueError as error:
            unsettled("that messages are still at work", error)
