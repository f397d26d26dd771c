"""Answers from the metadata in memory, for reads while the database does not answer.

What only the database knows is null. The header `X-Metadata-Age-Ms` says how old the metadata is.
"""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING

from http_base.paging import Page, page_of
from manager_app.answers import BrokerSummary, PartitionDetail, ReplicaDetail
from manager_app.apis.rendering import leadership, place
from manager_app.models import BrokerState
from manager_app.placement.partition_facts import shown_state
from myqueue.contract import retry_after
from myqueue.contract.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from http_base.cluster import ReplicaReport
    from manager_app.inputs import BrokersQuery, TopicsQuery
    from manager_app.metadata import (
        BrokerMetadata,
        MetadataCopy,
        PartitionMetadata,
        TopicMetadata,
    )
    from manager_app.runtime import ManagerRuntime


def topics(metadata: MetadataCopy, asked: TopicsQuery) -> Page[TopicMetadata]:
    """Return topics, in the order of their ids."""
    found = [
        topic
        for topic in metadata.current.topics.values()
        if topic.topic_id > asked.after_id and topic.name.startswith(asked.prefix)
    ]
    return page_of(found, asked.limit, attrgetter("topic_id"))


def broker_addresses(
    metadata: MetadataCopy, asked: BrokersQuery, suspects: Collection[int]
) -> Page[str]:
    """Return addresses of brokers, in the order of their ids, without replaced brokers.

    Raises:
        DatabaseUnavailable: as `broker_summaries`.
    """
    found = [
        broker
        for broker in _brokers(metadata, asked, suspects)
        if broker.state != BrokerState.REPLACED
    ]
    return page_of(found, asked.limit, attrgetter("broker_id")).map(attrgetter("address"))


def _brokers(
    metadata: MetadataCopy, asked: BrokersQuery, suspects: Collection[int]
) -> list[BrokerMetadata]:
    if asked.rack is not None:
        raise DatabaseUnavailable(
            "the racks of brokers are not known here, and the database does not answer",
            retry_after_ms=retry_after.DATABASE_MS,
        )
    return [
        broker
        for broker in metadata.current.brokers.values()
        if broker.broker_id > asked.after_id
        and asked.state in (None, shown_state(broker.broker_id, broker.state, suspects=suspects))
    ]


def broker_summaries(manager: ManagerRuntime, asked: BrokersQuery) -> Page[BrokerSummary]:
    """Return what is known of brokers, in the order of their ids.

    Raises:
        DatabaseUnavailable: those of one rack are asked for, which only the database knows.
    """
    metadata, suspects = manager.metadata, manager.suspects()
    current = metadata.current
    held: Counter[int] = Counter()
    led: Counter[int] = Counter()
    for topic in current.topics.values():
        for partition in topic.partitions:
            held.update(partition.replicas)
            led[metadata.leader_of(partition.group_id).broker_id] += 1
    page = page_of(_brokers(metadata, asked, suspects), asked.limit, attrgetter("broker_id"))
    return page.map(
        lambda broker: BrokerSummary(
            broker_id=broker.broker_id,
            address=broker.address,
            raft_address=broker.raft_address,
            state=shown_state(broker.broker_id, broker.state, suspects=suspects),
            draining=broker.draining,
            last_heartbeat=None,
            replicas=held[broker.broker_id],
            leaders=led[broker.broker_id],
            disk_free_bytes=None,
            disk_slow=None,
            rack=None,
            version=manager.version_of(broker.broker_id),
        )
    )


def partition_detail(
    partition: PartitionMetadata,
    reports: Mapping[tuple[int, int], ReplicaReport],
    metadata: MetadataCopy,
) -> PartitionDetail:
    """Return a partition from the metadata and from what its brokers just reported.

    Args:
        partition: of the metadata.
        reports: what brokers just reported, by (group id, broker id).
        metadata: in memory.
    """
    told = {
        broker_id: reports.get((partition.group_id, broker_id)) for broker_id in partition.replicas
    }
    known = metadata.leader_of(partition.group_id)
    leader_id, term = leadership(known.broker_id, known.term, told.values())
    best = max(
        ((broker_id, report) for broker_id, report in told.items() if report is not None),
        key=lambda one: (one[0] == leader_id, one[1].high_watermark),
        default=(0, None),
    )[1]
    leader = place(metadata, leader_id)
    return PartitionDetail(
        partition=partition.index,
        group_id=partition.group_id,
        condition=None,
        placement_version=None,
        leader=leader if leader.address else None,
        term=term,
        replicas=[_replica(broker_id, report, metadata) for broker_id, report in told.items()],
        log_start_offset=best.log_start_offset if best else None,
        high_watermark=best.high_watermark if best else None,
    )


def _replica(broker_id: int, report: ReplicaReport | None, metadata: MetadataCopy) -> ReplicaDetail:
    broker = metadata.current.brokers.get(broker_id)
    return ReplicaDetail(
        replica_id=report.replica_id if report else None,
        broker_id=broker_id,
        address=broker.address if broker else None,
        broker_state=broker.state if broker else None,
        role=report.role if report else None,
        state=None,
        fault=report.faulty if report else None,
        installing=report is not None and report.installing,
        log_start_offset=report.log_start_offset if report else None,
        high_watermark=report.high_watermark if report else None,
        last_index=report.last_index if report else None,
        live=report is not None,
    )
