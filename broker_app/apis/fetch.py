"""GET /fetch, GET /offsets/by-time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.access import require_topic_client
from broker_app.log_reading import MessagesRead, decode
from broker_app.runtime import current
from broker_app.selectors.fetch import batches_fetch
from broker_app.selectors.offsets import offset_by_time
from http_base.messages import message_answer
from http_base.operations import FETCH, OFFSET_BY_TIME
from http_base.views import ApiView, wants_batches, wants_msgpack
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
    from rest_framework.request import Request
    from rest_framework.response import Response

    from broker_app.runtime import BrokerRuntime
    from broker_app.selectors.fetch import FetchedBatches
    from myqueue.contract.records import Record
    from raft_app.engine.replica import Replica


class FetchApi(ApiView):
    """Reads committed messages of any replica; unless they are wanted as stored, it decodes."""

    description = FETCH.description

    @FETCH.of_chapter("consume")
    async def get(self, request: Request) -> Response:
        """Return committed messages from an offset on, or wait for the first one."""
        fetch = self.read(request, Fetch)
        runtime = current()
        require_topic_client(request, runtime, topic=fetch.topic, token=fetch.token)
        replica = runtime.partition(fetch.topic, fetch.partition)
        fetched = await batches_fetch(
            runtime=runtime,
            replica=replica,
            offset=fetch.offset,
            max_bytes=fetch.max_bytes,
            wait_ms=fetch.wait_ms,
        )
        if wants_batches(request):
            body = frame_batches((batch.base_offset, batch.data) for batch in fetched.batches)
            return self.respond_batches(body, _headers(fetched))
        readable = await _readable(runtime, replica, fetched, fetch)
        spec, binary = replica.spec, wants_msgpack(request)
        return self.respond(
            PartitionFetched(
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
        )


class OffsetByTimeApi(ApiView):
    """The first offset of a partition led here that was appended at or after a time."""

    description = OFFSET_BY_TIME.description

    @OFFSET_BY_TIME.of_chapter("consume")
    async def get(self, request: Request) -> Response:
        """Search; the high watermark when everything is older."""
        wanted = self.read(request, OffsetByTime)
        runtime = current()
        require_topic_client(request, runtime, topic=wanted.topic, token=wanted.token)
        replica = runtime.partition(wanted.topic, wanted.partition)
        await runtime.engine.read_barrier(replica.spec.group_id, timeout_ms=DEFAULT_TIMEOUT_MS)
        offset = await offset_by_time(runtime=runtime, replica=replica, timestamp=wanted.timestamp)
        spec = replica.spec
        return self.respond(CursorPlace(topic=spec.topic, partition=spec.partition, offset=offset))


async def _readable(
    runtime: BrokerRuntime, replica: Replica, fetched: FetchedBatches, fetch: Fetch
) -> MessagesRead:
    """Return the messages from the offset on; fewer than fetched when they were well compressed.

    Raises:
        CorruptBatch: the first batch is damaged on this replica; one behind it ends what is
            returned.
        InvalidRequest: the package of its codec is missing here.
    """
    messages: list[tuple[int, Record]] = []
    position, corrupt, size_bytes = fetch.offset, 0, 0
    for stored in fetched.batches:
        try:
            batch = await decode(runtime=runtime, replica=replica, batch=stored)
        except InvalidRequest:
            if position == fetch.offset:
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
