"""GET and POST /fetch, GET /offsets/by-time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from broker_app.access import require_topic_client
from broker_app.decoding import AT_ONCE_MAX
from broker_app.log_reading import MessagesRead, decode
from broker_app.runtime import current
from broker_app.selectors.fetch import batches_fetch, several_fetch
from broker_app.selectors.offsets import offset_by_time
from http_base.calls import StoredBatches, read_call
from http_base.messages import message_answers
from http_base.operations import FETCH, FETCH_SEVERAL, OFFSET_BY_TIME
from http_base.views import ApiView, served_by
from myqueue.contract.answers import (
    CursorPlace,
    FetchedPart,
    Message,
    PartitionFetched,
    SeveralFetched,
)
from myqueue.contract.errors import InvalidRequest, QueueError
from myqueue.contract.inputs import (
    BATCH_HEADERS,
    DEFAULT_TIMEOUT_MS,
    MAX_FETCH_BYTES,
    Fetch,
    FetchSeveral,
    OffsetByTime,
)
from myqueue.contract.records import frame_batches

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from broker_app.selectors.fetch import FetchedBatches, FetchPlace
    from http_base.calls import Call
    from myqueue.contract.records import Record
    from raft_app.engine.replica import Replica


@FETCH.with_tags("consume")
async def fetch(call: Call) -> PartitionFetched | StoredBatches:
    """Return committed messages from an offset on, or wait for the first one."""
    asked = read_call(call, Fetch)
    runtime = current()
    require_topic_client(call, runtime, topic=asked.topic, token=asked.token)
    replica = runtime.partition(asked.topic, asked.partition)
    fetched = await batches_fetch(
        runtime=runtime,
        replica=replica,
        offset=asked.offset,
        max_bytes=asked.max_bytes,
        wait_ms=asked.wait_ms,
    )
    if call.takes_batches:
        return StoredBatches(_framed(fetched), _headers(fetched))
    spec = replica.spec
    readable, _ = await _readable(runtime, replica, fetched, asked.offset)
    return PartitionFetched(
        topic=spec.topic,
        partition=spec.partition,
        messages=await _messages(runtime, readable, replica, binary=call.takes_msgpack),
        corrupt=readable.corrupt,
        next_offset=readable.end,
        high_watermark=fetched.high_watermark,
        log_start_offset=fetched.log_start_offset,
    )


@FETCH_SEVERAL.with_tags("consume")
async def fetch_several(call: Call) -> SeveralFetched:
    """Return what there is of each, or wait for the first that has something."""
    asked = read_call(call, FetchSeveral)
    if asked.stored and not call.takes_msgpack:
        raise InvalidRequest("stored batches come in MessagePack alone", field="stored")
    runtime = current()
    parts: list[FetchedPart] = []
    wanted: list[FetchPlace] = []
    for one in asked.partitions:
        try:
            token = asked.tokens.get(one.topic, asked.token)
            require_topic_client(call, runtime, topic=one.topic, token=token)
            wanted.append((runtime.partition(one.topic, one.partition), one.offset))
        except QueueError as error:
            parts.append(_refused(one.topic, one.partition, error))
    found = await several_fetch(
        runtime=runtime,
        wanted=wanted,
        max_bytes=asked.max_bytes,
        wait_ms=0 if parts else asked.wait_ms,
    )
    decoded_bytes = 0
    for place, fetched in found:
        if decoded_bytes > MAX_FETCH_BYTES:
            break  # Little that is stored may be much in memory: the rest is asked for again.
        part, size_bytes = await _part(call, runtime, place, fetched, stored=asked.stored)
        parts.append(part)
        decoded_bytes += size_bytes
    return SeveralFetched(partitions=parts)


async def _part(
    call: Call,
    runtime: BrokerRuntime,
    place: FetchPlace,
    fetched: FetchedBatches | QueueError,
    *,
    stored: bool,
) -> tuple[FetchedPart, int]:
    """Return what is answered of one of several partitions, and how much of it was decoded."""
    (replica, offset), spec = place, place[0].spec
    if isinstance(fetched, QueueError):
        return _refused(spec.topic, spec.partition, fetched), 0
    part = FetchedPart(
        topic=spec.topic,
        partition=spec.partition,
        next_offset=fetched.next_offset,
        high_watermark=fetched.high_watermark,
        log_start_offset=fetched.log_start_offset,
    )
    if stored:
        return replace(part, batches=_framed(fetched)), 0
    try:
        readable, size_bytes = await _readable(runtime, replica, fetched, offset)
    except QueueError as error:
        return _refused(spec.topic, spec.partition, error), 0
    messages = await _messages(runtime, readable, replica, binary=call.takes_msgpack)
    part = replace(part, messages=messages, corrupt=readable.corrupt, next_offset=readable.end)
    return part, size_bytes


def _refused(topic: str, partition: int, error: QueueError) -> FetchedPart:
    return FetchedPart(topic=topic, partition=partition, error=error.to_body())


@OFFSET_BY_TIME.with_tags("consume")
async def find_offset_by_time(call: Call) -> CursorPlace:
    """Return the first such offset; the high watermark when every message is older."""
    asked = read_call(call, OffsetByTime)
    runtime = current()
    require_topic_client(call, runtime, topic=asked.topic, token=asked.token)
    replica = runtime.partition(asked.topic, asked.partition)
    await runtime.engine.read_barrier(replica.spec.group_id, timeout_ms=DEFAULT_TIMEOUT_MS)
    offset = await offset_by_time(runtime=runtime, replica=replica, timestamp=asked.timestamp)
    spec = replica.spec
    return CursorPlace(topic=spec.topic, partition=spec.partition, offset=offset)


async def _readable(
    runtime: BrokerRuntime, replica: Replica, fetched: FetchedBatches, start: int
) -> tuple[MessagesRead, int]:
    """Return the decoded messages from the offset on, as many as fit, and what they take in memory.

    Raises:
        CorruptBatch: the first batch is damaged on this replica; a later damaged one ends the
            answer.
        InvalidRequest: the package of its codec is not installed here.
    """
    messages: list[tuple[int, Record]] = []
    position, corrupt, size_bytes = start, 0, 0
    for stored in fetched.batches:
        try:
            batch = await decode(runtime=runtime, replica=replica, batch=stored)
        except InvalidRequest:
            if position == start:
                raise
            break
        if batch is None:
            corrupt += stored.end - position
        else:
            messages += [
                (offset, record)
                for offset, record in enumerate(batch.records, batch.base_offset)
                if offset >= position
            ]
            size_bytes += batch.size_bytes
        position = stored.end
        if size_bytes > MAX_FETCH_BYTES:
            break
    return MessagesRead(messages, position, corrupt), size_bytes


async def _messages(
    runtime: BrokerRuntime, readable: MessagesRead, replica: Replica, *, binary: bool
) -> list[Message]:
    spec = replica.spec
    found = readable.messages
    make = partial(
        message_answers, found, topic=spec.topic, partition=spec.partition, binary=binary
    )
    return make() if len(found) <= AT_ONCE_MAX else await runtime.decoding.beside(make)


def _framed(fetched: FetchedBatches) -> bytes:
    return frame_batches((batch.base_offset, batch.data) for batch in fetched.batches)


def _headers(fetched: FetchedBatches) -> dict[str, str]:
    return {header: str(getattr(fetched, name)) for name, header in BATCH_HEADERS.items()}


class FetchApi(ApiView):
    """Reads committed messages from any replica, decoded or as record batches."""

    description = FETCH.description
    get = served_by(fetch)
    post = served_by(fetch_several)


class OffsetByTimeApi(ApiView):
    """The first offset of a partition led here that was appended at or after a time."""

    description = OFFSET_BY_TIME.description
    get = served_by(find_offset_by_time)
