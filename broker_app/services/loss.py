"""What is left of a partition that lost its quorum, and how it goes on with that."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from http_base.cluster import StoredReplica
from http_base.tasks import spawn
from myqueue.contract.errors import InvalidRequest, QueueError, StalePlacement
from myqueue.contract.records import MAX_RECORDS, placeholder_batch
from raft_app.core.types import Membership, RaftMember
from raft_app.storage.protocol import GroupSpec, StoredBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker_app.runtime import BrokerRuntime
    from http_base.cluster import LossOrder
    from raft_app.engine.replica import Replica

logger = logging.getLogger(__name__)

FILLER_MAX = 1_000
"""Most batches that stand for lost messages: ten million messages."""


async def replica_examine(*, runtime: BrokerRuntime, group_id: int) -> StoredReplica:
    """Return what is stored of a replica here, also of one that is faulty.

    Raises:
        PartitionNotFound: this broker has none.
    """
    replica = runtime.engine.replica(group_id)
    log, unusable, end_offset = replica.node.log, "", 0
    last = log.last_term, log.last_index
    try:
        examined = await runtime.engine.adoption.examine(group_id)
    except StalePlacement as error:
        unusable = error.message
    else:
        initial, end_offset = examined.stored.initial, examined.end_offset
        terms = [initial.previous_term, *(term for _, term in initial.term_starts)]
        last = max(terms), initial.last_index
    return StoredReplica(
        replica_id=replica.spec.replica_id,
        faulty=replica.faulty,
        hears_leader=replica.serves or replica.hears_leader,
        unusable=unusable,
        term=replica.node.term,
        last_term=last[0],
        last_index=last[1],
        end_offset=end_offset,
    )


async def loss_accept(*, runtime: BrokerRuntime, group_id: int, order: LossOrder) -> Replica:
    """Let the replica here go on alone, under a new id; stored when this returns.

    Messages of its partition that others had are lost. The offsets up to `order.next_offset` are
    not given again: whoever reads them is told that so many are corrupt.

    Raises:
        PartitionNotFound: this broker has no replica of the partition.
        InvalidRequest: the order cannot be.
        StalePlacement: it is for another replica, of an earlier manager, or the partition has a
            leader; or what is stored here cannot be used.
    """
    await runtime.obey_epoch(order.epoch)
    replica = runtime.engine.replica(group_id)
    here = replica.spec
    if (here.topic, here.partition) != (order.topic, order.partition):
        raise StalePlacement(f"group {group_id} is here as {here}")
    if here.replica_id == order.replica_id:
        return replica
    if here.replica_id != order.old_replica_id:
        raise StalePlacement(f"group {group_id} is here as {here}")
    if replica.serves or replica.hears_leader:
        raise StalePlacement(f"{replica.label} has a leader; nothing is lost")
    examined = await runtime.engine.adoption.examine(group_id)
    filler = list(_filler(examined.end_offset, order.next_offset))
    if len(filler) > FILLER_MAX:
        raise InvalidRequest(
            f"offset {order.next_offset} is too far from {examined.end_offset}, where the messages"
            " here end",
            field="next_offset",
        )
    logger.critical(
        "%s goes on with replica %d alone, as replica %d: its messages end at offset %d, new ones"
        " begin at %d",
        *(replica.label, here.replica_id, order.replica_id, examined.end_offset),
        max(examined.end_offset, order.next_offset),
    )
    me = RaftMember(order.replica_id, runtime.engine.broker_id)
    adopting = runtime.engine.adoption.adopt(
        replica,
        GroupSpec(group_id, order.replica_id, here.topic, here.partition),
        Membership(voters=(me,), version=order.version),
        filler,
        above_term=order.above_term,
    )
    # What is stored takes part, also when the caller is cancelled meanwhile.
    return await asyncio.shield(spawn("accepting a loss", adopting, expected=(QueueError,)))


def _filler(start: int, end: int) -> Iterator[StoredBatch]:
    """Yield batches that nobody can read, for the offsets from `start` to `end`."""
    now_ms = time.time_ns() // 1_000_000
    while start < end:
        count = min(MAX_RECORDS, end - start)
        yield StoredBatch(start, count, now_ms, placeholder_batch(count, now_ms))
        start += count
