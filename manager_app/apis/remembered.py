"""Answers from the metadata in memory, for reads while the database does not answer.

What only the database knows is null. The header `X-Metadata-Age-Ms` says how old the metadata is.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from manager_app.answers import BrokerSummary, PartitionDetail, ReplicaDetail
from manager_app.apis.rendering import leadership, place
from manager_app.models import BrokerState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from http_base.cluster import ReplicaReport
    from manager_app.metadata import MetadataCopy, PartitionMetadata


def broker_addresses(metadata: MetadataCopy) -> list[str]:
    """Return the addresses of all brokers, in the order of their ids, without replaced brokers."""
    return [
        broker.address
        for broker in metadata.current.brokers.values()
        if broker.state != BrokerState.REPLACED
    ]


def broker_summaries(metadata: MetadataCopy) -> list[BrokerSummary]:
    """Return what is known of each broker, in the order of their ids."""
    current = metadata.current
    held: Counter[int] = Counter()
    led: Counter[int] = Counter()
    for topic in current.topics.values():
        for partition in topic.partitions:
            held.update(partition.replicas)
            led[metadata.leader_of(partition.group_id).broker_id] += 1
    return [
        BrokerSummary(
            broker_id=broker.broker_id,
            address=broker.address,
            raft_address=broker.raft_address,
            state=broker.state,
            draining=broker.draining,
            last_heartbeat=None,
            replicas=held[broker.broker_id],
            leaders=led[broker.broker_id],
            disk_free_bytes=None,
            disk_slow=None,
            rack=None,
        )
        for broker in current.brokers.values()
    ]


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
