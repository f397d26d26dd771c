"""Produce, consume and size: calls that a manager makes at the partitions' leaders."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import UNSET, structs

from http_base.access import CONSUMING, PRODUCING
from http_base.apidoc import describe
from http_base.calls import bearer_token, names_several, read_call
from http_base.messages import as_asked, popped_answer
from http_base.operations import CURSOR_RESET, MESSAGE
from http_base.views import served_by
from manager_app.answers import PoppedList, Produced, SizesAnswer
from manager_app.apis.base import ManagerView
from manager_app.metrics import counted
from manager_app.proxy.admission import check_token
from manager_app.proxy.consume import consume, reset, sizes
from manager_app.proxy.passing import by_leader
from manager_app.proxy.produce import produce, produce_batch
from manager_app.runtime import current
from myqueue.contract.answers import (
    Appended,
    CursorPlace,
    PoppedMessage,
    PoppedPart,
    SeveralPopped,
)
from myqueue.contract.inputs import (
    Consume,
    ConsumeFrom,
    ConsumeSeveral,
    CursorReset,
    Produce,
    ProduceBatch,
    Size,
)

if TYPE_CHECKING:
    from http_base.calls import Call


@describe(
    summary="Append a message or a list of messages",
    access=PRODUCING,
    input=Produce,
    answer=Produced(topic="logs", partition=0, offset=41),
    other_answers=[Appended],
    tags=["messages"],
    batches=True,
)
async def append(call: Call) -> Produced | Appended:
    """Answer when the messages are committed: durable on a quorum.

    A record batch is passed on to the leader as it is, and so is the leader's answer.
    """
    runtime = current()
    if isinstance(call.data, bytes):
        batch = read_call(call, ProduceBatch)
        token = batch.token or bearer_token(call)
        with runtime.passing(), counted("produce"):
            return await produce_batch(runtime, batch, call.data, token)
    asked = read_call(call, Produce)
    with runtime.passing(), counted("produce"):
        return await produce(runtime, asked)


@describe(
    summary="Pop messages",
    access=CONSUMING,
    input=Consume,
    answer=popped_answer(MESSAGE, missed=0, corrupt=0),
    other_answers=[PoppedList],
    tags=["messages"],
    query=True,
    deprecated="POST /consumer/consume",
)
async def pop_by_get(call: Call) -> PoppedMessage | PoppedList:
    """Do what POST does."""
    return await _pop(call)


@describe(
    summary="Pop messages",
    access=CONSUMING,
    input=Consume,
    other_inputs=[ConsumeSeveral],
    answer=popped_answer(MESSAGE, missed=0, corrupt=0),
    other_answers=[PoppedList, SeveralPopped],
    tags=["messages"],
)
async def pop(call: Call) -> PoppedMessage | PoppedList | SeveralPopped:
    """Pop the next message, or with `max_messages` a list of them.

    `missed` counts messages before them that retention deleted unread, `corrupt` those that
    were stepped over because no replica can decode them.

    With a list of `partitions`, each with consumer and request id, what each of them has, or what
    the first has that gets something within `wait_ms`. Nothing was popped of those that are left
    out; one that could not be popped from has an `error`. With `max_messages` 0 nothing is popped
    at all: those are named that have something.
    """
    return await (_pop_several(call) if names_several(call) else _pop(call))


async def _pop_several(call: Call) -> SeveralPopped:
    runtime = current()
    asked = read_call(call, ConsumeSeveral)

    async def admit(one: ConsumeFrom) -> None:
        token = asked.tokens.get(one.topic, asked.token)
        check_token(runtime, "consumer", one.consumer_id, topic=one.topic, token=token)
        await runtime.clients.admit("consumer", one.consumer_id, one.topic)

    wanted, parts = await by_leader(runtime, asked.partitions, admit, PoppedPart)
    wait_ms = 0 if parts else asked.wait_ms
    with runtime.passing(max(1, len(wanted)), waits=wait_ms > 0), counted("consume-several"):
        parts += await runtime.several.pop(wanted, asked, wait_ms)
    return SeveralPopped(partitions=[_as_asked(one, binary=call.takes_msgpack) for one in parts])


def _as_asked(part: PoppedPart, *, binary: bool) -> PoppedPart:
    if part.messages is UNSET:
        return part
    messages = [as_asked(one, binary=binary) for one in part.messages]
    return structs.replace(part, messages=messages)


async def _pop(call: Call) -> PoppedMessage | PoppedList:
    runtime = current()
    asked = read_call(call, Consume)
    with runtime.passing(waits=asked.wait_ms > 0), counted("consume"):
        popped = await consume(runtime, asked)
    messages = [as_asked(message, binary=call.takes_msgpack) for message in popped.messages]
    missed, corrupt = popped.missed, popped.corrupt
    if asked.max_messages is None:
        return popped_answer(messages[0], missed=missed, corrupt=corrupt)
    return PoppedList(topic=asked.topic, messages=messages, missed=missed, corrupt=corrupt)


@replace(CURSOR_RESET, tags=["messages"], token="")
async def move_cursor(call: Call) -> CursorPlace:
    """Move the cursor, with `expected` only from there; the next pop begins where it is."""
    runtime = current()
    asked = read_call(call, CursorReset)
    with runtime.passing(), counted("reset"):
        return await reset(runtime, asked)


@describe(
    summary="Count the messages left for a consumer",
    access=CONSUMING,
    input=Size,
    answer=SizesAnswer(topic="logs", size=3, sizes={"0": 1, "1": 2}),
    tags=["messages"],
    query=True,
)
async def count_left(call: Call) -> SizesAnswer:
    """Return the number of messages in all partitions together, and in each."""
    runtime = current()
    asked = read_call(call, Size)
    with runtime.passing(waits=asked.wait_ms > 0), counted("size"):
        found = await sizes(runtime, asked)
    return SizesAnswer(
        topic=asked.topic,
        size=sum(found.values()),
        sizes={str(index): size for index, size in found.items()},
    )


class ProduceApi(ManagerView):
    """Appending messages."""

    post = served_by(append)


class ConsumeApi(ManagerView):
    """Popping messages."""

    get = served_by(pop_by_get)
    post = served_by(pop)


class CursorResetApi(ManagerView):
    """Moving a cursor."""

    description = CURSOR_RESET.description
    post = served_by(move_cursor)


class SizeApi(ManagerView):
    """How many messages are left for a consumer."""

    get = served_by(count_left)
