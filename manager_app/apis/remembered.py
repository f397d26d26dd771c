"""Answers from the copy in memory, for reads while the database does not answer.

They have the fields of the ordinary answers; what only the database knows is null. The header
`X-Metadata-Age-Ms` says how old the copy is.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from manager_app.apis.rendering import INTERNAL, leadership, milliseconds, place
from manager_app.models import BrokerState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manager_app.metadata import MetadataCopy, PartitionMetadata, TopicMetadata


def broker_addresses(metadata: MetadataCopy) -> list[str]:
    """Return the addresses of all brokers by id, without those that were replaced there."""
    return [
        broker.address
        for broker in metadata.current.brokers.values()
        if broker.state != BrokerState.REPLACED
    ]


def broker_details(metadata: MetadataCopy) -> list[dict[str, Any]]:
    """Return what the copy has of each broker, by id."""
    current = metadata.current
    held: Counter[int] = Counter()
    led: Counter[int] = Counter()
    for topic in current.topics.values():
        for partition in topic.partitions:
            held.update(partition.replicas)
            led[metadata.leader_of(partition.group_id).broker_id] += 1
    return [
        {
            "broker_id": broker.broker_id,
            "address": broker.address,
            "raft_address": broker.raft_address,
            "state": broker.state,
            "draining": broker.draining,
            "last_heartbeat": None,
            "replicas": held[broker.broker_id],
            "leaders": led[broker.broker_id],
            "disk_free_bytes": None,
            "disk_slow": None,
        }
        for broker in current.brokers.values()
    ]


def topic_summary(topic: TopicMetadata) -> dict[str, Any]:
    """Return a topic in a list."""
    return {
        "topic": topic.name,
        "number_of_partitions": len(topic.partitions),
        **topic_settings(topic),
    }


def topic_settings(topic: TopicMetadata) -> dict[str, Any]:
    """Return the settings of a topic."""
    settings = topic.settings
    return {
        "replication_factor": settings and settings.replication_factor,
        "retention_ms": settings and settings.retention_ms,
        "retention_bytes": settings and settings.retention_bytes,
        "created_at": settings and milliseconds(settings.created_at),
    }


def partition_detail(
    partition: PartitionMetadata,
    reports: Mapping[tuple[int, int], dict[str, Any]],
    metadata: MetadataCopy,
) -> dict[str, Any]:
    """Return a partition as the copy has it and its brokers just told.

    Args:
        partition: which.
        reports: what brokers just said, by (group id, broker id).
        metadata: the copy.
    """
    replicas = [
        _replica(broker_id, reports.get((partition.group_id, broker_id)), metadata)
        for broker_id in partition.replicas
    ]
    known = metadata.leader_of(partition.group_id)
    leader_id, term = leadership(known.broker_id, known.term, replicas)
    told = [said for said in replicas if said["live"]]
    best = max(
        told,
        key=lambda said: (said["broker_id"] == leader_id, said["high_watermark"]),
        default={"log_start_offset": None, "high_watermark": None},
    )
    address = metadata.address_of(leader_id)
    return {
        "partition": partition.index,
        "group_id": partition.group_id,
        "condition": None,
        "placement_version": None,
        "leader": place(leader_id, address) if address else None,
        "term": term,
        "replicas": [
            {name: value for name, value in said.items() if name not in INTERNAL}
            for said in replicas
        ],
        "log_start_offset": best["log_start_offset"],
        "high_watermark": best["high_watermark"],
    }


def _replica(
    broker_id: int, report: dict[str, Any] | None, metadata: MetadataCopy
) -> dict[str, Any]:
    said = report or {}
    broker = metadata.current.brokers.get(broker_id)
    return {
        "replica_id": said.get("replica_id"),
        **place(broker_id, broker.address if broker else None),
        "broker_state": broker.state if broker else None,
        "role": said.get("role"),
        "state": None,
        "fault": said.get("faulty"),
        "installing": said.get("installing", False),
        "log_start_offset": said.get("log_start_offset"),
        "high_watermark": said.get("high_watermark"),
        "last_index": said.get("last_index"),
        "live": report is not None,
        "term": said.get("term", 0),
        "leader_broker_id": said.get("leader_broker_id", 0),
    }
