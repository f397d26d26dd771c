"""POST /messages/receive, /messages/ack, /messages/nack and /messages/extend: queue workers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import UNSET

from broker_app.access import CONSUMER, admit_entry, require_right, require_topic_client
from broker_app.client_origins import Table
from broker_app.partition.commands import SettleMessages, Start
from broker_app.runtime import current
from broker_app.services.work import (
    ReceiveCall,
    messages_receive,
    messages_settle,
    several_look,
)
from http_base.access import PRODUCE
from http_base.calls import names_several, read_call
from http_base.messages import as_asked
from http_base.operations import ACK, EXTEND, NACK, RECEIVE
from http_base.views import ApiView, served_by
from myqueue.contract.answers import (
    DeliveredMessage,
    PartitionReceived,
    Settled,
    SettledList,
    SeveralWaiting,
    WorkPart,
)
from myqueue.contract.errors import InvalidRequest, QueueError
from myqueue.contract.group_inputs import (
    DEAD_LETTER_SUFFIX,
    DEFAULT_VISIBILITY_MS,
    Receive,
    ReceiveSeveral,
    Settle,
    check_group_name,
)
from myqueue.contract.inputs import (
    check_topic_name,
)
from myqueue.contract.rules.work import SettleKind, format_receipt, parse_receipts

if TYPE_CHECKING:
    from broker_app.services.work import ReceivedRecord
    from http_base.calls import Call
    from raft_app.engine.replica import Replica


@RECEIVE
async def receive(call: Call) -> PartitionReceived | SeveralWaiting:
    """Receive messages; with `wait_ms` wait for one; `max_messages` 0 waits and takes none."""
    return await (_look_at_several(call) if names_several(call) else _receive(call))


async def _look_at_several(call: Call) -> SeveralWaiting:
    asked = read_call(call, ReceiveSeveral)
    group, runtime = check_group_name(asked.group), current()
    parts: list[WorkPart] = []
    wanted: list[Replica] = []
    for one in asked.partitions:
        try:
            token = asked.tokens.get(one.topic, asked.token)
            require_topic_client(call, runtime, topic=one.topic, token=token, kind=CONSUMER)
            wanted.append(runtime.partition(one.topic, one.partition))
        except QueueError as error:
            parts.append(_waiting(one.topic, one.partition, error))
    if wanted:
        found = await several_look(
            runtime=runtime,
            wanted=wanted,
            group=group,
            wait_ms=0 if parts else asked.wait_ms,
            timeout_ms=asked.timeout_ms,
        )
        parts += [_waiting(one.spec.topic, one.spec.partition, error) for one, error in found]
    return SeveralWaiting(partitions=parts)


def _waiting(topic: str, partition: int, error: QueueError | None) -> WorkPart:
    if error is None:
        return WorkPart(topic=topic, partition=partition)
    return WorkPart(topic=topic, partition=partition, error=error.to_body())


async def _receive(call: Call) -> PartitionReceived:
    asked = read_call(call, Receive)
    receiving = _receive_of(asked)
    replica, client_id = _admit(call, asked)
    if client_id and receiving.dead_letter_topic not in ("", f"{asked.topic}{DEAD_LETTER_SUFFIX}"):
        require_right(
            call,
            current(),
            right=PRODUCE,
            topic=receiving.dead_letter_topic,
            token=asked.token,
        )
    admit_entry(call, current(), Table.GROUPS, replica, name=asked.group)
    receiving = replace(receiving, client_id=client_id)
    received = await messages_receive(runtime=current(), replica=replica, call=receiving)
    binary = call.takes_msgpack
    return PartitionReceived(
        topic=replica.spec.topic,
        partition=replica.spec.partition,
        group=receiving.group,
        messages=[_message(replica, one, binary=binary) for one in received.deliveries],
        missed=received.missed,
        corrupt=received.corrupt,
    )


@ACK
async def ack(call: Call) -> SettledList:
    """Acknowledge the messages of some receipts."""
    return await _settle(call, SettleKind.ACK)


@NACK
async def nack(call: Call) -> SettledList:
    """Give the messages of some receipts back."""
    return await _settle(call, SettleKind.NACK)


@EXTEND
async def extend(call: Call) -> SettledList:
    """Keep the messages of some receipts invisible for longer, from now on."""
    return await _settle(call, SettleKind.EXTEND)


async def _settle(call: Call, kind: SettleKind) -> SettledList:
    """Settle the messages of some receipts in the way that the call names."""
    settle = read_call(call, Settle)
    command = _command_of(settle, kind)
    replica, _ = _admit(call, settle)
    outcomes = await messages_settle(
        runtime=current(), replica=replica, command=command, timeout_ms=settle.timeout_ms
    )
    results = [
        Settled(receipt=receipt, done=outcome.done, reason=outcome.reason or UNSET)
        for receipt, outcome in zip(settle.receipts, outcomes, strict=True)
    ]
    return SettledList(results=results)


def _receive_of(asked: Receive) -> ReceiveCall:
    """Return the receive that a call asks for.

    Raises:
        InvalidRequest: a field is wrong.
    """
    return ReceiveCall(
        group=check_group_name(asked.group),
        max_messages=asked.max_messages,
        visibility_ms=asked.visibility_ms,
        delivery_limit=asked.delivery_limit,
        dead_letter_topic=_dead_letter_topic(asked),
        start=Start(asked.start),
        wait_ms=asked.wait_ms,
        timeout_ms=asked.timeout_ms,
    )


def _dead_letter_topic(asked: Receive) -> str:
    """Return the dead-letter topic, empty for the default name.

    Raises:
        InvalidRequest: it is no topic name, or the topic of the messages.
    """
    name = asked.dead_letter_topic
    if name == asked.topic:
        raise InvalidRequest(
            "dead messages must not go back to the topic that they are of",
            field="dead_letter_topic",
        )
    try:
        check_topic_name(f"{asked.topic}{DEAD_LETTER_SUFFIX}" if name is None else name)
    except InvalidRequest as error:
        raise InvalidRequest(
            f"name a dead_letter_topic: {error.message}", field="dead_letter_topic"
        ) from error
    return name or ""


def _command_of(settle: Settle, kind: SettleKind) -> SettleMessages:
    """Return the command for a call of a worker.

    Raises:
        InvalidRequest: a field is wrong, or of another of the three calls.
    """
    group = check_group_name(settle.group)
    delays = {
        SettleKind.ACK: 0,
        SettleKind.NACK: settle.delay_ms or 0,
        SettleKind.EXTEND: _or_default(settle.visibility_ms),
    }
    for name, value, of in (
        ("delay_ms", settle.delay_ms, SettleKind.NACK),
        ("visibility_ms", settle.visibility_ms, SettleKind.EXTEND),
    ):
        if value is not None and kind is not of:
            raise InvalidRequest(f"{name} belongs to {of}, not to {kind}", field=name)
    try:
        receipts = parse_receipts(settle.receipts)
    except ValueError as error:
        raise InvalidRequest(
            f"{str(error)[:80]!r} is no receipt that a receive gave", field="receipts"
        ) from error
    return SettleMessages(group, kind, receipts, delays[kind])


def _or_default(visibility_ms: int | None) -> int:
    return DEFAULT_VISIBILITY_MS if visibility_ms is None else visibility_ms


def _admit(call: Call, asked: Receive | Settle) -> tuple[Replica, int]:
    """Check the consumer, then find the partition.

    Returns:
        The partition, and the consumer's id.

    Raises:
        UnauthorizedException: the token is not a consumer's of this topic, or overdue.
        PartitionNotFound: this broker has no replica of the partition.
    """
    runtime = current()
    client_id = require_topic_client(
        call, runtime, topic=asked.topic, token=asked.token, kind=CONSUMER
    )
    return runtime.partition(asked.topic, asked.partition), client_id


def _message(replica: Replica, delivery: ReceivedRecord, *, binary: bool) -> DeliveredMessage:
    record, receipt, spec = delivery.record, delivery.receipt, replica.spec
    delivered = DeliveredMessage(
        topic=spec.topic,
        partition=spec.partition,
        offset=receipt.offset,
        timestamp=record.timestamp,
        message=record.value,
        key=record.key,
        headers=record.headers,
        receipt=format_receipt(receipt),
        delivery_count=receipt.attempt,
    )
    return as_asked(delivered, binary=binary)


class ReceiveApi(ApiView):
    """Delivers messages of a partition led here to one of a group's workers."""

    description = RECEIVE.description
    post = served_by(receive)


class AckApi(ApiView):
    """Settles messages."""

    description = ACK.description
    post = served_by(ack)


class NackApi(ApiView):
    """Gives messages back."""

    description = NACK.description
    post = served_by(nack)


class ExtendApi(ApiView):
    """Keeps messages invisible to other workers."""

    description = EXTEND.description
    post = served_by(extend)
