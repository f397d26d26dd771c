"""Creating, changing and deleting topics, in the database alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from http_base.cluster import DeletedPartition
from manager_app import selectors
from manager_app.models import (
    ClientState,
    Consumer,
    DeletedGroup,
    Partition,
    Producer,
    Replica,
    Topic,
)
from manager_app.placement import eligible_brokers
from manager_app.placement.repair_rules import MemberRole
from manager_app.placement.rules import place_partitions
from manager_app.row_updates import KEYS_PER_STATEMENT
from manager_app.services.cluster import metadata_bump, topics_mark
from myqueue.contract import retry_after
from myqueue.contract.errors import (
    InvalidRequest,
    NotEnoughBrokers,
    Overloaded,
    TopicAlreadyExists,
)
from myqueue.contract.inputs import (
    PartitionCount,
    ReplicationFactor,
    Retention,
    check_topic_name,
    checked,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def topic_create(
    *,
    name: str,
    number_of_partitions: int,
    replication_factor: int,
    retention_ms: int | None = None,
    retention_bytes: int | None = None,
) -> Topic:
    """Store a topic with its partitions and replicas.

    Args:
        name: of the topic.
        number_of_partitions: 1 to 1,024.
        replication_factor: replicas of each partition, on as many live brokers.
        retention_ms: age in milliseconds after which messages may be deleted; None: never.
        retention_bytes: size of a partition above which that happens; None: no limit.

    Raises:
        InvalidRequest: a value is out of range; the field is named.
        TopicAlreadyExists: the name is taken.
        NotEnoughBrokers: fewer brokers are alive and have room than the replication factor.
        Overloaded: the cluster has no group ids left.
    """
    check_topic_name(name)
    checked("number_of_partitions", number_of_partitions, PartitionCount)
    checked("replication_factor", replication_factor, ReplicationFactor)
    _check_retention(retention_ms=retention_ms, retention_bytes=retention_bytes)
    try:
        with transaction.atomic():
            metadata_bump(of_topics=True)
            if Topic.objects.filter(name=name).exists():
                raise TopicAlreadyExists(f"Topic '{name}' already exists", topic=name)
            placed = _place(number_of_partitions, replication_factor)
            topic = Topic.objects.create(
                name=name,
                partitions_at_creation=number_of_partitions,
                replication_factor=replication_factor,
                retention_ms=retention_ms,
                retention_bytes=retention_bytes,
            )
            _insert_partitions(topic, 0, placed)
    except IntegrityError as error:
        raise _explain(error, name) from error
    return topic


def topic_update(
    name: str, *, number_of_partitions: int | None = None, retention: dict[str, int | None]
) -> Topic:
    """Store other settings of a topic, and more partitions.

    Args:
        name: of the topic.
        number_of_partitions: not below the present number; None leaves it.
        retention: those of `retention_ms` and `retention_bytes` that change.

    Raises:
        TopicDoesNotExist: there is none of this name.
        InvalidRequest: a value is out of range, or there would be fewer partitions.
        NotEnoughBrokers: fewer brokers are alive and have room than the replication factor.
        Overloaded: the cluster has no group ids left.
    """
    _check_retention(**retention)
    try:
        with transaction.atomic():
            metadata_bump(of_topics=not retention)
            topic = selectors.topic_get(name)
            for field, value in retention.items():
                setattr(topic, field, value)
            topic.save(update_fields=list(retention))
            if number_of_partitions is not None:
                _grow(topic, number_of_partitions)
    except IntegrityError as error:
        raise _explain(error, name) from error
    return topic


def topic_delete(name: str) -> dict[int, list[DeletedPartition]]:
    """Delete a topic for good; its groups are remembered for brokers that are away now.

    Its clients are revoked: their tokens name the topic, and another of this name may come.

    Returns:
        Partitions to drop, by broker id.

    Raises:
        TopicDoesNotExist: there is none of this name.
    """
    with transaction.atomic():
        metadata_bump()
        topic = selectors.topic_get(name)
        drops: dict[int, list[DeletedPartition]] = {}
        rows = Replica.objects.filter(partition__topic=topic).order_by("replica_id")
        for broker_id, group_id, index in rows.values_list(
            "broker_id", "partition_id", "partition__index"
        ):
            deleted = DeletedPartition(group_id=group_id, topic=name, partition=index)
            drops.setdefault(broker_id, []).append(deleted)
        DeletedGroup.objects.bulk_create(
            (
                DeletedGroup(group_id=group_id, topic_name=name, index=index)
                for group_id, index in topic.partitions.values_list("group_id", "index")
            ),
            batch_size=KEYS_PER_STATEMENT,
        )
        revoked = {"state": ClientState.REVOKED, "revoked_at": timezone.now()}
        Producer.objects.filter(topic=topic).update(**revoked)
        Consumer.objects.filter(topic=topic).update(**revoked)
        topic.delete()
    return drops


def _grow(topic: Topic, number_of_partitions: int) -> None:
    checked("number_of_partitions", number_of_partitions, PartitionCount)
    highest = topic.partitions.aggregate(highest=Max("index"))["highest"]
    present = 0 if highest is None else highest + 1
    if number_of_partitions < present:
        raise InvalidRequest(
            f"number_of_partitions can only grow: topic {topic.name!r} has {present}, and"
            f" {number_of_partitions} is less",
            field="number_of_partitions",
        )
    if number_of_partitions > present:
        placed = _place(number_of_partitions - present, topic.replication_factor)
        _insert_partitions(topic, present, placed)


def _place(count: int, replication_factor: int) -> list[tuple[int, ...]]:
    loads = selectors.broker_loads()
    if len(loads) < replication_factor:
        full = eligible_brokers.brokers_that_stay().count() - len(loads)
        others = f", and {full} more whose disks are full" if full else ""
        raise NotEnoughBrokers(
            f"replication_factor {replication_factor} needs as many live brokers, there are"
            f" {len(loads)}{others}: start more, or ask for a smaller replication_factor",
            retry_after_ms=retry_after.LIMIT_MS,
        )
    return place_partitions(count, replication_factor, loads)


def _insert_partitions(topic: Topic, first: int, placed: Sequence[tuple[int, ...]]) -> None:
    topics_mark([topic.pk])
    partitions = Partition.objects.bulk_create(
        [Partition(topic=topic, index=first + number) for number in range(len(placed))],
        batch_size=KEYS_PER_STATEMENT,
    )
    Replica.objects.bulk_create(
        [
            Replica(
                partition=partition,
                broker_id=broker_id,
                position=position,
                bootstrap=True,
                membership=MemberRole.VOTER,
            )
            for partition, brokers in zip(partitions, placed, strict=True)
            for position, broker_id in enumerate(brokers)
        ],
        batch_size=KEYS_PER_STATEMENT,
    )


def _check_retention(**retention: int | None) -> None:
    for field, value in retention.items():
        if value is not None:
            checked(field, value, Retention)


def _explain(error: IntegrityError, name: str) -> Exception:
    """Return the declared error for a violated constraint; other violations are bugs."""
    text = str(error)
    if "partition_group_id_in_range" in text:
        return Overloaded("the cluster has no group ids left for more partitions")
    if "manager_app_topic" in text and "name" in text:
        return TopicAlreadyExists(f"Topic '{name}' already exists", topic=name)
    return error
