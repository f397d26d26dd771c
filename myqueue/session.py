"""Calls to a partition's leader: retried, redirected, re-attached until they are settled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from myqueue.clock import Clock
from myqueue.config import ClientConfig
from myqueue.errors import ManagerNotFound, QueueError, TopicDoesNotExist
from myqueue.http1 import Answer, Request
from myqueue.metadata import MANAGER, Metadata, Route, TopicView, topic_view
from myqueue.protocol import MSGPACK
from myqueue.registered import RegisteredClient
from myqueue.results import Registration
from myqueue.retry import Attempts, Step
from myqueue.transport import Transport

T = TypeVar("T")
RETRY_METADATA_S = 1.0
"""How long the old view serves when no manager answers."""


class LeaderCall(NamedTuple):
    """A call that belongs to a partition's leader, harmless when repeated.

    The requests are made anew for each try, with the registration as it then is; what makes the
    repetition recognisable (sequence, request id) is the same in each.
    """

    topic: str
    partition: int
    direct: Callable[[Registration], Request]
    """The request to a broker."""
    through_manager: Callable[[Registration], Request] | None
    """The same for the manager to pass on; None when it does not pass this on."""
    wait_ms: int = 0
    """How long the server may hold the request on top of its own time."""


class Session(RegisteredClient):
    """Base of `Producer` and `Consumer`: knows where leaders are and how to reach them.

    Args: those of `RegisteredClient`.
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
        settings = config or ClientConfig()
        self._metadata = Metadata(
            max_age_s=settings.metadata_max_age_ms / 1000, avoid_s=settings.avoid_ms / 1000
        )
        super().__init__(
            kind,
            topics,
            address,
            config=settings,
            transport=transport,
            clock=clock,
            register_fields=register_fields,
            attach=attach,
        )

    def _make_locks(self) -> None:
        super()._make_locks()
        self._lock = threading.Lock()
        """Guards the metadata; never held during a call."""

    def topic_view(self, topic: str) -> TopicView:
        """Return the topic's partitions, asked from a manager when not known or stale.

        Raises:
            TopicDoesNotExist: there is no such topic.
            ManagerNotFound: no manager answered, and the topic was never seen.
        """
        with self._lock:
            now_s = self._clock.monotonic()
            known = self._metadata.view(topic)
            if known is not None and self._metadata.is_fresh(topic, now_s=now_s):
                return known
        request = Request("GET", f"/topics/{quote(topic, safe='')}", accept=MSGPACK)
        try:
            view = topic_view(self._managers.call(request))
        except ManagerNotFound:
            if known is None:
                raise
            with self._lock:
                self._metadata.postpone(topic, until_s=now_s + RETRY_METADATA_S)
            return known
        except TopicDoesNotExist:
            with self._lock:
                self._metadata.forget(topic)
            raise
        with self._lock:
            self._metadata.store(view, now_s=self._clock.monotonic())
        return view

    def partition_count(self, topic: str) -> int:
        """Return the number of partitions of a topic.

        Raises:
            QueueError: no manager said so in time.
        """
        with self._lock:
            known = self._metadata.view(topic)
            if known is not None and self._metadata.is_fresh(topic, now_s=self._clock.monotonic()):
                return len(known.partitions)
        attempts = Attempts(self._config, deadline_s=self._deadline_s())
        return len(self._retrying(lambda: self.topic_view(topic), attempts, topic).partitions)

    def at_leader(
        self, call: LeaderCall, attempts: Attempts, read: Callable[[Answer], T]
    ) -> T | dict[str, Any]:
        """Make a call where it belongs, until it succeeds or `attempts` stops it.

        Args:
            call: what to ask.
            attempts: patience, and what became of earlier tries.
            read: turns a broker's answer into the result, or raises its failure.

        Raises:
            QueueError: the last failure as it was; `attempts` knows what it means.
        """
        route = Route(self._metadata, call.topic, call.partition)
        return self._retrying(lambda: self._try_once(call, route, read), attempts, call.topic)

    def _try_once(
        self, call: LeaderCall, route: Route, read: Callable[[Answer], T]
    ) -> T | dict[str, Any]:
        registration = self.registration(call.topic)
        self.topic_view(call.topic)
        with self._lock:
            address = route.next(now_s=self._clock.monotonic())
        timeout_s = (
            self._config.request_timeout_ms + self._config.answer_margin_ms + call.wait_ms
        ) / 1000
        try:
            result: T | dict[str, Any]
            if address != MANAGER or call.through_manager is None:
                result = self._ask_broker(call, address, read, timeout_s=timeout_s)
            else:
                request = call.through_manager(registration)
                result = self._managers.call(request, timeout_s=timeout_s)
        except QueueError as error:
            with self._lock:
                route.failed(address, error, now_s=self._clock.monotonic())
            raise
        with self._lock:
            if address != MANAGER:
                self._metadata.broker_answered(address)
                self._metadata.learn_leader(call.topic, call.partition, address)
        return result

    def _ask_broker(
        self, call: LeaderCall, address: str, read: Callable[[Answer], T], *, timeout_s: float
    ) -> T:
        if address == MANAGER:
            raise ManagerNotFound(
                f"no broker of {call.topic!r}, partition {call.partition}, can be reached, and a "
                "manager does not pass this call on"
            )
        request = call.direct(self.registration(call.topic))
        return read(self._transport.request(address, request, timeout_s=timeout_s))

    def _retrying(self, once: Callable[[], T], attempts: Attempts, topic: str) -> T:
        """Call until it succeeds or `attempts` stops it."""
        reattach = False
        while True:
            self._check_open()
            try:
                if reattach:
                    self.reattach(topic)
                    reattach = False
                return once()
            except QueueError as error:
                decision = attempts.failed(
                    error, now_s=self._clock.monotonic(), jitter=self._clock.jitter()
                )
                if decision.step is Step.STOP:
                    raise
            reattach = reattach or decision.step is Step.REATTACH
            if decision.delay_s:
                self._clock.sleep(decision.delay_s)

    def _deadline_s(self) -> float:
        return self._clock.monotonic() + self._config.delivery_timeout_ms / 1000
