"""Passes produce calls on: checks the input, chooses the partition, calls its leader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from manager_app.proxy.admission import check_token
from manager_app.proxy.partition_calls import PartitionCall, deadline_of, found_by
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


async def produce(runtime: ManagerRuntime, call: Produce) -> dict[str, Any]:
    """Append the messages of a call; return partition, offset and (for a list) offsets.

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
    answer = await runtime.calls.call(
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
        )
    )
    return _produced(answer, topic=topic.name, partition=partition.index, count=count, many=name)


async def produce_batch(
    runtime: ManagerRuntime, call: ProduceBatch, batch: bytes, token: str | None
) -> dict[str, Any]:
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
        )
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


def _produced(
    answer: dict[str, Any], *, topic: str, partition: int, count: int, many: str
) -> dict[str, Any]:
    """Return the manager's answer for a leader's answer."""
    offset = msgspec.convert(answer.get("base_offset"), int)
    fields = {"topic": topic, "partition": partition, "offset": offset}
    if many == "messages":
        fields |= {"offsets": list(range(offset, offset + count))}
    return fields
