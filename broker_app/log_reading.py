"""Messages of committed batches, from any offset to any other."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from broker_app.decode_cache import DecodedBatch
from myqueue.contract import retry_after
from myqueue.contract.errors import CorruptBatch, InvalidRequest, Overloaded
from myqueue.contract.records import RECORD_OVERHEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker_app.runtime import BrokerRuntime
    from myqueue.contract.records import Record
    from raft_app.engine.replica import Replica
    from raft_app.storage.protocol import StoredBatch

logger = logging.getLogger(__name__)

READ_BYTES = 1 << 20
"""Most encoded bytes that are asked of the engine at a time."""
STEPPED_OVER_MAX = 100
"""Most batches that one reading steps over, so that it does not keep others waiting for long."""


class MessagesRead(NamedTuple):
    """What was read of a partition from an offset."""

    messages: list[tuple[int, Record]]
    """With the offset of each; there are gaps where something was stepped over."""
    end: int
    """Everything below was read or stepped over."""
    corrupt: int = 0
    """Messages that were stepped over."""
    size_bytes: int = 0
    """Of the contents of the messages."""


async def messages_read(
    *,
    runtime: BrokerRuntime,
    replica: Replica,
    start: int,
    end: int,
    max_messages: int,
    max_bytes: int,
) -> MessagesRead:
    """Return the messages from offset `start`: at least one, unless the next ones are corrupt.

    A batch that has a right checksum and cannot be decoded is stepped over: it is the same on every
    replica, and nobody will ever read it.

    Args:
        runtime: of this broker.
        replica: the partition.
        start: offset of the first message; below `end`.
        end: an offset that is not above the high watermark; not reached when a limit comes first.
        max_messages: most messages.
        max_bytes: most bytes of their contents; the first message is returned all the same.

    Raises:
        CorruptBatch: the first batch is damaged here; `offset` and `next_offset` say where. One
            behind it ends what is returned.
        InvalidRequest: the package of its codec is missing here.
        Overloaded: the batches cannot be read at the moment.
    """
    found: list[tuple[int, Record]] = []
    position, size_bytes, corrupt, skipped, is_full = start, 0, 0, 0, False
    while position < end and len(found) < max_messages and not is_full:
        one = max_messages == 1
        for stored in await _batches_from(runtime, replica, position, end=end, one=one):
            try:
                batch = await _decoded(runtime, replica, stored)
            except InvalidRequest:
                if position == start:
                    raise
                return MessagesRead(found, position, corrupt, size_bytes)
            assert stored.base_offset <= position < stored.end, (stored.base_offset, position)
            if batch is None:
                skipped += 1
                corrupt += min(end, stored.end) - position
                position = min(end, stored.end)
                if skipped >= STEPPED_OVER_MAX:
                    return MessagesRead(found, position, corrupt, size_bytes)
                continue
            wanted = min(end, batch.end, position + max_messages - len(found))
            chosen = batch.records[position - batch.base_offset : wanted - batch.base_offset]
            fitting, taken = _fitting(chosen, max_bytes - size_bytes, at_least=0 if found else 1)
            size_bytes += taken
            is_full = size_bytes >= max_bytes or len(fitting) < len(chosen)
            found += enumerate(fitting, position)
            position += len(fitting)
            if position < batch.end:
                runtime.decode_cache.keep(replica.spec.group_id, batch)
                break
            if position >= end or len(found) >= max_messages or is_full:
                break
    return MessagesRead(found, position, corrupt, size_bytes)


async def batches_read(
    *, runtime: BrokerRuntime, replica: Replica, offset: int, end: int, max_bytes: int
) -> list[StoredBatch]:
    """Return the batches from the one that contains `offset`, at least one, below `end`.

    Raises:
        Overloaded: they cannot be read at the moment.
    """
    batches = await runtime.engine.read_batches(replica.spec.group_id, offset, end, max_bytes)
    if not batches:
        raise Overloaded(
            f"offset {offset} cannot be read at the moment; try again",
            retry_after_ms=retry_after.PARTITION_MS,
        )
    return batches


async def decode(
    *, runtime: BrokerRuntime, replica: Replica, batch: StoredBatch
) -> DecodedBatch | None:
    """Return a stored batch with its messages; None when it must be stepped over.

    That is so when its checksum is right and it cannot be decoded: it was stored like that, on
    every replica. It is counted, and told to the log once.

    Raises:
        CorruptBatch: it is damaged, here at least; `offset` and `next_offset` say where.
        InvalidRequest: the package of its codec is missing here.
    """
    try:
        contents = await runtime.decoding.read(batch.data)
    except CorruptBatch as error:
        raise CorruptBatch(
            f"the batch at offset {batch.base_offset} cannot be read: {error.message};"
            f" go on at offset {batch.end}",
            offset=batch.base_offset,
            next_offset=batch.end,
        ) from error
    if contents.records is None:
        runtime.traffic[replica.spec.topic].messages_corrupt += batch.record_count
        if runtime.is_new_corruption(replica.spec.group_id, batch.base_offset):
            logger.error(
                "%s: the messages at offsets %d to %d cannot be decoded by anybody and are stepped"
                " over: %s",
                *(replica.label, batch.base_offset, batch.end - 1, contents.why),
            )
        return None
    return DecodedBatch(batch.base_offset, contents.records, contents.header.decoded_bytes)


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
    runtime: BrokerRuntime, replica: Replica, start: int, *, end: int, one: bool
) -> Sequence[DecodedBatch | StoredBatch]:
    kept = runtime.decode_cache.find(replica.spec.group_id, start)
    if kept is not None:
        return [kept]
    max_bytes = 1 if one else READ_BYTES
    return await batches_read(
        runtime=runtime, replica=replica, offset=start, end=end, max_bytes=max_bytes
    )


async def _decoded(
    runtime: BrokerRuntime, replica: Replica, batch: DecodedBatch | StoredBatch
) -> DecodedBatch | None:
    if isinstance(batch, DecodedBatch):
        return batch
    return await decode(runtime=runtime, replica=replica, batch=batch)


def _fitting(records: list[Record], room: int, *, at_least: int) -> tuple[list[Record], int]:
    """Return the records that fit, and what they take."""
    taken = 0
    for place, record in enumerate(records):
        size = size_of(record)
        if taken + size > room and place >= at_least:
            return records[:place], taken
        taken += size
    return records, taken


def _length(text: str | bytes | None) -> int:
    if not text:
        return 0
    return len(text) if isinstance(text, bytes) or text.isascii() else len(text.encode())
