"""A broker's calls that a manager passes on: reading, a group's offsets, workers. Hot views.

One address is enough: whoever reaches a manager alone reads, commits and works through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from http_base.answers import (
    CursorPlace,
    Fetched,
    GroupCommitted,
    GroupOffset,
    Received,
    SettledList,
)
from http_base.apidoc import CLIENT_TOKEN, describe
from http_base.messages import message_fields
from http_base.views import bearer_token, is_cluster, wants_batches, wants_msgpack
from manager_app.apis.base import HotManagerView
from manager_app.metrics import counted
from manager_app.proxy.passing import Passed, pass_on, wait_ms_of
from myqueue.contract.errors import UnauthorizedException
from myqueue.contract.group_inputs import Offsets, OffsetsCommit, Receive, Settle
from myqueue.contract.inputs import BATCH, BATCH_HEADERS, MSGPACK, Fetch, OffsetByTime
from myqueue.contract.records import Record

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response

_GROUP = {"topic": "logs", "partition": 0, "group": "billing"}
_WORKERS = {"group": "mailers"}
_RECEIPT = "17.41.1"
_MESSAGE = {
    "topic": "logs",
    "partition": 0,
    "offset": 41,
    "timestamp": 1_760_000_000_000,
    "message": "user 17 logged in",
    "key": None,
    "headers": None,
}
_MESSAGE_FIELDS = frozenset(_MESSAGE)


class _PassingApi(HotManagerView):
    """Passes one call on."""

    passed: ClassVar[Passed]

    async def _pass(self, request: Request, call: Any, *, accept: str = MSGPACK) -> dict[str, Any]:
        token = None if is_cluster(request) else _token(request, call)
        runtime = self.runtime
        with runtime.passing(waits=wait_ms_of(call) > 0), counted(self.passed.name):
            answer = await pass_on(runtime, self.passed, call, token=token, accept=accept)
        if "messages" in answer:
            binary = wants_msgpack(request)
            answer["messages"] = [_rendered(one, binary=binary) for one in answer["messages"]]
        return answer


class FetchApi(_PassingApi):
    """Committed messages of a partition from an offset; moves no cursor.

    With `Accept: application/vnd.queue.batch` the batches come as stored, each preceded by its base
    offset and length; the first one may begin below the offset. The headers X-High-Watermark,
    X-Log-Start-Offset and X-Next-Offset then say what the fields say otherwise. Without it
    `corrupt` says how many messages were stepped over because nobody can decode them.
    """

    passed = Passed("GET", "/fetch")

    @describe(
        summary="Read messages from an offset",
        input=Fetch,
        returns=Fetched,
        token=CLIENT_TOKEN,
        answer={
            "topic": "logs",
            "partition": 0,
            "messages": [_MESSAGE],
            "corrupt": 0,
            "next_offset": 42,
            "high_watermark": 42,
            "log_start_offset": 0,
        },
        tags=["messages"],
        query=True,
        batches=True,
    )
    async def get(self, request: Request) -> Response:
        """Read."""
        call = self.read(request, Fetch)
        if not wants_batches(request):
            return self.respond(await self._pass(request, call))
        answer = await self._pass(request, call, accept=BATCH)
        headers = {header: str(answer[name]) for name, header in BATCH_HEADERS.items()}
        return self.respond_batches(answer["batches"], headers)


class OffsetByTimeApi(_PassingApi):
    """The first offset of a partition that was appended at or after a time."""

    passed = Passed("GET", "/offsets/by-time")

    @describe(
        summary="Find the offset of a time",
        input=OffsetByTime,
        returns=CursorPlace,
        token=CLIENT_TOKEN,
        answer={"topic": "logs", "partition": 0, "offset": 17},
        tags=["messages"],
        query=True,
    )
    async def get(self, request: Request) -> Response:
        """Search; the high watermark when everything is older."""
        return self.respond(await self._pass(request, self.read(request, OffsetByTime)))


class OffsetsApi(_PassingApi):
    """Where a consumer group is in a partition, confirmed by a quorum."""

    passed = Passed("GET", "/offsets")

    @describe(
        summary="Offset and lag of a consumer group in a partition",
        input=Offsets,
        returns=GroupOffset,
        token=CLIENT_TOKEN,
        answer={
            **_GROUP,
            "generation": 3,
            "offset": 42,
            "high_watermark": 50,
            "log_start_offset": 0,
            "lag": 8,
            "unsettled": 0,
            "dead": 0,
        },
        tags=["groups"],
        query=True,
    )
    async def get(self, request: Request) -> Response:
        """Look it up."""
        return self.respond(await self._pass(request, self.read(request, Offsets)))


class OffsetsCommitApi(_PassingApi):
    """Commits what a consumer group has read of a partition, fenced by the generation.

    A generation below the known one is ILLEGAL_GENERATION with the known one. Without `offset` the
    call only makes the generation known and answers where to start; `start` is where a group begins
    that is new here. An offset that retention has passed is moved up; `missed` says how far, once.
    """

    passed = Passed("POST", "/offsets/commit", "consumer", tells_client=True)

    @describe(
        summary="Commit the offset of a consumer group",
        input=OffsetsCommit,
        returns=GroupCommitted,
        token=CLIENT_TOKEN,
        answer={**_GROUP, "generation": 3, "offset": 42, "missed": 0},
        tags=["groups"],
    )
    async def post(self, request: Request) -> Response:
        """Commit it."""
        return self.respond(await self._pass(request, self.read(request, OffsetsCommit)))


class ReceiveApi(_PassingApi):
    """Delivers messages of a partition to one of a group's workers.

    Each message is invisible to the group's other workers until it is settled or its visibility
    timeout is over; then it is delivered again. After `delivery_limit` deliveries it goes to the
    dead-letter topic instead. No message at all is a success. `missed` says how many retention took
    before they were settled, `corrupt` how many were stepped over because nobody can decode them;
    each once.
    """

    passed = Passed("POST", "/messages/receive", "consumer", tells_client=True)

    @describe(
        summary="Receive messages as a worker of a group",
        input=Receive,
        returns=Received,
        token=CLIENT_TOKEN,
        sample=_WORKERS,
        answer={
            **_GROUP,
            **_WORKERS,
            "messages": [_MESSAGE | {"receipt": _RECEIPT, "delivery_count": 1}],
            "missed": 0,
            "corrupt": 0,
        },
        tags=["workers"],
    )
    async def post(self, request: Request) -> Response:
        """Receive; with `wait_ms`, once there is a message; with `max_messages` 0 just wait."""
        return self.respond(await self._pass(request, self.read(request, Receive)))


class AckApi(_PassingApi):
    """Settles messages: they are never delivered again to the group."""

    passed = Passed("POST", "/messages/ack", "consumer")

    @describe(
        summary="Acknowledge messages",
        input=Settle,
        returns=SettledList,
        token=CLIENT_TOKEN,
        sample=_WORKERS,
        answer={"results": [{"receipt": _RECEIPT, "done": True}]},
        tags=["workers"],
    )
    async def post(self, request: Request) -> Response:
        """Acknowledge them."""
        return self.respond(await self._pass(request, self.read(request, Settle)))


class NackApi(_PassingApi):
    """Gives messages back: they are delivered again after `delay_ms`."""

    passed = Passed("POST", "/messages/nack", "consumer")

    @describe(
        summary="Give messages back",
        input=Settle,
        returns=SettledList,
        token=CLIENT_TOKEN,
        sample=_WORKERS,
        answer={"results": [{"receipt": _RECEIPT, "done": True}]},
        tags=["workers"],
    )
    async def post(self, request: Request) -> Response:
        """Give them back."""
        return self.respond(await self._pass(request, self.read(request, Settle)))


class ExtendApi(_PassingApi):
    """Keeps messages invisible to other workers for `visibility_ms` from now."""

    passed = Passed("POST", "/messages/extend", "consumer")

    @describe(
        summary="Extend the visibility timeout",
        input=Settle,
        returns=SettledList,
        token=CLIENT_TOKEN,
        sample=_WORKERS,
        answer={"results": [{"receipt": _RECEIPT, "done": False, "reason": "superseded"}]},
        tags=["workers"],
    )
    async def post(self, request: Request) -> Response:
        """Extend it."""
        return self.respond(await self._pass(request, self.read(request, Settle)))


def _token(request: Request, call: Any) -> str:
    """Return the token of a call.

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


def _rendered(fields: dict[str, Any], *, binary: bool) -> dict[str, Any]:
    """Render a message of a broker's answer, which came as MessagePack, for the client."""
    record = Record(
        fields["message"], fields.get("key"), fields.get("headers"), fields.get("timestamp", 0)
    )
    rendered = message_fields(
        record,
        topic=fields["topic"],
        partition=fields["partition"],
        offset=fields["offset"],
        binary=binary,
    )
    return rendered | {name: fields[name] for name in fields.keys() - _MESSAGE_FIELDS}
