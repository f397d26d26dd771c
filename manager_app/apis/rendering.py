"""How metadata looks in answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manager_app.placement.partition_facts import partition_facts, replica_facts, shown_state
from manager_app.placement.repair_rules import partition_condition, replica_condition

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from manager_app.metadata import MetadataCopy
    from manager_app.models import Broker, Partition, Replica, Topic


def milliseconds(time: datetime | None) -> int | None:
    """Return a time as milliseconds since 1970."""
    return None if time is None else int(time.timestamp() * 1000)


def place(broker_id: int, address: str | None) -> dict[str, Any]:
    """Return where a broker is."""
    return {"broker_id": broker_id, "address": address}


def partitions_in_memory(metadata: MetadataCopy, topic: str) -> list[dict[str, Any]]:
    """Return a topic's partitions with their leaders, as far as they are known now."""
    rendered = []
    for partition in metadata.topic(topic).partitions:
        leadership = metadata.leader_of(partition.group_id)
        address = metadata.address_of(leadership.broker_id)
        rendered.append(
            {
                "partition": partition.index,
                "group_id": partition.group_id,
                "leader": place(leadership.broker_id, address) if address else None,
                "term": leadership.term,
                "replicas": [
                    place(broker_id, metadata.address_of(broker_id))
                    for broker_id in partition.replicas
                ],
            }
        )
    return rendered


def topic_settings(topic: Topic) -> dict[str, Any]:
    """Return the settings of a topic."""
    return {
        "replication_factor": topic.replication_factor,
        "retention_ms": topic.retention_ms,
        "retention_bytes": topic.retention_bytes,
        "created_at": milliseconds(topic.created_at),
    }


def partition_detail(
    partition: Partition,
    reports: Mapping[tuple[int, int], dict[str, Any]],
    *,
    suspects: Collection[int] = (),
) -> dict[str, Any]:
    """Return everything about a partition.

    Args:
        partition: with its topic, leader, replicas and their brokers loaded.
        reports: what brokers just said, by (group id, broker id); where one said nothing its last
            report stands.
        suspects: ids of silent brokers.
    """
    replicas = [
        _replica(replica, reports.get((partition.group_id, replica.broker_id)), suspects)
        for replica in partition.replicas.all()
    ]
    leader_id, term = leadership(partition.leader_id or 0, partition.term, replicas)
    # Offsets of the leader; without one those of the replica that got furthest.
    best = max(
        replicas,
        key=lambda said: (said["broker_id"] == leader_id, said["high_watermark"]),
        default={"log_start_offset": 0, "high_watermark": 0},
    )
    addresses = {replica["broker_id"]: replica["address"] for replica in replicas}
    return {
        "partition": partition.index,
        "group_id": partition.group_id,
        "condition": partition_condition(partition_facts(partition, suspects=suspects)),
        "placement_version": partition.placement_version,
        "leader": place(leader_id, addresses[leader_id]) if leader_id in addresses else None,
        "term": term,
        "replicas": [
            {name: value for name, value in said.items() if name not in INTERNAL}
            for said in replicas
        ],
        "log_start_offset": best["log_start_offset"],
        "high_watermark": best["high_watermark"],
    }


INTERNAL = frozenset({"term", "leader_broker_id"})
"""Fields of a replica that are no part of the answer."""


def _replica(
    replica: Replica, report: dict[str, Any] | None, suspects: Collection[int]
) -> dict[str, Any]:
    said, broker = report or {}, replica.broker
    return {
        "replica_id": replica.replica_id,
        **place(replica.broker_id, broker.address),
        "broker_state": shown_state(broker.broker_id, broker.state, suspects=suspects),
        "role": said.get("role", replica.role),
        "state": replica_condition(replica_facts(replica)),
        "fault": replica.fault or replica.suspicion,
        "installing": said.get("installing", False),
        "log_start_offset": said.get("log_start_offset", replica.log_start_offset),
        "high_watermark": said.get("high_watermark", replica.high_watermark),
        "last_index": said.get("last_index", replica.last_index),
        "live": report is not None,
        "term": said.get("term", 0),
        "leader_broker_id": said.get("leader_broker_id", 0),
    }


def leadership(leader_id: int, term: int, replicas: list[dict[str, Any]]) -> tuple[int, int]:
    """Return the leader (0: none) and its term, as they are known or by a live report above it.

    In the term that is known the leader's own word counts, and not that of others.
    """
    said = [
        (replica["term"], replica["leader_broker_id"])
        for replica in replicas
        if replica["leader_broker_id"]
        and (replica["term"] > term or (replica["term"] == term and replica["role"] == "leader"))
    ]
    term, leader_id = max([(term, leader_id), *said])
    return leader_id, term


def broker_detail(broker: Broker, *, suspects: Collection[int] = ()) -> dict[str, Any]:
    """Return everything about a broker.

    Args:
        broker: with `replica_count` and `leader_count`.
        suspects: ids of silent brokers.
    """
    return {
        "broker_id": broker.broker_id,
        "address": broker.address,
        "raft_address": broker.raft_address,
        "state": shown_state(broker.broker_id, broker.state, suspects=suspects),
        "draining": broker.draining,
        "last_heartbeat": milliseconds(broker.last_heartbeat),
        "replicas": getattr(broker, "replica_count", 0),
        "leaders": getattr(broker, "leader_count", 0),
        "disk_free_bytes": broker.disk_free_bytes,
        "disk_slow": broker.disk_slow,
    }
