"""Consuming: a pop moves the consumer's cursor and returns the messages passed over."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from broker_app.log_reading import messages_read
from broker_app.partition.commands import PopMessages, PopResult
from broker_app.runtime import state_of
from myqueue.contract import retry_after
from myqueue.contract.errors import CursorMoved, OffsetOutOfRange, Overloaded, QueueError
from myqueue.contract.inputs import MAX_FETCH_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from broker_app.partition.statemachine import PartitionState
    from broker_app.runtime import BrokerRuntime
    from broker_app.waiting.pop_tries import PopKey, PopTry
    from myqueue.contract.records import Record
    from raft_app.engine.replica import Replica

    PopPlace = tuple[Replica, "PopCall"]
    """A partition, and what is asked of it."""

_T = TypeVar("_T")

POPPED_AT_ONCE_MAX = 16
"""Most partitions that one call pops from; the others are popped from by the next one."""
ATTEMPTS_MAX = 4
"""How often a range is chosen anew when the cursor moved meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PopCall:
    """What a consumer asks of one partition."""

    consumer_id: int
    max_messages: int
    max_bytes: int
    wait_ms: int
    timeout_ms: int
    request_digest: bytes = b""
    """Of its request id; empty when it has none."""

    @property
    def may_pop_early(self) -> bool:
        """True when it may take messages that are in the log and not committed yet."""
        return bool(self.wait_ms and self.request_digest)


@dataclass(frozen=True, slots=True)
class PoppedMessages:
    """What it got: messages in the order of their offsets, none when there are no more for it."""

    first_offset: int
    """Where the cursor was."""
    messages: list[tuple[int, Record]]
    """With the offset of each; there are gaps where messages were stepped over."""
    missed: int = 0
    """Messages right before `first_offset` that retention took from the consumer."""
    corrupt: int = 0
    """Messages that were stepped over because nobody can decode them."""
    size_bytes: int = 0
    """Of the contents of the messages."""


async def messages_pop(
    *, runtime: BrokerRuntime, replica: Replica, call: PopCall
) -> PoppedMessages:
    """Move a consumer's cursor over the next messages and return them.

    A retry with the same request id gets the same messages and moves nothing. An empty answer was
    confirmed by a quorum. What cannot be decoded by anybody is stepped over, up to the next message
    that can.

    Raises:
        NotLeader | NoLeader | Overloaded | DiskFull: refused, nothing moved.
        CommitTimeout: no quorum in time; the cursor may have moved. Retry with the request id.
        CorruptBatch: the next batch is damaged on this replica.
    """
    with runtime.pop_tries.begin(_key(replica, call)) as this:
        return await _pop_waiting(runtime, replica, call, this)


async def several_pop(
    *, runtime: BrokerRuntime, wanted: Sequence[PopPlace], wait_ms: int
) -> list[tuple[Replica, PoppedMessages | QueueError]]:
    """Pop what there is of several partitions; wait until one of them has something.

    Of a partition that is left out nothing was popped under this call's request id. Each that
    cannot be popped from has its error, which ends the waiting too.

    Args:
        runtime: of this broker.
        wanted: replicas, and the pop of each, with a request id. The limits of the first are those
            of all together; earlier ones take first. With 0 messages only where there are some.
        wait_ms: how long to wait.

    Raises:
        Overloaded: too many long polls.
    """
    deadline = asyncio.get_running_loop().time() + wait_ms / 1000
    with ExitStack() as ends:
        places = [
            (*place, ends.enter_context(runtime.pop_tries.begin(_key(*place)))) for place in wanted
        ]
        for replica, _ in wanted:
            state_of(replica).on_append = runtime.long_polls.appended
        failed = [] if wait_ms else await _confirm_all(runtime, wanted)
        unable = {id(replica) for replica, _ in failed}
        places = [place for place in places if id(place[0]) not in unable]
        while True:
            due = [place for place in places if _has_something(*place)]
            if due and (found := await _pop_due(runtime, due)):
                return failed + found
            if any(_has_something(*place) for place in places):
                continue  # it came while others were popped
            ends_of = [
                (one.spec.group_id, state_of(one).cursor(pop.consumer_id)) for one, pop in wanted
            ]
            is_early = bool(wanted[0][1].max_messages)
            if not await runtime.long_polls.wait_any(ends_of, deadline, is_early=is_early):
                return failed


async def _confirm_all(
    runtime: BrokerRuntime, wanted: Sequence[PopPlace]
) -> list[tuple[Replica, PoppedMessages | QueueError]]:
    """Have quorums confirm that what this broker knows of is all; return where they did not."""
    barriers = (
        _outcome(runtime.engine.read_barrier(replica.spec.group_id, timeout_ms=pop.timeout_ms))
        for replica, pop in wanted
    )
    outcomes = await asyncio.gather(*barriers)
    return [
        (replica, outcome)
        for (replica, _), outcome in zip(wanted, outcomes, strict=True)
        if isinstance(outcome, QueueError)
    ]


def _has_something(replica: Replica, call: PopCall, this: PopTry) -> bool:
    """Tell whether a pop has something to do now: messages, an earlier try, or an error to tell."""
    if this.is_superseded:
        return False
    state, consumer_id, digest = state_of(replica), call.consumer_id, call.request_digest
    start = state.cursor(consumer_id)
    return (
        not replica.serves
        or max(state.next_offset, _early_end(state, call, start)) > start
        or _is_done(state, call)
        or bool(digest and state.is_popping(consumer_id, digest))
    )


async def _pop_due(
    runtime: BrokerRuntime, due: Sequence[tuple[Replica, PopCall, PopTry]]
) -> list[tuple[Replica, PoppedMessages | QueueError]]:
    """Pop from partitions that have something, at once; return what came of it.

    All of the answer is in memory together, so that only the first ones are popped from.
    """
    due = due[:POPPED_AT_ONCE_MAX]
    left, share_bytes = due[0][1].max_messages, max(1, due[0][1].max_bytes // len(due))
    pops = []
    for replica, call, this in due:
        if not call.max_messages:
            pops.append(_look(runtime, replica, call))
        elif left > 0:
            state = state_of(replica)
            start = state.cursor(call.consumer_id)
            there = max(1, state.next_offset - start, _early_end(state, call, start) - start)
            limited = replace(call, max_messages=min(left, there), max_bytes=share_bytes)
            left -= limited.max_messages
            pops.append(_pop_in_turn(runtime, replica, limited, this))
    # One alone follows its message into the log in the same turn: no task stands between.
    outcomes = (
        [await _outcome(pops[0])] if len(pops) == 1 else await asyncio.gather(*map(_outcome, pops))
    )
    return [
        (replica, outcome)
        for (replica, call, _), outcome in zip(due, outcomes, strict=False)
        if isinstance(outcome, QueueError)
        or not call.max_messages
        or outcome.messages
        or outcome.missed
        or outcome.corrupt
    ]


async def _outcome(work: Awaitable[_T]) -> _T | QueueError:
    try:
        return await work
    except QueueError as error:
        return error


async def _look(runtime: BrokerRuntime, replica: Replica, call: PopCall) -> PoppedMessages:
    """Take nothing of a partition that has something; raise why this broker cannot tell."""
    if not replica.serves:
        await runtime.engine.read_barrier(replica.spec.group_id, timeout_ms=call.timeout_ms)
    return PoppedMessages(state_of(replica).cursor(call.consumer_id), [])


def _key(replica: Replica, call: PopCall) -> PopKey:
    return (replica.spec.group_id, call.consumer_id, call.request_digest)


async def _pop_waiting(
    runtime: BrokerRuntime, replica: Replica, call: PopCall, this: PopTry
) -> PoppedMessages:
    """Wait for this consumer's turn, and for messages; see `messages_pop`."""
    deadline = asyncio.get_running_loop().time() + call.wait_ms / 1000
    group_id, state = replica.spec.group_id, state_of(replica)
    state.on_append = runtime.long_polls.appended
    missed = corrupt = 0
    is_over = not call.wait_ms
    while True:
        popped = await _pop_in_turn(runtime, replica, call, this, confirms=is_over)
        missed, corrupt = missed + popped.missed, corrupt + popped.corrupt
        if popped.messages or is_over or this.is_superseded or _is_done(state, call):
            return _and(popped, missed - popped.missed, corrupt - popped.corrupt)
        start = state.cursor(call.consumer_id)
        if start >= state.next_offset and _early_end(state, call, start) <= start:
            is_over = not await runtime.long_polls.wait(
                group_id, start, deadline, is_early=call.may_pop_early
            )


async def _pop_in_turn(
    runtime: BrokerRuntime,
    replica: Replica,
    call: PopCall,
    this: PopTry,
    *,
    confirms: bool = False,
) -> PoppedMessages:
    """Pop what is there when it is this consumer's turn; nothing when the pop was repeated."""
    state, key = state_of(replica), (replica.spec.group_id, call.consumer_id)
    async with runtime.pop_lock.hold(key, timeout_ms=call.timeout_ms):
        if this.is_superseded and not _is_done(state, call):
            return PoppedMessages(state.cursor(call.consumer_id), [])
        popped = await _pop_now(runtime, replica, call, confirms=confirms)
    traffic = runtime.traffic[replica.spec.topic]
    traffic.messages_popped += len(popped.messages)
    traffic.popped_bytes += popped.size_bytes
    return popped


def _is_done(state: PartitionState, call: PopCall) -> bool:
    """Tell whether the request is answered, with whatever it was."""
    return bool(call.request_digest) and (
        state.popped(call.consumer_id, call.request_digest) is not None
    )


def _early_end(state: PartitionState, call: PopCall, start: int) -> int:
    """Return up to where a pop may take what is in the log and not committed; `start` if nothing.

    Only a call that waits does, and that can be repeated, should it stay open what became of it.
    """
    if not call.may_pop_early:
        return start
    return state.end_in_flight(
        start, max_messages=call.max_messages, max_bytes=min(call.max_bytes, MAX_FETCH_BYTES)
    )


async def _pop_now(
    runtime: BrokerRuntime, replica: Replica, call: PopCall, *, confirms: bool
) -> PoppedMessages:
    """Pop what is there.

    Args:
        runtime: of this broker.
        replica: the partition.
        call: what is asked.
        confirms: empty is answered after a quorum confirmed it; without it, for who goes on to
            wait, as soon as this leader knows of nothing.
    """
    state, engine, group_id = state_of(replica), runtime.engine, replica.spec.group_id
    attempts = missed = corrupt = 0
    while attempts < ATTEMPTS_MAX:
        if call.request_digest:
            earlier = state.popped(call.consumer_id, call.request_digest)
            if earlier is not None:
                return _and(await _read_again(runtime, replica, earlier), missed, corrupt)
        start, end = state.cursor(call.consumer_id), state.next_offset
        if start >= end or not replica.serves:
            answer = await _pop_uncommitted(runtime, replica, call, start, confirms=confirms)
            if answer is not None:
                return _and(answer, missed, corrupt)
            attempts += 1
            continue
        read = await messages_read(
            runtime=runtime,
            replica=replica,
            start=start,
            end=end,
            max_messages=call.max_messages,
            max_bytes=call.max_bytes,
        )
        # What only steps over is not the answer of the request: that is still to come.
        digest = call.request_digest if read.messages else b""
        pop = PopMessages(call.consumer_id, start, read.end, digest)
        try:
            popped: PopResult = await engine.propose(group_id, pop, timeout_ms=call.timeout_ms)
        except CursorMoved:
            attempts += 1
            continue
        if (popped.from_offset, popped.to_offset) != (start, read.end):
            if popped.moved:
                return _and(await _read_again(runtime, replica, popped), missed, corrupt)
            attempts += 1
            continue
        missed, corrupt = missed + popped.missed, corrupt + read.corrupt
        if read.messages:
            return PoppedMessages(start, read.messages, missed, corrupt, read.size_bytes)
    raise Overloaded(
        f"the cursor of consumer {call.consumer_id} keeps moving; try again",
        retry_after_ms=retry_after.PARTITION_MS,
    )


async def _pop_uncommitted(
    runtime: BrokerRuntime, replica: Replica, call: PopCall, start: int, *, confirms: bool
) -> PoppedMessages | None:
    """Pop where nothing that is committed is left; None when something is after all."""
    if (early := await _pop_early(runtime, replica, call, start)) is not None:
        return early
    is_open = state_of(replica).is_popping(call.consumer_id, call.request_digest)
    if confirms or is_open or not replica.serves:
        return await _confirm_empty(runtime, replica, call)
    return PoppedMessages(start, [])


async def _pop_early(
    runtime: BrokerRuntime, replica: Replica, call: PopCall, start: int
) -> PoppedMessages | None:
    """Pop messages that are in the log and not committed; None when there are none that fit.

    The command follows them in the log, so that it is committed with them, or after them, and never
    without them: the answer leaves when it is applied, and is read then. Should leadership be lost
    before, the outcome is unknown, as of every pop in flight, and a repetition finds it out.
    """
    end = _early_end(state_of(replica), call, start)
    if end <= start or not replica.serves:
        return None
    pop = PopMessages(call.consumer_id, start, end, call.request_digest)
    try:
        popped: PopResult = await runtime.engine.propose(
            replica.spec.group_id, pop, timeout_ms=call.timeout_ms
        )
    except CursorMoved:
        return None
    return await _read_again(runtime, replica, popped) if popped.moved else None


def _and(popped: PoppedMessages, missed: int, corrupt: int) -> PoppedMessages:
    """Return an answer with what was stepped over before it."""
    if not (missed or corrupt):
        return popped
    return replace(popped, missed=popped.missed + missed, corrupt=popped.corrupt + corrupt)


async def _confirm_empty(
    runtime: BrokerRuntime, replica: Replica, call: PopCall
) -> PoppedMessages | None:
    """Ask a quorum whether nothing is left; None when there is something after all.

    A pop in flight whose call gave up may be this very one: then it is what is answered.

    Raises:
        Overloaded: it is another one; whether anything is left depends on it.
    """
    state, engine, consumer_id = state_of(replica), runtime.engine, call.consumer_id
    await engine.read_barrier(replica.spec.group_id, timeout_ms=call.timeout_ms)
    if call.request_digest and state.popped(consumer_id, call.request_digest):
        return None
    if state.is_popping(consumer_id, call.request_digest):
        return await _join(runtime, replica, call)
    if state.cursor(consumer_id) < state.next_offset:
        return None
    cursor = state.applied_cursor(consumer_id)
    if cursor >= state.next_offset:
        return PoppedMessages(cursor, [])
    raise Overloaded(
        f"an earlier pop of consumer {consumer_id} is under way; try again",
        retry_after_ms=retry_after.PARTITION_MS,
    )


async def _join(runtime: BrokerRuntime, replica: Replica, call: PopCall) -> PoppedMessages | None:
    """Return what this very pop gets, which is in flight; None when it moved nothing."""
    cursor = state_of(replica).cursor(call.consumer_id)
    # Its range does not matter: it joins the one that is in the log under its request id.
    again = PopMessages(call.consumer_id, cursor - 1, cursor, call.request_digest)
    popped: PopResult = await runtime.engine.propose(
        replica.spec.group_id, again, timeout_ms=call.timeout_ms
    )
    return await _read_again(runtime, replica, popped) if popped.moved else None


async def _read_again(
    runtime: BrokerRuntime, replica: Replica, popped: PopResult
) -> PoppedMessages:
    """Return the messages of a range that was popped before, all of them."""
    state = state_of(replica)
    if popped.from_offset < state.log_start_offset:
        raise OffsetOutOfRange(
            f"the messages from offset {popped.from_offset} are no longer stored",
            log_start_offset=state.log_start_offset,
            high_watermark=state.next_offset,
        )
    read = await messages_read(
        runtime=runtime,
        replica=replica,
        start=popped.from_offset,
        end=popped.to_offset,
        max_messages=popped.to_offset - popped.from_offset,
        max_bytes=2 * MAX_FETCH_BYTES,
    )
    return PoppedMessages(
        popped.from_offset, read.messages, popped.missed, read.corrupt, read.size_bytes
    )
