"""Calls of brokers that a manager passes on: fetch, group offsets, queue workers. Hot views.

A client that reaches a manager alone can make every call through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from http_base import operations
from http_base.calls import StoredBatches, bearer_token, is_cluster
from http_base.messages import as_asked
from manager_app.apis.base import ManagerView
from manager_app.brokers.client import BatchAnswer
from manager_app.metrics import counted
from manager_app.proxy.passing import Passed, pass_on, wait_ms_of
from myqueue.contract.answers import PartitionFetched, PartitionReceived
from myqueue.contract.errors import UnauthorizedException
from myqueue.contract.inputs import BATCH, BATCH_HEADERS

if TYPE_CHECKING:
    from rest_framework.response import Response

    from http_base.views import ApiRequest


async def _pass(view: ManagerView, passed: Passed, request: ApiRequest) -> Response:
    """Pass one call on to the leader and answer what it answers."""
    operation, runtime = passed.operation, view.runtime
    assert operation.input is not None
    call: Any = view.read(request, operation.input)
    token = None if is_cluster(request) else _token(request, call)
    with runtime.passing(waits=wait_ms_of(call) > 0), counted(passed.name):
        if operation.batches and request.takes_batches:
            stored = await pass_on(runtime, passed, call, BatchAnswer, token=token, accept=BATCH)
            headers = {name: str(getattr(stored, of)) for of, name in BATCH_HEADERS.items()}
            return view.respond_batches(StoredBatches(stored.batches, headers))
        answer = await pass_on(runtime, passed, call, type(operation.answer), token=token)
    if isinstance(answer, PartitionFetched | PartitionReceived):
        binary = request.takes_msgpack
        messages = [as_asked(one, binary=binary) for one in answer.messages]
        answer = replace(answer, messages=messages)
    return view.respond(answer)


def _passing(name: str, passed: Passed) -> type[ManagerView]:
    """Return the view class that passes an operation on."""

    async def handler(self: ManagerView, request: ApiRequest) -> Response:
        return await _pass(self, passed, request)

    operation = passed.operation
    tags = operation.tags or ["messages"]
    members = {
        "__doc__": operation.description,
        "__module__": __name__,
        operation.method.lower(): operation.with_tags(*tags)(handler),
    }
    return type(name, (ManagerView,), members)


FetchApi = _passing("FetchApi", Passed(operations.FETCH))
OffsetByTimeApi = _passing("OffsetByTimeApi", Passed(operations.OFFSET_BY_TIME))
OffsetsApi = _passing("OffsetsApi", Passed(operations.OFFSETS))
OffsetsCommitApi = _passing(
    "OffsetsCommitApi", Passed(operations.OFFSETS_COMMIT, "consumer", tells_client=True)
)
ReceiveApi = _passing("ReceiveApi", Passed(operations.RECEIVE, "consumer", tells_client=True))
AckApi = _passing("AckApi", Passed(operations.ACK, "consumer"))
NackApi = _passing("NackApi", Passed(operations.NACK, "consumer"))
ExtendApi = _passing("ExtendApi", Passed(operations.EXTEND, "consumer"))


def _token(request: ApiRequest, call: Any) -> str:
    """Return the client's token, from the field `token` or the header.

    Raises:
        UnauthorizedException: there is none.
    """
    token: str | None = call.token or bearer_token(request)
    if not token:
        raise UnauthorizedException(
            "this call needs the token that the registration gave, as field token or as"
            " Authorization: Bearer"
        )
    return token
