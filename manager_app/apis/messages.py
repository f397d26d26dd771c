"""Produce, consume and size: calls that a manager makes at the partitions' leaders. Hot views."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from http_base.apidoc import describe
from http_base.calls import bearer_token
from http_base.messages import as_asked, popped_answer
from http_base.operations import CURSOR_RESET, MESSAGE
from manager_app.answers import PoppedList, Produced, SizesAnswer
from manager_app.apis.base import ManagerView
from manager_app.metrics import counted
from manager_app.proxy.consume import consume, reset, sizes
from manager_app.proxy.produce import produce, produce_batch
from myqueue.contract.answers import Appended
from myqueue.contract.inputs import Consume, CursorReset, Produce, ProduceBatch, Size

if TYPE_CHECKING:
    from rest_framework.response import Response

    from http_base.views import ApiRequest


class ProduceApi(ManagerView):
    """Appending messages."""

    @describe(
        summary="Append a message or a list of messages",
        input=Produce,
        answer=Produced(topic="logs", partition=0, offset=41),
        other_answers=[Appended],
        tags=["messages"],
        batches=True,
    )
    async def post(self, request: ApiRequest) -> Response:
        """Answer when the messages are committed: durable on a quorum.

        A record batch is passed on to the leader as it is, and so is the leader's answer.
        """
        runtime = self.runtime
        runtime.require_primary()
        if isinstance(request.data, bytes):
            batch = self.read(request, ProduceBatch)
            token = batch.token or bearer_token(request)
            with runtime.passing(), counted("produce"):
                return self.respond(await produce_batch(runtime, batch, request.data, token))
        call = self.read(request, Produce)
        with runtime.passing(), counted("produce"):
            return self.respond(await produce(runtime, call))


class ConsumeApi(ManagerView):
    """Popping messages."""

    @describe(
        summary="Pop messages",
        input=Consume,
        answer=popped_answer(MESSAGE, missed=0, corrupt=0),
        other_answers=[PoppedList],
        tags=["messages"],
        query=True,
    )
    async def get(self, request: ApiRequest) -> Response:
        """Pop the next message, or with `max_messages` a list of them.

        `missed` counts messages before them that retention deleted unread, `corrupt` those that
        were stepped over because no replica can decode them.
        """
        return await self._consume(request)

    @describe(
        summary="Pop messages",
        input=Consume,
        answer=popped_answer(MESSAGE, missed=0, corrupt=0),
        other_answers=[PoppedList],
        tags=["messages"],
    )
    async def post(self, request: ApiRequest) -> Response:
        """Pop messages; for clients whose HTTP library repeats a GET by itself."""
        return await self._consume(request)

    async def _consume(self, request: ApiRequest) -> Response:
        runtime = self.runtime
        call = self.read(request, Consume)
        with runtime.passing(waits=call.wait_ms > 0), counted("consume"):
            popped = await consume(runtime, call)
        binary = request.takes_msgpack
        messages = [as_asked(message, binary=binary) for message in popped.messages]
        missed, corrupt = popped.missed, popped.corrupt
        if call.max_messages is None:
            return self.respond(popped_answer(messages[0], missed=missed, corrupt=corrupt))
        return self.respond(
            PoppedList(topic=call.topic, messages=messages, missed=missed, corrupt=corrupt)
        )


class CursorResetApi(ManagerView):
    """Moving a cursor."""

    description = CURSOR_RESET.description

    @replace(CURSOR_RESET, tags=["messages"], token="")
    async def post(self, request: ApiRequest) -> Response:
        """Move the cursor, with `expected` only from there; the next pop begins where it is."""
        runtime = self.runtime
        call = self.read(request, CursorReset)
        with runtime.passing(), counted("reset"):
            return self.respond(await reset(runtime, call))


class SizeApi(ManagerView):
    """How many messages are left for a consumer."""

    @describe(
        summary="Count the messages left for a consumer",
        input=Size,
        answer=SizesAnswer(topic="logs", size=3, sizes={"0": 1, "1": 2}),
        tags=["messages"],
        query=True,
    )
    async def get(self, request: ApiRequest) -> Response:
        """Return the number of messages in all partitions together, and in each."""
        runtime = self.runtime
        call = self.read(request, Size)
        with runtime.passing(waits=call.wait_ms > 0), counted("size"):
            found = await sizes(runtime, call)
        return self.respond(
            SizesAnswer(
                topic=call.topic,
                size=sum(found.values()),
                sizes={str(index): size for index, size in found.items()},
            )
        )
