"""Queue workers: messages are received, and settled one by one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import count, takewhile
from typing import TYPE_CHECKING, NamedTuple

from broker_app.log_reading import messages_read, size_of
from broker_app.partition.commands import ReceiveMessages, ReceiveResult, SettleMessages, Start
from broker_app.runtime import state_of
from myqueue.contract import retry_after
from myqueue.contract.errors import InvalidRequest, Overloaded, QueueError
from myqueue.contract.inputs import MAX_FETCH_BYTES
from myqueue.contract.rules.work import DONE, UNKNOWN, Receipt, SettleKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker_app.partition.statemachine import PartitionState
    from broker_app.runtime import BrokerRuntime
    from broker_app.waiting.work_waits import WaitKey
    from http_base.cluster import TopicTraffic
    from myqueue.contract.records import Record
    from myqueue.contract.rules.work import Choice, Outcome
    from raft_app.engine.replica import Replica

LOOK_GRACE_S = 0.05
"""How long a worker that was told of a message may take to ask for it."""
ATTEMPTS_MAX = 4
"""How often messages are chosen anew when others took them meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveCall:
    """What a worker asks of one partition."""

    group: str
    """Name of its consumer group."""
    max_messages: int
    """0 waits until there are some and delivers none."""
    visibility_ms: int
    delivery_limit: int
    dead_letter_topic: str
    """Empty for the usual name."""
    start: Start
    wait_ms: int
    timeout_ms: int
    client_id: int = 0
    """The consumer that works; 0 for the cluster."""


class ReceivedRecord(NamedTuple):
    """One message for a worker."""

    receipt: Receipt
    record: Record


@dataclass(frozen=True, slots=True)
class ReceivedMessages:
    """What it got."""

    deliveries: list[ReceivedRecord]
    missed: int = 0
    """Messages that went before they were settled, since this was last told."""
    corrupt: int = 0
    """Messages that were stepped over because nobody can decode them."""


class _Readable(NamedTuple):
    """What of a choice can be delivered."""

    records: dict[int, Record]
    """By offset; those that are new are contiguous."""
    skip_to: int = 0
    """Offset behind what is stepped over before the first new one; 0 for nothing."""
    lost: tuple[int, ...] = ()
    """Offsets that were delivered before and cannot be decoded."""


async def messages_receive(
    *, runtime: BrokerRuntime, replica: Replica, call: ReceiveCall
) -> ReceivedMessages:
    """Deliver messages that no other worker of the group has at the moment.

    First those whose time is over, then new ones. Nothing is proposed while there are none. A
    receive whose answer is lost has delivered its messages all the same: they come back. So a
    worker that waits had better ask for 0 messages: it is answered when there is something, and
    then has a moment in which nobody else that waits is woken.

    Raises:
        InvalidRequest: members of a generation share the group.
        NotLeader | NoLeader | Overloaded | DiskFull: refused, nothing was delivered.
        CommitTimeout: no quorum in time; messages may be out until their time is over.
    """
    key = (replica.spec.group_id, call.group)
    deadline = asyncio.get_running_loop().time() + call.wait_ms / 1000
    missed, corrupt, is_woken = 0, 0, False
    while True:
        try:
            if await _is_worth_a_turn(runtime, replica, call):
                if _only_looks(replica, call):
                    if is_woken:
                        is_woken = False
                        _serve_later(runtime, key)
                    return ReceivedMessages([], missed, corrupt)
                async with runtime.receive_lock.hold(key, timeout_ms=call.timeout_ms):
                    received = await _receive_now(runtime, replica, call)
                missed, corrupt = missed + received.missed, corrupt + received.corrupt
                if received.deliveries:
                    _count(runtime.traffic[replica.spec.topic], received)
                    is_woken = True  # maybe by a look before: what is left wakes the next
                    return ReceivedMessages(received.deliveries, missed, corrupt)
        finally:
            if is_woken:
                runtime.work_waits.served(key)
        is_woken = await runtime.work_waits.wait(key, deadline)
        if not is_woken:
            return ReceivedMessages([], missed, corrupt)


async def several_look(
    *, runtime: BrokerRuntime, wanted: Sequence[Replica], group: str, wait_ms: int, timeout_ms: int
) -> list[tuple[Replica, QueueError | None]]:
    """Return which of several partitions have something for a group; wait for the first.

    Nothing is delivered. Who was told has a moment in which nobody else that waits is woken. Each
    partition that cannot be asked has its error, which ends the waiting too.

    Raises:
        Overloaded: too many workers wait.
    """
    deadline = asyncio.get_running_loop().time() + wait_ms / 1000
    keys = [(replica.spec.group_id, group) for replica in wanted]
    woken: WaitKey | None = None
    while True:
        found: list[tuple[Replica, QueueError | None]] = []
        try:
            for replica in wanted:
                outcome = await _look(runtime, replica, group, timeout_ms, confirms=not wait_ms)
                if isinstance(outcome, QueueError):
                    found.append((replica, outcome))
                elif outcome:
                    found.append((replica, None))
            if woken and any(replica.spec.group_id == woken[0] for replica, _ in found):
                _serve_later(runtime, woken)
                woken = None
        finally:
            if woken:
                runtime.work_waits.served(woken)
        if found:
            return found
        woken = await runtime.work_waits.wait_any(keys, deadline)
        if not woken:
            return []


async def messages_settle(
    *,
    runtime: BrokerRuntime,
    replica: Replica,
    command: SettleMessages,
    timeout_ms: int,
) -> list[Outcome]:
    """Carry out what a worker says of messages; return what became of each receipt.

    What changes nothing is not proposed; a quorum confirms that it changes nothing.

    Raises:
        NotLeader | NoLeader | Overloaded | DiskFull: refused, nothing changed.
        CommitTimeout: no quorum in time; it may have happened, and may be repeated.
    """
    decided = _judge(state_of(replica), command)
    if decided is not None:
        await runtime.engine.read_barrier(replica.spec.group_id, timeout_ms=timeout_ms)
        decided = _judge(state_of(replica), command)
        if decided is not None:
            return decided
    outcomes: list[Outcome] = await runtime.engine.propose(
        replica.spec.group_id, command, timeout_ms=timeout_ms
    )
    if command.kind is SettleKind.ACK:
        done = sum(outcome == DONE for outcome in outcomes)
        runtime.traffic[replica.spec.topic].messages_acknowledged += done
    return outcomes


def _judge(state: PartitionState, command: SettleMessages) -> list[Outcome] | None:
    """Return what became of receipts already; None when one of them would change something."""
    work = state.works.get(command.group)
    if work is None:
        return [UNKNOWN] * len(command.receipts)
    judged = [work.judge(command.kind, receipt) for receipt in command.receipts]
    outcomes = [outcome for outcome in judged if outcome is not None]
    return outcomes if len(outcomes) == len(judged) else None


async def _look(
    runtime: BrokerRuntime, replica: Replica, group: str, timeout_ms: int, *, confirms: bool
) -> bool | QueueError:
    """Tell whether a partition has something for a group, or why that cannot be told."""
    call = ReceiveCall(
        group=group,
        max_messages=0,
        visibility_ms=0,
        delivery_limit=0,
        dead_letter_topic="",
        start=Start.EARLIEST,
        wait_ms=0,
        timeout_ms=timeout_ms,
    )
    try:
        if replica.serves and not confirms:
            return _proposal_wanted(runtime, replica, call)
        return await _is_worth_a_turn(runtime, replica, call)
    except QueueError as error:
        return error


def _only_looks(replica: Replica, call: ReceiveCall) -> bool:
    """Tell whether a call changes nothing, not even that the group begins."""
    begins = call.start is Start.LATEST and call.group not in state_of(replica).works
    return not call.max_messages and not begins


def _serve_later(runtime: BrokerRuntime, key: WaitKey) -> None:
    """Leave what is there to the worker that was told of it; wake the next if it does not come."""
    loop = asyncio.get_running_loop()
    loop.call_later(LOOK_GRACE_S, runtime.work_waits.served, key)


def _count(traffic: TopicTraffic, received: ReceivedMessages) -> None:
    for receipt, record in received.deliveries:
        traffic.messages_received += 1
        traffic.messages_redelivered += receipt.attempt > 1
        traffic.received_bytes += size_of(record)


async def _is_worth_a_turn(runtime: BrokerRuntime, replica: Replica, call: ReceiveCall) -> bool:
    """Tell whether there is something to propose; a quorum confirmed it when there is not.

    Raises:
        InvalidRequest: members of a generation share the group.
        NotLeader | NoLeader | CommitTimeout: this replica cannot confirm it.
    """
    if replica.serves and _proposal_wanted(runtime, replica, call):
        return True
    await runtime.engine.read_barrier(replica.spec.group_id, timeout_ms=call.timeout_ms)
    return _proposal_wanted(runtime, replica, call)


def _proposal_wanted(runtime: BrokerRuntime, replica: Replica, call: ReceiveCall) -> bool:
    state = state_of(replica)
    members = state.consumer_group(call.group)
    if members is not None and members.generation:
        raise _shared_by_members(call.group)
    if call.start is Start.LATEST and call.group not in state.works and members is None:
        # The group begins here and now, though it gets nothing.
        return True
    clock_ms = state.partition_clock(runtime.engine.clock_ms())
    return not state.choose_work(call.group, clock_ms, 1).is_empty


async def _receive_now(
    runtime: BrokerRuntime, replica: Replica, call: ReceiveCall
) -> ReceivedMessages:
    """Deliver what is there, in this group's turn."""
    state, missed, corrupt, attempts = state_of(replica), 0, 0, 0
    while attempts < ATTEMPTS_MAX:
        if not _proposal_wanted(runtime, replica, call):
            return ReceivedMessages([], missed, corrupt)
        clock_ms = state.partition_clock(runtime.engine.clock_ms())
        choice = state.choose_work(call.group, clock_ms, call.max_messages)
        if call.start is Start.LATEST and call.group not in state.works:
            choice = choice._replace(new_to=choice.new_from)
        readable = await _read(runtime, replica, choice)
        if readable.lost:
            settled = await _settle_lost(runtime, replica, call, readable.lost)
            corrupt, attempts = corrupt + settled, attempts + (not settled)
            continue
        received = await _propose(runtime, replica, call, choice=choice, readable=readable)
        if received.refused:
            raise _shared_by_members(call.group)
        missed, corrupt = missed + received.missed, corrupt + received.corrupt
        if not call.max_messages:
            return ReceivedMessages([], missed, corrupt)
        # What nobody can read is stepped over bit by bit: that goes on.
        attempts += not (received.missed or received.corrupt)
        if received.deliveries:
            deliveries = [
                ReceivedRecord(Receipt(received.origin, offset, number), readable.records[offset])
                for offset, number in received.deliveries
            ]
            return ReceivedMessages(deliveries, missed, corrupt)
    raise Overloaded(
        f"the messages of group '{call.group}' keep going to others; try again",
        retry_after_ms=retry_after.PARTITION_MS,
    )


async def _propose(
    runtime: BrokerRuntime,
    replica: Replica,
    call: ReceiveCall,
    *,
    choice: Choice,
    readable: _Readable,
) -> ReceiveResult:
    again = tuple(offset for offset in choice.again if offset in readable.records)
    command = ReceiveMessages(
        call.group,
        again,
        choice.new_from,
        choice.new_from + len(readable.records) - len(again),
        visibility_ms=call.visibility_ms,
        delivery_limit=call.delivery_limit,
        dead_letter_topic=call.dead_letter_topic,
        start=call.start,
        skip_to=readable.skip_to,
        client_id=call.client_id,
    )
    received: ReceiveResult = await runtime.engine.propose(
        replica.spec.group_id, command, timeout_ms=call.timeout_ms
    )
    return received


async def _settle_lost(
    runtime: BrokerRuntime, replica: Replica, call: ReceiveCall, offsets: tuple[int, ...]
) -> int:
    """Be done with messages that are out and cannot be decoded; return how many they are."""
    work = state_of(replica).works.get(call.group)
    if work is None:
        return 0
    receipts = [
        Receipt(work.origin, offset, work.unsettled[offset].number)
        for offset in offsets
        if offset in work.unsettled
    ]
    command = SettleMessages(call.group, SettleKind.ACK, receipts)
    outcomes: list[Outcome] = await runtime.engine.propose(
        replica.spec.group_id, command, timeout_ms=call.timeout_ms
    )
    return sum(outcome.done and not outcome.reason for outcome in outcomes)


async def _read(runtime: BrokerRuntime, replica: Replica, choice: Choice) -> _Readable:
    """Read the chosen messages, as far as they fit into one answer."""
    records: dict[int, Record] = {}
    lost: list[int] = []
    room, skip_to = MAX_FETCH_BYTES, 0
    for start, end in _runs(choice):
        if room <= 0:
            break
        is_new = start >= choice.new_from
        try:
            read = await messages_read(
                runtime=runtime,
                replica=replica,
                start=start,
                # What nobody can read is stepped over by whole batches.
                end=state_of(replica).next_offset if is_new else end,
                max_messages=end - start,
                max_bytes=room,
            )
        except InvalidRequest:
            # It is damaged here: what is before it is delivered all the same.
            if not (records or lost):
                raise
            break
        found = dict(read.messages)
        if not is_new:
            lost += [offset for offset in range(start, read.end) if offset not in found]
        elif start not in found:
            # Nobody can read what is next: that is stepped over alone, and what follows comes then.
            if not records:
                skip_to = next(iter(found), read.end)
            break
        else:
            # What is behind a gap comes with the next receive.
            found = {
                offset: found[offset] for offset in takewhile(found.__contains__, count(start))
            }
        records.update(found)
        room -= sum(size_of(record) for record in found.values())
        if read.end < end:
            break
    return _Readable(records, skip_to, tuple(lost))


def _runs(choice: Choice) -> Iterator[tuple[int, int]]:
    """Yield the chosen offsets as ranges (first, after the last), in the order of the choice."""
    begin = end = -1
    for offset in choice.again:
        if offset != end:
            if end > begin:
                yield begin, end
            begin = offset
        end = offset + 1
    if end > begin:
        yield begin, end
    if choice.new_to > choice.new_from:
        yield choice.new_from, choice.new_to


def _shared_by_members(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"group '{name}' is used by consumers that share the partitions; workers need another one",
        field="group",
    )
