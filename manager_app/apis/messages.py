"""Messages passed on to the brokers that lead: produce, consume, size. Hot views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from http_base.answers import Appended, CursorPlace, PoppedMessage
from http_base.apidoc import describe
from http_base.messages import message_fields
from http_base.views import bearer_token, wants_msgpack
from manager_app.apis.answers import PoppedList, Produced, SizesAnswer
from manager_app.apis.base import HotManagerView
from manager_app.metrics import counted
from manager_app.proxy.consume import consume, reset, sizes
from manager_app.proxy.produce import produce, produce_batch
from myqueue.contract.inputs import Consume, CursorReset, Produce, ProduceBatch, Size
from myqueue.contract.records import Record

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response

_MESSAGE = {
    "topic": "logs",
    "partition": 0,
    "offset": 41,
    "timestamp": 1_700_000_000_000,
    "message": "user 17 logged in",
    "key": None,
    "headers": None,
}


class ProduceApi(HotManagerView):
    """Appending messages."""

    @describe(
        summary="Append a message or a list of messages",
        input=Produce,
        returns=(Produced, Appended),
        answer={"topic": "logs", "partition": 0, "offset": 41},
        tags=["messages"],
        batches=True,
    )
    async def post(self, request: Request) -> Response:
        """Answer when the messages are on a quorum of disks.

        A record batch goes to the leader as it is, and the answer is the leader's.
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


class ConsumeApi(HotManagerView):
    """Popping messages."""

    @describe(
        summary="Pop messages",
        input=Consume,
        returns=(PoppedMessage, PoppedList),
        answer=_MESSAGE | {"missed": 0, "corrupt": 0},
        tags=["messages"],
        query=True,
    )
    async def get(self, request: Request) -> Response:
        """Return the next message, or with `max_messages` a list of them.

        `missed` says how many right before them retention took away before they were read,
        `corrupt` how many were stepped over because nobody can decode them.
        """
        return await self._consume(request)

    @describe(
        summary="Pop messages",
        input=Consume,
        returns=(PoppedMessage, PoppedList),
        answer=_MESSAGE | {"missed": 0, "corrupt": 0},
        tags=["messages"],
    )
    async def post(self, request: Request) -> Response:
        """Do the same for clients whose HTTP stack retries GETs by itself."""
        return await self._consume(request)

    async def _consume(self, request: Request) -> Response:
        runtime = self.runtime
        call = self.read(request, Consume)
        with runtime.passing(waits=call.wait_ms > 0), counted("consume"):
            popped = await consume(runtime, call)
        binary = wants_msgpack(request)
        messages = [_message(call.topic, fields, binary=binary) for fields in popped.messages]
        left_out = {"missed": popped.missed, "corrupt": popped.corrupt}
        if call.max_messages is None:
            return self.respond(messages[0] | left_out)
        return self.respond({"topic": call.topic, "messages": messages, **left_out})


class CursorResetApi(HotManagerView):
    """Moving a cursor."""

    @describe(
        summary="Move a consumer's cursor in a partition to an offset or a time",
        input=CursorReset,
        returns=CursorPlace,
        answer={"topic": "logs", "partition": 0, "offset": 17},
        tags=["messages"],
        sample={"offset": 0},
    )
    async def post(self, request: Request) -> Response:
        """Move it, if it is where `expected` says; what follows is popped next."""
        runtime = self.runtime
        call = self.read(request, CursorReset)
        with runtime.passing(), counted("reset"):
            offset = await reset(runtime, call)
        return self.respond({"topic": call.topic, "partition": call.partition, "offset": offset})


class SizeApi(HotManagerView):
    """How much is left."""

    @describe(
        summary="Count the messages left for a consumer",
        input=Size,
        returns=SizesAnswer,
        answer={"topic": "logs", "size": 3, "sizes": {"0": 1, "1": 2}},
        tags=["messages"],
        query=True,
    )
    async def get(self, request: Request) -> Response:
        """Return the sum, and the number per partition."""
        runtime = self.runtime
        call = self.read(request, Size)
        with runtime.passing(waits=call.wait_ms > 0), counted("size"):
            found = await sizes(runtime, call)
        return self.respond(
            {
                "topic": call.topic,
                "size": sum(found.values()),
                "sizes": {str(index): size for index, size in found.items()},
            }
        )


def _message(topic: str, fields: dict[str, Any], *, binary: bool) -> dict[str, Any]:
    """Render a message of a broker's answer, which came as MessagePack, for the client."""
    record = Record(
        fields["message"], fields.get("key"), fields.get("headers"), fields.get("timestamp", 0)
    )
    return message_fields(
        record,
        topic=topic,
        partition=fields["partition"],
        offset=fields["offset"],
        binary=binary,
    )
