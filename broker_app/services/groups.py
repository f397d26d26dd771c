"""Consumer groups of one partition: committed, fenced, forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.partition.commands import CommitOffsets, ForgetGroup, Start
from broker_app.partition.groups import commit_error
from broker_app.runtime import state_of
from myqueue.contract.errors import InvalidRequest, OffsetOutOfRange
from myqueue.contract.group_inputs import check_group_name

if TYPE_CHECKING:
    from broker_app.partition.commands import CommitResult
    from broker_app.runtime import BrokerRuntime
    from myqueue.contract.group_inputs import OffsetsCommit
    from raft_app.engine.replica import Replica


async def offsets_commit(
    *, runtime: BrokerRuntime, replica: Replica, commit: OffsetsCommit, client_id: int = 0
) -> CommitResult:
    """Move a consumer group's offset, or fence older generations and say where to start.

    Every call is replicated, also one that changes nothing: its answer counts only because a quorum
    took it.

    Args:
        runtime: of this broker.
        replica: the partition.
        commit: the call.
        client_id: the consumer that makes it; 0 for the cluster.

    Returns:
        Where the consumer group is now.

    Raises:
        InvalidRequest: the group's name cannot be.
        IllegalGeneration: a later generation has the group; `generation` is the known one.
        OffsetOutOfRange: the offset is below 0 or above the high watermark.
        QueueError: what `Engine.propose` raises.
    """
    check_group_name(commit.group)
    start = Start(commit.start)
    request = CommitOffsets(commit.group, commit.generation, commit.offset, start, client_id)
    group_id, timeout_ms = replica.spec.group_id, commit.timeout_ms
    place: CommitResult
    try:
        place = await runtime.engine.propose(group_id, request, timeout_ms=timeout_ms)
    except (OffsetOutOfRange, InvalidRequest):
        # What refused it may be what a deposed leader knew: look again once confirmed.
        await runtime.engine.read_barrier(group_id, timeout_ms=timeout_ms)
        place = await runtime.engine.propose(group_id, request, timeout_ms=timeout_ms)
    if place.refused is not None:
        state = state_of(replica)
        raise commit_error(
            request,
            place.refused,
            generation=place.generation,
            log_start_offset=state.log_start_offset,
            next_offset=state.next_offset,
        )
    runtime.traffic[replica.spec.topic].offsets_committed += 1
    return place


async def group_forget(
    *, runtime: BrokerRuntime, replica: Replica, name: str, timeout_ms: int
) -> bool:
    """Drop what a partition remembers of a consumer group.

    Args:
        runtime: of this broker.
        replica: the partition.
        name: of the consumer group.
        timeout_ms: for a quorum.

    Returns:
        False when it was not known, which is no error.

    Raises:
        InvalidRequest: the name cannot be.
        QueueError: what `Engine.propose` raises.
    """
    request = ForgetGroup(check_group_name(name))
    forgotten: bool = await runtime.engine.propose(
        replica.spec.group_id, request, timeout_ms=timeout_ms
    )
    return forgotten
