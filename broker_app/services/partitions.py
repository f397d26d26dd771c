"""Local replicas: made and dropped on a manager's word, leadership handed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myqueue.errors import InvalidRequest, NoLeader, StalePlacement
from raft_app.core.types import Member, Membership
from raft_app.storage import GroupSpec

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from http_base.cluster import ReplicaOrder
    from raft_app.group import Group


async def partition_create(*, runtime: BrokerRuntime, order: ReplicaOrder) -> Group:
    """Make the replica that an order describes; one that is there already is left as it is.

    The list of replicas becomes the first entry of the log, and the first replica in it campaigns
    at once. A manager is asked at once where brokers of the list are that this one does not know.

    Raises:
        InvalidRequest: the list does not name this broker with that replica id, or the order is not
            one of a topic's creation.
        StalePlacement: the order is of an earlier manager, or the replica was here before.
    """
    runtime.require_epoch(order.epoch)
    spec = _spec_of(order)
    present = runtime.engine.groups.get(order.group_id)
    if present is not None:
        if present.spec != spec:
            raise StalePlacement(f"group {order.group_id} is here as {present.spec}")
        return present
    try:
        members = tuple(Member(place.replica_id, place.broker_id) for place in order.replicas)
        membership = Membership(voters=members, version=order.version)
    except ValueError as error:
        raise InvalidRequest(str(error), field="replicas") from error
    if Member(order.replica_id, runtime.engine.broker_id) not in members:
        raise InvalidRequest(
            f"replicas does not name replica {order.replica_id} on broker"
            f" {runtime.engine.broker_id}, which was asked",
            field="replicas",
        )
    if not order.bootstrap:
        raise InvalidRequest(
            "only the first replicas of a topic can be made: bootstrap must be true",
            field="bootstrap",
        )
    await runtime.engine.create_group(
        spec, membership, campaign=members[0].replica_id == order.replica_id
    )
    known = {runtime.engine.broker_id, *runtime.engine.peers}
    if any(member.broker_id not in known for member in members):
        runtime.link.heartbeat()
    return runtime.engine.group(order.group_id)


async def partition_delete(*, runtime: BrokerRuntime, group_id: int) -> bool:
    """Drop a replica whose topic is deleted for good, with all it stored.

    Returns:
        False when it was not here.
    """
    present = group_id in runtime.engine.groups
    await runtime.engine.delete_group(group_id)
    runtime.long_polls.disturb(group_id)
    return present


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
    group = runtime.engine.group(group_id)
    if group.leader_broker_id == broker_id:
        return
    if group.faulty:
        raise NoLeader(f"the replica here is faulty: {group.faulty}")
    await runtime.engine.transfer_leadership(group_id, broker_id, timeout_ms=timeout_ms)


def _spec_of(order: ReplicaOrder) -> GroupSpec:
    for field in ("group_id", "replica_id"):
        if getattr(order, field) <= 0:
            raise InvalidRequest(f"{field} must be above 0", field=field)
    if order.partition < 0:
        raise InvalidRequest("partition must not be negative", field="partition")
    return GroupSpec(order.group_id, order.replica_id, order.topic, order.partition)
