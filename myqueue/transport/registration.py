"""What producers and consumers are before they send or read: registered, and kept alive. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from myqueue.contract.errors import (
    AlreadyRegistered,
    ClientClosed,
    ClientExpired,
    ClientNotFound,
    Internal,
    InvalidRequest,
    ManagerNotFound,
    QueueError,
    UnauthorizedException,
)
from myqueue.contract.inputs import HEALTH_CONSUMER, HEALTH_PRODUCER, MSGPACK
from myqueue.results import Registration
from myqueue.transport.blocking import msgpack_request
from myqueue.transport.complaints import Complaints
from myqueue.transport.effects import Acquire, Flow, Lock
from myqueue.transport.http1 import Request
from myqueue.transport.managers import Managers
from myqueue.transport.rotation import WARN_AFTER_S

if TYPE_CHECKING:
    from myqueue.config import ClientConfig
    from myqueue.transport.clock import Clock

Several = list[str] | tuple[str, ...]
"""Several names where one name is meant too."""
logger = logging.getLogger(__name__)
HEARTBEAT_TIMEOUT_S = 3.0
"""For one manager to answer one heartbeat; the next one comes soon."""
HEALTH_TYPES = {"producer": HEALTH_PRODUCER, "consumer": HEALTH_CONSUMER}


class Unheard(NamedTuple):
    """Heartbeats that no manager has answered, in a row."""

    error: QueueError
    """What the last one ended with."""
    since_s: float
    """Monotonic time at which the first one began."""
    last_s: float
    """Monotonic time at which the last one ended."""


class RegisteredClient:
    """Base of `Session`: flows that register, re-attach and send heartbeats.

    Args:
        kind: producer or consumer.
        address: a manager's address, or several as a list or separated by commas.
        config: settings.
        clock: time and chance.
        make_lock: makes a lock of the driver's kind.
        register_fields: further fields of each registration.
    """

    def __init__(
        self,
        kind: str,
        address: str | Sequence[str],
        *,
        config: ClientConfig,
        clock: Clock,
        make_lock: Callable[[], Lock],
        register_fields: dict[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.config = config
        self.clock = clock
        self.managers = Managers(address, config=config, clock=clock)
        self.make_lock = make_lock
        """Makes a lock of the driver's kind."""
        self._register_fields = register_fields or {}
        self._registrations: dict[str, Registration] = {}
        self._registered_s: dict[str, float] = {}
        self.next_beat_s = 0.0
        """Monotonic time of the next heartbeat."""
        self.wake_beats: Callable[[], None] = _nothing
        """Has whoever drives heartbeats look at `next_beat_s` again."""
        self.closing = False
        """True once no new call is taken."""
        self.closed = False
        """True once nothing works any more."""
        self.complaints = Complaints(logger, clock)
        self._unheard: Unheard | None = None
        self.make_locks()
        self._schedule_beat()

    def make_locks(self) -> None:
        """Make new locks: at the beginning, and in the child of a fork."""
        self._register_lock = self.make_lock()
        """One registration at a time."""

    @property
    def session(self) -> Self:
        """Itself: what cores have from the session is asked of `core.session`."""
        return self

    # Registrations

    @property
    def registrations(self) -> dict[str, Registration]:
        """Id and token per topic, as they are now."""
        return dict(self._registrations)

    def open(
        self, topics: Iterable[str], attach: dict[str, Registration] | None = None
    ) -> Flow[None]:
        """Go on under earlier registrations, and register for the other topics."""
        for topic, registration in (attach or {}).items():
            self._registrations[topic] = registration
            yield from self.reattach(topic)
        for topic in dict.fromkeys(topics):
            if topic not in self._registrations:
                yield from self.register(topic)

    def register(self, topic: str) -> Flow[Registration]:
        """Register for a further topic.

        Raises:
            AlreadyRegistered: the client is registered for it.
            TopicDoesNotExist: a consumer asked for an unknown topic.
            ManagerNotFound: no manager answered.
        """
        yield Acquire(self._register_lock)
        try:
            self.check_open()
            if topic in self._registrations:
                raise AlreadyRegistered(f"this {self.kind} is registered for {topic!r} already")
            return (yield from self._register(topic, {**self._register_fields, "topic": topic}))
        finally:
            self._register_lock.release()

    def register_all(self, topics: Sequence[str]) -> Flow[list[Registration]]:
        """Register for further topics, for all or, where one is registered already, for none.

        Raises: what `register` raises.
        """
        for topic in topics:
            if topic in self._registrations:
                raise AlreadyRegistered(f"this {self.kind} is registered for {topic!r} already")
        made: dict[str, Registration] = {}
        for topic in topics:
            if topic not in made:
                made[topic] = yield from self.register(topic)
        return [made[topic] for topic in topics]

    def reattach(self, topic: str) -> Flow[Registration]:
        """Register again under the same id: the token is renewed, cursors and sequences stay.

        Raises:
            UnauthorizedException: the manager does not know the id any more.
            ManagerNotFound: no manager answered.
        """
        old = yield from self.registration(topic)
        yield Acquire(self._register_lock)
        try:
            known = self._registrations.get(topic, old)
            if known.token != old.token:
                return known  # renewed by another call meanwhile
            fields = {"topic": topic, f"{self.kind}_id": old.client_id, "token": old.token}
            return (yield from self._register(topic, {**self._register_fields, **fields}))
        finally:
            self._register_lock.release()

    def registration(self, topic: str) -> Flow[Registration]:
        """Return id and token for a topic; in the child of a fork, registers first.

        Raises:
            UnauthorizedException: the client is not registered for it.
        """
        found = self.require_registered(topic)
        if found.client_id:
            return found
        yield Acquire(self._register_lock)
        try:
            found = self._registrations[topic]
            if found.client_id:
                return found
            return (yield from self._register(topic, {**self._register_fields, "topic": topic}))
        finally:
            self._register_lock.release()

    def require_registered(self, topic: str) -> Registration:
        """Return what is known of the registration for a topic; id 0 in the child of a fork.

        Raises:
            UnauthorizedException: the client is not registered for it.
        """
        found = self._registrations.get(topic)
        if found is None:
            raise UnauthorizedException(
                f"this {self.kind} is not registered for {topic!r}; call register({topic!r})"
            )
        return found

    def forget(self) -> Flow[None]:
        """Have the cluster forget this client, its cursors and sequences."""
        for topic, registration in self.registrations.items():
            request = self.forget_request(registration)
            # Not found: a repetition of a try that was not answered.
            with suppress(ClientNotFound):
                yield from self.managers.call_patiently(request)
            self._registrations.pop(topic, None)

    def forget_request(self, registration: Registration) -> Request:
        """Return the request that has the cluster forget one registration."""
        return msgpack_request(
            "DELETE",
            f"/{self.kind}s/{registration.client_id}",
            {"token": registration.token},
            token=registration.token,
        )

    def forget_ids(self) -> None:
        """Register under new ids before the next call: the known ones belong to another process."""
        self._registrations = {topic: Registration(0, "") for topic in self._registrations}

    def _register(self, topic: str, fields: dict[str, Any]) -> Flow[Registration]:
        request = msgpack_request("POST", f"/{self.kind}/register", fields)
        body = yield from self.managers.call_patiently(request)
        try:
            registration = Registration(int(body[f"{self.kind}_id"]), str(body.get("token", "")))
        except (KeyError, TypeError, ValueError) as error:
            raise Internal(f"a registration that cannot be read: {error!r}") from error
        self._registrations[topic] = registration
        self._registered_s[topic] = self.clock.monotonic()
        return registration

    # Heartbeats

    def beat(self) -> Flow[None]:
        """Send a heartbeat per topic; a client that expired or is unknown re-attaches.

        Where no manager answers for one topic, the others are left to the next heartbeat.
        """
        self._schedule_beat()
        for topic, registration in self.registrations.items():
            if registration.client_id and not self.closed:
                began_s = self.clock.monotonic()
                try:
                    yield from self._beat_topic(topic, registration)
                except ManagerNotFound as error:
                    self._beat_failed(error, began_s)
                    return

    def _beat_topic(self, topic: str, registration: Registration) -> Flow[None]:
        """Send one heartbeat.

        Raises:
            ManagerNotFound: no manager answered.
        """
        query: dict[str, str | int] = {
            "type": HEALTH_TYPES[self.kind],
            "key": registration.client_id,
        }
        request = Request("GET", "/health", query=query, accept=MSGPACK, token=registration.token)
        began_s = self.clock.monotonic()
        age_s = began_s - self._registered_s.get(topic, 0.0)
        try:
            if age_s * 1000 >= self.config.token_max_age_ms:
                yield from self.reattach(topic)
            yield from self.managers.call(request, timeout_s=HEARTBEAT_TIMEOUT_S)
        except (ClientNotFound, ClientExpired):
            yield from self._revive(topic)
        except ManagerNotFound:
            raise
        except QueueError as error:
            # Not lost for good: the next beat comes, and a call finds out by itself.
            self._beat_failed(error, began_s)
        else:
            self._beat_answered()

    def _revive(self, topic: str) -> Flow[None]:
        began_s = self.clock.monotonic()
        try:
            yield from self.reattach(topic)
        except ManagerNotFound:
            raise
        except QueueError as error:
            self._beat_failed(error, began_s)

    def _beat_answered(self) -> None:
        self._unheard = None
        self.complaints.forget("heartbeats")

    def _beat_failed(self, error: QueueError, began_s: float) -> None:
        """Warn when heartbeats have failed for longer than an election of anything takes."""
        since_s = began_s if self._unheard is None else self._unheard.since_s
        self._unheard = Unheard(error, since_s, self.clock.monotonic())
        silent_s = self._unheard.last_s - since_s
        if silent_s >= WARN_AFTER_S:
            self.complaints.warn(
                "heartbeats",
                "heartbeats of this %s fail for %.1f s: %s: %s",
                *(self.kind, silent_s, error.code, error.message),
            )

    def _schedule_beat(self) -> None:
        self.next_beat_s = self.clock.monotonic() + self.config.heartbeat_interval_ms / 1000

    def check_open(self) -> None:
        """Raise ClientClosed when nothing works any more."""
        if self.closed:
            raise ClientClosed(f"this {self.kind} was closed")

    def check_usable(self) -> None:
        """Raise ClientClosed when no new call is taken."""
        if self.closed or self.closing:
            raise ClientClosed(f"this {self.kind} was closed")


def topic_names(topics: str | Sequence[str]) -> list[str]:
    """Return one name or several as a list.

    Raises:
        InvalidRequest: it is neither, or a name is no text.
    """
    if not isinstance(topics, Iterable):
        raise InvalidRequest(f"topics is a name or a list of names, not {topics!r}", field="topic")
    names = [topics] if isinstance(topics, str) else list(topics)
    for name in names:
        if not isinstance(name, str) or not name:
            raise InvalidRequest(f"a topic is a non-empty text, not {name!r}", field="topic")
    return names


def _nothing() -> None:
    """Nobody drives heartbeats yet."""


def warn(text: str, *args: object) -> None:
    """Tell the program's log what costs it something."""
    logger.warning(text, *args)
