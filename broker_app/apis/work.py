"""POST /messages/receive, /messages/ack, /messages/nack and /messages/extend: queue workers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from msgspec import UNSET

from broker_app.access import CONSUMER, require_topic_client
from broker_app.partition.commands import SettleMessages, Start
from broker_app.runtime import current
from broker_app.services.work import ReceiveCall, messages_receive, messages_settle
from http_base.messages import as_asked
from http_base.operations import ACK, EXTEND, NACK, RECEIVE
from http_base.views import ApiView, wants_msgpack
from myqueue.contract.answers import DeliveredMessage, PartitionReceived, Settled, SettledList
from myqueue.contract.errors import InvalidRequest
from myqueue.contract.group_inputs import (
    DEAD_LETTER_SUFFIX,
    DEFAULT_VISIBILITY_MS,
    Receive,
    Settle,
    check_group_name,
)
from myqueue.contract.inputs import (
    check_topic_name,
)
from myqueue.contract.rules.work import SettleKind, format_receipt, parse_receipts

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response

    from broker_app.services.work import ReceivedRecord
    from raft_app.engine.replica import Replica


class ReceiveApi(ApiView):
    """Delivers messages of a partition led here to one of a group's workers."""

    description = RECEIVE.description

    @RECEIVE
    async def post(self, request: Request) -> Response:
        """Receive; with `wait_ms`, once there is a message; with `max_messages` 0 just wait."""
        receive = self.read(request, Receive)
        call = _call_of(receive)
        replica, client_id = _admit(request, receive)
        call = replace(call, client_id=client_id)
        received = await messages_receive(runtime=current(), replica=replica, call=call)
        binary = wants_msgpack(request)
        return self.respond(
            PartitionReceived(
                topic=replica.spec.topic,
                partition=replica.spec.partition,
                group=call.group,
                messages=[_message(replica, one, binary=binary) for one in received.deliveries],
                missed=received.missed,
                corrupt=received.corrupt,
            )
        )


class _SettleApi(ApiView):
    """What a worker says of messages that it received."""

    kind: ClassVar[SettleKind]

    async def _settle(self, request: Request) -> Response:
        settle = self.read(request, Settle)
        command = _command_of(settle, self.kind)
        replica, _ = _admit(request, settle)
        outcomes = await messages_settle(
            runtime=current(), replica=replica, command=command, timeout_ms=settle.timeout_ms
        )
        results = [
            Settled(receipt=receipt, done=outcome.done, reason=outcome.reason or UNSET)
            for receipt, outcome in zip(settle.receipts, outcomes, strict=True)
        ]
        return self.respond(SettledList(results=results))


class AckApi(_SettleApi):
    """Settles messages."""

    kind = SettleKind.ACK
    description = ACK.description

    @ACK
    async def post(self, request: Request) -> Response:
        """Acknowledge them."""
        return await self._settle(request)


class NackApi(_SettleApi):
    """Gives messages back."""

    kind = SettleKind.NACK
    description = NACK.description

    @NACK
    async def post(self, request: Request) -> Response:
        """Give them back."""
        return await self._settle(request)


class ExtendApi(_SettleApi):
    """Keeps messages invisible to other workers."""

    kind = SettleKind.EXTEND
    description = EXTEND.description

    @EXTEND
    async def post(self, request: Request) -> Response:
        """Keep the messages of some receipts invisible for longer, from now on."""
        return await self._settle(request)


def _call_of(receive: Receive) -> ReceiveCall:
    """Return the checked call.

    Raises:
        InvalidRequest: a field is wrong.
    """
    return ReceiveCall(
        group=check_group_name(receive.group),
        max_messages=receive.max_messages,
        visibility_ms=receive.visibility_ms,
        delivery_limit=receive.delivery_limit,
        dead_letter_topic=_dead_letter_topic(receive),
        start=Start(receive.start),
        wait_ms=receive.wait_ms,
        timeout_ms=receive.timeout_ms,
    )


def _dead_letter_topic(receive: Receive) -> str:
    """Return where dead messages go, empty for the usual name.

    Raises:
        InvalidRequest: it is no topic name, or the topic of the messages.
    """
    name = receive.dead_letter_topic
    if name == receive.topic:
        raise InvalidRequest(
            "dead messages must not go back to the topic that they are of",
            field="dead_letter_topic",
        )
    try:
        check_topic_name(f"{receive.topic}{DEAD_LETTER_SUFFIX}" if name is None else name)
    except InvalidRequest as error:
        raise InvalidRequest(
            f"name a dead_letter_topic: {error.message}", field="dead_letter_topic"
        ) from error
    return name or ""


def _command_of(settle: Settle, kind: SettleKind) -> SettleMessages:
    """Return what to replicate.

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


def _admit(request: Request, call: Receive | Settle) -> tuple[Replica, int]:
    """Let registered consumers of the topic pass, then find the partition.

    Returns:
        The partition, and the consumer's id.

    Raises:
        UnauthorizedException: the token is not a consumer's of this topic, or overdue.
        PartitionNotFound: this broker has no replica of the partition.
    """
    runtime = current()
    client_id = require_topic_client(
        request, runtime, topic=call.topic, token=call.token, kind=CONSUMER
    )
    return runtime.partition(call.topic, call.partition), client_id


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
