"""Calls of brokers that a manager passes on: fetch, group offsets, queue workers.

A client that reaches a manager alone can make every call through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET
from msgspec.structs import replace

from http_base import operations
from http_base.calls import (
    StoredBatches,
    bearer_token,
    is_cluster,
    names_several,
    read_call,
)
from http_base.messages import as_asked
from http_base.views import served_by
from manager_app.apis.base import ManagerView
from manager_app.brokers.client import BatchAnswer
from manager_app.metrics import counted
from manager_app.proxy.admission import admit_by_token, require_known
from manager_app.proxy.passing import Passed, by_leader, pass_on, wait_ms_of
from manager_app.runtime import current
from myqueue.contract.answers import (
    FetchedPart,
    PartitionFetched,
    PartitionReceived,
    SeveralFetched,
    SeveralWaiting,
    WorkPart,
)
from myqueue.contract.errors import InvalidRequest, UnauthorizedException
from myqueue.contract.group_inputs import ReceiveSeveral, WorkAt, check_group_name
from myqueue.contract.inputs import (
    BATCH,
    BATCH_HEADERS,
    FetchFrom,
    FetchSeveral,
)

if TYPE_CHECKING:
    import msgspec

    from http_base.calls import Call


async def _pass(passed: Passed, call: Call) -> msgspec.Struct | StoredBatches:
    """Pass one call on to the leader and answer what it answers."""
    operation, runtime = passed.operation, current()
    assert operation.input is not None
    asked: Any = read_call(call, operation.input)
    token = None if is_cluster(call) else _token(call, asked)
    with runtime.passing(waits=wait_ms_of(asked) > 0), counted(passed.name):
        if operation.batches and call.takes_batches:
            stored = await pass_on(runtime, passed, asked, BatchAnswer, token=token, accept=BATCH)
            headers = {name: str(getattr(stored, of)) for of, name in BATCH_HEADERS.items()}
            return StoredBatches(stored.batches, headers)
        answer = await pass_on(runtime, passed, asked, type(operation.answer), token=token)
    if isinstance(answer, PartitionFetched | PartitionReceived):
        messages = [as_asked(one, binary=call.takes_msgpack) for one in answer.messages]
        answer = replace(answer, messages=messages)
    return answer


def _passing(name: str, passed: Passed, **others: Any) -> type[ManagerView]:
    """Return the view class that passes an operation on; `others` are its handlers beside it."""
    operation = passed.operation

    @operation.with_tags(*(operation.tags or ["messages"]))
    async def ask_leader(call: Call) -> msgspec.Struct | StoredBatches:
        return await _pass(passed, call)

    members = {
        "__doc__": operation.description,
        "__module__": __name__,
        operation.method.lower(): served_by(ask_leader),
        **others,
    }
    return type(name, (ManagerView,), members)


@operations.FETCH_SEVERAL.with_tags("messages")
async def fetch_several(call: Call) -> SeveralFetched:
    """Ask the leaders of the partitions, each broker once, and answer what they answer."""
    asked = read_call(call, FetchSeveral)
    binary, runtime = call.takes_msgpack, current()
    if asked.stored and not binary:
        raise InvalidRequest("stored batches come in MessagePack alone", field="stored")

    def check(one: FetchFrom) -> None:
        if not is_cluster(call):
            require_known(runtime, None, one.topic, _token(call, asked, one.topic))

    async def admit(one: FetchFrom) -> None:
        if not is_cluster(call):
            await admit_by_token(runtime, None, one.topic, _token(call, asked, one.topic))

    wanted, parts = await by_leader(runtime, asked.partitions, admit, FetchedPart, check=check)
    wait_ms = 0 if parts else asked.wait_ms
    with runtime.passing(max(1, len(wanted)), waits=wait_ms > 0), counted("fetch-several"):
        parts += await runtime.several.fetch(wanted, asked, wait_ms)
    return SeveralFetched(partitions=[_part_as_asked(one, binary=binary) for one in parts])


async def _look_at_several(call: Call) -> SeveralWaiting:
    """Ask the leaders of the partitions which have something for workers, each broker once."""
    asked, runtime = read_call(call, ReceiveSeveral), current()
    check_group_name(asked.group)

    def check(one: WorkAt) -> None:
        if not is_cluster(call):
            require_known(runtime, "consumer", one.topic, _token(call, asked, one.topic))

    async def admit(one: WorkAt) -> None:
        if not is_cluster(call):
            await admit_by_token(runtime, "consumer", one.topic, _token(call, asked, one.topic))

    wanted, parts = await by_leader(runtime, asked.partitions, admit, WorkPart, check=check)
    wait_ms = 0 if parts else asked.wait_ms
    with runtime.passing(max(1, len(wanted)), waits=wait_ms > 0), counted("receive-several"):
        parts += await runtime.several.look(wanted, asked, wait_ms)
    return SeveralWaiting(partitions=parts)


def _part_as_asked(part: FetchedPart, *, binary: bool) -> FetchedPart:
    if part.messages is UNSET:
        return part
    return replace(part, messages=[as_asked(one, binary=binary) for one in part.messages])


FetchApi = _passing("FetchApi", Passed(operations.FETCH), post=served_by(fetch_several))
OffsetByTimeApi = _passing("OffsetByTimeApi", Passed(operations.OFFSET_BY_TIME))
OffsetsApi = _passing("OffsetsApi", Passed(operations.OFFSETS))
OffsetsCommitApi = _passing(
    "OffsetsCommitApi", Passed(operations.OFFSETS_COMMIT, "consumer", tells_client=True)
)
_PASS_RECEIVE = Passed(operations.RECEIVE, "consumer", tells_client=True)


@operations.RECEIVE.with_tags("workers")
async def receive(call: Call) -> msgspec.Struct | StoredBatches:
    """Receive messages of a partition; of a list, learn which have some."""
    return await (_look_at_several(call) if names_several(call) else _pass(_PASS_RECEIVE, call))


ReceiveApi = _passing("ReceiveApi", _PASS_RECEIVE, post=served_by(receive))
AckApi = _passing("AckApi", Passed(operations.ACK, "consumer"))
NackApi = _passing("NackApi", Passed(operations.NACK, "consumer"))
ExtendApi = _passing("ExtendApi", Passed(operations.EXTEND, "consumer"))


def _token(call: Call, asked: Any, topic: str = "") -> str:
    """Return the client's token, from the fields `tokens` and `token` or the header.

    Raises:
        UnauthorizedException: there is none.
    """
    named: str | None = asked.tokens.get(topic) if topic else None
    token: str | None = named or asked.token or bearer_token(call)
    if not token:
        raise UnauthorizedException(
            "this call needs the token that the registration gave, as field token or as"
            " Authorization: Bearer"
        )
    return token
