"""POST /cursors/reset, and the internal POST /cursors/open and POST /clients/forget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.access import CONSUMER, admit_entry, require_client
from broker_app.answers import CursorOpened, PartitionName
from broker_app.client_origins import Table
from broker_app.partition.commands import Start
from broker_app.runtime import current
from broker_app.services.cursors import client_forget, cursor_open, cursor_reset
from http_base.access import CLUSTER
from http_base.apidoc import describe
from http_base.calls import read_call
from http_base.cluster import ClientForgetHere, CursorOpen
from http_base.operations import CURSOR_RESET
from http_base.views import ApiView, served_by
from myqueue.contract.answers import CursorPlace
from myqueue.contract.errors import InvalidRequest
from myqueue.contract.inputs import CursorReset

if TYPE_CHECKING:
    from rest_framework.response import Response

    from http_base.calls import Call
    from http_base.views import ApiRequest


@CURSOR_RESET.with_tags("consume")
async def reset_cursor(call: Call) -> CursorPlace:
    """Move the cursor to an offset, to a time, or to either end of the log."""
    reset = read_call(call, CursorReset)
    runtime = current()
    _require_positive("consumer_id", reset.consumer_id)
    require_client(
        call,
        runtime,
        kind=CONSUMER,
        client_id=reset.consumer_id,
        topic=reset.topic,
        token=reset.token,
    )
    replica = runtime.partition(reset.topic, reset.partition)
    admit_entry(call, runtime, Table.CURSORS, replica, name=reset.consumer_id)
    place = await cursor_reset(runtime=runtime, replica=replica, reset=reset)
    return CursorPlace(
        topic=replica.spec.topic,
        partition=replica.spec.partition,
        offset=place.offset,
    )


class CursorResetApi(ApiView):
    """Moves a consumer's cursor."""

    description = CURSOR_RESET.description
    post = served_by(reset_cursor)


class CursorOpenApi(ApiView):
    """Creates a consumer's cursor; an existing one stays where it is. Internal."""

    @describe(
        summary="Open a cursor (internal)",
        access=CLUSTER,
        input=CursorOpen,
        answer=CursorOpened(topic="logs", partition=0, offset=42, opened=True),
        tags=["internal"],
    )
    async def post(self, request: ApiRequest) -> Response:
        """Create the cursor at `start`, unless the consumer has one in this partition."""
        opening = self.read(request, CursorOpen)
        runtime = current()
        _require_positive("consumer_id", opening.consumer_id)
        replica = runtime.partition(opening.topic, opening.partition)
        admit_entry(request, runtime, Table.CURSORS, replica, name=opening.consumer_id)
        place = await cursor_open(
            runtime=runtime,
            replica=replica,
            consumer_id=opening.consumer_id,
            start=Start(opening.start),
            timeout_ms=opening.timeout_ms,
        )
        return self.respond(
            CursorOpened(
                topic=replica.spec.topic,
                partition=replica.spec.partition,
                offset=place.offset,
                opened=place.moved,
            )
        )


class ClientForgetApi(ApiView):
    """Drops a producer's sequences or a consumer's cursor from a partition. Internal."""

    @describe(
        summary="Forget a client (internal)",
        access=CLUSTER,
        input=ClientForgetHere,
        sample={"consumer_id": 1},
        answer=PartitionName(topic="logs", partition=0),
        tags=["internal"],
    )
    async def post(self, request: ApiRequest) -> Response:
        """Drop the cursor of a consumer, or the sequences of a producer."""
        client = self.read(request, ClientForgetHere)
        runtime = current()
        replica = runtime.partition(client.topic, client.partition)
        await client_forget(
            runtime=runtime,
            replica=replica,
            producer_id=client.producer_id,
            consumer_id=client.consumer_id,
            timeout_ms=client.timeout_ms,
        )
        spec = replica.spec
        return self.respond(PartitionName(topic=spec.topic, partition=spec.partition))


def _require_positive(field: str, value: int) -> None:
    if value <= 0:
        raise InvalidRequest(f"{field} must be above 0, not {value}", field=field)
