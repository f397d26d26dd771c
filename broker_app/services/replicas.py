"""The replicas of a partition: other ones for it, and the end of those that it has removed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from http_base.cluster import MembersAnswer, ReplicaPlace
from myqueue.contract.errors import InvalidRequest, QueueError, StalePlacement
from raft_app.core.types import RaftMember

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker_app.runtime import BrokerRuntime
    from http_base.cluster import ReplicaTarget
    from raft_app.engine.membership import ReplicaChange
    from raft_app.engine.replica import Replica

logger = logging.getLogger(__name__)

CONFIRM_TIMEOUT_MS = 2_000
"""For a leader to confirm that it leads, when it is asked for its members."""


async def replicas_change(
    *, runtime: BrokerRuntime, group_id: int, target: ReplicaTarget
) -> ReplicaChange:
    """Begin to lead a partition to other replicas, or go on with that; the steps follow.

    Raises:
        PartitionNotFound: this broker has no replica of it.
        NotLeader | NoLeader: this replica does not lead.
        InvalidRequest: the target cannot be.
        StalePlacement: it is of an earlier manager, or a later placement is in force.
    """
    await runtime.obey_epoch(target.epoch)
    try:
        members = tuple(RaftMember(place.replica_id, place.broker_id) for place in target.replicas)
    except ValueError as error:
        raise InvalidRequest(str(error), field="replicas") from error
    change = runtime.engine.change_replicas(group_id, members, target.version)
    ask_for_addresses(runtime, members)
    return change


async def members_get(*, runtime: BrokerRuntime, group_id: int) -> MembersAnswer:
    """Return who belongs to a partition led here, confirmed by a quorum.

    Raises:
        PartitionNotFound: this broker has no replica of it.
        NotLeader | NoLeader | CommitTimeout: this replica cannot confirm it.
    """
    replica = runtime.engine.replica(group_id)
    await runtime.engine.read_barrier(group_id, timeout_ms=CONFIRM_TIMEOUT_MS)
    applied, in_force = replica.applied.membership, replica.node.membership
    # A change that is not committed yet may come or be taken back: both are members.
    return MembersAnswer(
        group_id=group_id,
        version=applied.version,
        replicas=_places((*applied.voters, *in_force.voters)),
        learners=_places((*applied.learners, *in_force.learners)),
    )


async def replica_discard(
    *, runtime: BrokerRuntime, group_id: int, replica_id: int, ask: Iterable[int]
) -> bool:
    """Drop a replica, with all it stored, that its group has removed.

    That it is removed it has applied itself, or a leader confirms it now.

    Args:
        runtime: of this broker.
        group_id: whose.
        replica_id: the replica here; another one is left as it is.
        ask: brokers that may lead the group, beside those that this replica knows.

    Returns:
        False when it was not here.

    Raises:
        StalePlacement: nobody confirms it.
    """
    replica = runtime.engine.replicas.get(group_id)
    if replica is None or replica.spec.replica_id != replica_id:
        return False
    if not replica.applied.is_removed and not await _is_confirmed(runtime, replica, ask):
        raise StalePlacement(
            f"replica {replica_id} of group {group_id} stays: no leader confirms that it is removed"
        )
    if runtime.engine.replicas.get(group_id) is not replica:
        return False
    logger.info("%s: replica %d was removed and goes", replica.label, replica_id)
    await runtime.engine.delete_replica(group_id)
    runtime.long_polls.disturb(group_id)
    runtime.work_waits.disturb(group_id)
    return True


async def _is_confirmed(runtime: BrokerRuntime, replica: Replica, ask: Iterable[int]) -> bool:
    known = [member.broker_id for member in replica.node.membership.members]
    own = runtime.engine.broker_id
    for broker_id in dict.fromkeys((*ask, replica.leader_broker_id, *known)):
        if broker_id in (0, own):
            continue
        try:
            members = await runtime.peers.members(broker_id, replica.spec.group_id)
        except QueueError as error:
            logger.debug("broker %d confirms nothing: %s", broker_id, error)
            continue
        return not members.names(replica.spec.replica_id)
    return False


def ask_for_addresses(runtime: BrokerRuntime, members: Iterable[RaftMember]) -> None:
    """Ask a manager soon where the brokers of some replicas are, if that is not known."""
    known = {runtime.engine.broker_id, *runtime.engine.peers}
    if any(member.broker_id not in known for member in members):
        runtime.link.heartbeat()


def _places(members: Sequence[RaftMember]) -> list[ReplicaPlace]:
    return [ReplicaPlace(member.replica_id, member.broker_id) for member in dict.fromkeys(members)]
