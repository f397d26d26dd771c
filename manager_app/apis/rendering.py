"""Topics, partitions and brokers as answers show them, from rows of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manager_app.answers import (
    BrokerSummary,
    PartitionDetail,
    PartitionPlace,
    ReplicaDetail,
    TopicSettings,
    TopicSummary,
    unix_ms,
)
from manager_app.placement.partition_facts import shown_state
from manager_app.placement.repair_rules import partition_condition, replica_condition
from myqueue.contract.answers import BrokerAddress

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from http_base.cluster import ReplicaReport
    from manager_app.metadata import MetadataCopy, StoredSettings
    from manager_app.models import Broker, Topic
    from manager_app.placement.partition_facts import ListedPartition, ListedReplica
    from manager_app.placement.repair_rules import ReplicaCondition


def place(metadata: MetadataCopy, broker_id: int) -> BrokerAddress:
    """Return the address of a broker; null when it is not known."""
    return BrokerAddress(broker_id=broker_id, address=metadata.address_of(broker_id))


def partitions_in_memory(metadata: MetadataCopy, topic: str) -> list[PartitionPlace]:
    """Return a topic's partitions with leaders and replicas, from the metadata in memory."""
    rendered = []
    for partition in metadata.topic(topic).partitions:
        known = metadata.leader_of(partition.group_id)
        leader = place(metadata, known.broker_id)
        rendered.append(
            PartitionPlace(
                partition=partition.index,
                group_id=partition.group_id,
                leader=leader if leader.address else None,
                term=known.term,
                replicas=[place(metadata, broker_id) for broker_id in partition.replicas],
            )
        )
    return rendered


def topic_settings(stored: Topic | StoredSettings) -> TopicSettings:
    """Return the settings of a topic, from its row or from the metadata in memory."""
    return TopicSettings(
        replication_factor=stored.replication_factor,
        retention_ms=stored.retention_ms,
        retention_bytes=stored.retention_bytes,
        created_at=unix_ms(stored.created_at),
    )


def topic_summary(name: str, number_of_partitions: int, settings: TopicSettings) -> TopicSummary:
    """Return a topic in a list."""
    return TopicSummary(
        topic=name,
        number_of_partitions=number_of_partitions,
        replication_factor=settings.replication_factor,
        retention_ms=settings.retention_ms,
        retention_bytes=settings.retention_bytes,
        created_at=settings.created_at,
    )


def partition_detail(
    partition: ListedPartition,
    reports: Mapping[tuple[int, int], ReplicaReport],
    *,
    suspects: Collection[int] = (),
) -> PartitionDetail:
    """Return everything about a partition.

    Args:
        partition: as `selectors.topic_partitions` returns it.
        reports: what brokers just reported, by (group id, broker id); for a broker without one the
            last stored report counts.
        suspects: ids of brokers that have been silent for a short time.
    """
    facts = partition.facts(suspects)
    told = [reports.get((partition.group_id, one.broker_id)) for one in facts.replicas]
    replicas = [
        _replica(row, replica_condition(one), report, suspects)
        for row, one, report in zip(partition.replicas, facts.replicas, told, strict=True)
    ]
    leader_id, term = leadership(partition.leader_id or 0, partition.term, told)
    # Offsets of the leader, else of the replica with the highest high watermark.
    best = max(
        replicas,
        key=lambda one: (one.broker_id == leader_id, one.high_watermark),
        default=None,
    )
    addresses = {one.broker_id: one.address for one in replicas}
    return PartitionDetail(
        partition=partition.index,
        group_id=partition.group_id,
        condition=partition_condition(facts),
        placement_version=partition.placement_version,
        leader=(
            BrokerAddress(broker_id=leader_id, address=addresses[leader_id])
            if leader_id in addresses
            else None
        ),
        term=term,
        replicas=replicas,
        log_start_offset=best.log_start_offset if best else 0,
        high_watermark=best.high_watermark if best else 0,
    )


def _replica(
    replica: ListedReplica,
    condition: ReplicaCondition,
    report: ReplicaReport | None,
    suspects: Collection[int],
) -> ReplicaDetail:
    said, broker = report or replica, replica.broker
    return ReplicaDetail(
        replica_id=replica.replica_id,
        broker_id=replica.broker_id,
        address=broker.address,
        broker_state=shown_state(broker.broker_id, broker.state, suspects=suspects),
        role=said.role,
        state=condition,
        fault=replica.fault or replica.suspicion,
        installing=report is not None and report.installing,
        log_start_offset=said.log_start_offset,
        high_watermark=said.high_watermark,
        last_index=said.last_index,
        live=report is not None,
    )


def leadership(
    leader_id: int, term: int, reports: Iterable[ReplicaReport | None]
) -> tuple[int, int]:
    """Return the broker that leads (0 for none) and its term, the stored or a reported one.

    A report of a later term counts; one of the same term only if it is the leader's own.
    """
    said = [
        (one.term, one.leader_broker_id)
        for one in reports
        if one is not None
        and one.leader_broker_id
        and (one.term > term or (one.term == term and one.role == "leader"))
    ]
    term, leader_id = max([(term, leader_id), *said])
    return leader_id, term


def broker_summary(
    broker: Broker, *, suspects: Collection[int] = (), version: str | None = None
) -> BrokerSummary:
    """Return everything about a broker.

    Args:
        broker: with `replica_count` and `leader_count`.
        suspects: ids of brokers that have been silent for a short time.
        version: that it runs; None while that is not known.
    """
    return BrokerSummary(
        broker_id=broker.broker_id,
        address=broker.address,
        raft_address=broker.raft_address,
        state=shown_state(broker.broker_id, broker.state, suspects=suspects),
        draining=broker.draining,
        last_heartbeat=unix_ms(broker.last_heartbeat),
        replicas=getattr(broker, "replica_count", 0),
        leaders=getattr(broker, "leader_count", 0),
        disk_free_bytes=broker.disk_free_bytes,
        disk_slow=broker.disk_slow,
        rack=broker.rack,
        version=version,
    )
