"""POST /messages/receive, /messages/ack, /messages/nack and /messages/extend: queue workers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from broker_app.access import CONSUMER, require_topic_client
from broker_app.partition.commands import SettleMessages, Start
from broker_app.runtime import current
from broker_app.services.work import ReceiveCall, messages_receive, messages_settle
from http_base.answers import Received, SettledList
from http_base.apidoc import CLIENT_TOKEN, describe
from http_base.messages import message_fields
from http_base.views import AsyncAPIView, wants_msgpack
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

    from broker_app.services.work import DeliveredMessage
    from raft_app.engine.replica import Replica

_GROUP_SAMPLE = {"group": "mailers"}
_GROUP = {"topic": "logs", "partition": 0, **_GROUP_SAMPLE}
_RECEIPT = "17.41.1"
_MESSAGE = {
    "topic": "logs",
    "partition": 0,
    "offset": 41,
    "timestamp": 1_760_000_000_000,
    "message": "user 17 logged in",
    "key": None,
    "headers": None,
    "receipt": _RECEIPT,
    "delivery_count": 1,
}


class ReceiveApi(AsyncAPIView):
    """Delivers messages of a partition led here to one of a group's workers.

    Each message is invisible to the group's other workers until it is settled or its visibility
    timeout is over; then it is delivered again. After `delivery_limit` deliveries it goes to the
    dead-letter topic instead. Messages that come back precede new ones; no message at all is a
    success. `missed` says how many retention took before they were settled, `corrupt` how many were
    stepped over because nobody can decode them; each once.
    """

    @describe(
        summary="Receive messages as a worker of a group",
        input=Receive,
        returns=Received,
        token=CLIENT_TOKEN,
        sample=_GROUP_SAMPLE,
        answer={**_GROUP, "messages": [_MESSAGE], "missed": 0, "corrupt": 0},
        tags=["workers"],
    )
    async def post(self, request: Request) -> Response:
        """Receive; with `wait_ms`, once there is a message; with `max_messages` 0 just wait."""
        receive = self.read(request, Receive)
        call = _call_of(receive)
        replica, client_id = _admit(request, receive)
        call = replace(call, client_id=client_id)
        received = await messages_receive(runtime=current(), replica=replica, call=call)
        binary = wants_msgpack(request)
        return self.respond(
            {
                "topic": replica.spec.topic,
                "partition": replica.spec.partition,
                "group": call.group,
                "messages": [_message(replica, one, binary=binary) for one in received.deliveries],
                "missed": received.missed,
                "corrupt": received.corrupt,
            }
        )


class _SettleApi(AsyncAPIView):
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
            {"receipt": receipt, "done": outcome.done}
            | ({"reason": outcome.reason} if outcome.reason else {})
            for receipt, outcome in zip(settle.receipts, outcomes, strict=True)
        ]
        return self.respond({"results": results})


class AckApi(_SettleApi):
    """Settles messages: they are never delivered again to the group.

    It counts also after the visibility timeout, while no other worker received the message since.
    Again is no error (`settled`).
    """

    kind = SettleKind.ACK

    @describe(
        summary="Acknowledge messages",
        input=Settle,
        returns=SettledList,
        token=CLIENT_TOKEN,
        sample=_GROUP_SAMPLE,
        answer={"results": [{"receipt": _RECEIPT, "done": True}]},
        tags=["workers"],
    )
    async def post(self, request: Request) -> Response:
        """Acknowledge them."""
        return await self._settle(request)


class NackApi(_SettleApi):
    """Gives messages back: they are delivered again after `delay_ms`.

    One that was delivered `delivery_limit` times goes to the dead-letter topic (`dead`).
    """

    kind = SettleKind.NACK

    @describe(
        summary="Give messages back",
        input=Settle,
        returns=SettledList,
        token=CLIENT_TOKEN,
        sample=_GROUP_SAMPLE,
        answer={"results": [{"receipt": _RECEIPT, "done": True}]},
        tags=["workers"],
    )
    async def post(self, request: Request) -> Response:
        """Give them back."""
        return await self._settle(request)


class ExtendApi(_SettleApi):
    """Keeps messages invisible to other workers for `visibility_ms` from now."""

    kind = SettleKind.EXTEND

    @describe(
        summary="Extend the visibility timeout",
        input=Settle,
        returns=SettledList,
        token=CLIENT_TOKEN,
        sample=_GROUP_SAMPLE,
        answer={"results": [{"receipt": _RECEIPT, "done": False, "reason": "superseded"}]},
        tags=["workers"],
    )
    async def post(self, request: Request) -> Response:
        """Extend it."""
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
        UnauthorizedException | PartitionNotFound: as it says.
    """
    runtime = current()
    client_id = require_topic_client(
        request, runtime, topic=call.topic, token=call.token, kind=CONSUMER
    )
    return runtime.partition(call.topic, call.partition), client_id


def _message(replica: Replica, delivery: DeliveredMessage, *, binary: bool) -> dict[str, Any]:
    receipt, spec = delivery.receipt, replica.spec
    fields = message_fields(
        delivery.record,
        topic=spec.topic,
        partition=spec.partition,
        offset=receipt.offset,
        binary=binary,
    )
    return fields | {
        "receipt": format_receipt(receipt),
        "delivery_count": receipt.attempt,
    }
