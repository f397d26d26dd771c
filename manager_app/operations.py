"""Changes of metadata carried through: stored first, then told to the brokers, then answered.

These functions block and belong into the threads of the ordinary views.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from django.db.models import F

from http_base.tokens import GRACE_MS, ClientToken, sign_client, verify_client
from manager_app import selectors
from manager_app.models import Replica, ReplicaState
from manager_app.selectors import ClientKey
from manager_app.services.broker import broker_beat
from manager_app.services.client import (
    client_reattach,
    client_revoke,
    consumer_create,
    producer_create,
    revoked_forgotten,
    revoked_take,
)
from manager_app.services.cluster import cluster_ensure
from manager_app.services.report import broker_report
from manager_app.services.topic import topic_create, topic_delete, topic_update
from myqueue.contract.errors import (
    ClientNotFound,
    InvalidRequest,
    QueueError,
    TopicAlreadyExists,
    TopicDoesNotExist,
    UnauthorizedException,
)
from myqueue.contract.inputs import TopicCreate

if TYPE_CHECKING:
    from http_base.cluster import BrokerOrders, BrokerReport
    from manager_app.runtime import ManagerRuntime
    from myqueue.contract.inputs import ConsumerRegister, ProducerRegister, TopicUpdate

logger = logging.getLogger(__name__)

LEADERS_WAIT_S = 5.0
"""How long a new topic's answer waits for its leaders."""
FORGET_AT_ONCE = 50
"""Revoked clients of a kind that one round has partitions forget."""
ORDERS_LIMIT_S = 120.0
"""After which a thread gives up on the loop; each order has a shorter limit of its own."""


def create_topic(runtime: ManagerRuntime, call: TopicCreate) -> list[int]:
    """Create a topic; return the partitions that have no leader yet, after at most 5 s.

    Raises:
        QueueError: as `topic_create` says.
    """
    topic_create(
        name=call.topic,
        number_of_partitions=call.number_of_partitions,
        replication_factor=call.replication_factor,
        retention_ms=call.retention_ms,
        retention_bytes=call.retention_bytes,
    )
    return _place(runtime, call.topic)


def update_topic(runtime: ManagerRuntime, name: str, call: TopicUpdate) -> list[int]:
    """Change a topic; return the partitions that have no leader yet, after at most 5 s.

    Raises:
        QueueError: as `topic_update` says.
    """
    retention: dict[str, int | None] = {}
    if call.retention_ms is None or isinstance(call.retention_ms, int):
        retention["retention_ms"] = call.retention_ms
    if call.retention_bytes is None or isinstance(call.retention_bytes, int):
        retention["retention_bytes"] = call.retention_bytes
    wanted = call.number_of_partitions
    number_of_partitions = wanted if isinstance(wanted, int) else None
    topic_update(name, number_of_partitions=number_of_partitions, retention=retention)
    if retention:
        _push_to_leaders(runtime, name)
    if number_of_partitions is None:
        runtime.metadata.refresh()
        return []
    return _place(runtime, name)


def delete_topic(runtime: ManagerRuntime, name: str) -> int:
    """Delete a topic; return how many replicas will only hear of it with a heartbeat.

    Raises:
        TopicDoesNotExist: there is none of this name.
    """
    drops = topic_delete(name)
    runtime.clients.forget_topic(name)
    runtime.metadata.refresh()
    dropping = runtime.orders.drop_groups(drops, epoch=cluster_ensure().epoch)
    return runtime.run(dropping, timeout_s=ORDERS_LIMIT_S)


def place_missing(runtime: ManagerRuntime) -> int:
    """Order once more the replicas that no report named yet; return how many were not taken."""
    missing = Replica.objects.filter(
        state=ReplicaState.ORDERED, leaving=False, broker__state="alive"
    )
    if not missing.exists():
        return 0
    orders = selectors.replica_orders(missing, cluster_ensure().epoch)
    return runtime.run(runtime.orders.place_replicas(orders), timeout_s=ORDERS_LIMIT_S)


def take_report(runtime: ManagerRuntime, report: BrokerReport) -> BrokerOrders:
    """Take a broker's report; return its orders. It shows that the broker is there in any case.

    Raises:
        QueueError: as `broker_report` says.
    """
    if report.broker_id:
        runtime.broker_heartbeats.beat(report.broker_id, runtime.monotonic_s())
    taken = broker_report(report)
    runtime.broker_heartbeats.beat(taken.broker_id, runtime.monotonic_s(), marker=taken.recorded_at)
    if taken.metadata_changed:
        runtime.metadata.refresh()
    if taken.leaders:
        runtime.metadata.note_leaders(taken.leaders)
    return taken.orders


def beat_broker(runtime: ManagerRuntime, key: int | str) -> bool:
    """Record a broker's sign of life; return False when there is no such broker."""
    broker = selectors.broker_find(key)
    if broker is None:
        return False
    runtime.broker_heartbeats.beat(broker.broker_id, runtime.monotonic_s())
    if broker_beat(broker):
        runtime.metadata.refresh()
    return True


def register_producer(runtime: ManagerRuntime, call: ProducerRegister) -> tuple[ClientKey, str]:
    """Register a producer, creating its topic if it is missing; return its key and token.

    Raises:
        UnauthorizedException: it re-attaches without being who it says.
        QueueError: the topic cannot be created.
    """
    if call.producer_id is not None:
        return _reattach(
            runtime, ClientKey("producer", call.producer_id), topic=call.topic, token=call.token
        )
    _refuse_token(call.token, "producer_id")
    try:
        selectors.topic_get(call.topic)
    except TopicDoesNotExist:
        with suppress(TopicAlreadyExists):  # another producer was faster
            create_topic(runtime, TopicCreate(topic=call.topic))
    key = producer_create(call.topic)
    return _registered(runtime, key, call.topic)


def register_consumer(runtime: ManagerRuntime, call: ConsumerRegister) -> tuple[ClientKey, str]:
    """Register a consumer; return its key and token.

    `start=latest` opens its cursors first: what is produced after the answer is seen.

    Raises:
        UnauthorizedException: it re-attaches without being who it says.
        TopicDoesNotExist: there is no such topic.
        QueueError: a cursor could not be opened; no consumer is left behind.
    """
    if call.consumer_id is not None:
        return _reattach(
            runtime, ClientKey("consumer", call.consumer_id), topic=call.topic, token=call.token
        )
    _refuse_token(call.token, "consumer_id")
    key = consumer_create(call.topic, call.start)
    if call.start == "latest":
        try:
            topic = runtime.run(runtime.find_topic(call.topic), timeout_s=ORDERS_LIMIT_S)
            opening = runtime.orders.open_cursors(topic, key.client_id, call.start)
            runtime.run(opening, timeout_s=ORDERS_LIMIT_S)
        except QueueError:
            client_revoke(key)
            raise
    return _registered(runtime, key, call.topic)


def forget_client(runtime: ManagerRuntime, key: ClientKey) -> list[int]:
    """Revoke a client and drop its state; return the partitions that still have it.

    While there are any, it may be called again; `forget_revoked` does so by itself.

    Raises:
        ClientNotFound: there is no such client, or no partition knows it any more.
    """
    name = client_revoke(key)
    if name is None:
        raise ClientNotFound(f"there is no {key.kind} {str(key.client_id)[:20]}")
    runtime.clients.forget(key)
    try:
        topic = runtime.metadata.topic(name)
    except TopicDoesNotExist:
        return []
    forgetting = runtime.orders.forget_client(topic, key)
    pending = runtime.run(forgetting, timeout_s=ORDERS_LIMIT_S)
    if not pending:
        revoked_forgotten([key])
    return pending


def forget_revoked(runtime: ManagerRuntime) -> list[ClientKey]:
    """Have partitions forget revoked clients that they may still know; return those that did.

    At most `FORGET_AT_ONCE` of a kind, for a limited time; the others come with later calls.
    """
    taken = revoked_take(runtime.now(), count_max=FORGET_AT_ONCE)
    topics = runtime.metadata.current.topics
    clients = [(topics[name], key) for key, name in taken if name in topics]
    if not clients:
        return []
    forgetting = runtime.orders.forget_clients(clients)
    forgotten = runtime.run(forgetting, timeout_s=ORDERS_LIMIT_S)
    revoked_forgotten(forgotten)
    if len(forgotten) < len(taken):
        logger.info("partitions still know %d revoked clients", len(taken) - len(forgotten))
    return forgotten


def renew_token(runtime: ManagerRuntime, key: ClientKey, token: str) -> str:
    """Return a token of the client that lasts from now on.

    Raises:
        UnauthorizedException: the one shown is another's, or of no use any more.
    """
    said = _check_own_token(runtime, key, token)
    return sign_client(runtime.secret, said._replace(issued_ms=runtime.now_ms))


def check_owner(runtime: ManagerRuntime, key: ClientKey, token: str | None) -> None:
    """Let only a client itself pass.

    Raises:
        UnauthorizedException: the token is missing or another's.
    """
    _check_own_token(runtime, key, token)


def _place(runtime: ManagerRuntime, topic: str) -> list[int]:
    """Load the topic, order its missing replicas, wait for its leaders."""
    runtime.metadata.refresh()
    missing = Replica.objects.filter(partition__topic__name=topic, state=ReplicaState.ORDERED)
    orders = selectors.replica_orders(missing, cluster_ensure().epoch)

    async def place_and_wait() -> list[int]:
        not_taken = await runtime.orders.place_replicas(orders)
        if not_taken:
            logger.warning("%d replicas of topic %s wait for their broker", not_taken, topic)
        return await runtime.orders.wait_for_leaders(topic, LEADERS_WAIT_S)

    return runtime.run(place_and_wait(), timeout_s=ORDERS_LIMIT_S)


def _push_to_leaders(runtime: ManagerRuntime, topic: str) -> None:
    """Tell leaders now what their partitions keep; whoever is missed hears with its heartbeat."""
    leaders = Replica.objects.filter(
        partition__topic__name=topic, broker=F("partition__leader"), broker__state="alive"
    )
    orders = selectors.replica_orders(leaders, cluster_ensure().epoch)
    runtime.run(runtime.orders.place_replicas(orders), timeout_s=ORDERS_LIMIT_S)


def _reattach(
    runtime: ManagerRuntime, key: ClientKey, *, topic: str, token: str | None
) -> tuple[ClientKey, str]:
    said = _check_own_token(runtime, key, token)
    if said.topic != topic:
        raise UnauthorizedException(
            f"{key.kind} {key.client_id} is not registered for topic {topic[:260]!r}"
        )
    client_reattach(key, topic)
    return _registered(runtime, key, topic)


def _check_own_token(runtime: ManagerRuntime, key: ClientKey, token: str | None) -> ClientToken:
    if token is None:
        raise UnauthorizedException(
            f"{key.kind} {str(key.client_id)[:20]} must show the token of its registration",
            field="token",
        )
    said = verify_client(runtime.secret, token, now_ms=runtime.now_ms, grace_ms=GRACE_MS)
    if (said.kind, said.client_id) != key:
        raise UnauthorizedException(
            f"the token is not that of {key.kind} {str(key.client_id)[:20]}", field="token"
        )
    return said


def _refuse_token(token: str | None, field: str) -> None:
    if token is not None:
        raise InvalidRequest(f"a token without {field} says nothing: give both", field=field)


def _registered(runtime: ManagerRuntime, key: ClientKey, topic: str) -> tuple[ClientKey, str]:
    runtime.clients.register(key, topic)
    token = ClientToken(key.kind, key.client_id, topic, runtime.now_ms)
    return key, sign_client(runtime.secret, token)
