"""Passing produce calls on: check the input, choose the partition, call its leader once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from http_base.tokens import verify_client
from manager_app.models import ID_MAX
from manager_app.proxy.partition_calls import PartitionCall, deadline_of, found_by
from myqueue.contract.errors import InvalidRequest, UnauthorizedException
from myqueue.contract.inputs import MAX_TIMEOUT_MS, check_range, check_request_id, records_of
from myqueue.contract.partitioner import partition_for_key
from myqueue.contract.records import read_header

if TYPE_CHECKING:
    from manager_app.clients.registry import Session
    from manager_app.metadata import PartitionView, TopicView
    from manager_app.runtime import ManagerRuntime
    from manager_app.selectors import ClientKind
    from myqueue.contract.inputs import Produce, ProduceBatch

EPOCH_MAX = (1 << 31) - 1
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
    _check_produce(call)
    count = len(records_of(call, runtime.now_ms))
    deadline_s = deadline_of(call.timeout_ms)
    async with found_by(deadline_s):
        topic = await runtime.find_topic(call.topic)
        check_token(runtime, "producer", call.producer_id, topic=call.topic, token=call.token)
        session = await runtime.clients.admit("producer", call.producer_id, call.topic)
    partition = choose_partition(topic, session, call)
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
    check_range("timeout_ms", call.timeout_ms, 1, MAX_TIMEOUT_MS)
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


def choose_partition(topic: TopicView, session: Session, call: Produce) -> PartitionView:
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
    return topic.partition(session.rotation.next(count))


def check_token(
    runtime: ManagerRuntime, kind: ClientKind, client_id: int, *, topic: str, token: str | None
) -> None:
    """Check a token where one was given; on a manager the id alone is enough.

    Raises:
        UnauthorizedException: the token is not this client's.
    """
    if token is None:
        return
    said = verify_client(runtime.secret, token, now_ms=runtime.now_ms)
    if (said.kind, said.client_id, said.topic) != (kind, client_id, topic):
        raise UnauthorizedException(
            f"the token is not that of {kind} {client_id} of topic {topic[:260]!r}", field="token"
        )


def check_one_choice(partition: int | None, partition_key: int | str | None) -> None:
    """Refuse a partition and a key at once, and what cannot be a key.

    Raises:
        InvalidRequest: both are given, or the key is a text that is no valid Unicode.
    """
    if partition is not None and partition_key is not None:
        raise InvalidRequest(
            f"give partition ({partition}) or partition_key ({partition_key!r}), not both",
            field="partition_key",
        )
    if isinstance(partition_key, str):
        check_text("partition_key", partition_key)


def check_text(field: str, text: str) -> None:
    """Refuse a text with a lone surrogate, which has no UTF-8.

    Raises:
        InvalidRequest: it has one.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{field} is no valid text: {error.reason}", field=field) from error


def _check_produce(call: Produce) -> None:
    check_range("timeout_ms", call.timeout_ms, 1, MAX_TIMEOUT_MS)
    check_one_choice(call.partition, call.partition_key)
    check_request_id(call.request_id)
    if call.request_id is not None:
        check_text("request_id", call.request_id)
    if call.timestamp is not None:
        check_range("timestamp", call.timestamp, 0, ID_MAX)
    if (call.producer_epoch is None) != (call.base_sequence is None):
        raise InvalidRequest(
            "producer_epoch and base_sequence come together or not at all", field="base_sequence"
        )
    if call.producer_epoch is not None and call.base_sequence is not None:
        check_range("producer_epoch", call.producer_epoch, 0, EPOCH_MAX)
        check_range("base_sequence", call.base_sequence, 0, ID_MAX)


def _produced(
    answer: dict[str, Any], *, topic: str, partition: int, count: int, many: str
) -> dict[str, Any]:
    """Return the manager's answer for a leader's answer."""
    offset = msgspec.convert(answer.get("base_offset"), int)
    fields = {"topic": topic, "partition": partition, "offset": offset}
    if many == "messages":
        fields |= {"offsets": list(range(offset, offset + count))}
    return fields
