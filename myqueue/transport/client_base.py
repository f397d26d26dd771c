"""The blocking side of a client: a core's flows, driven by the calling thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from myqueue.transport import forks
from myqueue.transport.administration import Administration
from myqueue.transport.driving import drive
from myqueue.transport.heartbeats import HEARTBEATS
from myqueue.transport.registration import Several, topic_names
from myqueue.transport.session import Session
from myqueue.transport.settings import Settings

if TYPE_CHECKING:
    from types import TracebackType

    from myqueue.results import Registration
    from myqueue.transport.effects import Flow
    from myqueue.transport.metadata import TopicView

T = TypeVar("T")
P = ParamSpec("P")
Core = TypeVar("Core", bound=Session)


def _administers(
    method: Callable[Concatenate[Administration, P], T],
) -> Callable[Concatenate[Front[Any], P], T]:
    """Return a method of `Client` as one of a producer or consumer, which has a `Client` inside."""

    @wraps(method)
    def call(self: Front[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(self.administration(), *args, **kwargs)

    return call


class Front(Generic[Core]):
    """Base of `Producer` and `Consumer`. Safe from several threads and after `fork`.

    Args:
        core: what decides.
        settings: what it was made with.
        topics: one name or several, registered at once.
        attach: registrations of an earlier client, by topic, to go on with.

    Raises:
        ManagerNotFound: no manager answered.
    """

    def __init__(
        self,
        core: Core,
        settings: Settings,
        topics: str | Sequence[str],
        attach: dict[str, Registration] | None = None,
    ) -> None:
        self._core = core
        self._transport = settings.transport
        self._clock = settings.clock
        self._administration: Administration | None = None
        self._given_transport = settings.given_transport
        self._forked = False
        self._closing = threading.Lock()
        forks.remember(self)
        try:
            self._drive(core.open(topic_names(topics), attach))
        except BaseException:
            self._transport.close()
            raise
        core.wake_beats = _hurry
        HEARTBEATS.join(self)

    def _drive(self, flow: Flow[T]) -> T:
        return drive(flow, self._transport, self._clock)

    def _run(self, flow: Flow[T]) -> T:
        """Drive a flow of an open client."""
        self._check_open()
        return drive(flow, self._transport, self._clock)

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
    def register(self, topic: str) -> Registration: ...

    @overload
    def register(self, topic: Several) -> list[Registration]: ...

    def register(self, topic: str | Several) -> Registration | list[Registration]:
        """Register for a further topic, or for several of a list.

        Raises:
            AlreadyRegistered: the client is registered for it, or for one of the list; then it is
                registered for no other of them either.
            TopicDoesNotExist: a consumer asked for an unknown topic.
            ManagerNotFound: no manager answered.
        """
        registered = self._run(self._core.register_all(topic_names(topic)))
        return registered[0] if isinstance(topic, str) else registered

    def reattach(self, topic: str) -> Registration:
        """Register again under the same id: the token is renewed, cursors and sequences stay.

        The client does this by itself when its token gets old or a manager calls it expired.

        Raises:
            UnauthorizedException: the manager does not know the id any more.
            ManagerNotFound: no manager answered.
        """
        return self._run(self._core.reattach(topic))

    def registration(self, topic: str) -> Registration:
        """Return id and token for a topic.

        Raises:
            UnauthorizedException: the client is not registered for it.
        """
        return self._drive(self._core.registration(topic))

    def partition_count(self, topic: str) -> int:
        """Return the number of partitions of a topic.

        Raises:
            TopicDoesNotExist: there is no such topic.
            ManagerNotFound: no manager answered in time.
        """
        return self._drive(self._core.partition_count(topic))

    def topic_view(self, topic: str) -> TopicView:
        """Return a topic's partitions with leaders and replicas, as last heard of.

        Raises:
            TopicDoesNotExist: there is no such topic.
            ManagerNotFound: no manager answered, and the topic was never seen.
        """
        return self._drive(self._core.topic_view(topic))

    def forget(self) -> None:
        """Have the cluster forget this client, its cursors and sequences; then close it.

        Raises:
            ManagerNotFound: no manager answered in time.
        """
        self._run(self._core.forget())
        self.close()

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
        """Return the calls about topics, brokers and groups, made by this client."""
        self._check_open()
        with self._closing:
            if self._administration is None:
                core, transport = self._core, self._given_transport
                settings = Settings(core.managers.addresses, core.config, transport, self._clock)
                self._administration = Administration(settings)
            return self._administration

    # Heartbeats

    def next_beat_s(self) -> float:
        """Return the monotonic time of the next heartbeat."""
        return self._core.next_beat_s

    def beat(self) -> None:
        """Send a heartbeat per topic; a client that expired or is unknown re-attaches."""
        self._drive(self._core.beat())

    # Life

    def close(self) -> None:
        """Stop heartbeats and connections; the registration stays, with its cursors."""
        with self._closing:
            if self._core.closed:
                return
            self._core.closed = True
        HEARTBEATS.leave(self)
        if self._administration is not None:
            self._administration.close()
        self._transport.close()

    def stop(self) -> None:
        """Do what `close` does."""
        self.close()

    def restart_after_fork(self) -> None:
        """Start anew in the child: new locks, no shared connection."""
        self._closing = threading.Lock()
        self._core.make_locks()
        self._transport.restart()
        self._forked = True

    def _check_open(self) -> None:
        self._core.check_usable()
        if self._forked:
            self._forked = False
            HEARTBEATS.join(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _hurry() -> None:
    HEARTBEATS.hurry()


def make_thread_lock() -> Any:
    """Return a lock for flows that threads drive."""
    return threading.Lock()
