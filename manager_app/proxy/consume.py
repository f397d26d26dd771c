"""Passes consume and size calls on to leaders, for one partition or for any that has messages."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from http_base.tasks import cancel, gather_bounded, spawn
from manager_app.proxy.admission import check_token
from manager_app.proxy.partition_calls import PartitionCall, deadline_of, found_by
from myqueue.contract import retry_after
from myqueue.contract.answers import CursorPlace, PartitionPopped, SizeLeft
from myqueue.contract.errors import Overloaded, QueueEmpty, QueueError
from myqueue.contract.partitioner import RoundRobin, partition_for_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from manager_app.metadata import PartitionMetadata, TopicMetadata
    from manager_app.runtime import ManagerRuntime
    from myqueue.contract.answers import Message
    from myqueue.contract.inputs import Consume, CursorReset, Size

T = TypeVar("T")

PREFERENCE_S = 0.05
"""How long the answer of a partition earlier in the rotation is waited for once a later one is
known to have messages."""


class ConsumedMessages(NamedTuple):
    """Messages of one partition, as its leader gave them."""

    messages: list[Message]
    missed: int = 0
    """How many messages right before them retention deleted before the consumer read them."""
    corrupt: int = 0
    """How many were skipped because they cannot be decoded."""

    def after(self, earlier: ConsumedMessages) -> ConsumedMessages:
        """Return these messages with what an earlier pop without messages left out."""
        missed, corrupt = self.missed + earlier.missed, self.corrupt + earlier.corrupt
        return self._replace(missed=missed, corrupt=corrupt)


async def consume(runtime: ManagerRuntime, call: Consume) -> ConsumedMessages:
    """Pop messages of one partition.

    Without a partition: of the next in the consumer's rotation that has messages. With a request
    id: of the partition that remembers it, else of the first that has messages, beginning at the
    one that the request id hashes to.

    Raises:
        QueueEmpty: a single message was asked for and there is none.
        NoLeader: no leader was found in time; with a request id and without a partition also when
            any partition, which may remember the id, has none.
        QueueError: the input is wrong, the client is unknown, or the leader answered with it.
    """
    deadline_s = deadline_of(call.timeout_ms, call.wait_ms)
    async with found_by(deadline_s):
        topic = await runtime.find_topic(call.topic)
        check_token(runtime, "consumer", call.consumer_id, topic=call.topic, token=call.token)
        client = await runtime.clients.admit("consumer", call.consumer_id, call.topic)
    count = len(topic.partitions)
    pop = _ConsumeCall(runtime, call, deadline_s)
    if call.partition is not None:
        popped = await pop.one(topic.partition(call.partition), call.wait_ms)
    elif call.partition_key is not None:
        partition = topic.partition(partition_for_key(call.partition_key, count))
        popped = await pop.one(partition, call.wait_ms)
    elif call.request_id is not None and count > 1:
        popped = await pop.identified(topic)
    else:
        first = client.rotation.next(count)
        order = [*topic.partitions[first:], *topic.partitions[:first]]
        popped, index = await pop.any(order)
        if index is not None:
            client.rotation = RoundRobin(index + 1)
    if not popped.messages and call.max_messages is None:
        raise QueueEmpty(
            f"QEmpty: nothing left for consumer {call.consumer_id} in {topic.name!r}",
            missed=popped.missed or None,
            corrupt=popped.corrupt or None,
        )
    return popped


async def sizes(runtime: ManagerRuntime, call: Size) -> dict[int, int]:
    """Return how many messages are left for a consumer, by partition index.

    With `wait_ms` (long poll) it waits until one of them has messages.

    Raises:
        QueueError: the input is wrong, the client is unknown, or what a leader answered.
    """
    deadline_s = deadline_of(call.timeout_ms, call.wait_ms)
    async with found_by(deadline_s):
        topic = await runtime.find_topic(call.topic)
        check_token(runtime, "consumer", call.consumer_id, topic=call.topic, token=call.token)
        # Whoever counts the messages left for a consumer need not be that consumer.
        shown = call.token is not None
        await runtime.clients.admit("consumer", call.consumer_id, call.topic, is_heartbeat=shown)
    sizer = _Sizer(runtime, call.consumer_id, call.timeout_ms, deadline_s)
    chosen = topic.partitions if call.partition is None else (topic.partition(call.partition),)
    if call.wait_ms:
        await sizer.find(chosen, call.wait_ms)
    found = await gather_bounded((sizer.size(partition) for partition in chosen), len(chosen))
    return {partition.index: size for partition, size in zip(chosen, found, strict=True)}


async def reset(runtime: ManagerRuntime, call: CursorReset) -> CursorPlace:
    """Move a consumer's cursor in one partition; return its new place.

    The call is made once: a repetition could move the cursor back after messages were popped.

    Raises:
        CursorMoved: the cursor is not at the offset `expected`.
        QueueError: the input is wrong, the client is unknown, or what the leader answered.
    """
    deadline_s = deadline_of(call.timeout_ms)
    async with found_by(deadline_s):
        topic = await runtime.find_topic(call.topic)
        check_token(runtime, "consumer", call.consumer_id, topic=call.topic, token=call.token)
        await runtime.clients.admit("consumer", call.consumer_id, call.topic)
    return await runtime.calls.call(
        PartitionCall(
            topic.partition(call.partition),
            "POST",
            "/cursors/reset",
            {
                "topic": call.topic,
                "partition": call.partition,
                "consumer_id": call.consumer_id,
                "offset": call.offset,
                "timestamp": call.timestamp,
                "expected": call.expected,
            },
            timeout_ms=call.timeout_ms,
            deadline_s=deadline_s,
        ),
        CursorPlace,
    )


class _ConsumeCall:
    """One consume call; its deadline holds for all partitions that are asked."""

    def __init__(self, runtime: ManagerRuntime, call: Consume, deadline_s: float) -> None:
        self._runtime = runtime
        self._call = call
        self._deadline_s = deadline_s
        self._sizer = _Sizer(runtime, call.consumer_id, call.timeout_ms, deadline_s)

    async def any(self, order: Sequence[PartitionMetadata]) -> tuple[ConsumedMessages, int | None]:
        """Pop from the first partition in `order` that has messages; return its index too."""
        loop = asyncio.get_running_loop()
        wait_ms = self._call.wait_ms
        wait_until = loop.time() + wait_ms / 1000
        lone, before = len(order) == 1, ConsumedMessages([])
        # Most often the next partition of the rotation has messages: then this is the only call.
        if lone or self._runtime.metadata.leader_of(order[0].group_id).broker_id:
            try:
                popped = await self.one(order[0], wait_ms if lone else 0, patient=lone)
            except QueueError as error:
                if lone or not error.retriable or not error.outcome_known:
                    raise
                popped = ConsumedMessages([])
            if popped.messages or lone:
                return popped, order[0].index if popped.messages else None
            before = popped
        while True:
            left_ms = max(0, int((wait_until - loop.time()) * 1000))
            partition = await self._sizer.find(order, left_ms)
            if partition is None:
                return before, None
            before = (await self.one(partition, 0)).after(before)
            if before.messages:
                return before, partition.index

    async def identified(self, topic: TopicMetadata) -> ConsumedMessages:
        """Give the answer of an earlier pop with this request id again, else pop anew.

        Only the partitions know whether there was one: it may have come through another manager, or
        before a restart of this one. So all of them are asked before one is popped from. The same
        call made twice at once goes one after the other; made at another manager, it looks at the
        partitions in the same order.

        Raises:
            NoLeader: a partition that may remember it could not be asked.
            Overloaded: the same call is still under way.
            QueueError: what a leader answered.
        """
        call, loop = self._call, asyncio.get_running_loop()
        assert call.request_id is not None
        wait_until = loop.time() + call.wait_ms / 1000
        first = partition_for_key(call.request_id, topic.partitions_at_creation)
        order = [*topic.partitions[first:], *topic.partitions[:first]]
        popped = ConsumedMessages([])
        async with _alone(self._runtime, call, self._deadline_s):
            while True:
                partition = await self._sizer.choose(order, call.request_id)
                if partition is not None:
                    popped = (await self.one(partition, 0)).after(popped)
                    if popped.messages:
                        return popped
                    continue
                left_ms = int((wait_until - loop.time()) * 1000)
                if left_ms <= 0 or await self._sizer.find(order, left_ms) is None:
                    return popped

    async def one(
        self, partition: PartitionMetadata, wait_ms: int, *, patient: bool = True
    ) -> ConsumedMessages:
        """Pop from one partition; with `patient=False` fail at once while it has no leader."""
        call = self._call
        popped = await self._runtime.calls.call(
            PartitionCall(
                partition,
                "POST",
                "/consumer/consume",
                {
                    "topic": partition.topic,
                    "partition": partition.index,
                    "consumer_id": call.consumer_id,
                    "max_messages": 1 if call.max_messages is None else call.max_messages,
                    "max_bytes": call.max_bytes,
                    "request_id": call.request_id,
                },
                timeout_ms=call.timeout_ms,
                wait_ms=wait_ms,
                deadline_s=self._deadline_s,
                repeatable=call.request_id is not None,
                patient=patient,
            ),
            PartitionPopped,
        )
        return ConsumedMessages(popped.messages, popped.missed, popped.corrupt)


@asynccontextmanager
async def _alone(runtime: ManagerRuntime, call: Consume, deadline_s: float) -> AsyncIterator[None]:
    """Let calls with the same consumer and request id wait until this one is done.

    Raises:
        Overloaded: an earlier one is not done by the deadline of this one.
    """
    assert call.request_id is not None
    key = (call.consumer_id, call.request_id)
    lock = runtime.pops_at_once.setdefault(key, asyncio.Lock())
    try:
        async with asyncio.timeout_at(deadline_s):
            await lock.acquire()
    except TimeoutError as error:
        raise Overloaded(
            f"an earlier call of consumer {call.consumer_id} with request_id {call.request_id!r} is"
            " still under way; repeat it",
            retry_after_ms=retry_after.PASSED_CALLS_MS,
        ) from error
    try:
        yield
    finally:
        lock.release()


class _Sizer:
    """Asks leaders how many messages are left for a consumer, many partitions at once."""

    def __init__(
        self, runtime: ManagerRuntime, consumer_id: int, timeout_ms: int, deadline_s: float
    ) -> None:
        self._runtime = runtime
        self._consumer_id = consumer_id
        self._timeout_ms = timeout_ms
        self._deadline_s = deadline_s

    async def size(self, partition: PartitionMetadata, wait_ms: int = 0) -> int:
        """Return how many messages are left in a partition."""
        return (await self._ask(partition, wait_ms)).size

    async def find(
        self, order: Sequence[PartitionMetadata], wait_ms: int
    ) -> PartitionMetadata | None:
        """Return the first partition in the order that has messages, or None.

        Raises:
            Overloaded: this manager has no room for a call to each partition.
            QueueError: no partition is known to have messages, and one could not be asked.
        """
        # The call from outside is counted already.
        with self._runtime.passing(len(order) - 1, waits=True):
            tasks = [_asking(self.size(one, wait_ms)) for one in order]
            try:
                position = await _first_positive(tasks)
            finally:
                await cancel(tasks)
        return None if position is None else order[position]

    async def choose(
        self, order: Sequence[PartitionMetadata], request_id: str
    ) -> PartitionMetadata | None:
        """Return the partition that remembers a pop, else the first that has messages, or None.

        Raises:
            Overloaded: this manager has no room for a call to each partition.
            QueueError: none is known to remember it, and one could not be asked.
        """
        with self._runtime.passing(len(order) - 1, waits=True):
            tasks = [_asking(self._ask(one, 0, request_id)) for one in order]
            try:
                position = await _remembering(tasks)
            finally:
                await cancel(tasks)
        return None if position is None else order[position]

    async def _ask(
        self, partition: PartitionMetadata, wait_ms: int, request_id: str | None = None
    ) -> SizeLeft:
        return await self._runtime.calls.call(
            PartitionCall(
                partition,
                "GET",
                "/size",
                {
                    "topic": partition.topic,
                    "partition": partition.index,
                    "consumer_id": self._consumer_id,
                    **({} if request_id is None else {"request_id": request_id}),
                },
                timeout_ms=self._timeout_ms,
                wait_ms=wait_ms,
                deadline_s=self._deadline_s,
                repeatable=True,
            ),
            SizeLeft,
        )


def _asking(call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    return spawn("asking a partition", call, expected=(QueueError,))


async def _remembering(tasks: Sequence[asyncio.Future[SizeLeft]]) -> int | None:
    """Return the position of one that remembers, else of the first with messages, or None.

    Raises:
        QueueError: none remembers, and a task failed with it.
    """
    waiting = set(tasks)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for position, task in enumerate(tasks):
            if task in done and not task.exception() and task.result().remembers:
                return position
    sizes_found = [task.result().size for task in tasks]
    return next((position for position, size in enumerate(sizes_found) if size), None)


async def _first_positive(tasks: Sequence[asyncio.Future[int]]) -> int | None:
    """Return the position of the first task with a result above 0, or None when all are 0.

    The order counts: an earlier task gets `PREFERENCE_S` once a later one has a result above 0.

    Raises:
        QueueError: no result is above 0, and a task failed with it.
    """
    loop = asyncio.get_running_loop()
    waiting = set(tasks)
    decide_at: float | None = None
    while waiting:
        left_s = None if decide_at is None else max(0.0, decide_at - loop.time())
        done, waiting = await asyncio.wait(
            waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED
        )
        positive = [number for number, task in enumerate(tasks) if _has_messages(task)]
        if not positive:
            continue
        earlier = any(task in waiting for task in tasks[: positive[0]])
        if not earlier or not done:
            return positive[0]
        decide_at = decide_at or loop.time() + PREFERENCE_S
    positive = [number for number, task in enumerate(tasks) if _has_messages(task)]
    if positive:
        return positive[0]
    for task in tasks:
        task.result()
    return None


def _has_messages(task: asyncio.Future[int]) -> bool:
    return task.done() and not task.cancelled() and not task.exception() and task.result() > 0
