"""A client's session: registrations, heartbeats, metadata, and calls to leaders. Pure.

A call to a partition's leader is retried, redirected and re-attached until it is settled.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from myqueue.contract.errors import (
    OUTCOME_UNKNOWN,
    AlreadyRegistered,
    BrokerUnreachable,
    ClientClosed,
    ClientExpired,
    ClientNotFound,
    Internal,
    InvalidRequest,
    ManagerNotFound,
    NoLeader,
    NotFound,
    PartitionNotFound,
    QueueError,
    TopicAlreadyExists,
    TopicDoesNotExist,
    UnauthorizedException,
)
from myqueue.contract.http1 import Answer, Request
from myqueue.contract.inputs import BATCH, HEALTH_CONSUMER, HEALTH_PRODUCER, MSGPACK
from myqueue.contract.partitioner import partition_for_key
from myqueue.results import Registration
from myqueue.transport.blocking import msgpack_request, read_body
from myqueue.transport.complaints import Complaints
from myqueue.transport.effects import Acquire, Ask, Await, Begin, Flow, Lock, Pause, Pending
from myqueue.transport.heartbeat_record import HeartbeatRecord
from myqueue.transport.managers import Managers
from myqueue.transport.metadata import (
    MANAGER,
    Metadata,
    Route,
    TopicView,
    serving_replica,
    topic_view,
)
from myqueue.transport.retry import Attempts, RetryAction
from myqueue.transport.rotation import Wait

if TYPE_CHECKING:
    from myqueue.config import ClientConfig
    from myqueue.transport.clock import Clock
    from myqueue.transport.leader_call import LeaderCall
    from myqueue.transport.rotation import TopicPartition

logger = logging.getLogger(__name__)
HEARTBEAT_TIMEOUT_S = 3.0
"""For one manager to answer one heartbeat; the next one comes soon."""
HEALTH_TYPES = {"producer": HEALTH_PRODUCER, "consumer": HEALTH_CONSUMER}
T = TypeVar("T")
CREATION_S = 10.0
"""A manager answers a creation when every partition has a leader, at most 5 s later."""
RETRY_METADATA_S = 1.0
"""How long the old view serves when no manager answers."""
LOOKUP_S = 0.5
"""How long one broker may take to say whether it leads a partition."""
LOOKUP_HELD_S = 3.0
"""How long a request that a server holds is waited for between such looks."""
LOOKUPS_PER_PATIENCE = 10
"""After the first look for another leader, how often again in the time before the first."""


def _is_unknown_there(error: QueueError, request: Request) -> bool:
    """Tell whether a manager does not know a call, or does not take record batches."""
    return type(error) is NotFound or (
        type(error) is InvalidRequest and request.content_type == BATCH
    )


class Session:
    """The registrations of a client, and how it reaches managers and leaders.

    Its flows register, re-attach, send heartbeats, and make calls at managers and leaders.

    Args:
        kind: producer or consumer.
        address: a manager's address, or several as a list or separated by commas.
        config: settings.
        clock: time and chance.
        make_lock: makes a lock of the driver's kind.
        register_fields: further fields of each registration.
        create: whether a missing topic is created; None: as managers do, for producers alone.

    Attributes:
        beat_due_s: monotonic time of the next heartbeat of the registrations.
        core_due_s: monotonic time of the core's own next heartbeat or commit; infinite without one.
        wake_beats: has the driver of heartbeats read `next_beat_s` again.
        closing: True once no new call is taken.
        closed: True once nothing works any more.
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
        create: bool | None = None,
    ) -> None:
        self.kind = kind
        self._creates = kind == "producer" if create is None else create
        self.config = config
        self.clock = clock
        self.make_lock = make_lock
        self.managers = Managers(address, config=config, clock=clock)
        self.complaints = Complaints(logger, clock)
        self.beat_record = HeartbeatRecord(kind, clock, self.complaints)
        self.wake_beats: Callable[[], None] = _nothing
        self.closing = False
        self.closed = False
        self._register_fields = register_fields or {}
        self._registrations: dict[str, Registration] = {}
        self._registered_s: dict[str, float] = {}
        self._metadata = Metadata(
            max_age_s=config.metadata_max_age_ms / 1000, avoid_s=config.avoid_ms / 1000
        )
        self.restart_after_fork()
        self._schedule_beat()

    def restart_after_fork(self) -> None:
        """Start anew in the child: new locks, and no heartbeat or commit of the core due."""
        self._register_lock = self.make_lock()
        """One registration at a time."""
        self._lock = threading.Lock()
        """Guards the metadata; never held while a flow waits."""
        self.core_due_s = float("inf")

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

    def expect(self, topics: Iterable[str]) -> None:
        """Register for topics before the first call that needs it, not now."""
        for topic in topics:
            self._registrations.setdefault(topic, Registration(0, ""))

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
            self._check_new([topic])
            return (yield from self._register_new(topic))
        finally:
            self._register_lock.release()

    def register_all(
        self, topics: Sequence[str], then: Callable[[str], Flow[None]] | None = None
    ) -> Flow[list[Registration]]:
        """Register for further topics, for all or, where one is registered already, for none.

        Args:
            topics: their names.
            then: what is to be done for each once it is registered.

        Raises: what `register` raises.
        """
        self._check_new(topics)
        made: dict[str, Registration] = {}
        for topic in dict.fromkeys(topics):
            made[topic] = yield from self.register(topic)
            if then is not None:
                yield from then(topic)
        return [made[topic] for topic in topics]

    def _check_new(self, topics: Iterable[str]) -> None:
        """Raise AlreadyRegistered when the client is registered for one of the topics."""
        for topic in topics:
            if topic in self._registrations:
                raise AlreadyRegistered(f"this {self.kind} is registered for {topic!r} already")

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
            return (yield from self._register_new(topic))
        finally:
            self._register_lock.release()

    def require_registered(self, topic: str) -> Registration:
        """Return the registration for a topic; with id 0 in the child of a fork.

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

    def _register_new(self, topic: str) -> Flow[Registration]:
        """Register under a new id; a missing topic is created or refused, whoever registers."""
        fields = {**self._register_fields, "topic": topic}
        if self.kind == "producer" and not self._creates:
            yield from self.topic_view(topic)
        try:
            return (yield from self._register(topic, fields))
        except TopicDoesNotExist:
            if not self._creates:
                raise
        request = msgpack_request("POST", "/topics", {"topic": topic})
        with suppress(TopicAlreadyExists):
            yield from self.managers.call_patiently(request, timeout_s=CREATION_S)
        return (yield from self._register(topic, fields))

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

    @property
    def next_beat_s(self) -> float:
        """Monotonic time at which the core's `beat` is to be driven next."""
        return min(self.beat_due_s, self.core_due_s)

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
                    self.beat_record.failed(error, began_s)
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
        try:
            answer = yield from self.managers.call(request, timeout_s=HEARTBEAT_TIMEOUT_S)
        except (ClientNotFound, ClientExpired):
            yield from self._revive(topic)
        except ManagerNotFound:
            raise
        except QueueError as error:
            # Not lost for good: the next beat comes, and a call finds out by itself.
            self.beat_record.failed(error, began_s)
        else:
            self.beat_record.answered()
            self._renew(topic, registration, answer.get("token"))

    def _renew(self, topic: str, registration: Registration, token: object) -> None:
        """Take over the token in the answer to a heartbeat, once the one at hand is old."""
        now_s = self.clock.monotonic()
        age_s = now_s - self._registered_s.get(topic, 0.0)
        is_present = self._registrations.get(topic) == registration
        if isinstance(token, str) and is_present and age_s * 1000 >= self.config.token_max_age_ms:
            self._registrations[topic] = Registration(registration.client_id, token)
            self._registered_s[topic] = now_s

    def _revive(self, topic: str) -> Flow[None]:
        began_s = self.clock.monotonic()
        try:
            yield from self.reattach(topic)
        except ManagerNotFound:
            raise
        except QueueError as error:
            self.beat_record.failed(error, began_s)

    def _schedule_beat(self) -> None:
        self.beat_due_s = self.clock.monotonic() + self.config.heartbeat_interval_ms / 1000

    def check_open(self) -> None:
        """Raise ClientClosed when nothing works any more."""
        if self.closed:
            raise ClientClosed(f"this {self.kind} was closed")

    def check_usable(self) -> None:
        """Raise ClientClosed when no new call is taken."""
        if self.closed or self.closing:
            raise ClientClosed(f"this {self.kind} was closed")

    # Waiting for messages

    def begin_wait(self, timeout: float | None, *, grace_s: float = 0.0) -> Wait:
        """Return what is known of a call that waits for messages and begins now.

        Args:
            timeout: seconds; None for ever, 0 for a question.
            grace_s: how much longer it may take for what is being handed over.

        Raises:
            InvalidRequest: the timeout is no number of seconds.
        """
        if timeout is not None and not isinstance(timeout, int | float):
            raise InvalidRequest(
                f"timeout is a number of seconds, or None for ever, not {timeout!r}",
                field="timeout",
            )
        patience_s = self.config.delivery_timeout_ms / 1000
        now_s = self.clock.monotonic()
        return Wait(timeout, now_s=now_s, patience_s=patience_s, grace_s=grace_s)

    # Metadata

    def topic_view(self, topic: str) -> Flow[TopicView]:
        """Return the topic's partitions, asked from a manager when not known or stale.

        Raises:
            TopicDoesNotExist: there is no such topic.
            ManagerNotFound: no manager answered, and the topic was never seen.
        """
        with self._lock:
            now_s = self.clock.monotonic()
            fresh = self._metadata.fresh_view(topic, now_s=now_s)
            if fresh is not None:
                return fresh
            known = self._metadata.view(topic)
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
        known = self._metadata.fresh_view(topic, now_s=self.clock.monotonic())
        return 0 if known is None else len(known.partitions)

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

    def partitions(self, topics: list[str], partition: int | None) -> Flow[list[TopicPartition]]:
        """Return one partition of each topic, or all of them.

        Raises:
            PartitionNotFound: a topic has fewer.
            InvalidRequest: there is no topic.
            QueueError: a topic is not registered, or no manager said how many there are in time.
        """
        found: list[TopicPartition] = []
        for topic in topics:
            if not self.require_registered(topic).client_id:
                yield from self.registration(topic)
            count = self.known_partition_count(topic)
            if not count:
                count = yield from self.partition_count(topic)
            if partition is None:
                found += [(topic, index) for index in range(count)]
            elif 0 <= partition < count:
                found.append((topic, partition))
            else:
                raise PartitionNotFound(
                    f"topic {topic!r} has partitions 0 to {count - 1}, not {partition}"
                )
        if not found:
            raise InvalidRequest("this consumer is registered for no topic", field="topics")
        return found

    def mark_stale(self, topic: str) -> None:
        """Have a manager asked for the topic before its next use."""
        with self._lock:
            self._metadata.mark_stale(topic)

    def begin_at_leader(self, call: LeaderCall, timeout_s: float) -> Flow[Pending]:
        """Send a call once to the partition's leader, and do not wait for the answer.

        When the leader is unknown or out of reach, send it to a manager, which passes it on.

        Raises:
            QueueError: there was no connection, or the client is not registered for the topic.
        """
        registration = yield from self.registration(call.topic)
        address = yield from self.leader_address(call.topic, call.partition)
        if address == MANAGER:
            address, make = self.managers.preferred, call.through_manager
        else:
            make = call.direct
        pending: Pending = yield Begin(address, make(registration), timeout_s)
        return pending

    def leader_address(self, topic: str, partition: int) -> Flow[str]:
        """Return where a partition's leader is; `MANAGER` when it is unknown or out of reach.

        Raises:
            QueueError: no manager answered, and the topic was never seen.
        """
        yield from self.topic_view(topic)
        with self._lock:
            address = self._metadata.partition(topic, partition).leader
            avoided = self._metadata.avoids(address, now_s=self.clock.monotonic())
        return MANAGER if avoided else address

    # Calls

    def at_leader(
        self, call: LeaderCall, attempts: Attempts, read: Callable[[Answer], T]
    ) -> Flow[T]:
        """Make a call at the partition's leader, until it succeeds or `attempts` stops it.

        Args:
            call: what to ask.
            attempts: deadline, and outcomes of earlier tries.
            read: turns an answer into the result, or raises its failure.

        Raises:
            QueueError: the last failure; `attempts` knows whether the outcome is open.
        """
        route = Route(self._metadata, call.topic, call.partition)
        return self._retrying(partial(self._try_once, call, route, read), attempts, call.topic)

    def attempts(self, *, wait_ms: int = 0) -> Attempts:
        """Return the attempts of a call that begins now; a server may hold it for so long."""
        patience_ms = self.config.delivery_timeout_ms + wait_ms
        deadline_s = self.clock.monotonic() + patience_ms / 1000
        return Attempts(self.config, deadline_s=deadline_s)

    def _try_once(self, call: LeaderCall, route: Route, read: Callable[[Answer], T]) -> Flow[T]:
        registration = self.require_registered(call.topic)
        if not registration.client_id:
            registration = yield from self.registration(call.topic)
        now_s = self.clock.monotonic()
        if self._metadata.fresh_view(call.topic, now_s=now_s) is None:
            yield from self.topic_view(call.topic)
            now_s = self.clock.monotonic()
        with self._lock:
            address = route.next(now_s=now_s)
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
        """Ask the leader; when it is silent for long, look whether another broker leads.

        A repetition at the new leader is harmless; a paused broker may never answer.

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
        query: dict[str, str | int] = {"topic": topic, "partition": partition}
        request = Request("GET", "/partitions", query=query, accept=MSGPACK)
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
                if decision.step is RetryAction.STOP:
                    raise
            reattach = reattach or decision.step is RetryAction.REATTACH
            if decision.delay_s:
                yield Pause(decision.delay_s)


def _nothing() -> None:
    """Do nothing: no driver of heartbeats yet."""
