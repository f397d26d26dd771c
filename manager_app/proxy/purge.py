"""Deleting messages of a topic on demand, through the log of each partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from http_base.cluster import MessagesPurged
from http_base.tasks import gather_bounded
from manager_app.answers import PartitionPurged
from manager_app.proxy.partition_calls import PartitionCall, deadline_of
from myqueue.contract.errors import QueueError
from myqueue.contract.records import MAX_TIMESTAMP

if TYPE_CHECKING:
    from manager_app.inputs import TopicPurge
    from manager_app.metadata import PartitionMetadata, TopicMetadata
    from manager_app.runtime import ManagerRuntime

PARTITIONS_AT_ONCE = 64
"""Partitions of a topic that are purged at once."""


async def purge(
    runtime: ManagerRuntime, topic: TopicMetadata, asked: TopicPurge
) -> list[PartitionPurged]:
    """Delete the messages of partitions that are asked for; return what became of each.

    What is deleted is found out first, so that a repetition deletes nothing that came meanwhile.

    Raises:
        PartitionNotFound: the topic has no such partition; nothing was deleted.
    """
    chosen = topic.chosen(asked.partitions)
    deadline_s = deadline_of(asked.timeout_ms)

    async def purge_one(partition: PartitionMetadata) -> PartitionPurged:
        find = runtime.group_offsets.find_time
        try:
            begin = await find(partition, 0, deadline_s)
            if asked.offset is None:
                time = MAX_TIMESTAMP if asked.timestamp is None else asked.timestamp
                below = await find(partition, time, deadline_s)
            else:
                below = min(asked.offset, await find(partition, MAX_TIMESTAMP, deadline_s))
            purged = await runtime.calls.call(
                _call(partition, below, asked, deadline_s), MessagesPurged
            )
        except QueueError as error:
            known = 0 if error.outcome_known else None
            return PartitionPurged(
                partition=partition.index,
                log_start_offset=None,
                removed=known,
                reason=f"{error.code}: {error.message}",
            )
        return PartitionPurged(
            partition=partition.index,
            log_start_offset=purged.log_start_offset,
            removed=max(0, purged.log_start_offset - begin),
        )

    return await gather_bounded((purge_one(one) for one in chosen), PARTITIONS_AT_ONCE)


def _call(
    partition: PartitionMetadata, below: int, asked: TopicPurge, deadline_s: float
) -> PartitionCall:
    fields = {"topic": partition.topic, "partition": partition.index, "below": below}
    return PartitionCall(
        partition,
        "POST",
        "/messages/purge",
        fields,
        timeout_ms=asked.timeout_ms,
        deadline_s=deadline_s,
        repeatable=True,
    )
