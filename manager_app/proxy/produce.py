"""Passes produce calls on: checks the input, chooses the partition, calls its leader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from manager_app.answers import Produced
from manager_app.proxy.admission import check_token
from manager_app.proxy.partition_calls import PartitionCall, deadline_of, found_by
from myqueue.contract.answers import Appended
from myqueue.contract.inputs import records_of
from myqueue.contract.partitioner import partition_for_key
from myqueue.contract.records import read_header

if TYPE_CHECKING:
    from manager_app.clients.registry import KnownClient
    from manager_app.metadata import PartitionMetadata, TopicMetadata
    from manager_app.runtime import ManagerRuntime
    from myqueue.contract.inputs import Produce, ProduceBatch

_PASSED_ON = (
    "key",
    "headers",
    "timestamp",
    "request_id",
    "producer_epoch",
    "base_sequence",
)


async def produce(runtime: ManagerRuntime, call: Produce) -> Produced:
    """Append the messages of a call; return where they are.

    Raises:
        QueueError: the input is wrong, the client is unknown, or what the leader answered.
    """
    count = len(records_of(call, runtime.now_ms))
    deadline_s = deadline_of(call.timeout_ms)
    async with found_by(deadline_s):
        topic = await runtime.find_topic(call.topic)
        check_token(runtime, "producer", call.producer_id, topic=call.topic, token=call.token)
        client = await runtime.clients.admit("producer", call.producer_id, call.topic)
    partition = choose_partition(topic, client, call)
    fields = {name: getattr(call, name) for name in _PASSED_ON}
    name = "message" if call.messages is UNSET else "messages"
    appended = await runtime.calls.call(
        PartitionCall(
            partition,
            "POST",
            "/producer/produce",
            {
                "topic": topic.name,
                "partition": partition.index,
                "producer_id": call.producer_id,
                name: getattr(call, name),
                **fields,
            },
            timeout_ms=call.timeout_ms,
            deadline_s=deadline_s,
            repeatable=call.request_id is not None or call.base_sequence is not None,
        ),
        Appended,
    )
    first = appended.base_offset
    return Produced(
        topic=topic.name,
        partition=partition.index,
        offset=first,
        offsets=UNSET if call.messages is UNSET else list(range(first, first + count)),
    )


async def produce_batch(
    runtime: ManagerRuntime, call: ProduceBatch, batch: bytes, token: str | None
) -> Appended:
    """Append a record batch, which is passed on as it came; return what the leader answers.

    Raises:
        CorruptBatch: its header is wrong.
        QueueError: the input is wrong, the client is unknown, or what the leader answered.
    """
    header = read_header(batch)
    deadline_s = deadline_of(call.timeout_ms)
    async with found_by(deadline_s):
        topic = await runtime.find_topic(call.topic)
        check_token(runtime, "producer", call.producer_id, topic=call.topic, token=token)
        await runtime.clients.admit("producer", call.producer_id, call.topic)
    return await runtime.calls.call(
        PartitionCall(
            topic.partition(call.partition),
            "POST",
            "/producer/produce",
            {"topic": call.topic, "partition": call.partition, "producer_id": call.producer_id},
            timeout_ms=call.timeout_ms,
            deadline_s=deadline_s,
            repeatable=header.base_sequence >= 0,
            batch=batch,
        ),
        Appended,
    )


def choose_partition(topic: TopicMetadata, client: KnownClient, call: Produce) -> PartitionMetadata:
    """Return the partition that a produce call goes to.

    In this order: `partition`; `partition_key`; the message's `key`; the request id, over the
    number of partitions at the topic's creation, so that a retry finds its first try; the
    producer's own rotation.

    Raises:
        PartitionNotFound: there is no such partition.
        InvalidRequest: the key has the wrong type.
    """
    count = len(topic.partitions)
    if call.partition is not None:
        return topic.partition(call.partition)
    key = call.key if call.partition_key is None else call.partition_key
    if key is not None:
        return topic.partition(partition_for_key(key, count))
    if call.request_id is not None:
        return topic.partition(partition_for_key(call.request_id, topic.partitions_at_creation))
    return topic.partition(client.rotation.next(count))
