"""Fetching: committed batches from an offset, on any replica."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker_app.log_reading import batches_read
from broker_app.runtime import state_of
from myqueue.contract import retry_after
from myqueue.contract.errors import NoLeader, NotLeader, OffsetOutOfRange, QueueError
from myqueue.contract.inputs import DEFAULT_TIMEOUT_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker_app.partition.statemachine import PartitionState
    from broker_app.runtime import BrokerRuntime
    from raft_app.engine.replica import Replica
    from raft_app.storage.protocol import StoredBatch

    FetchPlace = tuple[Replica, int]
    """A replica, and the offset to fetch from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedBatches:
    """Batches and where the partition is, as this replica knows it."""

    high_watermark: int
    log_start_offset: int
    next_offset: int
    """Where to go on."""
    batches: list[StoredBatch] = field(default_factory=list)
    """From the one that contains the offset; may begin below it."""


async def batches_fetch(
    *, runtime: BrokerRuntime, replica: Replica, offset: int, max_bytes: int, wait_ms: int
) -> FetchedBatches:
    """Return committed batches from an offset; wait for some when there are none yet.

    Raises:
        OffsetOutOfRange: below the log start, or above the high watermark of the leader, which
            this replica is and a quorum confirmed. Elsewhere such an offset waits.
        NoLeader: this replica hears no leader, so it may be far behind, or is faulty.
        CommitTimeout: it leads, and no quorum confirmed in time that there is no such offset.
        Overloaded: too many long polls.
    """
    deadline = asyncio.get_running_loop().time() + wait_ms / 1000
    while True:
        found = await _look(runtime, replica, offset, max_bytes)
        if found is not None:
            return found
        if not await runtime.long_polls.wait(replica.spec.group_id, offset, deadline):
            state = state_of(replica)
            return _fetched(state, state.next_offset, offset, [])


async def several_fetch(
    *, runtime: BrokerRuntime, wanted: Sequence[FetchPlace], max_bytes: int, wait_ms: int
) -> list[tuple[FetchPlace, FetchedBatches | QueueError]]:
    """Return what there is of several partitions; wait until one of them has something.

    Each that cannot be read has its error, which ends the waiting too.

    Args:
        runtime: of this broker.
        wanted: replicas, and where to begin; earlier ones take of `max_bytes` first.
        max_bytes: of all together; at least one batch is returned when there is one.
        wait_ms: how long to wait.

    Raises:
        Overloaded: too many long polls.
    """
    deadline = asyncio.get_running_loop().time() + wait_ms / 1000
    while True:
        found: list[tuple[FetchPlace, FetchedBatches | QueueError]] = []
        room = max_bytes
        for place in wanted:
            if room <= 0:
                break
            try:
                fetched = await _look(runtime, *place, room)
            except QueueError as error:
                found.append((place, error))
                continue
            if fetched is not None:
                found.append((place, fetched))
                room -= sum(len(batch.data) for batch in fetched.batches)
        if found:
            return found
        if any(offset < state_of(replica).next_offset for replica, offset in wanted):
            continue  # it came while others were asked
        places = [(replica.spec.group_id, offset) for replica, offset in wanted]
        if not await runtime.long_polls.wait_any(places, deadline):
            return []


async def _look(
    runtime: BrokerRuntime, replica: Replica, offset: int, max_bytes: int
) -> FetchedBatches | None:
    """Return committed batches from an offset; None when there are none yet."""
    state = state_of(replica)
    while True:
        _require_leader_heard(replica)
        end = state.next_offset
        if offset < state.log_start_offset:
            raise _out_of_range(offset, state)
        if offset < end:
            batches = await batches_read(
                runtime=runtime, replica=replica, offset=offset, end=end, max_bytes=max_bytes
            )
            traffic = runtime.traffic[replica.spec.topic]
            traffic.batches_fetched += len(batches)
            for batch in batches:
                traffic.messages_fetched += batch.record_count
                traffic.fetched_bytes += len(batch.data)
            last = batches[-1]
            return _fetched(state, end, last.base_offset + last.record_count, batches)
        if offset == end or not replica.serves:
            return None
        if await _high_watermark_confirmed(runtime, replica):
            if offset > state.next_offset:
                raise _out_of_range(offset, state)
            if offset == state.next_offset:
                return None


def _require_leader_heard(replica: Replica) -> None:
    if replica.faulty or not replica.hears_leader:
        why = f"is faulty: {replica.faulty}" if replica.faulty else "hears no leader"
        raise NoLeader(
            f"the replica of partition {replica.spec.partition} of topic"
            f" '{replica.spec.topic}' here {why}; ask another broker or try again",
            retry_after_ms=retry_after.PARTITION_MS,
        )


async def _high_watermark_confirmed(runtime: BrokerRuntime, replica: Replica) -> bool:
    """Ask a quorum; False when this replica is not the leader any more, which proves nothing."""
    try:
        await runtime.engine.read_barrier(replica.spec.group_id, timeout_ms=DEFAULT_TIMEOUT_MS)
    except (NotLeader, NoLeader):
        return False
    return True


def _out_of_range(offset: int, state: PartitionState) -> OffsetOutOfRange:
    return OffsetOutOfRange(
        f"offset {offset} is outside {state.log_start_offset} to {state.next_offset}",
        log_start_offset=state.log_start_offset,
        high_watermark=state.next_offset,
    )


def _fetched(
    state: PartitionState, high_watermark: int, next_offset: int, batches: list[StoredBatch]
) -> FetchedBatches:
    return FetchedBatches(
        high_watermark=high_watermark,
        log_start_offset=state.log_start_offset,
        next_offset=next_offset,
        batches=batches,
    )
