"""Calls of a broker's API that a manager takes too: fetch, offsets of groups, calls of workers.

They go to the partition's leader unchanged, for clients that reach managers alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from manager_app.proxy.admission import admit_by_token, require_known
from manager_app.proxy.partition_calls import PartitionCall, deadline_of, found_by
from manager_app.proxy.several import Part, Place, refused
from myqueue.contract import retry_after
from myqueue.contract.errors import NoLeader, QueueError
from myqueue.contract.inputs import (
    DEFAULT_TIMEOUT_MS,
    MSGPACK,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import ClassVar

    from http_base.apidoc import ApiDoc
    from manager_app.runtime import ManagerRuntime
    from manager_app.selectors import ClientKind

_A = TypeVar("_A", bound=msgspec.Struct)
_Place = TypeVar("_Place", bound=Place)

_NOT_PASSED_ON = frozenset(("token", "timeout_ms", "wait_ms"))


class OfPartition(Protocol):
    """The input of a call to one partition."""

    __struct_fields__: ClassVar[tuple[str, ...]]

    @property
    def topic(self) -> str:
        """Name of the topic."""
        ...

    @property
    def partition(self) -> int:
        """0-based index in the topic."""
        ...


@dataclass(frozen=True)
class Passed:
    """A call of a broker's API that a manager takes too."""

    operation: ApiDoc
    kind: ClientKind | None = None
    """Kind of client that may make it, besides brokers and managers; None: any."""
    tells_client: bool = False
    """The broker gets the client's token too: the call may create a group, which counts against the
    client's limit of groups."""

    @property
    def name(self) -> str:
        """Its label in the metrics: the path without slashes."""
        return self.operation.path.strip("/").replace("/", "-")


def wait_ms_of(call: OfPartition) -> int:
    """Return how long a call may be held, in milliseconds."""
    wait_ms: int = getattr(call, "wait_ms", 0)
    return wait_ms


async def pass_on(
    runtime: ManagerRuntime,
    passed: Passed,
    call: OfPartition,
    answer_type: type[_A],
    *,
    token: str | None,
    accept: str = MSGPACK,
) -> _A:
    """Return what the leader of the call's partition answers.

    A write is passed on once; its sender knows whether to repeat it.

    Args:
        runtime: of this manager.
        passed: which call it is.
        call: its input.
        answer_type: what the leader answers.
        token: of a registered client of the topic; None for the cluster itself.
        accept: content type of the answer: `MSGPACK`, or `BATCH` for record batches as stored.

    Raises:
        QueueError: the input is wrong, the client is unknown, or what the leader answered.
    """
    wait_ms = wait_ms_of(call)
    timeout_ms = getattr(call, "timeout_ms", None)
    limit_ms = DEFAULT_TIMEOUT_MS if timeout_ms is None else timeout_ms
    deadline_s = deadline_of(limit_ms, wait_ms)
    if token is not None:
        require_known(runtime, passed.kind, call.topic, token)
    async with found_by(deadline_s):
        topic = await runtime.find_topic(call.topic)
        if token is not None:
            await admit_by_token(runtime, passed.kind, call.topic, token)
    return await runtime.calls.call(
        PartitionCall(
            topic.partition(call.partition),
            passed.operation.method,
            passed.operation.path,
            {**_fields(call), "token": token} if passed.tells_client and token else _fields(call),
            timeout_ms=limit_ms,
            deadline_s=deadline_s,
            wait_ms=wait_ms,
            repeatable=passed.operation.method == "GET",
            tells_timeout=timeout_ms is not None,
            accept=accept,
        ),
        answer_type,
    )


async def by_leader(
    runtime: ManagerRuntime,
    places: Sequence[_Place],
    admit: Callable[[_Place], Awaitable[None]],
    kind: type[Part],
    *,
    check: Callable[[_Place], None] = lambda _: None,
) -> tuple[dict[int, list[_Place]], list[Part]]:
    """Return the partitions of a list by the broker that leads them, and those that are refused.

    Args:
        runtime: of this manager.
        places: the list of a call.
        admit: raises a `QueueError` where the caller may not read the topic of one.
        kind: of what is answered of one that is refused.
        check: raises a `QueueError` where the caller is not even told whether a topic exists.
    """
    wanted: dict[int, list[_Place]] = {}
    parts: list[Part] = []
    for one in places:
        try:
            check(one)
            async with found_by(deadline_of(DEFAULT_TIMEOUT_MS)):
                partition = (await runtime.find_topic(one.topic)).partition(one.partition)
                await admit(one)
            leader = runtime.metadata.leader_of(partition.group_id).broker_id
            if not leader:
                raise NoLeader(
                    f"partition {one.partition} of topic {one.topic!r} has no leader",
                    retry_after_ms=retry_after.COMMIT_MS,
                )
            wanted.setdefault(leader, []).append(one)
        except QueueError as error:
            parts.append(refused(kind, one, error))
    return wanted, parts


def _fields(call: OfPartition) -> Mapping[str, object]:
    """Return the fields that are sent to the broker, without token and time limits."""
    return {
        name: value
        for name in call.__struct_fields__
        if name not in _NOT_PASSED_ON and (value := getattr(call, name)) is not None
    }
