"""Messages of committed batches, from any offset to any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.decoded import DecodedBatch
from broker_app.limits import RETRY_AFTER_MS
from myqueue.errors import CorruptBatch, Overloaded
from myqueue.records import MAX_TIMESTAMP, decode_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker_app.runtime import BrokerRuntime
    from myqueue.records import Record
    from raft_app.engine.group import Group
    from raft_app.storage.storage import StoredBatch

READ_BYTES = 1 << 20
"""Most encoded bytes that are asked of the engine at a time."""
RECORD_OVERHEAD_BYTES = 64
"""What a message counts beside its contents."""


async def messages_read(
    *,
    runtime: BrokerRuntime,
    group: Group,
    start: int,
    end: int,
    max_messages: int,
    max_bytes: int,
) -> list[Record]:
    """Return the messages from offset `start`, contiguous, at least one.

    Args:
        runtime: of this broker.
        group: the partition.
        start: offset of the first message; below `end`.
        end: an offset that is not above the high watermark; not reached when a limit comes first.
        max_messages: most messages.
        max_bytes: most bytes of their contents; the first message is returned all the same.

    Raises:
        CorruptBatch: the first batch cannot be decoded; `offset` and `next_offset` say where. One
            behind it ends what is returned.
        Overloaded: the batches cannot be read at the moment.
    """
    records: list[Record] = []
    room = max_bytes
    while start < end and len(records) < max_messages and room > 0:
        batches = await _batches_from(runtime, group, start, end=end, one=max_messages == 1)
        for stored in batches:
            try:
                batch = _decoded(stored)
            except CorruptBatch:
                if not records:
                    raise
                return records
            wanted = min(end, batch.end, start + max_messages - len(records))
            assert batch.base_offset <= start < batch.end, (batch.base_offset, start, batch.end)
            for record in batch.records[start - batch.base_offset : wanted - batch.base_offset]:
                room -= size_of(record)
                if room < 0 and records:
                    break
                records.append(record)
                start += 1
            if start < batch.end:
                runtime.decoded.keep(group.spec.group_id, batch)
                break
            if start >= end or len(records) >= max_messages or room <= 0:
                break
    return records


async def batches_read(
    *, runtime: BrokerRuntime, group: Group, offset: int, end: int, max_bytes: int
) -> list[StoredBatch]:
    """Return the batches from the one that contains `offset`, at least one, below `end`.

    Raises:
        Overloaded: they cannot be read at the moment.
    """
    batches = await runtime.engine.read_batches(group.spec.group_id, offset, end, max_bytes)
    if not batches:
        raise Overloaded(
            f"offset {offset} cannot be read at the moment; try again",
            retry_after_ms=RETRY_AFTER_MS,
        )
    return batches


def decode(batch: StoredBatch) -> list[Record]:
    """Return the messages of a stored batch.

    Raises:
        CorruptBatch: its producer encoded something else; `offset` and `next_offset` say where.
    """
    try:
        records = decode_records(batch.data)
        if not all(-MAX_TIMESTAMP <= record.timestamp <= MAX_TIMESTAMP for record in records):
            raise CorruptBatch("the timestamp of a message is out of range")
    except CorruptBatch as error:
        next_offset = batch.base_offset + batch.record_count
        raise CorruptBatch(
            f"the batch at offset {batch.base_offset} cannot be read: {error.message};"
            f" go on at offset {next_offset}",
            offset=batch.base_offset,
            next_offset=next_offset,
        ) from error
    return records


def size_of(record: Record) -> int:
    """Return what a message counts against `max_bytes`."""
    headers = record.headers or {}
    return (
        RECORD_OVERHEAD_BYTES
        + _length(record.value)
        + _length(record.key)
        + sum(_length(name) + _length(content) for name, content in headers.items())
    )


async def _batches_from(
    runtime: BrokerRuntime, group: Group, start: int, *, end: int, one: bool
) -> Sequence[DecodedBatch | StoredBatch]:
    kept = runtime.decoded.find(group.spec.group_id, start)
    if kept is not None:
        return [kept]
    max_bytes = 1 if one else READ_BYTES
    return await batches_read(
        runtime=runtime, group=group, offset=start, end=end, max_bytes=max_bytes
    )


def _decoded(batch: DecodedBatch | StoredBatch) -> DecodedBatch:
    if isinstance(batch, DecodedBatch):
        return batch
    return DecodedBatch(batch.base_offset, decode(batch), len(batch.data))


def _length(text: str | bytes | None) -> int:
    if not text:
        return 0
    return len(text) if isinstance(text, bytes) or text.isascii() else len(text.encode())
