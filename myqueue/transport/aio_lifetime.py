"""What a client has of an event loop: who drives its calls, the task of its heartbeats."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from myqueue.contract.errors import QueueError
from myqueue.transport.administration import Administration
from myqueue.transport.aio_driving import drive_async
from myqueue.transport.aio_settings import AsyncSettings
from myqueue.transport.client_core import ClientCore
from myqueue.transport.heartbeats import BROKEN_PAUSE_S
from myqueue.transport.settings import Settings
from myqueue.transport.topic_names import topic_names

if TYPE_CHECKING:
    from types import TracebackType

    from myqueue.results import Registration
    from myqueue.transport.effects import Flow

logger = logging.getLogger(__name__)

T = TypeVar("T")
P = ParamSpec("P")
Core = TypeVar("Core", bound=ClientCore)


def administers(
    method: Callable[Concatenate[Administration, P], T],
) -> Callable[Concatenate[AsyncLifetime[Any], P], Coroutine[Any, Any, T]]:
    """Return a method of `Client` as one to await; such rare calls run in a thread."""

    @wraps(method)
    async def call(self: AsyncLifetime[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(method, self.administration(), *args, **kwargs)

    return call


class AsyncLifetime(Generic[Core]):
    """A client from its start to its end; belongs to one event loop.

    Registered by `start`, by `async with`, or else by the first call.

    Args:
        core: what decides.
        settings: what it was made with.
        topics: one name or several, registered at the start.
        attach: registrations of an earlier client, by topic, to go on with.
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
        self._is_ready = False
        """True once it was started."""
        self._starting = asyncio.Lock()
        self._closing = asyncio.Lock()
        self._hurried = asyncio.Event()
        core.session.wake_beats = self._hurried.set
        self._heartbeats: asyncio.Task[None] | None = None

    async def start(self) -> Self:
        """Register for the topics and begin to send heartbeats; does nothing the second time.

        Raises:
            TopicDoesNotExist: a consumer asked for an unknown topic.
            ManagerNotFound: no manager answered.
        """
        async with self._starting:
            if not self._is_ready:
                self._core.session.check_usable()
                try:
                    await self._drive(self._core.open(self._topics, self._attach))
                except BaseException:
                    self._transport.close()
                    raise
                self._is_ready = True
                self._heartbeats = asyncio.create_task(self._beat_for_ever())
        return self

    async def _drive(self, flow: Flow[T]) -> T:
        return await drive_async(flow, self._transport)

    async def _run(self, flow: Flow[T]) -> T:
        """Drive a flow of an open client."""
        await self._ready()
        return await drive_async(flow, self._transport)

    _look_up = _run

    async def _ready(self) -> None:
        self._core.session.check_usable()
        if not self._is_ready:
            await self.start()

    def __repr__(self) -> str:
        """Return the kind of client, its topics, its group, and where its managers are."""
        return self._core.shown(type(self).__name__, self._topics)

    def administration(self) -> Administration:
        """Return the blocking calls about topics, brokers and groups, made by this client."""
        session = self._core.session
        session.check_usable()
        if self._administration is None:
            settings = Settings(session.managers.addresses, session.config, None, self._clock)
            self._administration = Administration(settings)
        return self._administration

    # Heartbeats

    async def _beat_for_ever(self) -> None:
        while True:
            pause_s = self._core.session.next_beat_s - self._clock.monotonic()
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

    # The end

    async def close(self) -> None:
        """Stop heartbeats and connections; the registration stays, with its cursors."""
        if self._core.session.closed:
            return
        self._core.session.closed = True
        if self._heartbeats is not None:
            self._heartbeats.cancel()
            await asyncio.wait([self._heartbeats])
        if self._administration is not None:
            self._administration.close()
        self._transport.close()

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
