"""GET /fetch, GET /offsets/by-time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.access import require_topic_client
from broker_app.log_reading import MessagesRead, decode
from broker_app.runtime import current
from broker_app.selectors.fetch import batches_fetch
from broker_app.selectors.offsets import offset_by_time
from http_base.calls import StoredBatches, read_call
from http_base.messages import message_answer
from http_base.operations import FETCH, OFFSET_BY_TIME
from http_base.views import ApiView, served_by
from myqueue.contract.answers import CursorPlace, PartitionFetched
from myqueue.contract.errors import InvalidRequest
from myqueue.contract.inputs import (
    BATCH_HEADERS,
    DEFAULT_TIMEOUT_MS,
    MAX_FETCH_BYTES,
    Fetch,
    OffsetByTime,
)
from myqueue.contract.records import frame_batches

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from broker_app.selectors.fetch import FetchedBatches
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
        body = frame_batches((batch.base_offset, batch.data) for batch in fetched.batches)
        return StoredBatches(body, _headers(fetched))
    readable = await _readable(runtime, replica, fetched, asked)
    spec, binary = replica.spec, call.takes_msgpack
    return PartitionFetched(
        topic=spec.topic,
        partition=spec.partition,
        messages=[
            message_answer(
                record,
                topic=spec.topic,
                partition=spec.partition,
                offset=offset,
                binary=binary,
            )
            for offset, record in readable.messages
        ],
        corrupt=readable.corrupt,
        next_offset=readable.end,
        high_watermark=fetched.high_watermark,
        log_start_offset=fetched.log_start_offset,
    )


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
    runtime: BrokerRuntime, replica: Replica, fetched: FetchedBatches, asked: Fetch
) -> MessagesRead:
    """Return the decoded messages from the offset on, as many as fit into one answer.

    Raises:
        CorruptBatch: the first batch is damaged on this replica; a later damaged one ends the
            answer.
        InvalidRequest: the package of its codec is not installed here.
    """
    messages: list[tuple[int, Record]] = []
    position, corrupt, size_bytes = asked.offset, 0, 0
    for stored in fetched.batches:
        try:
            batch = await decode(runtime=runtime, replica=replica, batch=stored)
        except InvalidRequest:
            if position == asked.offset:
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
    return MessagesRead(messages, position, corrupt)


def _headers(fetched: FetchedBatches) -> dict[str, str]:
    return {header: str(getattr(fetched, name)) for name, header in BATCH_HEADERS.items()}


class FetchApi(ApiView):
    """Reads committed messages from any replica, decoded or as record batches."""

    description = FETCH.description
    get = served_by(fetch)


class OffsetByTimeApi(ApiView):
    """The first offset of a partition led here that was appended at or after a time."""

    description = OFFSET_BY_TIME.description
    get = served_by(find_offset_by_time)
