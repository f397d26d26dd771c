"""Calls to a partition's leader: retried, redirected, re-attached until they are settled. Pure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

from myqueue.contract.errors import (
    OUTCOME_UNKNOWN,
    BrokerUnreachable,
    InvalidRequest,
    ManagerNotFound,
    NoLeader,
    NotFound,
    PartitionNotFound,
    QueueError,
    TopicDoesNotExist,
)
from myqueue.contract.inputs import BATCH, MSGPACK
from myqueue.contract.partitioner import partition_for_key
from myqueue.transport.blocking import msgpack_request, read_body
from myqueue.transport.effects import Ask, Await, Begin, Flow, Lock, Pause, Pending
from myqueue.transport.http1 import Answer, Request
from myqueue.transport.metadata import (
    MANAGER,
    Metadata,
    Route,
    TopicView,
    serving_replica,
    topic_view,
)
from myqueue.transport.registration import RegisteredClient
from myqueue.transport.retry import Attempts, Step
from myqueue.transport.rotation import WARN_AFTER_S, Wait

if TYPE_CHECKING:
    from myqueue.config import ClientConfig
    from myqueue.results import Registration
    from myqueue.transport.clock import Clock
    from myqueue.transport.rotation import Silence, TopicPartition

T = TypeVar("T")
RETRY_METADATA_S = 1.0
"""How long the old view serves when no manager answers."""
LOOKUP_S = 0.5
"""How long one broker may take to say whether it leads a partition."""
LOOKUP_HELD_S = 3.0
"""How long a request that a server holds is waited for between such looks."""
LOOKUPS_PER_PATIENCE = 10
"""After the first look for another leader, how often again in the time before the first."""


class LeaderCall(NamedTuple):
    """A call that belongs to a partition's leader, harmless when repeated.

    The requests are made anew for each try, with the registration as it then is; what makes the
    repetition recognisable (sequence, request id) is the same in each.
    """

    topic: str
    partition: int
    direct: Callable[[Registration], Request]
    """The request to a broker."""
    through_manager: Callable[[Registration], Request]
    """The same for a manager to pass on."""
    wait_ms: int = 0
    """How long the server may hold the request on top of its own time."""


def posting(
    path: str, where: TopicPartition, fields: dict[str, Any], *, names_consumer: bool = False
) -> Callable[[Registration], Request]:
    """Return what makes a request to a partition, under a registration as it then is.

    Args:
        path: of the call.
        where: topic and partition.
        fields: of the body, besides those and the token.
        names_consumer: True when the call is about the consumer of the registration.
    """
    topic, partition = where

    def request(registration: Registration) -> Request:
        own = {"consumer_id": registration.client_id} if names_consumer else {}
        body = {"topic": topic, "partition": partition, **own, **fields}
        body["token"] = registration.token or None
        return msgpack_request("POST", path, body, token=registration.token)

    return request


def _is_unknown_there(error: QueueError, request: Request) -> bool:
    """Tell whether a manager does not know a call, or does not take record batches."""
    return type(error) is NotFound or (
        type(error) is InvalidRequest and request.content_type == BATCH
    )


class Session(RegisteredClient):
    """Base of the cores of producer and consumer: knows where leaders are and how to reach them.

    Args: those of `RegisteredClient`.
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
        self._metadata = Metadata(
            max_age_s=config.metadata_max_age_ms / 1000, avoid_s=config.avoid_ms / 1000
        )
        super().__init__(
            kind,
            address,
            config=config,
            clock=clock,
            make_lock=make_lock,
            register_fields=register_fields,
        )

    def make_locks(self) -> None:
        """Make new locks: at the beginning, and in the child of a fork."""
        super().make_locks()
        self._lock = threading.Lock()
        """Guards the metadata; never held while a flow waits."""

    # Waiting for messages

    def begin_wait(self, timeout: float | None) -> Wait:
        """Return what is known of a call that waits for messages and begins now.

        Args:
            timeout: seconds; None for ever, 0 for a question.
        """
        patience_s = self.config.delivery_timeout_ms / 1000
        return Wait(timeout, now_s=self.clock.monotonic(), patience_s=patience_s)

    def tell_silent(self, silent: dict[TopicPartition, Silence], *, is_over: bool) -> None:
        """Warn in the program's log of partitions that do not answer, once a minute.

        Args:
            silent: those that did not the last time they were asked.
            is_over: True when the program is about to be told that there is nothing.
        """
        if not silent:
            self.complaints.forget("silence")
            return
        since_s = min(one.since_s for one in silent.values())
        silent_s = self.clock.monotonic() - since_s
        if silent_s < WARN_AFTER_S and not is_over:
            return
        error = min(silent.values(), key=lambda one: one.since_s).error
        self.complaints.warn(
            "silence",
            "%s: no answer for %.1f s, so messages that are there may not be seen: %s: %s",
            ", ".join(f"{topic}/{index}" for topic, index in sorted(silent) if index >= 0)
            or ", ".join(sorted({topic for topic, _ in silent})),
            *(silent_s, error.code, error.message),
        )

    # Metadata

    def topic_view(self, topic: str) -> Flow[TopicView]:
        """Return the topic's partitions, asked from a manager when not known or stale.

        Raises:
            TopicDoesNotExist: there is no such topic.
            ManagerNotFound: no manager answered, and the topic was never seen.
        """
        with self._lock:
            now_s = self.clock.monotonic()
            known = self._metadata.view(topic)
            if known is not None and self._metadata.is_fresh(topic, now_s=now_s):
                return known
        request = Request("GET", f"/topics/{quote(topic, safe='')}", accept=MSGPACK)
        try:
            view = topic_view((yield from self.managers.call(request)))
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
            self._metadata.store(view, now_s=self.clock.monotonic())
        return view

    def known_partition_count(self, topic: str) -> int:
        """Return the number of partitions of a topic, or 0 when a manager must be asked.

        Every message asks this. Without the lock: both looks are at one entry of a dictionary.
        """
        known = self._metadata.view(topic)
        if known is not None and self._metadata.is_fresh(topic, now_s=self.clock.monotonic()):
            return len(known.partitions)
        return 0

    def partition_count(self, topic: str) -> Flow[int]:
        """Return the number of partitions of a topic.

        Raises:
            QueueError: no manager said so in time.
        """
        known = self.known_partition_count(topic)
        if known:
            return known
        attempts = self.attempts()
        view = yield from self._retrying(lambda: self.topic_view(topic), attempts, topic)
        return len(view.partitions)

    def partition_of(self, topic: str, key: int | str | bytes) -> Flow[int]:
        """Return the partition of a key in a topic that the client is registered for.

        Raises:
            QueueError: it is not registered, or no manager said how many there are in time.
        """
        yield from self.registration(topic)
        count = yield from self.partition_count(topic)
        return partition_for_key(key, count)

    def mark_stale(self, topic: str) -> None:
        """Have a manager asked for the topic before its next use."""
        with self._lock:
            self._metadata.mark_stale(topic)

    def begin_at_leader(self, call: LeaderCall, timeout_s: float) -> Flow[Pending]:
        """Send a call once to where it is answered without a detour, and do not wait for it.

        That is the partition's leader as last heard of; where that is unknown or had better not be
        tried, a manager, which passes it on.

        Raises:
            QueueError: there was no connection, or the client is not registered for the topic.
        """
        registration = yield from self.registration(call.topic)
        yield from self.topic_view(call.topic)
        with self._lock:
            address = self._metadata.partition(call.topic, call.partition).leader
            if self._metadata.avoids(address, now_s=self.clock.monotonic()):
                address = MANAGER
        if address == MANAGER:
            address, make = self.managers.preferred, call.through_manager
        else:
            make = call.direct
        pending: Pending = yield Begin(address, make(registration), timeout_s)
        return pending

    # Calls

    def at_leader(
        self, call: LeaderCall, attempts: Attempts, read: Callable[[Answer], T]
    ) -> Flow[T]:
        """Make a call where it belongs, until it succeeds or `attempts` stops it.

        Args:
            call: what to ask.
            attempts: patience, and what became of earlier tries.
            read: turns an answer into the result, or raises its failure.

        Raises:
            QueueError: the last failure as it was; `attempts` knows what it means.
        """
        route = Route(self._metadata, call.topic, call.partition)
        return (
            yield from self._retrying(
                lambda: self._try_once(call, route, read), attempts, call.topic
            )
        )

    def attempts(self, *, wait_ms: int = 0) -> Attempts:
        """Return the patience of a call that begins now and that a server may hold so long."""
        patience_ms = self.config.delivery_timeout_ms + wait_ms
        deadline_s = self.clock.monotonic() + patience_ms / 1000
        return Attempts(self.config, deadline_s=deadline_s)

    def _try_once(self, call: LeaderCall, route: Route, read: Callable[[Answer], T]) -> Flow[T]:
        registration = yield from self.registration(call.topic)
        yield from self.topic_view(call.topic)
        with self._lock:
            address = route.next(now_s=self.clock.monotonic())
        timeout_s = (
            self.config.request_timeout_ms + self.config.answer_margin_ms + call.wait_ms
        ) / 1000
        make = call.through_manager if address == MANAGER else call.direct
        request = make(registration)
        try:
            if address != MANAGER:
                result = read((yield from self._ask_broker(call, address, request, timeout_s)))
            else:
                result = yield from self.managers.ask(request, read, timeout_s=timeout_s)
        except QueueError as error:
            with self._lock:
                route.failed(address, error, now_s=self.clock.monotonic())
            if address == MANAGER and _is_unknown_there(error, request):
                # A manager of an earlier version; brokers may be in reach again by the next try.
                raise ManagerNotFound(
                    f"no broker of {call.topic!r}, partition {call.partition}, can be reached, and "
                    f"the manager does not pass this call on: {error.message}"
                ) from error
            if address != MANAGER and isinstance(error, PartitionNotFound):
                # It was moved away, or is being made; whether there is one, a manager knows.
                raise NoLeader(f"{address} has no such replica: {error.message}") from error
            raise
        with self._lock:
            if address != MANAGER:
                self._metadata.broker_answered(address)
                self._metadata.learn_leader(call.topic, call.partition, address)
        return result

    def _ask_broker(
        self, call: LeaderCall, address: str, request: Request, timeout_s: float
    ) -> Flow[Answer]:
        """Ask the leader; when it is silent for long, look whether another broker leads by now.

        A repetition there is harmless, and a broker that was stopped does not answer in time.

        Raises:
            BrokerUnreachable: no answer; `leader` names the other leader, if that is why.
        """
        pending = yield Begin(address, request, timeout_s)
        patience_s = self.config.leader_patience_ms / 1000
        held_until_s = self.clock.monotonic() + call.wait_ms / 1000
        held_s = min(call.wait_ms / 1000, patience_s)
        try:
            answer: Answer | None = yield Await(pending, patience_s + held_s)
            while answer is None:
                leader = yield from self._other_leader(call.topic, call.partition, than=address)
                if leader:
                    raise BrokerUnreachable(
                        f"{address} is silent, {leader} leads by now",
                        outcome=OUTCOME_UNKNOWN,
                        leader={"address": leader},
                    )
                held = self.clock.monotonic() < held_until_s
                pause_s = LOOKUP_HELD_S if held else patience_s / LOOKUPS_PER_PATIENCE
                answer = yield Await(pending, pause_s)
        except BaseException:
            pending.cancel()
            raise
        return answer

    def _other_leader(self, topic: str, partition: int, *, than: str) -> Flow[str]:
        """Ask the other replicas of a partition whether they lead it; an empty text if none."""
        with self._lock:
            replicas = self._metadata.partition(topic, partition).replicas
        request = Request("GET", "/partitions", query={"topic": topic}, accept=MSGPACK)
        for address in replicas:
            if address == than:
                continue
            try:
                body = read_body((yield Ask(address, request, LOOKUP_S)))
            except QueueError:
                continue  # it is not the leader that was asked for
            if serving_replica(body, topic, partition):
                return address
        return ""

    def _retrying(self, once: Callable[[], Flow[T]], attempts: Attempts, topic: str) -> Flow[T]:
        """Call until it succeeds or `attempts` stops it."""
        reattach = False
        while True:
            self.check_open()
            try:
                if reattach:
                    yield from self.reattach(topic)
                    reattach = False
                return (yield from once())
            except QueueError as error:
                decision = attempts.failed(
                    error, now_s=self.clock.monotonic(), jitter=self.clock.jitter()
                )
                if decision.step is Step.STOP:
                    raise
            reattach = reattach or decision.step is Step.REATTACH
            if decision.delay_s:
                yield Pause(decision.delay_s)
