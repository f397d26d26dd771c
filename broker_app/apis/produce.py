"""POST /producer/produce."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from broker_app.access import PRODUCER, admit_entry, require_client
from broker_app.client_origins import Table
from broker_app.runtime import current, state_of
from broker_app.services.produce import (
    append_at_once,
    batch_produce,
    few_messages,
    messages_produce,
    small_batch,
)
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
    from http_base.calls import Answered, Call
    from raft_app.engine.replica import Replica


AT_ONCE_TIMEOUT_MS_MIN = 1_000
"""What has less time to be stored ends to the millisecond, which costs a timer of its own."""


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
    asked, replica = _asked(call)
    if isinstance(asked, ProduceBatch):
        appended = await batch_produce(
            runtime=current(),
            replica=replica,
            producer_id=asked.producer_id,
            batch=call.data,
            timeout_ms=asked.timeout_ms,
        )
    else:
        appended = await messages_produce(
            runtime=current(), replica=replica, produce=asked, now_ms=time.time_ns() // 1_000_000
        )
    return _answer(replica, appended)


def produce_at_once(call: Call, answered: Answered) -> bool:
    """Do what `produce` does, where nothing but the quorum has to be waited for.

    Raises: what `produce` raises before anything is done.
    """
    asked, replica = _asked(call)
    if isinstance(asked, ProduceBatch):
        request = small_batch(call.data, asked.producer_id)
    else:
        request = few_messages(asked, time.time_ns() // 1_000_000)
    if request is None or asked.timeout_ms < AT_ONCE_TIMEOUT_MS_MIN:
        return False

    def told(outcome: AppendResult | BaseException) -> None:
        if isinstance(outcome, BaseException):
            answered(outcome)
        else:
            answered(_answer(replica, outcome))

    append_at_once(current(), replica, request, asked.timeout_ms, told=told)
    return True


def _asked(call: Call) -> tuple[Produce | ProduceBatch, Replica]:
    """Read a call, check who makes it, and find the partition.

    Raises:
        QueueError: what `_admit` raises, or the input is malformed.
    """
    batch = call.data
    if isinstance(batch, bytes):
        of_batch = read_call(call, ProduceBatch)
        replica = admit_batch(call, of_batch)
        is_new = not state_of(replica).knows_producer(of_batch.producer_id)
        if is_new and read_header(batch).sequenced:
            admit_entry(call, current(), Table.PRODUCERS, replica, name=of_batch.producer_id)
        return of_batch, replica
    asked = read_call(call, Produce)
    if asked.partition is None or asked.partition_key is not None:
        raise InvalidRequest(
            "a broker needs the partition; managers take partition_key, or neither",
            field="partition",
        )
    replica = _admit(call, asked, asked.partition)
    if asked.base_sequence is not None:
        admit_entry(call, current(), Table.PRODUCERS, replica, name=asked.producer_id)
    return asked, replica


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

    post = served_by(produce, at_once=produce_at_once)
