"""Where a consumer or a consumer group is, and which offset a time has; confirmed by a quorum."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from broker_app.log_reading import batches_read
from broker_app.runtime import state_of
from myqueue.contract.errors import GroupNotFound

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from raft_app.engine.replica import Replica


class Left(NamedTuple):
    """What a partition has for a consumer."""

    size: int
    """How many messages."""
    remembers: bool
    """A pop with the request id that was asked for was done here, or is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOffsets:
    """Where a consumer group is in a partition."""

    generation: int
    offset: int
    """Everything below is read; at or above the log start."""
    high_watermark: int
    log_start_offset: int
    unsettled: int = 0
    """Messages that queue workers received and have not settled."""
    dead: int = 0
    """Messages marked dead that are not in the dead-letter topic yet."""

    settled_above: int = 0
    """Messages above `offset` that queue workers have settled."""
    visible: int = 0
    """Messages that a worker would get now."""
    in_flight: int = 0
    """Messages out with a worker."""
    delayed: int = 0
    """Messages given back and not due yet."""

    @property
    def is_workers(self) -> bool:
        """Tell whether queue workers use it: members commit under generations from 1 on."""
        return not self.generation

    @property
    def lag(self) -> int:
        """Messages left, those that queue workers have out included."""
        return max(0, self.high_watermark - self.offset - self.settled_above)


async def size_get(
    *,
    runtime: BrokerRuntime,
    replica: Replica,
    consumer_id: int,
    wait_ms: int,
    timeout_ms: int,
    request_digest: bytes = b"",
) -> Left:
    """Return what is left for a consumer; wait until there is something.

    Args:
        runtime: of this broker.
        replica: the partition.
        consumer_id: whose.
        wait_ms: how long to wait for a message.
        timeout_ms: for a quorum.
        request_digest: of the request id that may be remembered; empty for none.

    Raises:
        NotLeader | NoLeader | CommitTimeout: this replica cannot confirm it.
        Overloaded: too many long polls.
    """
    deadline = asyncio.get_running_loop().time() + wait_ms / 1000
    state, group_id = state_of(replica), replica.spec.group_id
    while True:
        await runtime.engine.read_barrier(group_id, timeout_ms=timeout_ms)
        cursor = state.applied_cursor(consumer_id)
        left = Left(
            max(0, state.next_offset - cursor),
            bool(request_digest) and _remembers(runtime, replica, consumer_id, request_digest),
        )
        if left.size or left.remembers:
            return left
        if not await runtime.long_polls.wait(group_id, cursor, deadline):
            return left


def _remembers(
    runtime: BrokerRuntime, replica: Replica, consumer_id: int, request_digest: bytes
) -> bool:
    """Tell whether a pop was done here, is in the log, or came here and may still be proposed."""
    state = state_of(replica)
    return (
        state.popped(consumer_id, request_digest) is not None
        or state.is_popping(consumer_id, request_digest)
        or (replica.spec.group_id, consumer_id, request_digest) in runtime.pop_tries
    )


async def group_offsets_get(
    *, runtime: BrokerRuntime, replica: Replica, name: str, timeout_ms: int
) -> GroupOffsets:
    """Return where a consumer group is.

    Args:
        runtime: of this broker.
        replica: the partition.
        name: of the consumer group.
        timeout_ms: for a quorum.

    Raises:
        GroupNotFound: the partition does not know it.
        NotLeader | NoLeader | CommitTimeout: this replica cannot confirm it.
    """
    await runtime.engine.read_barrier(replica.spec.group_id, timeout_ms=timeout_ms)
    found = offsets_of(runtime=runtime, replica=replica, name=name)
    if found is None:
        raise GroupNotFound(f"{replica.label} knows no consumer group '{name}'")
    return found


def offsets_of(*, runtime: BrokerRuntime, replica: Replica, name: str) -> GroupOffsets | None:
    """Return where a group is by what was applied here; None when it is not known."""
    state = state_of(replica)
    work = state.works.get(name)
    if work is not None:
        clock_ms = state.partition_clock(runtime.engine.clock_ms())
        counts = work.counts(clock_ms, end=state.next_offset)
        return GroupOffsets(
            generation=0,
            offset=work.offset,
            high_watermark=state.next_offset,
            log_start_offset=state.log_start_offset,
            unsettled=len(work.unsettled),
            dead=len(work.dead),
            settled_above=work.settled_above,
            visible=counts.visible,
            in_flight=counts.in_flight,
            delayed=counts.delayed,
        )
    known = state.consumer_group(name)
    if known is None:
        return None
    return GroupOffsets(
        generation=known.generation,
        offset=max(known.offset, state.log_start_offset),
        high_watermark=state.next_offset,
        log_start_offset=state.log_start_offset,
    )


async def offset_by_time(*, runtime: BrokerRuntime, replica: Replica, timestamp: int) -> int:
    """Return the first offset that was appended at or after a time.

    The caller has confirmed that this replica is up to date. Append timestamps never go back, so
    the batches are searched by halves.

    Args:
        runtime: of this broker.
        replica: the partition.
        timestamp: milliseconds since 1970.

    Returns:
        The offset; the high watermark when everything is older.

    Raises:
        Overloaded: the batches cannot be read at the moment.
    """
    state = state_of(replica)
    low, end = state.log_start_offset, state.next_offset
    high = end
    while low < high:
        [batch, *_] = await batches_read(
            runtime=runtime, replica=replica, offset=(low + high) // 2, end=end, max_bytes=1
        )
        if batch.append_timestamp >= timestamp:
            high = max(low, batch.base_offset)
        else:
            low = batch.base_offset + batch.record_count
    return low
