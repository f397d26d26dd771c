"""GET or POST /consumer/consume, GET /size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from broker_app.access import CONSUMER, admit_entry, require_client
from broker_app.client_origins import Table
from broker_app.runtime import current
from broker_app.selectors.offsets import size_get
from broker_app.services.consume import PopCall, messages_pop, several_pop
from http_base.access import CONSUMING
from http_base.apidoc import CLIENT_TOKEN, describe
from http_base.calls import names_several, read_call
from http_base.messages import message_answers, popped_answer
from http_base.operations import MESSAGE
from http_base.views import ApiView, served_by
from myqueue.contract.answers import (
    PartitionPopped,
    PoppedMessage,
    PoppedPart,
    SeveralPopped,
    SizeLeft,
)
from myqueue.contract.errors import InvalidRequest, QueueEmpty, QueueError
from myqueue.contract.inputs import (
    Consume,
    ConsumeSeveral,
    Size,
    SizeHere,
)
from myqueue.contract.records import request_digest

if TYPE_CHECKING:
    from broker_app.services.consume import PoppedMessages
    from http_base.calls import Call
    from raft_app.engine.replica import Replica


@describe(
    summary="Pop messages of a partition",
    access=CONSUMING,
    input=Consume,
    answer=popped_answer(MESSAGE, missed=0, corrupt=0),
    other_answers=[PartitionPopped],
    token=CLIENT_TOKEN,
    needs=["partition"],
    omits=["partition_key"],
    tags=["consume"],
    query=True,
    deprecated="POST /consumer/consume",
)
async def consume_by_get(call: Call) -> PartitionPopped | PoppedMessage:
    """Do what POST does."""
    return await _consume(call)


@describe(
    summary="Pop messages of a partition",
    access=CONSUMING,
    input=Consume,
    answer=PartitionPopped(topic="logs", partition=0, messages=[MESSAGE], missed=0, corrupt=0),
    other_inputs=[ConsumeSeveral],
    other_answers=[PoppedMessage, SeveralPopped],
    token=CLIENT_TOKEN,
    needs=["partition"],
    omits=["partition_key"],
    tags=["consume"],
    sample={"max_messages": 10},
)
async def consume(call: Call) -> PartitionPopped | PoppedMessage | SeveralPopped:
    """Move the consumer's cursor over the next messages and return them.

    With a list of `partitions`, each with consumer and request id, what each of them has, or what
    the first has that gets something within `wait_ms`. Nothing was popped of those that are left
    out; one that could not be popped from has an `error`. With `max_messages` 0 nothing is popped
    at all: those are named that have something.
    """
    return await (_consume_several(call) if names_several(call) else _consume(call))


async def _consume(call: Call) -> PartitionPopped | PoppedMessage:
    asked = read_call(call, Consume)
    pop = _pop_of(asked)
    replica = _admit(call, asked)
    admit_entry(call, current(), Table.CURSORS, replica, name=asked.consumer_id)
    popped = await messages_pop(runtime=current(), replica=replica, call=pop)
    spec, binary = replica.spec, call.takes_msgpack
    messages = message_answers(
        popped.messages, topic=spec.topic, partition=spec.partition, binary=binary
    )
    missed, corrupt = popped.missed, popped.corrupt
    if asked.max_messages is not None:
        return PartitionPopped(
            topic=spec.topic,
            partition=spec.partition,
            messages=messages,
            missed=missed,
            corrupt=corrupt,
        )
    if not messages:
        raise QueueEmpty(
            f"QEmpty: nothing is left for consumer {asked.consumer_id} in partition"
            f" {spec.partition} of topic '{spec.topic}'",
            missed=missed or None,
            corrupt=corrupt or None,
        )
    return popped_answer(messages[0], missed=missed, corrupt=corrupt)


async def _consume_several(call: Call) -> SeveralPopped:
    asked = read_call(call, ConsumeSeveral)
    runtime = current()
    parts: list[PoppedPart] = []
    wanted: list[tuple[Replica, PopCall]] = []
    for one in asked.partitions:
        try:
            require_client(
                call,
                runtime,
                kind=CONSUMER,
                client_id=_checked_id(one.consumer_id),
                topic=one.topic,
                token=asked.tokens.get(one.topic, asked.token),
            )
            pop = PopCall(
                consumer_id=one.consumer_id,
                max_messages=asked.max_messages,
                max_bytes=asked.max_bytes,
                wait_ms=asked.wait_ms,
                timeout_ms=asked.timeout_ms,
                request_digest=request_digest(one.request_id) if one.request_id else b"",
            )
            replica = runtime.partition(one.topic, one.partition)
            admit_entry(call, runtime, Table.CURSORS, replica, name=one.consumer_id)
            wanted.append((replica, pop))
        except QueueError as error:
            parts.append(_refused(one.topic, one.partition, error))
    if wanted:
        wait_ms = 0 if parts else asked.wait_ms
        found = await several_pop(runtime=runtime, wanted=wanted, wait_ms=wait_ms)
        takes = bool(asked.max_messages)
        parts += [_part(call, replica, popped, takes=takes) for replica, popped in found]
    return SeveralPopped(partitions=parts)


def _part(
    call: Call, replica: Replica, popped: PoppedMessages | QueueError, *, takes: bool
) -> PoppedPart:
    spec = replica.spec
    if isinstance(popped, QueueError):
        return _refused(spec.topic, spec.partition, popped)
    if not takes:
        return PoppedPart(topic=spec.topic, partition=spec.partition)
    messages = message_answers(
        popped.messages, topic=spec.topic, partition=spec.partition, binary=call.takes_msgpack
    )
    return PoppedPart(
        topic=spec.topic,
        partition=spec.partition,
        messages=messages,
        missed=popped.missed,
        corrupt=popped.corrupt,
    )


def _refused(topic: str, partition: int, error: QueueError) -> PoppedPart:
    return PoppedPart(topic=topic, partition=partition, error=error.to_body())


@describe(
    summary="Messages left for a consumer",
    access=CONSUMING,
    input=SizeHere,
    token=CLIENT_TOKEN,
    needs=["partition"],
    answer=SizeLeft(topic="logs", partition=0, size=12, remembers=False),
    tags=["consume"],
    query=True,
)
async def size(call: Call) -> SizeLeft:
    """Count the messages left; with `wait_ms` wait until there is one."""
    asked = read_call(call, SizeHere)
    request_id = asked.request_id
    replica = _admit(call, asked)
    left = await size_get(
        runtime=current(),
        replica=replica,
        consumer_id=asked.consumer_id,
        wait_ms=asked.wait_ms,
        timeout_ms=asked.timeout_ms,
        request_digest=request_digest(request_id) if request_id else b"",
    )
    return SizeLeft(
        topic=replica.spec.topic,
        partition=replica.spec.partition,
        size=left.size,
        remembers=left.remembers if request_id else UNSET,
    )


def _pop_of(asked: Consume) -> PopCall:
    """Return the pop that a consume call asks for.

    Raises:
        InvalidRequest: it leaves the choice of a partition to this broker.
    """
    if asked.partition_key is not None:
        raise InvalidRequest(
            "a broker needs the partition; managers take partition_key, or neither",
            field="partition_key",
        )
    request_id = asked.request_id
    return PopCall(
        consumer_id=asked.consumer_id,
        max_messages=1 if asked.max_messages is None else asked.max_messages,
        max_bytes=asked.max_bytes,
        wait_ms=asked.wait_ms,
        timeout_ms=asked.timeout_ms,
        request_digest=request_digest(request_id) if request_id else b"",
    )


def _admit(call: Call, asked: Consume | Size) -> Replica:
    """Check the consumer, then find the partition.

    Raises:
        UnauthorizedException: the token is not the client's, or overdue.
        InvalidRequest: the client's id is not above 0.
        PartitionNotFound: this broker has no replica of the partition.
    """
    runtime = current()
    if asked.partition is None:
        raise InvalidRequest("a broker needs the partition", field="partition")
    require_client(
        call,
        runtime,
        kind=CONSUMER,
        client_id=_checked_id(asked.consumer_id),
        topic=asked.topic,
        token=asked.token,
    )
    return runtime.partition(asked.topic, asked.partition)


def _checked_id(consumer_id: int) -> int:
    """Return the id of a consumer.

    Raises:
        InvalidRequest: it is not above 0.
    """
    if consumer_id <= 0:
        raise InvalidRequest("consumer_id must be above 0", field="consumer_id")
    return consumer_id


class ConsumeApi(ApiView):
    """Moves a consumer's cursor over the next messages of a partition led here and returns them.

    A retry with the same `request_id` gets the same messages again. Without `max_messages` the
    answer is one message, or QUEUE_EMPTY; with it a list, and an empty one is a success. `missed`
    counts messages right before these that retention deleted unread, `corrupt` those that were
    stepped over because no replica can decode them.
    """

    get = served_by(consume_by_get)
    post = served_by(consume)


class SizeApi(ApiView):
    """How many messages a partition led here has left for a consumer.

    With a `request_id` also whether the partition remembers a pop with that id, or has one under
    way: then a retry of that pop belongs to this partition and gets the same messages.
    """

    get = served_by(size)
