"""Reads several partitions for clients that reach a manager alone: one call to each broker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec.structs import asdict

from http_base.cluster_http import CallFailed, NotSent
from http_base.tasks import cancel, spawn
from manager_app.brokers.client import BrokerCall
from myqueue.contract import retry_after
from myqueue.contract.answers import (
    FetchedPart,
    PoppedPart,
    SeveralFetched,
    SeveralPopped,
    SeveralWaiting,
    WorkPart,
)
from myqueue.contract.errors import NoLeader, QueueError, with_unknown_outcome
from myqueue.contract.inputs import DEFAULT_TIMEOUT_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from manager_app.brokers.client import BrokerClient
    from manager_app.metadata import MetadataCopy
    from myqueue.contract.group_inputs import ReceiveSeveral, WorkAt
    from myqueue.contract.inputs import ConsumeFrom, ConsumeSeveral, FetchFrom, FetchSeveral

Part = TypeVar("Part", FetchedPart, PoppedPart, WorkPart)


_Answer = TypeVar("_Answer", SeveralFetched, SeveralPopped, SeveralWaiting)


class Place(Protocol):
    """One partition of a list."""

    @property
    def topic(self) -> str:
        """Name of the topic."""
        ...

    @property
    def partition(self) -> int:
        """0-based index in the topic."""
        ...


class SeveralCalls:
    """Asks brokers; its coroutines belong to the manager's loop."""

    def __init__(self, metadata: MetadataCopy, broker_client: BrokerClient) -> None:
        """Make a caller.

        Args:
            metadata: the addresses of brokers.
            broker_client: an open client of the same loop.
        """
        self._metadata = metadata
        self._broker_client = broker_client

    async def fetch(
        self, wanted: Mapping[int, list[FetchFrom]], call: FetchSeveral, wait_ms: int
    ) -> list[FetchedPart]:
        """Return what brokers have of partitions, or wait until one of them has something.

        Args:
            wanted: broker id -> what is read there.
            call: the call from outside.
            wait_ms: how long to wait.
        """
        share = max(1, call.max_bytes // max(1, len(wanted)))

        async def ask(broker_id: int, wait_ms: int) -> list[FetchedPart]:
            places = wanted[broker_id]
            fields = {"max_bytes": share, "stored": call.stored, "wait_ms": wait_ms}
            try:
                request = self._request("/fetch", places, fields)
                answer = await self._ask(broker_id, request, SeveralFetched, DEFAULT_TIMEOUT_MS)
            except QueueError as error:
                return _refused(FetchedPart, places, error)
            return answer.partitions

        return await _first_found(wanted, ask, wait_ms)

    async def look(
        self, wanted: Mapping[int, list[WorkAt]], call: ReceiveSeveral, wait_ms: int
    ) -> list[WorkPart]:
        """Return which partitions have something for workers; arguments as of `fetch`."""

        async def ask(broker_id: int, wait_ms: int) -> list[WorkPart]:
            places = wanted[broker_id]
            fields = {"group": call.group, "timeout_ms": call.timeout_ms, "wait_ms": wait_ms}
            try:
                request = self._request("/messages/receive", places, fields)
                answer = await self._ask(broker_id, request, SeveralWaiting, call.timeout_ms)
            except QueueError as error:
                return _refused(WorkPart, places, error)
            return answer.partitions

        return await _first_found(wanted, ask, wait_ms)

    async def pop(
        self, wanted: Mapping[int, list[ConsumeFrom]], call: ConsumeSeveral, wait_ms: int
    ) -> list[PoppedPart]:
        """Pop what brokers have of partitions; wait until one of them has something.

        Whoever waits when another broker has answered may just have popped: the same pops are
        repeated there without a wait, which ends the wait, and their answers belong to this one.
        Arguments as of `fetch`.
        """
        share = max(1, call.max_bytes // max(1, len(wanted)))
        messages = call.max_messages and max(1, call.max_messages // max(1, len(wanted)))

        async def ask(broker_id: int, wait_ms: int) -> list[PoppedPart]:
            places = wanted[broker_id]
            fields = {
                "max_messages": messages,
                "max_bytes": share,
                "timeout_ms": call.timeout_ms,
                "wait_ms": wait_ms,
            }
            try:
                request = self._request("/consumer/consume", places, fields)
                answer = await self._ask(broker_id, request, SeveralPopped, call.timeout_ms)
            except QueueError as error:
                return _refused(PoppedPart, places, error)
            return answer.partitions

        return await _first_found(wanted, ask, wait_ms, ends_others=bool(messages))

    def _request(self, path: str, places: Sequence[Any], fields: Mapping[str, Any]) -> BrokerCall:
        listed = [
            {name: value for name, value in asdict(one).items() if value is not None}
            for one in places
        ]
        wait_ms = int(fields["wait_ms"])
        return BrokerCall("POST", path, body={**fields, "partitions": listed}, wait_ms=wait_ms)

    async def _ask(
        self, broker_id: int, call: BrokerCall, answer_type: type[_Answer], timeout_ms: int
    ) -> _Answer:
        """Return what a broker answers.

        Raises:
            NoLeader: it does not; the outcome is unknown if the call may have arrived there.
            QueueError: it refused.
        """
        timeout_s = (call.wait_ms + timeout_ms) / 1000
        address = self._metadata.address_of(broker_id)
        try:
            if address is None:
                raise NotSent(f"broker {broker_id} is unknown")
            return await self._broker_client.call(address, call, answer_type, timeout_s=timeout_s)
        except CallFailed as error:
            failure = NoLeader(
                f"the leader does not answer: {error}", retry_after_ms=retry_after.COMMIT_MS
            )
            raise (
                failure if isinstance(error, NotSent) else with_unknown_outcome(failure)
            ) from error


def _refused(kind: type[Part], places: Sequence[Place], error: QueueError) -> list[Part]:
    return [refused(kind, one, error) for one in places]


def refused(kind: type[Part], one: Place, error: QueueError) -> Part:
    """Return the part of an answer for a partition that cannot be read."""
    return kind(topic=one.topic, partition=one.partition, error=error.to_body())


async def _first_found(
    wanted: Mapping[int, object],
    ask: Callable[[int, int], Coroutine[Any, Any, list[Part]]],
    wait_ms: int,
    *,
    ends_others: bool = False,
) -> list[Part]:
    """Return what brokers have; with a wait what those found that were first to find anything.

    Args:
        wanted: broker ids.
        ask: asks one of them, and has it wait for so many milliseconds.
        wait_ms: how long to wait.
        ends_others: ask those again that wait still, without a wait, for what they may have taken.
    """
    if len(wanted) != 1 or not wait_ms:
        at_once = await asyncio.gather(*(ask(broker_id, 0) for broker_id in wanted))
        parts = [part for found in at_once for part in found]
        if parts or not wait_ms:
            return parts
    tasks = {
        spawn("waiting at a broker", ask(broker_id, wait_ms)): broker_id for broker_id in wanted
    }
    waiting, parts = set(tasks), []
    try:
        while waiting and not parts:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            parts = [part for task in done for part in task.result()]
    finally:
        await cancel(tasks)
    if ends_others:
        others = await asyncio.gather(*(ask(tasks[task], 0) for task in waiting))
        parts += [part for found in others for part in found]
    return parts
