"""POST /producer/produce."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from broker_app.access import PRODUCER, admit_entry, require_client
from broker_app.client_origins import Table
from broker_app.runtime import current, state_of
from broker_app.services.produce import batch_produce, messages_produce
from http_base.access import PRODUCING
from http_base.apidoc import CLIENT_TOKEN, describe
from http_base.calls import read_call
from http_base.views import ApiView, served_by
from myqueue.contract.answers import Appended
from myqueue.contract.errors import InvalidRequest
from myqueue.contract.inputs import Produce, ProduceBatch
from myqueue.contract.records import read_header

if TYPE_CHECKING:
    from broker_app.partition.commands import AppendResult
    from http_base.calls import Call
    from raft_app.engine.replica import Replica


@describe(
    summary="Append messages to a partition",
    access=PRODUCING,
    input=Produce,
    token=CLIENT_TOKEN,
    needs=["partition"],
    omits=["partition_key"],
    answer=Appended(partition=0, base_offset=41, count=1, term=3),
    tags=["produce"],
    batches=True,
)
async def produce(call: Call) -> Appended:
    """Append the messages, or the record batch that is the body, as one batch."""
    batch = call.data
    if isinstance(batch, bytes):
        of_batch = read_call(call, ProduceBatch)
        replica = admit_batch(call, of_batch)
        is_new = not state_of(replica).knows_producer(of_batch.producer_id)
        if is_new and read_header(batch).sequenced:
            admit_entry(call, current(), Table.PRODUCERS, replica, name=of_batch.producer_id)
        appended = await batch_produce(
            runtime=current(),
            replica=replica,
            producer_id=of_batch.producer_id,
            batch=batch,
            timeout_ms=of_batch.timeout_ms,
        )
        return _answer(replica, appended)
    asked = read_call(call, Produce)
    if asked.partition is None or asked.partition_key is not None:
        raise InvalidRequest(
            "a broker needs the partition; managers take partition_key, or neither",
            field="partition",
        )
    replica = _admit(call, asked, asked.partition)
    if asked.base_sequence is not None:
        admit_entry(call, current(), Table.PRODUCERS, replica, name=asked.producer_id)
    appended = await messages_produce(
        runtime=current(), replica=replica, produce=asked, now_ms=time.time_ns() // 1_000_000
    )
    return _answer(replica, appended)


def admit_batch(call: Call, asked: ProduceBatch) -> Replica:
    """Check the producer of a batch, then find the partition; the batch is not needed.

    Raises:
        QueueError: what `_admit` raises.
    """
    return _admit(call, asked, asked.partition)


def _answer(replica: Replica, appended: AppendResult) -> Appended:
    return Appended(
        partition=replica.spec.partition,
        base_offset=appended.base_offset,
        count=appended.record_count,
        term=replica.node.term,
    )


def _admit(call: Call, asked: Produce | ProduceBatch, partition: int) -> Replica:
    """Check the producer, then find the partition.

    Raises:
        UnauthorizedException: the token is not this producer's, or overdue.
        InvalidRequest: the producer's id is not above 0.
        PartitionNotFound: this broker has no replica of the partition.
    """
    runtime = current()
    if asked.producer_id <= 0:
        raise InvalidRequest("producer_id must be above 0", field="producer_id")
    require_client(
        call,
        runtime,
        kind=PRODUCER,
        client_id=asked.producer_id,
        topic=asked.topic,
        token=asked.token,
    )
    return runtime.partition(asked.topic, partition)


class ProduceApi(ApiView):
    """Appends messages, or a record batch as it is, to a partition that this broker leads.

    The answer leaves when a quorum has stored them. With `producer_epoch` and `base_sequence`, or
    with a `request_id`, a retry is recognised and gets the offsets of the first try.
    """

    post = served_by(produce)
