"""Retention: what partitions keep, and letting go of the messages beyond that, or on demand."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from broker_app.log_reading import batches_read
from broker_app.metrics import RETENTION_FAILURES
from broker_app.partition.commands import KEEPS_ALL, SetRetention, Truncate, TruncateResult
from broker_app.partition.retention_clock import RetentionClock
from broker_app.runtime import state_of
from broker_app.selectors.offsets import offset_by_time
from http_base.tasks import spawn
from myqueue.contract.errors import OffsetOutOfRange, QueueError

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from raft_app.engine.replica import Replica

logger = logging.getLogger(__name__)

COMMIT_TIMEOUT_MS = 5_000
"""For one command of retention."""


async def retention_set(*, runtime: BrokerRuntime, replica: Replica, wanted: SetRetention) -> bool:
    """Replicate what a partition led here keeps, when that changes.

    Returns:
        False when this replica does not lead, or the partition keeps just that already.

    Raises:
        QueueError: what `Engine.propose` raises.
    """
    if not replica.serves or state_of(replica).retention == wanted:
        return False
    await runtime.engine.propose(replica.spec.group_id, wanted, timeout_ms=COMMIT_TIMEOUT_MS)
    return True


async def messages_truncate(*, runtime: BrokerRuntime, replica: Replica, now_ms: int) -> int:
    """Let go of the messages of a partition led here that are too old or too many.

    A batch is as old as its append timestamp says, or as long as this leader has seen it if that is
    longer. By size, whole batches go from the front while at least the limit remains.

    Args:
        runtime: of this broker.
        replica: the partition.
        now_ms: wall clock, milliseconds since 1970.

    Returns:
        Where the messages begin now.

    Raises:
        QueueError: what `Engine.propose` raises, or the batches cannot be read at the moment.
    """
    state = state_of(replica)
    wanted = state.retention
    begin = state.log_start_offset
    if wanted.retention_bytes:
        begin = max(begin, state.offset_leaving(wanted.retention_bytes))
    if wanted.retention_ms:
        expired = await _expired_until(runtime, replica, now_ms - wanted.retention_ms, now_ms)
        begin = max(begin, expired)
    if begin <= state.log_start_offset or not replica.serves:
        return state.log_start_offset
    before = state.log_start_offset
    truncated: TruncateResult = await runtime.engine.propose(
        replica.spec.group_id,
        Truncate(begin),
        timeout_ms=COMMIT_TIMEOUT_MS,
        may_use_reserve=True,
    )
    retired = truncated.log_start_offset - before
    runtime.traffic[replica.spec.topic].messages_retired += retired
    return truncated.log_start_offset


async def messages_purge(
    *, runtime: BrokerRuntime, replica: Replica, below: int, timeout_ms: int
) -> TruncateResult:
    """Let go of the messages of a partition below an offset, through its log: on every replica.

    A record batch goes whole or stays: one that the offset lies inside of stays. Doing it again
    changes nothing.

    Args:
        runtime: of this broker.
        replica: the partition.
        below: the first offset that stays; the high watermark for all messages.
        timeout_ms: for a quorum.

    Raises:
        OffsetOutOfRange: there are no messages up to there.
        QueueError: what `Engine.propose` raises, or the batches cannot be read at the moment.
    """
    group_id, state = replica.spec.group_id, state_of(replica)
    await runtime.engine.read_barrier(group_id, timeout_ms=timeout_ms)
    end = state.next_offset
    if below > end:
        raise OffsetOutOfRange(
            f"offset {below} is above the high watermark, {end}",
            log_start_offset=state.log_start_offset,
            high_watermark=end,
        )
    if state.log_start_offset < below < end:
        [around, *_] = await batches_read(
            runtime=runtime, replica=replica, offset=below, end=end, max_bytes=1
        )
        below = around.base_offset
    purged: TruncateResult = await runtime.engine.propose(
        group_id, Truncate(below), timeout_ms=timeout_ms, may_use_reserve=True
    )
    return purged


def retention_start(runtime: BrokerRuntime) -> None:
    """Begin a round over all partitions led here, unless one is still under way."""
    if runtime.retaining is None or runtime.retaining.done():
        runtime.retaining = spawn("a round of retention", _round(runtime))


async def _round(runtime: BrokerRuntime) -> None:
    """Truncate one partition after the other; what fails is tried again in the next round."""
    runtime.overview.refresh()
    letting_go = runtime.overview.letting_go
    for group_id in runtime.retention_clocks.keys() - letting_go.keys():
        del runtime.retention_clocks[group_id]
    for replica in list(letting_go.values()):
        if not replica.serves or state_of(replica).retention == KEEPS_ALL:
            continue
        try:
            await messages_truncate(
                runtime=runtime, replica=replica, now_ms=time.time_ns() // 1_000_000
            )
        except QueueError as error:
            logger.info("Group %d keeps its messages for now: %s", replica.spec.group_id, error)
        except Exception:  # the edge of a partition: those behind it must not keep everything
            RETENTION_FAILURES.inc()
            logger.exception("%s keeps its messages until the next round", replica.label)


async def _expired_until(
    runtime: BrokerRuntime, replica: Replica, cutoff_ms: int, now_ms: int
) -> int:
    """Return the offset below which every batch was appended or first seen at a time or before."""
    state = state_of(replica)
    clock = runtime.retention_clocks.setdefault(replica.spec.group_id, RetentionClock())
    clock.note(state.next_offset, now_ms)
    begin, end = max(state.log_start_offset, clock.seen_until(cutoff_ms)), state.next_offset
    if begin >= end:
        return begin
    [oldest, *_] = await batches_read(
        runtime=runtime, replica=replica, offset=begin, end=end, max_bytes=1
    )
    if oldest.append_timestamp > cutoff_ms:
        return begin
    return max(
        begin, await offset_by_time(runtime=runtime, replica=replica, timestamp=cutoff_ms + 1)
    )
