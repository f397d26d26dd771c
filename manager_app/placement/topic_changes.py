"""Topics created, changed and deleted: stored first, then ordered of the brokers, then answered.

These functions block and belong into the threads of the ordinary views.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.db.models import F

from manager_app import selectors
from manager_app.brokers.orders import ORDERS_LIMIT_S
from manager_app.models import Replica, ReplicaState
from manager_app.services.cluster import acting_epoch
from manager_app.services.topic import topic_create, topic_delete, topic_update

if TYPE_CHECKING:
    from manager_app.runtime import ManagerRuntime
    from myqueue.contract.inputs import TopicCreate, TopicUpdate

logger = logging.getLogger(__name__)

LEADERS_WAIT_S = 5.0
"""How long a new topic's answer waits for the leaders of its partitions: an election takes one to
two seconds, and a replica that missed its order is ordered again with the next heartbeat."""


def create_topic(runtime: ManagerRuntime, call: TopicCreate) -> list[int]:
    """Create a topic, order its replicas, wait `LEADERS_WAIT_S` for leaders.

    Returns:
        The indexes of the partitions that have no leader yet.

    Raises:
        InvalidRequest: a value is out of range; the field is named.
        TopicAlreadyExists: the name is taken.
        NotEnoughBrokers: fewer brokers are alive and have room than the replication factor.
        Overloaded: the cluster has no group ids left.
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
    """Change retention and the number of partitions; order new replicas, wait for their leaders.

    Returns:
        The indexes of the partitions that have no leader yet, after `LEADERS_WAIT_S`.

    Raises:
        TopicDoesNotExist: there is none of this name.
        InvalidRequest: a value is out of range, or there would be fewer partitions.
        NotEnoughBrokers: fewer brokers are alive and have room than the replication factor.
        Overloaded: the cluster has no group ids left.
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
    """Delete a topic and let brokers drop its replicas.

    Returns:
        How many replicas were not dropped yet: their brokers are told with their next report.

    Raises:
        TopicDoesNotExist: there is none of this name.
    """
    drops = topic_delete(name)
    runtime.clients.forget_topic(name)
    runtime.metadata.refresh()
    dropping = runtime.orders.drop_groups(drops, epoch=acting_epoch())
    return runtime.run(dropping, timeout_s=ORDERS_LIMIT_S)


def place_missing(runtime: ManagerRuntime) -> int:
    """Order again all replicas that no report named yet; return how many orders were not taken."""
    missing = Replica.objects.filter(
        state=ReplicaState.ORDERED, leaving=False, broker__state="alive"
    )
    if not missing.exists():
        return 0
    orders = selectors.replica_orders(missing, acting_epoch())
    return runtime.run(runtime.orders.place_replicas(orders), timeout_s=ORDERS_LIMIT_S)


def _place(runtime: ManagerRuntime, topic: str) -> list[int]:
    """Load the topic into the copy, order its missing replicas, wait for leaders."""
    runtime.metadata.refresh()
    missing = Replica.objects.filter(partition__topic__name=topic, state=ReplicaState.ORDERED)
    orders = selectors.replica_orders(missing, acting_epoch())

    async def place_and_wait() -> list[int]:
        not_taken = await runtime.orders.place_replicas(orders)
        if not_taken:
            logger.warning("%d replicas of topic %s wait for their broker", not_taken, topic)
        return await runtime.orders.wait_for_leaders(topic, LEADERS_WAIT_S)

    return runtime.run(place_and_wait(), timeout_s=ORDERS_LIMIT_S)


def _push_to_leaders(runtime: ManagerRuntime, topic: str) -> None:
    """Order the topic's retention of its leaders now; the others get it with their reports."""
    leaders = Replica.objects.filter(
        partition__topic__name=topic, broker=F("partition__leader"), broker__state="alive"
    )
    orders = selectors.replica_orders(leaders, acting_epoch())
    runtime.run(runtime.orders.place_replicas(orders), timeout_s=ORDERS_LIMIT_S)
