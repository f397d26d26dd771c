"""Producing: a batch becomes an entry of the partition's log."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import UnsetType

from broker_app.decoding import AT_ONCE_MAX, check_small
from broker_app.partition.commands import AppendBatch, AppendResult
from broker_app.runtime import state_of
from http_base.request_marks import CURRENT
from myqueue.contract.errors import (
    CommitTimeout,
    InvalidRequest,
    OutOfOrderSequence,
    ProducerFenced,
    QueueError,
    UnknownProducer,
)
from myqueue.contract.inputs import records_of
from myqueue.contract.records import encode_batch, read_header, request_digest
from myqueue.contract.tracing import placed

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_app.runtime import BrokerRuntime
    from myqueue.contract.inputs import Produce
    from myqueue.contract.records import BatchHeader
    from myqueue.contract.tracing import TraceContext
    from raft_app.engine.replica import Replica


async def messages_produce(
    *, runtime: BrokerRuntime, replica: Replica, produce: Produce, now_ms: int
) -> AppendResult:
    """Append the messages of a call as one batch: all of them, contiguous, or none.

    With a sequence, retries are recognised by it; otherwise by the request id, if there is one.

    Args:
        runtime: of this broker.
        replica: the partition.
        produce: the call, its producer checked.
        now_ms: timestamp for messages without one, milliseconds since 1970.

    Raises:
        InvalidRequest: a field is wrong.
        QueueError: what `batch_produce` raises.
    """
    request = few_messages(produce, now_ms)
    if request is None:
        batch = await runtime.decoding.beside(partial(_encoded, produce, now_ms, _place()))
        # Its messages were checked one by one, and nobody else encoded it.
        request = AppendBatch(batch, read_header(batch))
    return await _append(runtime, replica, request, produce.timeout_ms)


def few_messages(produce: Produce, now_ms: int) -> AppendBatch | None:
    """Return the messages of a call as a request; None when they are many.

    Args:
        produce: the call, its producer checked.
        now_ms: timestamp for messages without one, milliseconds since 1970.

    Raises:
        InvalidRequest | MessageTooLarge: a field is wrong.
    """
    if not (isinstance(produce.messages, UnsetType) or len(produce.messages) <= AT_ONCE_MAX):
        return None
    batch = _encoded(produce, now_ms, _place())
    return AppendBatch(batch, read_header(batch))


def small_batch(batch: bytes, producer_id: int) -> AppendBatch | None:
    """Return a batch as a request, verified down to the last message; None when it is large.

    Raises:
        CorruptBatch | InvalidRequest: it is malformed, or of another producer than the call.
    """
    header = check_small(batch)
    if header is None:
        return None
    _check_producer(header, producer_id)
    return AppendBatch(batch, header)


def append_at_once(
    runtime: BrokerRuntime,
    replica: Replica,
    request: AppendBatch,
    timeout_ms: int,
    *,
    told: Callable[[AppendResult | BaseException], None],
) -> None:
    """Append a batch and tell what came of it; one that fits in sequence, or has none.

    One without a sequence leaves together with those of others: its producer has no batches after
    it that would have to wait for their turn.

    Args:
        runtime: of this broker.
        replica: the partition.
        request: verified.
        timeout_ms: for a quorum to store it.
        told: is given the result, or what `batch_produce` raises once the batch was proposed; if it
            has no sequence, also what it raises before.

    Raises:
        QueueError: it was refused before it was proposed; `batch_produce` says whether it waits for
            its predecessor, or whether this replica leads at all.
    """
    group_id, header = replica.spec.group_id, request.header

    def outcome(appended: AppendResult, error: BaseException | None) -> None:
        if error is None:
            told(appended)  # first: somebody waits for that
            _count(runtime, replica, request, appended)
            return
        if header.sequenced and not isinstance(error, CommitTimeout):
            runtime.out_of_order.predecessor_refused(group_id, header)
        told(error)

    if header.sequenced:
        runtime.engine.begin(group_id, request, outcome, timeout_ms=timeout_ms)
    else:
        _append_with_others(
            runtime,
            partial(runtime.engine.begin, group_id, request, timeout_ms=timeout_ms),
            outcome,
        )


def _append_with_others(
    runtime: BrokerRuntime,
    begin: Callable[[Callable[[Any, BaseException | None], None]], None],
    outcome: Callable[[Any, BaseException | None], None],
) -> None:
    """Append in a moment, when others do; the outcome is told also where it is refused.

    Args:
        runtime: of this broker.
        begin: proposes; is given what is to be told the outcome.
        outcome: is told it.
    """
    gathering, mark = runtime.gathering, CURRENT.get()

    def leave(left_s: float) -> None:
        def answered(result: Any, error: BaseException | None) -> None:
            gathering.answered(left_s)
            outcome(result, error)

        CURRENT.set(mark)  # whoever came last may be the one who lets all leave
        try:
            begin(answered)
        except Exception as error:  # noqa: BLE001 - the edge: the others leave all the same
            answered(None, error)

    gathering.add(leave)


def _place() -> TraceContext | None:
    """Return where the request that is answered belongs in a trace."""
    mark = CURRENT.get()
    return None if mark is None else mark.place


def _encoded(produce: Produce, now_ms: int, place: TraceContext | None) -> bytes:
    """Return the messages of a call as a batch; those that do not say it belong to its trace.

    Raises:
        InvalidRequest | MessageTooLarge: one of them is wrong.
    """
    epoch, sequence = _sequence_of(produce)
    request_id = produce.request_id
    records = records_of(produce, now_ms)
    if place is not None:
        records = [placed(record, place) for record in records]
    return encode_batch(
        records,
        producer_id=produce.producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
        request_digest=request_digest(request_id) if request_id and sequence < 0 else b"",
    )


async def batch_produce(
    *, runtime: BrokerRuntime, replica: Replica, producer_id: int, batch: bytes, timeout_ms: int
) -> AppendResult:
    """Append a batch as it is.

    A sequenced batch that came before its predecessor waits a moment for it. That a sequence does
    not fit is said only after this replica was confirmed as the leader: a deposed one knows less.

    Args:
        runtime: of this broker.
        replica: the partition.
        producer_id: whose call this is.
        batch: encoded; verified here down to the last message, so that every reader can read it.
        timeout_ms: for a quorum to store it.

    Raises:
        CorruptBatch | InvalidRequest: the batch is malformed, or of another producer. `record`, the
            number of a message from 0, and `field` say where, when it is inside a message.
        NotLeader | NoLeader | Overloaded | DiskFull: refused before it was proposed.
        UnknownProducer | ProducerFenced | OutOfOrderSequence: the sequence does not fit.
        CommitTimeout: no quorum in time; the outcome is unknown.
    """
    header = await runtime.decoding.check(batch)
    _check_producer(header, producer_id)
    return await _append(runtime, replica, AppendBatch(batch, header), timeout_ms)


async def _append(
    runtime: BrokerRuntime, replica: Replica, request: AppendBatch, timeout_ms: int
) -> AppendResult:
    header = request.header
    group_id = replica.spec.group_id
    if not header.sequenced:
        appended = await runtime.engine.propose(group_id, request, timeout_ms=timeout_ms)
    else:
        try:
            appended = await _append_in_sequence(runtime, replica, request, timeout_ms)
        except CommitTimeout:
            raise
        except QueueError:
            runtime.out_of_order.predecessor_refused(group_id, header)
            raise
    assert isinstance(appended, AppendResult), appended
    _count(runtime, replica, request, appended)
    return appended


def _count(
    runtime: BrokerRuntime, replica: Replica, request: AppendBatch, appended: AppendResult
) -> None:
    traffic = runtime.traffic[replica.spec.topic]
    traffic.messages_produced += appended.record_count
    traffic.batches_produced += 1
    traffic.produced_bytes += len(request.batch)
    runtime.traffic.batch_messages.add(appended.record_count)
    runtime.traffic.batch_bytes.add(len(request.batch))


async def _append_in_sequence(
    runtime: BrokerRuntime, replica: Replica, request: AppendBatch, timeout_ms: int
) -> AppendResult:
    engine, group_id = runtime.engine, replica.spec.group_id
    deadline = asyncio.get_running_loop().time() + runtime.limits.sequence_park_ms / 1000
    state, header = state_of(replica), request.header
    is_confirmed = False
    while True:
        try:
            appended: AppendResult = await engine.propose(group_id, request, timeout_ms=timeout_ms)
        except ProducerFenced:
            if is_confirmed:
                raise
        except (OutOfOrderSequence, UnknownProducer):
            if is_confirmed:
                raise
            if await runtime.out_of_order.wait(state, header, len(request.batch), deadline):
                continue
        else:
            return appended
        # What refused it may have been what a deposed leader knew: look again once confirmed.
        await engine.read_barrier(group_id, timeout_ms=timeout_ms)
        is_confirmed = True


def _sequence_of(produce: Produce) -> tuple[int, int]:
    """Return (epoch, base sequence), (0, -1) for none."""
    epoch, sequence = produce.producer_epoch, produce.base_sequence
    return (0, -1) if epoch is None or sequence is None else (epoch, sequence)


def _check_producer(header: BatchHeader, producer_id: int) -> None:
    """Refuse a batch that would be deduplicated under another producer's id."""
    deduplicated = header.base_sequence >= 0 or bool(header.request_digest)
    if header.producer_id != producer_id and (header.producer_id or deduplicated):
        raise InvalidRequest(
            f"the batch is of producer {header.producer_id}, the call of {producer_id}",
            field="producer_id",
        )
