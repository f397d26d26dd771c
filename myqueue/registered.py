"""What producers and consumers are before they send or read: registered, and kept alive."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from myqueue import forks
from myqueue.clock import Clock, SystemClock
from myqueue.config import ClientConfig
from myqueue.errors import (
    AlreadyRegistered,
    ClientClosed,
    ClientExpired,
    ClientNotFound,
    InvalidRequest,
    QueueError,
    UnauthorizedException,
)
from myqueue.heartbeats import HEARTBEATS
from myqueue.http1 import Request
from myqueue.managers import Managers
from myqueue.protocol import HEALTH_CONSUMER, HEALTH_PRODUCER, MSGPACK
from myqueue.results import Registration
from myqueue.transport import HttpTransport, Transport, encode_body

if TYPE_CHECKING:
    from types import TracebackType

HEALTH_TYPES = {"producer": HEALTH_PRODUCER, "consumer": HEALTH_CONSUMER}


class RegisteredClient:
    """Base of `Session`. Safe from several threads and after `fork`.

    Args:
        kind: producer or consumer.
        topics: one name or several, registered at once.
        address: a manager's address, or several as a list or separated by commas.
        config: settings; the defaults suit most programs.
        transport: how requests travel; HTTP when left out.
        clock: time and chance; the system's when left out.
        register_fields: further fields of each registration.
        attach: registrations of an earlier client, by topic, to go on with.

    Raises:
        ManagerNotFound: no manager answered.
    """

    def __init__(
        self,
        kind: str,
        topics: str | Sequence[str],
        address: str | Sequence[str],
        *,
        config: ClientConfig | None,
        transport: Transport | None,
        clock: Clock | None,
        register_fields: dict[str, Any] | None = None,
        attach: dict[str, Registration] | None = None,
    ) -> None:
        self._kind = kind
        self._config = config or ClientConfig()
        self._clock = clock or SystemClock()
        self._transport = transport or HttpTransport(
            connect_timeout_s=self._config.connect_timeout_ms / 1000
        )
        self._managers = Managers(
            address, config=self._config, transport=self._transport, clock=self._clock
        )
        self._register_fields = register_fields or {}
        self._registrations: dict[str, Registration] = {}
        self._registered_s: dict[str, float] = {}
        self._next_beat_s = 0.0
        self._closed = False
        self._forked = False
        self._make_locks()
        forks.remember(self)
        self._schedule_beat()
        try:
            for topic, registration in (attach or {}).items():
                self._registrations[topic] = registration
                self.reattach(topic)
            for topic in dict.fromkeys(topic_names(topics)):
                if topic not in self._registrations:
                    self.register(topic)
        except BaseException:
            self._transport.close()
            raise
        HEARTBEATS.join(self)

    # Registrations

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that the client is registered for."""
        return tuple(self._registrations)

    @property
    def registrations(self) -> dict[str, Registration]:
        """Id and token per topic; given to a later client as `attach`, it goes on under them."""
        return dict(self._registrations)

    def register(self, topic: str) -> Registration:
        """Register for a further topic.

        Raises:
            AlreadyRegistered: the client is registered for it.
            TopicDoesNotExist: a consumer asked for an unknown topic.
            ManagerNotFound: no manager answered.
        """
        with self._register_lock:
            self._check_open()
            if topic in self._registrations:
                raise AlreadyRegistered(f"this {self._kind} is registered for {topic!r} already")
            return self._register(topic, {**self._register_fields, "topic": topic})

    def reattach(self, topic: str) -> Registration:
        """Register again under the same id: the token is renewed, cursors and sequences stay.

        Raises:
            UnauthorizedException: the manager does not know the id any more.
            ManagerNotFound: no manager answered.
        """
        with self._register_lock:
            old = self.registration(topic)
            fields = {"topic": topic, f"{self._kind}_id": old.client_id, "token": old.token}
            return self._register(topic, {**self._register_fields, **fields})

    def registration(self, topic: str) -> Registration:
        """Return id and token for a topic.

        Raises:
            UnauthorizedException: the client is not registered for it.
        """
        found = self._registrations.get(topic)
        if found is None:
            raise UnauthorizedException(
                f"this {self._kind} is not registered for {topic!r}; call register({topic!r})"
            )
        return found if found.client_id else self._register_in_child(topic)

    def forget(self) -> None:
        """Have the cluster forget this client, its cursors and sequences; then close it."""
        for topic, registration in self.registrations.items():
            request = Request(
                "DELETE",
                f"/{self._kind}s/{registration.client_id}",
                body=encode_body({"token": registration.token}),
                content_type=MSGPACK,
                accept=MSGPACK,
                token=registration.token,
            )
            # Not found: a repetition of a try that was not answered.
            with suppress(ClientNotFound):
                self._managers.call_patiently(request)
            self._registrations.pop(topic, None)
        self.close()

    def _register(self, topic: str, fields: dict[str, Any]) -> Registration:
        body = self._managers.call_patiently(
            Request(
                "POST",
                f"/{self._kind}/register",
                body=encode_body(fields),
                content_type=MSGPACK,
                accept=MSGPACK,
            )
        )
        registration = Registration(int(body[f"{self._kind}_id"]), str(body.get("token", "")))
        self._registrations[topic] = registration
        self._registered_s[topic] = self._clock.monotonic()
        return registration

    def _register_in_child(self, topic: str) -> Registration:
        """Register under a new id what was registered before a fork."""
        with self._register_lock:
            found = self._registrations[topic]
            if found.client_id:
                return found
            return self._register(topic, {**self._register_fields, "topic": topic})

    # Heartbeats

    def next_beat_s(self) -> float:
        """Return the monotonic time of the next heartbeat."""
        return self._next_beat_s

    def beat(self) -> None:
        """Send a heartbeat per topic; a client that expired or is unknown re-attaches."""
        self._schedule_beat()
        for topic, registration in self.registrations.items():
            if registration.client_id and not self._closed:
                self._beat_topic(topic, registration)

    def _beat_topic(self, topic: str, registration: Registration) -> None:
        query: dict[str, str | int] = {
            "type": HEALTH_TYPES[self._kind],
            "key": registration.client_id,
        }
        request = Request("GET", "/health", query=query, accept=MSGPACK, token=registration.token)
        age_s = self._clock.monotonic() - self._registered_s.get(topic, 0.0)
        try:
            if age_s * 1000 >= self._config.token_max_age_ms:
                self.reattach(topic)
            self._managers.call(request)
        except (ClientNotFound, ClientExpired):
            self._revive(topic)
        except QueueError as error:
            # Not lost for good: the next beat comes, and a call finds out by itself.
            self._note("a heartbeat failed: %s", error)

    def _revive(self, topic: str) -> None:
        try:
            self.reattach(topic)
        except QueueError as error:
            self._note("re-registration failed: %s", error)

    def _schedule_beat(self) -> None:
        self._next_beat_s = self._clock.monotonic() + self._config.heartbeat_interval_ms / 1000

    def _note(self, text: str, error: QueueError) -> None:
        """Write to the debug log what the program need not act on."""
        import logging

        logging.getLogger(__name__).debug(text, error)

    # Life

    def close(self) -> None:
        """Stop heartbeats and connections; the registration stays, with its cursors."""
        if not self._closed:
            self._closed = True
            HEARTBEATS.leave(self)
            self._transport.close()

    def stop(self) -> None:
        """Do what `close` does."""
        self.close()

    def restart_after_fork(self) -> None:
        """Start anew in the child: new locks, no shared connection."""
        self._make_locks()
        self._transport.restart()
        self._schedule_beat()
        self._forked = True

    def _make_locks(self) -> None:
        self._register_lock = threading.RLock()
        """One registration at a time."""

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed(f"this {self._kind} was closed")
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


def topic_names(topics: str | Sequence[str]) -> list[str]:
    """Return one name or several as a list.

    Raises:
        InvalidRequest: a name is no text.
    """
    names = [topics] if isinstance(topics, str) else list(topics)
    for name in names:
        if not isinstance(name, str) or not name:
            raise InvalidRequest(f"a topic is a non-empty text, not {name!r}", field="topic")
    return names
