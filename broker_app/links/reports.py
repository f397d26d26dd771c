"""A broker's report of itself and its replicas to a manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker_app.runtime import state_of
from http_base.cluster import BrokerReport, ReplicaPlace, ReplicaReport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker_app.options import BrokerOptions
    from raft_app.engine.replica import Replica
    from raft_app.storage.protocol import BrokerIdentity


def make_report(
    replicas: Iterable[Replica],
    identity: BrokerIdentity,
    options: BrokerOptions,
    *,
    epoch: int,
    stopping: bool,
    full: bool,
    disk_free_bytes: int = 0,
    disk_slow: bool = False,
) -> BrokerReport:
    """Return a broker's report.

    Args:
        replicas: the replicas that it names.
        identity: who the broker is; without a broker id before it joined.
        options: where it lies.
        epoch: highest lease epoch seen.
        stopping: True when it is about to end.
        full: True when the broker has no other replicas than these, and those of its reports
            before.
        disk_free_bytes: as last seen.
        disk_slow: True when the broker should get no leadership.
    """
    return BrokerReport(
        incarnation=identity.incarnation,
        broker_id=identity.broker_id,
        cluster_id=identity.cluster_id,
        address=options.address,
        raft_address=options.raft_address,
        epoch=epoch,
        stopping=stopping,
        full=full,
        replicas=[report_replica(replica) for replica in replicas],
        disk_free_bytes=disk_free_bytes,
        disk_slow=disk_slow,
        rack=options.rack,
    )


def report_replica(replica: Replica) -> ReplicaReport:
    """Return the report of one replica."""
    return ReplicaReport(**reported(replica))


def reported(replica: Replica) -> dict[str, Any]:
    """Return the fields of the report of one replica."""
    membership = replica.node.membership
    state, kept, found = state_of(replica), replica.kept, replica.found
    return {
        "group_id": replica.group_id,
        "replica_id": replica.spec.replica_id,
        "topic": replica.spec.topic,
        "partition": replica.spec.partition,
        "role": str(replica.role),
        "term": replica.node.term,
        "leader_broker_id": replica.leader_broker_id,
        "serves": replica.serves,
        "log_start_offset": state.log_start_offset,
        "high_watermark": state.next_offset,
        "commit_index": replica.node.commit_index,
        "applied_index": replica.applied.index,
        "last_index": found.last_index,
        "last_term": found.last_term,
        "kept_term": kept.term,
        "kept_index": kept.index,
        "kept_entry_term": kept.entry_term,
        "placement_version": membership.version,
        "replicas": [
            ReplicaPlace(member.replica_id, member.broker_id) for member in membership.voters
        ],
        "faulty": replica.faulty,
        "learners": [
            ReplicaPlace(member.replica_id, member.broker_id) for member in membership.learners
        ],
        "installing": replica.node.is_installing,
        "removed": replica.applied.is_removed,
        "suspects": sorted(replica.suspects),
        "size_bytes": state.size_bytes,
    }
