"""The queue worker: takes messages with others of its group, each until its work is done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Unpack, overload

from myqueue.contract.errors import ClientClosed, InvalidRequest
from myqueue.contract.group_inputs import DEFAULT_DELIVERY_LIMIT, DEFAULT_VISIBILITY_MS
from myqueue.transport.aio_client_base import AsyncClientBase
from myqueue.transport.aio_settings import AsyncSettings
from myqueue.transport.settings import (
    Address,
    AddressNames,
    one_address,
    refuse_unknown,
    with_token,
)
from myqueue.worker.aio_handling import AsyncHandler, AsyncHandling
from myqueue.worker.core import WorkerCore
from myqueue.worker.jobs import HandlerOptions
from myqueue.worker.work_requests import ACK, EXTEND, NACK, WorkOptions, work_ms

if TYPE_CHECKING:
    from myqueue.config import ClientConfig
    from myqueue.contract.inputs import Start
    from myqueue.results import Delivery, Settlement
    from myqueue.transport.aio import AsyncTransport
    from myqueue.transport.clock import Clock


class AsyncMeans(AddressNames, total=False):
    """What every client takes besides."""

    config: ClientConfig | None
    """Settings; the defaults suit most programs."""
    transport: AsyncTransport | None
    """How requests travel; HTTP when left out."""
    clock: Clock | None
    """Time and chance; the system's when left out."""


class AsyncWorkerOptions(AsyncMeans, total=False):
    """What a worker takes besides."""

    create: bool
    """True to create a missing topic; False, the default, raises TopicDoesNotExist."""
    visibility_ms: int
    """Older name of `visibility`, in milliseconds."""


class AsyncWorker(AsyncClientBase[WorkerCore]):
    """Receives messages for work; any number of workers of a group share every partition.

        async with AsyncWorker("jobs", "http://127.0.0.1:8000", group="mailers") as worker:
            async for delivery in worker:
                await send_mail(delivery.text)
                await worker.ack(delivery)

    The same as `Worker`, for one event loop. A `receive` that is cancelled while it waits takes
    nothing; what it is just being handed comes again after its time.

    A message that was received is out of the others' hands for its `visibility`. Acknowledge it
    with `ack` when the work is done. Nothing is acknowledged by itself: when the program raises, is
    killed or is cut off before `ack`, the message comes again, to any worker of the group, once its
    time is over; `nack` lets it come sooner. So each message is handled at least once, and more
    than once after a crash, after work that took longer than `visibility` without `extend`, and
    after an answer that was lost. Order is that of the offsets as long as nothing comes again.

    A message that was delivered `delivery_limit` times and never acknowledged goes to the
    dead-letter topic, an ordinary topic; `Client.redrive` sends it back from there.

    Args:
        topics: one name or several; they must exist, see `create`.
        address: a manager's address, or several as a list or separated by commas; when left out,
            MYQUEUE_ADDRESS of the environment.
        group: workers of one group share the messages; each group gets all of them. Members of
            consumer groups (`AsyncConsumer(..., group=...)`) need another name.
        visibility: seconds that a message stays out of others' hands; longer than the work takes.
        delivery_limit: deliveries after which a message is dead, at least 1.
        dead_letter_topic: where it goes; the topic's name with `.dead` when left out.
        start: where a new group begins: earliest with what is stored, latest with what comes after.
        options: `config`, `transport` and `clock`, as every client takes them. `create`: True makes
            a missing topic instead of raising TopicDoesNotExist. `token`: the API token where a
            cluster asks who calls. `visibility_ms`: older name of `visibility`, in milliseconds.
            `manager` or `broker`: older names of `address`, of which only one is given.

    Raises:
        InvalidRequest: a name or a number is impossible, or the address is missing, given twice or
            none.
    """

    def __init__(
        self,
        topics: str | Sequence[str],
        address: Address | None = None,
        group: str = "",
        *,
        visibility: float = DEFAULT_VISIBILITY_MS / 1000,
        delivery_limit: int = DEFAULT_DELIVERY_LIMIT,
        dead_letter_topic: str | None = None,
        start: Start = "earliest",
        **options: Unpack[AsyncWorkerOptions],
    ) -> None:
        refuse_unknown("AsyncWorker", options, tuple(AsyncWorkerOptions.__annotations__))
        work = WorkOptions(
            group=group,
            visibility_ms=options.get("visibility_ms", work_ms("visibility", visibility)),
            delivery_limit=delivery_limit,
            dead_letter_topic=dead_letter_topic,
            start=start,
        )
        self._handling: AsyncHandling | None = None
        settings = AsyncSettings(
            one_address(address, options),
            with_token(options.get("config"), options),
            options.get("transport"),
            options.get("clock"),
        )
        core = WorkerCore(
            settings.addresses,
            options=work,
            config=settings.config,
            clock=settings.clock,
            make_lock=settings.make_lock,
            create=options.get("create", False),
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
        return self._core.missed.total()

    @property
    def corrupt(self) -> int:
        """How many messages were stepped over because nobody can decode them, as told here.

        Each is told to one worker of the group.
        """
        return self._core.corrupt.total()

    async def receive(self, max_messages: int = 10, timeout: float | None = 0.0) -> list[Delivery]:
        """Return up to `max_messages` of one partition; the partitions take turns.

        No more is taken than what is returned, and while this waits nothing is taken at all. With a
        timeout it ends in time, with nothing and a warning in the log when somebody did not answer;
        with a timeout of 0 nothing means that every partition said so: as `Consumer.poll`. What is
        just being handed over is waited for half a second longer: it would be lost for its
        visibility.

        Args:
            max_messages: 1 to 1,000.
            timeout: seconds to wait for the first; None waits until one comes, 0 takes what is
                there: in a loop, give one.

        Raises:
            QueueError: a partition did not answer for `delivery_timeout_ms` and the others had
                nothing, or the group is used by consumers (InvalidRequest).
        """
        return await self._run(self._core.receive(max_messages, timeout))

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        """Yield one message after the other, for ever; ends when the worker is closed.

        Each must be acknowledged by the program, as after `receive`.
        """
        while not self._core.session.closing:
            try:
                found = await self._run(self._core.receive(1, None))
            except ClientClosed:
                return
            for delivery in found:
                yield delivery

    async def ack(self, *deliveries: Delivery | Sequence[Delivery]) -> list[Settlement]:
        """Say that the work is done: none of these comes again. One call per partition.

        An ack that comes late still counts while nobody else received the message; a repeated one
        changes nothing. One that was too late is told to the log, too.

        Args:
            deliveries: what was received, one by one or as lists.

        Returns:
            What became of each, in order. `done` is False where another worker has the message by
            now (`superseded`), or where it is `dead`: the work may be done twice.

        Raises:
            UnsettledDeliveries: some did not reach their partition within `delivery_timeout_ms`;
                `details["results"]` is the list that would have been returned.
        """
        return await self._run(self._core.settle(ACK, deliveries))

    async def nack(
        self, *deliveries: Delivery | Sequence[Delivery], delay: float = 0.0
    ) -> list[Settlement]:
        """Give messages back; each comes again after a delay.

        Where that was the last delivery that `delivery_limit` allows, the message is dead instead
        (`reason` says `dead`).

        Args:
            deliveries: what was received, one by one or as lists.
            delay: seconds, at most 12 hours.

        Returns:
            What became of each, in order.

        Raises:
            UnsettledDeliveries: as `ack`.
        """
        delay_ms = work_ms("delay", delay)
        return await self._run(self._core.settle(NACK, deliveries, delay_ms=delay_ms))

    async def extend(
        self, *deliveries: Delivery | Sequence[Delivery], visibility: float | None = None
    ) -> list[Settlement]:
        """Keep messages for longer, from now on.

        Args:
            deliveries: what was received, one by one or as lists.
            visibility: seconds, at most 12 hours; that of the worker when left out.

        Returns:
            What became of each, in order; where `done` is False, the message is not this worker's
            any more.

        Raises:
            UnsettledDeliveries: as `ack`.
        """
        visibility_ms = self._core.visibility_ms(visibility)
        return await self._run(self._core.settle(EXTEND, deliveries, visibility_ms=visibility_ms))

    # A handler

    @overload
    def handler(self, function: AsyncHandler) -> AsyncHandler: ...

    @overload
    def handler(
        self, *, concurrency: int = 1, retry_delay: float = 1.0, retry_delay_max: float = 300.0
    ) -> Callable[[AsyncHandler], AsyncHandler]: ...

    def handler(
        self,
        function: AsyncHandler | None = None,
        *,
        concurrency: int = 1,
        retry_delay: float = 1.0,
        retry_delay_max: float = 300.0,
    ) -> AsyncHandler | Callable[[AsyncHandler], AsyncHandler]:
        """Have `run` call a function for each message: acknowledged when it returns.

            @worker.handler(concurrency=8)
            async def send(delivery: Delivery) -> None:
                await send_mail(delivery.text)

            await worker.run()

        When it raises, the message comes again, later each time, and is dead after
        `delivery_limit`. While it works, the message is kept out of others' hands, however long it
        takes.

        Args:
            function: called with each `Delivery`.
            concurrency: most messages at work at once, 1 to 1,000.
            retry_delay: seconds until a message that failed comes again; doubles each time.
            retry_delay_max: most seconds of that.

        Raises:
            InvalidRequest: a value is impossible, or the function is of the wrong kind.
        """
        options = HandlerOptions(
            concurrency=concurrency, retry_delay=retry_delay, retry_delay_max=retry_delay_max
        )

        def decorate(function: AsyncHandler) -> AsyncHandler:
            self._handling = AsyncHandling(self, function, options, self._clock)
            return function

        return decorate if function is None else decorate(function)

    async def run(self) -> None:
        """Work at messages with the handler, until `finish` is called or the worker is closed.

        However it ends, also by an exception such as KeyboardInterrupt, what is at work is ended
        and settled first.

        Raises:
            InvalidRequest: there is no handler.
            QueueError: the cluster did not answer for `delivery_timeout_ms`.
        """
        await self._required_handling().run(self._core.options.visibility_ms / 1000)

    def finish(self) -> None:
        """Have `run` return when what is at work is done; safe in a handler of signals.

        Raises:
            InvalidRequest: there is no handler.
        """
        self._required_handling().finish()

    def _required_handling(self) -> AsyncHandling:
        if self._handling is None:
            raise InvalidRequest("this worker has no handler: decorate a function with handler")
        return self._handling

    async def close(self) -> None:
        """Stop. What was received and not settled comes again after its time."""
        async with self._closing:
            if self._core.session.closing or self._core.session.closed:
                return
            self._core.session.closing = True
        try:
            await self._drive(self._core.leave())
        finally:
            await super().close()
            self._core.stop_waiting()
