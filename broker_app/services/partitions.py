"""Local replicas: made and dropped on a manager's word, leadership handed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.partition.commands import SetRetention
from broker_app.services.replicas import ask_for_addresses, replica_discard
from broker_app.services.retention import retention_set
from myqueue.contract.errors import InvalidRequest, NoLeader, StalePlacement
from raft_app.core.types import Membership, RaftMember
from raft_app.storage.protocol import GroupSpec

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from http_base.cluster import DeletedPartition, ReplicaOrder
    from raft_app.engine.replica import Replica


async def partition_create(*, runtime: BrokerRuntime, order: ReplicaOrder) -> Replica:
    """Make the replica that an order describes; one that is there already is left as it is.

    At a topic's creation the list of replicas becomes the first entry of the log, and the first
    replica in it campaigns at once. Any later replica joins: it learns everything from the leader,
    and takes the place of an earlier one here that the group has removed. A manager is asked at
    once where brokers of the list are that this one does not know. What the partition keeps is
    replicated if it leads here.

    Raises:
        InvalidRequest: the list does not name this broker with that replica id.
        StalePlacement: the order is of an earlier manager, the replica was here before, or another
            one is here that nobody confirms as removed.
        QueueError: what it keeps could not be replicated.
    """
    await runtime.obey_epoch(order.epoch)
    spec = _spec_of(order)
    present = runtime.engine.replicas.get(order.group_id)
    if present is None or not _is_same(present, spec):
        await _make(runtime, order, spec)
    replica = runtime.engine.replica(order.group_id)
    keeps = SetRetention(max(0, order.retention_ms), max(0, order.retention_bytes))
    await retention_set(runtime=runtime, replica=replica, wanted=keeps)
    return replica


def _is_same(present: Replica, spec: GroupSpec) -> bool:
    """Tell whether the replica here is the one that is wanted, not an earlier one of the group.

    Raises:
        StalePlacement: it is one of another partition.
    """
    _check_partition(present, spec.topic, spec.partition)
    return present.spec.replica_id == spec.replica_id


def _check_partition(present: Replica, topic: str, partition: int) -> None:
    """Make sure that the replica here is one of a certain partition.

    Raises:
        StalePlacement: it is one of another partition.
    """
    here = present.spec
    if (here.topic, here.partition) != (topic, partition):
        raise StalePlacement(
            f"group {here.group_id} is here as {here}, not as partition {partition} of {topic!r}"
        )


async def _make(runtime: BrokerRuntime, order: ReplicaOrder, spec: GroupSpec) -> None:
    present = runtime.engine.replicas.get(order.group_id)
    if present is not None and order.bootstrap:
        raise StalePlacement(f"group {order.group_id} is here as {present.spec}")
    members = _members_of(runtime, order)
    if present is not None:
        await replica_discard(
            runtime=runtime,
            group_id=order.group_id,
            replica_id=present.spec.replica_id,
            ask=[member.broker_id for member in members],
        )
    if order.bootstrap:
        await runtime.engine.create_replica(
            spec,
            Membership(voters=members, version=order.version),
            campaign=members[0].replica_id == order.replica_id,
        )
    else:
        await runtime.engine.join_replica(spec)
    ask_for_addresses(runtime, members)


def _members_of(runtime: BrokerRuntime, order: ReplicaOrder) -> tuple[RaftMember, ...]:
    """Return the replicas that an order names.

    Raises:
        InvalidRequest: they cannot be, or this one is not among them.
    """
    try:
        members = tuple(RaftMember(place.replica_id, place.broker_id) for place in order.replicas)
        Membership(voters=members, version=order.version)
    except ValueError as error:
        raise InvalidRequest(str(error), field="replicas") from error
    if RaftMember(order.replica_id, runtime.engine.broker_id) not in members:
        raise InvalidRequest(
            f"replicas does not name replica {order.replica_id} on broker"
            f" {runtime.engine.broker_id}, which was asked",
            field="replicas",
        )
    return members


async def partition_delete(*, runtime: BrokerRuntime, deleted: DeletedPartition) -> bool:
    """Drop a replica whose topic is deleted for good, with all it stored.

    Returns:
        False when it was not here.

    Raises:
        StalePlacement: the replica here is one of another partition; it stays.
    """
    group_id = deleted.group_id
    present = runtime.engine.replicas.get(group_id)
    if present is not None:
        _check_partition(present, deleted.topic, deleted.partition)
    await runtime.engine.delete_replica(group_id)
    runtime.long_polls.disturb(group_id)
    runtime.work_waits.disturb(group_id)
    return present is not None


async def leader_transfer(
    *, runtime: BrokerRuntime, group_id: int, broker_id: int, timeout_ms: int
) -> None:
    """Hand the leadership of a partition to the replica on another broker.

    Raises:
        PartitionNotFound: this broker has no replica of it.
        NotLeader | NoLeader: this replica does not lead.
        StalePlacement: there is no voter on that broker.
        CommitTimeout: it did not happen in time; this replica may lead on.
    """
    replica = runtime.engine.replica(group_id)
    if replica.leader_broker_id == broker_id:
        return
    if replica.faulty:
        raise NoLeader(f"the replica here is faulty: {replica.faulty}")
    await runtime.engine.transfer_leadership(group_id, broker_id, timeout_ms=timeout_ms)


def _spec_of(order: ReplicaOrder) -> GroupSpec:
    for field in ("group_id", "replica_id"):
        if getattr(order, field) <= 0:
            raise InvalidRequest(f"{field} must be above 0", field=field)
    if order.partition < 0:
        raise InvalidRequest("partition must not be negative", field="partition")
    return GroupSpec(order.group_id, order.replica_id, order.topic, order.partition)
