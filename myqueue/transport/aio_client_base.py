"""The side of a client for event loops: the same core's flows, driven by the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from myqueue.config import ClientConfig
from myqueue.contract.errors import QueueError
from myqueue.transport.administration import Administration
from myqueue.transport.aio import AsyncTransport, make_async_transport
from myqueue.transport.aio_driving import drive_async
from myqueue.transport.clock import Clock, SystemClock
from myqueue.transport.heartbeats import BROKEN_PAUSE_S
from myqueue.transport.managers import parse_addresses
from myqueue.transport.registration import Several, topic_names
from myqueue.transport.session import Session
from myqueue.transport.settings import Settings

if TYPE_CHECKING:
    from types import TracebackType

    from myqueue.results import Registration
    from myqueue.transport.effects import Flow
    from myqueue.transport.metadata import TopicView

logger = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")
Core = TypeVar("Core", bound=Session)


class AsyncSettings:
    """What every client is made with: settings, transport and clock, or their defaults."""

    def __init__(
        self,
        address: str | Sequence[str],
        config: ClientConfig | None,
        transport: AsyncTransport | None,
        clock: Clock | None,
    ) -> None:
        self.addresses = parse_addresses(address)
        self.config = config or ClientConfig()
        self.clock = clock or SystemClock()
        self.transport = transport or make_async_transport(
            self.addresses, connect_timeout_s=self.config.connect_timeout_ms / 1000
        )


def _administers(
    method: Callable[Concatenate[Administration, P], T],
) -> Callable[Concatenate[AsyncFront[Any], P], Coroutine[Any, Any, T]]:
    """Return a method of `Client` as one to await; such rare calls run in a thread."""

    @wraps(method)
    async def call(self: AsyncFront[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(method, self.administration(), *args, **kwargs)

    return call


class AsyncFront(Generic[Core]):
    """Base of `AsyncProducer` and `AsyncConsumer`; belongs to one event loop.

    Registered by `start`, by `async with`, or else by the first call.
    """

    def __init__(
        self,
        core: Core,
        settings: AsyncSettings,
        topics: str | Sequence[str],
        attach: dict[str, Registration] | None = None,
    ) -> None:
        self._core = core
        self._transport = settings.transport
        self._clock = settings.clock
        self._topics = topic_names(topics)
        self._attach = attach
        self._administration: Administration | None = None
        self._started = False
        self._starting = asyncio.Lock()
        self._hurried = asyncio.Event()
        core.wake_beats = self._hurried.set
        self._heartbeats: asyncio.Task[None] | None = None

    async def start(self) -> Self:
        """Register for the topics and begin to send heartbeats; does nothing the second time.

        Raises:
            TopicDoesNotExist: a consumer asked for an unknown topic.
            ManagerNotFound: no manager answered.
        """
        async with self._starting:
            if not self._started:
                self._core.check_usable()
                try:
                    await self._drive(self._core.open(self._topics, self._attach))
                except BaseException:
                    self._transport.close()
                    raise
                self._started = True
                self._heartbeats = asyncio.create_task(self._beat_for_ever())
        return self

    async def _drive(self, flow: Flow[T]) -> T:
        return await drive_async(flow, self._transport)

    async def _run(self, flow: Flow[T]) -> T:
        """Drive a flow of an open client."""
        self._core.check_usable()
        if not self._started:
            await self.start()
        return await drive_async(flow, self._transport)

    # Registrations

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that the client is registered for."""
        return tuple(self._core.registrations)

    @property
    def registrations(self) -> dict[str, Registration]:
        """Id and token per topic; given to a later client as `attach`, it goes on under them."""
        return self._core.registrations

    @overload
    async def register(self, topic: str) -> Registration: ...

    @overload
    async def register(self, topic: Several) -> list[Registration]: ...

    async def register(self, topic: str | Several) -> Registration | list[Registration]:
        """Do what `Producer.register` and `Consumer.register` do."""
        registered = await self._run(self._core.register_all(topic_names(topic)))
        return registered[0] if isinstance(topic, str) else registered

    async def reattach(self, topic: str) -> Registration:
        """Do what `Producer.reattach` and `Consumer.reattach` do."""
        return await self._run(self._core.reattach(topic))

    async def registration(self, topic: str) -> Registration:
        """Return id and token for a topic.

        Raises:
            UnauthorizedException: the client is not registered for it.
        """
        return await self._run(self._core.registration(topic))

    async def partition_count(self, topic: str) -> int:
        """Return the number of partitions of a topic.

        Raises:
            TopicDoesNotExist: there is no such topic.
            ManagerNotFound: no manager answered in time.
        """
        return await self._run(self._core.partition_count(topic))

    async def topic_view(self, topic: str) -> TopicView:
        """Return a topic's partitions with leaders and replicas, as last heard of.

        Raises:
            TopicDoesNotExist: there is no such topic.
            ManagerNotFound: no manager answered, and the topic was never seen.
        """
        return await self._run(self._core.topic_view(topic))

    # What `Client` does

    create_topic = _administers(Administration.create_topic)
    update_topic = _administers(Administration.update_topic)
    list_topics = _administers(Administration.list_topics)
    describe_topic = _administers(Administration.describe_topic)
    delete_topic = _administers(Administration.delete_topic)
    list_brokers = _administers(Administration.list_brokers)
    describe_brokers = _administers(Administration.describe_brokers)
    add_broker = _administers(Administration.add_broker)
    list_clients = _administers(Administration.list_clients)
    consumer_sizes = _administers(Administration.consumer_sizes)
    list_groups = _administers(Administration.list_groups)
    describe_group = _administers(Administration.describe_group)
    delete_group = _administers(Administration.delete_group)

    def administration(self) -> Administration:
        """Return the blocking calls about topics, brokers and groups, made by this client."""
        self._core.check_usable()
        if self._administration is None:
            core = self._core
            settings = Settings(core.managers.addresses, core.config, None, self._clock)
            self._administration = Administration(settings)
        return self._administration

    async def forget(self) -> None:
        """Have the cluster forget this client, its cursors and sequences; then close it.

        Raises:
            ManagerNotFound: no manager answered in time.
        """
        await self._run(self._core.forget())
        await self.close()

    # Life

    async def close(self) -> None:
        """Stop heartbeats and connections; the registration stays, with its cursors."""
        if self._core.closed:
            return
        self._core.closed = True
        if self._heartbeats is not None:
            self._heartbeats.cancel()
            await asyncio.wait([self._heartbeats])
        if self._administration is not None:
            self._administration.close()
        self._transport.close()

    async def stop(self) -> None:
        """Do what `close` does."""
        await self.close()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; an error that is under way is not replaced by what closing raises."""
        try:
            await self.close()
        except QueueError as closing:
            if error is None:
                raise
            error.add_note(str(closing))

    async def _beat_for_ever(self) -> None:
        while True:
            pause_s = self._core.next_beat_s - self._clock.monotonic()
            try:
                async with asyncio.timeout(max(0.0, pause_s)):
                    await self._hurried.wait()
            except TimeoutError:
                await self._beat()
            self._hurried.clear()

    async def _beat(self) -> None:
        try:
            await self._drive(self._core.beat())
        except Exception:  # the edge of the task: without a next beat the client is let go
            logger.exception("a heartbeat failed in an unexpected way")
            await asyncio.sleep(BROKEN_PAUSE_S)
