"""What a blocking client has of threads and processes: who drives its calls, heartbeats, forks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from myqueue.contract.errors import QueueError
from myqueue.transport import forks
from myqueue.transport.administration import Administration
from myqueue.transport.client_core import ClientCore
from myqueue.transport.driving import drive
from myqueue.transport.heartbeats import HEARTBEATS
from myqueue.transport.settings import Settings
from myqueue.transport.topic_names import topic_names

if TYPE_CHECKING:
    from types import TracebackType

    from myqueue.results import Registration
    from myqueue.transport.effects import Flow

T = TypeVar("T")
P = ParamSpec("P")
Core = TypeVar("Core", bound=ClientCore)


def administers(
    method: Callable[Concatenate[Administration, P], T],
) -> Callable[Concatenate[Lifetime[Any], P], T]:
    """Return a method of `Client` as one of a producer or consumer, which has a `Client` inside."""

    @wraps(method)
    def call(self: Lifetime[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(self.administration(), *args, **kwargs)

    return call


class Lifetime(Generic[Core]):
    """A client from its registration to its end. Safe from several threads and after `fork`.

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
        self._is_ready = True
        """False in the child of a fork, until its first call."""
        self._closing = threading.Lock()
        forks.restart_in_child(self)
        try:
            self._drive(core.open(topic_names(topics), attach))
        except BaseException:
            self._transport.close()
            raise
        core.session.wake_beats = _hurry
        HEARTBEATS.join(self)

    def _drive(self, flow: Flow[T]) -> T:
        return drive(flow, self._transport, self._clock)

    def _run(self, flow: Flow[T]) -> T:
        """Drive a flow of an open client."""
        self._ready()
        return drive(flow, self._transport, self._clock)

    def _look_up(self, flow: Flow[T]) -> T:
        """Drive a flow that changes nothing; a closed client still says what it knows."""
        return drive(flow, self._transport, self._clock)

    def _ready(self) -> None:
        self._core.session.check_usable()
        if not self._is_ready:
            self._is_ready = True
            HEARTBEATS.join(self)

    def __repr__(self) -> str:
        """Return the kind of client, its topics, its group, and where its managers are."""
        return self._core.shown(type(self).__name__)

    def administration(self) -> Administration:
        """Return the calls about topics, brokers and groups, made by this client."""
        self._ready()
        with self._closing:
            if self._administration is None:
                session, transport = self._core.session, self._given_transport
                addresses = session.managers.addresses
                settings = Settings(addresses, session.config, transport, self._clock)
                self._administration = Administration(settings)
            return self._administration

    # Heartbeats

    def next_beat_s(self) -> float:
        """Return the monotonic time of the next heartbeat."""
        return self._core.session.next_beat_s

    def beat(self) -> None:
        """Send a heartbeat per topic; a client that expired or is unknown re-attaches."""
        self._drive(self._core.beat())

    # The end, and a new beginning

    def close(self) -> None:
        """Stop heartbeats and connections; the registration stays, with its cursors."""
        with self._closing:
            if self._core.session.closed:
                return
            self._core.session.closed = True
        HEARTBEATS.leave(self)
        if self._administration is not None:
            self._administration.close()
        self._transport.close()

    def restart_after_fork(self) -> None:
        """Start anew in the child: new locks, no shared connection, no message of the parent's."""
        self._closing = threading.Lock()
        self._core.restart_after_fork()
        self._transport.restart()
        self._is_ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; an error that is under way is not replaced by what closing raises."""
        try:
            self.close()
        except QueueError as closing:
            if error is None:
                raise
            error.add_note(str(closing))


def _hurry() -> None:
    HEARTBEATS.hurry()
