"""Calls that go to a partition's leader as they came: reading, a group's offsets, workers' calls.

They are a broker's own calls. A client that reaches managers alone makes them here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from http_base.tokens import verify_client
from manager_app.proxy.partition_calls import PartitionCall, deadline_of, found_by
from myqueue.contract.errors import UnauthorizedException
from myqueue.contract.inputs import (
    DEFAULT_TIMEOUT_MS,
    MAX_TIMEOUT_MS,
    MAX_WAIT_MS,
    MSGPACK,
    check_range,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import ClassVar

    from manager_app.runtime import ManagerRuntime
    from manager_app.selectors import ClientKind

_NOT_PASSED_ON = frozenset(("token", "timeout_ms", "wait_ms"))


class OfPartition(Protocol):
    """The input of a call to one partition."""

    __struct_fields__: ClassVar[tuple[str, ...]]

    @property
    def topic(self) -> str:
        """Its topic."""
        ...

    @property
    def partition(self) -> int:
        """Its index there."""
        ...


@dataclass(frozen=True)
class Passed:
    """A call of a broker's API that a manager takes too."""

    method: str
    path: str
    kind: ClientKind | None = None
    """Who may make it, besides the cluster: consumers alone, or with None any client."""
    tells_client: bool = False
    """The broker must know for whom it is: it may make a group, which counts for that client."""

    @property
    def name(self) -> str:
        """What it is called in the metrics."""
        return self.path.strip("/").replace("/", "-")


def wait_ms_of(call: OfPartition) -> int:
    """Return how long a call may be held.

    Raises:
        InvalidRequest: longer than there is.
    """
    return check_range("wait_ms", getattr(call, "wait_ms", 0), 0, MAX_WAIT_MS)


async def pass_on(
    runtime: ManagerRuntime,
    passed: Passed,
    call: OfPartition,
    *,
    token: str | None,
    accept: str = MSGPACK,
) -> dict[str, Any]:
    """Return what the leader of the call's partition answers.

    A call that changes something is passed on once; its sender knows whether to repeat it.

    Args:
        runtime: of this manager.
        passed: which call it is.
        call: its input.
        token: of a registered client of the topic; None for the cluster itself.
        accept: content type of the answer: `MSGPACK`, or `BATCH` for record batches as stored.

    Raises:
        QueueError: the input is wrong, the client is unknown, or what the leader answered.
    """
    wait_ms = wait_ms_of(call)
    timeout_ms = getattr(call, "timeout_ms", None)
    if timeout_ms is not None:
        check_range("timeout_ms", timeout_ms, 1, MAX_TIMEOUT_MS)
    limit_ms = DEFAULT_TIMEOUT_MS if timeout_ms is None else timeout_ms
    deadline_s = deadline_of(limit_ms, wait_ms)
    async with found_by(deadline_s):
        topic = await runtime.find_topic(call.topic)
        if token is not None:
            await _admit(runtime, passed, call.topic, token)
    return await runtime.calls.call(
        PartitionCall(
            topic.partition(call.partition),
            passed.method,
            passed.path,
            {**_fields(call), "token": token} if passed.tells_client and token else _fields(call),
            timeout_ms=limit_ms,
            deadline_s=deadline_s,
            wait_ms=wait_ms,
            repeatable=passed.method == "GET",
            tells_timeout=timeout_ms is not None,
            accept=accept,
        )
    )


async def _admit(runtime: ManagerRuntime, passed: Passed, topic: str, token: str) -> None:
    """Let a registered client of a topic pass; this is a sign of life of it.

    Raises:
        UnauthorizedException: the token is of another topic or kind, or the client is gone.
    """
    said = verify_client(runtime.secret, token, now_ms=runtime.now_ms)
    if said.topic != topic or passed.kind not in (None, said.kind):
        raise UnauthorizedException(
            f"the token is that of {said.kind} {said.client_id} of topic {said.topic!r}; this call"
            f" is for a {passed.kind or 'client'} of {topic[:260]!r}",
            field="token",
        )
    kind: ClientKind = "producer" if said.kind == "producer" else "consumer"
    await runtime.clients.admit(kind, said.client_id, topic)


def _fields(call: OfPartition) -> Mapping[str, Any]:
    """Return what a broker is told besides its time limits."""
    return {
        name: value
        for name in call.__struct_fields__
        if name not in _NOT_PASSED_ON and (value := getattr(call, name)) is not None
    }
