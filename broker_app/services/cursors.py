"""Cursors and clients of one partition: opened, moved, forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.partition.commands import CursorResult, ForgetClient, OpenCursor, ResetCursor
from broker_app.selectors.offsets import offset_by_time
from myqueue.contract.errors import CursorMoved, InvalidRequest

if TYPE_CHECKING:
    from broker_app.partition.commands import Start
    from broker_app.runtime import BrokerRuntime
    from myqueue.contract.inputs import CursorReset
    from raft_app.engine.replica import Replica


async def cursor_open(
    *, runtime: BrokerRuntime, replica: Replica, consumer_id: int, start: Start, timeout_ms: int
) -> CursorResult:
    """Make a consumer's cursor; one that is there stays where it is.

    Args:
        runtime: of this broker.
        replica: the partition.
        consumer_id: whose.
        start: where it begins.
        timeout_ms: for a quorum.

    Raises:
        QueueError: what `Engine.propose` raises.
    """
    request = OpenCursor(consumer_id, start)
    place: CursorResult = await runtime.engine.propose(
        replica.spec.group_id, request, timeout_ms=timeout_ms
    )
    return place


async def cursor_reset(
    *, runtime: BrokerRuntime, replica: Replica, reset: CursorReset
) -> CursorResult:
    """Move a consumer's cursor to an offset, or to the first message at or after a time.

    Raises:
        OffsetOutOfRange: there is no such offset.
        CursorMoved: the cursor is not where `expected` says; `offset` says where it is.
        QueueError: what `Engine.propose` raises.
    """
    group_id = replica.spec.group_id
    await runtime.engine.read_barrier(group_id, timeout_ms=reset.timeout_ms)
    offset = reset.offset
    if offset is None:
        assert reset.timestamp is not None
        offset = await offset_by_time(runtime=runtime, replica=replica, timestamp=reset.timestamp)
    request = ResetCursor(reset.consumer_id, offset, reset.expected)
    key = (group_id, reset.consumer_id)
    async with runtime.pop_lock.hold(key, timeout_ms=reset.timeout_ms):
        place: CursorResult = await runtime.engine.propose(
            group_id, request, timeout_ms=reset.timeout_ms
        )
    if not place.moved:
        raise CursorMoved(
            f"the cursor is at {place.offset}, not at {reset.expected}", offset=place.offset
        )
    runtime.long_polls.disturb(group_id)
    return place


async def client_forget(
    *, runtime: BrokerRuntime, replica: Replica, producer_id: int, consumer_id: int, timeout_ms: int
) -> None:
    """Drop what a partition remembers of a producer or a consumer; 0 for neither.

    Raises:
        InvalidRequest: not exactly one is given.
        QueueError: what `Engine.propose` raises.
    """
    if bool(producer_id) == bool(consumer_id):
        raise InvalidRequest("give exactly one of producer_id and consumer_id")
    await runtime.engine.propose(
        replica.spec.group_id, ForgetClient(producer_id, consumer_id), timeout_ms=timeout_ms
    )
