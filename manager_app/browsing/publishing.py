"""Messages that people publish, by hand or again from what is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manager_app.browsing.filters import MessageFilter
from manager_app.browsing.lanes import FoundMessage, Gap
from manager_app.browsing.reading import ScanLimits, scan
from manager_app.proxy.partition_calls import PartitionCall
from myqueue.contract import retry_after
from myqueue.contract.answers import Appended
from myqueue.contract.errors import InvalidRequest, NoLeader
from myqueue.contract.inputs import DEFAULT_TIMEOUT_MS
from myqueue.contract.partitioner import partition_for_key
from myqueue.contract.records import make_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manager_app.metadata import PartitionMetadata, TopicMetadata
    from manager_app.runtime import ManagerRuntime

PUBLISHING_PRODUCER = (1 << 62) - 1
"""Producer id of what people publish. Managers never give it to a program."""


@dataclass(frozen=True, kw_only=True)
class NewMessage:
    """A message to be published."""

    value: str | bytes
    request_id: str
    """Made with the form: one that is sent twice is one message."""
    key: str | bytes | None = None
    headers: Mapping[str, str | bytes] = field(default_factory=dict)
    partition: int | None = None
    """None: by the key, or any."""


async def publish(runtime: ManagerRuntime, topic: TopicMetadata, message: NewMessage) -> Appended:
    """Append a message; return where it is, once a quorum has it.

    Raises:
        InvalidRequest: a field is wrong; it is named.
        MessageTooLarge: a part of it is too long.
        PartitionNotFound: there is no such partition.
        QueueError: what the leader answered; with `outcome` unknown it may be there all the same.
    """
    headers = dict(message.headers) or None
    make_record(message.value, message.key, headers, timestamp=runtime.now_ms)
    partition = _partition_of(topic, message)
    fields = {
        "topic": topic.name,
        "partition": partition.index,
        "producer_id": PUBLISHING_PRODUCER,
        "message": message.value,
        "key": message.key,
        "headers": headers,
        "request_id": message.request_id,
    }
    call = PartitionCall(
        partition,
        "POST",
        "/producer/produce",
        {name: value for name, value in fields.items() if value is not None},
        timeout_ms=DEFAULT_TIMEOUT_MS,
        repeatable=True,
    )
    return await runtime.calls.call(call, Appended)


async def read_one(
    runtime: ManagerRuntime, topic: TopicMetadata, *, partition: int, offset: int
) -> FoundMessage | Gap | None:
    """Return one message; a gap where it cannot be read; None when there is none at the offset.

    Raises:
        InvalidRequest: the topic has no such partition.
        NoLeader: the partition does not answer.
    """
    look = await scan(
        runtime,
        topic,
        {partition: offset},
        wanted=MessageFilter(),
        limits=ScanLimits(found=1, messages=1),
    )
    for gap in look.gaps:
        if gap.begin <= offset < gap.end:
            return gap
    if partition in look.silent:
        raise NoLeader(
            f"partition {partition} of topic {topic.name!r} cannot be read now:"
            f" {look.silent[partition]}",
            retry_after_ms=retry_after.PARTITION_MS,
        )
    if look.found and look.found[0].offset == offset:
        return look.found[0]
    return None


def headers_of(text: str) -> dict[str, str]:
    """Read headers that people write: a line each, `name: value`.

    Raises:
        InvalidRequest: a line has no colon, or a name is there twice.
    """
    headers: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        name, has_value, value = line.partition(":")
        name = name.strip()
        if not has_value or not name:
            raise InvalidRequest(
                f"{line[:80]!r} is no header: write name: value, one in a line", field="headers"
            )
        if name in headers:
            raise InvalidRequest(f"header {name[:80]!r} is there twice", field="headers")
        headers[name] = value.strip()
    return headers


def _partition_of(topic: TopicMetadata, message: NewMessage) -> PartitionMetadata:
    if message.partition is not None:
        return topic.partition(message.partition)
    if message.key is not None:
        return topic.partition(partition_for_key(message.key, len(topic.partitions)))
    return topic.partition(partition_for_key(message.request_id, topic.partitions_at_creation))
