"""Queue workers: messages are received, and settled one by one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from broker_app.commands import Received, ReceiveMessages, SettleMessages, Start
from broker_app.limits import RETRY_AFTER_MS
from broker_app.metrics import MESSAGES_RECEIVED, MESSAGES_REDELIVERED
from broker_app.reading import messages_read, size_of
from broker_app.runtime import state_of
from broker_app.work import UNKNOWN, Receipt
from myqueue.errors import CorruptBatch, InvalidRequest, Overloaded
from myqueue.protocol import MAX_FETCH_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker_app.runtime import BrokerRuntime
    from broker_app.statemachine import PartitionState
    from broker_app.work import Choice, Outcome
    from broker_app.work_waits import WaitKey
    from myqueue.records import Record
    from raft_app.engine.group import Group

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


class Delivery(NamedTuple):
    """One message for a worker."""

    receipt: Receipt
    record: Record


@dataclass(frozen=True, slots=True)
class ReceivedMessages:
    """What it got."""

    deliveries: list[Delivery]
    missed: int = 0
    """Messages that went before they were settled, since this was last told."""


async def messages_receive(
    *, runtime: BrokerRuntime, group: Group, call: ReceiveCall
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
    key = (group.spec.group_id, call.group)
    deadline = asyncio.get_running_loop().time() + call.wait_ms / 1000
    missed, is_woken = 0, False
    while True:
        try:
            if await _is_worth_a_turn(runtime, group, call):
                if _only_looks(group, call):
                    if is_woken:
                        is_woken = False
                        _serve_later(runtime, key)
                    return ReceivedMessages([], missed)
                async with runtime.work_turns.turn(key, timeout_ms=call.timeout_ms):
                    received = await _receive_now(runtime, group, call)
                missed += received.missed
                if received.deliveries:
                    _count(received)
                    is_woken = True  # maybe by a look before: what is left wakes the next
                    return ReceivedMessages(received.deliveries, missed)
        finally:
            if is_woken:
                runtime.work_waits.served(key)
        is_woken = await runtime.work_waits.wait(key, deadline)
        if not is_woken:
            return ReceivedMessages([], missed)


async def messages_settle(
    *,
    runtime: BrokerRuntime,
    group: Group,
    command: SettleMessages,
    timeout_ms: int,
) -> list[Outcome]:
    """Carry out what a worker says of messages; return what became of each receipt.

    What changes nothing is not proposed; a quorum confirms that it changes nothing.

    Raises:
        NotLeader | NoLeader | Overloaded | DiskFull: refused, nothing changed.
        CommitTimeout: no quorum in time; it may have happened, and may be repeated.
    """
    decided = _judge(state_of(group), command)
    if decided is not None:
        await runtime.engine.read_barrier(group.spec.group_id, timeout_ms=timeout_ms)
        decided = _judge(state_of(group), command)
        if decided is not None:
            return decided
    outcomes: list[Outcome] = await runtime.engine.propose(
        group.spec.group_id, command, timeout_ms=timeout_ms
    )
    return outcomes


def _judge(state: PartitionState, command: SettleMessages) -> list[Outcome] | None:
    """Return what became of receipts already; None when one of them would change something."""
    work = state.works.get(command.group)
    if work is None:
        return [UNKNOWN] * len(command.receipts)
    judged = [work.judge(command.kind, receipt) for receipt in command.receipts]
    outcomes = [outcome for outcome in judged if outcome is not None]
    return outcomes if len(outcomes) == len(judged) else None


def _only_looks(group: Group, call: ReceiveCall) -> bool:
    """Tell whether a call changes nothing, not even that the group begins."""
    begins = call.start is Start.LATEST and call.group not in state_of(group).works
    return not call.max_messages and not begins


def _serve_later(runtime: BrokerRuntime, key: WaitKey) -> None:
    """Leave what is there to the worker that was told of it; wake the next if it does not come."""
    loop = asyncio.get_running_loop()
    loop.call_later(LOOK_GRACE_S, runtime.work_waits.served, key)


def _count(received: ReceivedMessages) -> None:
    MESSAGES_RECEIVED.inc(len(received.deliveries))
    MESSAGES_REDELIVERED.inc(sum(delivery.receipt.attempt > 1 for delivery in received.deliveries))


async def _is_worth_a_turn(runtime: BrokerRuntime, group: Group, call: ReceiveCall) -> bool:
    """Tell whether there is something to propose; a quorum confirmed it when there is not.

    Raises:
        InvalidRequest: members of a generation share the group.
        NotLeader | NoLeader | CommitTimeout: this replica cannot confirm it.
    """
    if group.serves and _proposal_wanted(runtime, group, call):
        return True
    await runtime.engine.read_barrier(group.spec.group_id, timeout_ms=call.timeout_ms)
    return _proposal_wanted(runtime, group, call)


def _proposal_wanted(runtime: BrokerRuntime, group: Group, call: ReceiveCall) -> bool:
    state = state_of(group)
    members = state.consumer_group(call.group)
    if members is not None and members.generation:
        raise _shared_by_members(call.group)
    if call.start is Start.LATEST and call.group not in state.works and members is None:
        # The group begins here and now, though it gets nothing.
        return True
    clock_ms = state.partition_clock(runtime.engine.clock_ms())
    return not state.choose_work(call.group, clock_ms, 1).is_empty


async def _receive_now(runtime: BrokerRuntime, group: Group, call: ReceiveCall) -> ReceivedMessages:
    """Deliver what is there, in this group's turn."""
    state, missed, attempts = state_of(group), 0, 0
    while attempts < ATTEMPTS_MAX:
        if not _proposal_wanted(runtime, group, call):
            return ReceivedMessages([], missed)
        clock_ms = state.partition_clock(runtime.engine.clock_ms())
        choice = state.choose_work(call.group, clock_ms, call.max_messages)
        if call.start is Start.LATEST and call.group not in state.works:
            choice = choice._replace(new_to=choice.new_from)
        records, skip_to = await _read(runtime, group, choice)
        again = tuple(offset for offset in choice.again if offset in records)
        count = len(records) - len(again)
        command = ReceiveMessages(
            call.group,
            again,
            choice.new_from,
            choice.new_from + count,
            visibility_ms=call.visibility_ms,
            delivery_limit=call.delivery_limit,
            dead_letter_topic=call.dead_letter_topic,
            start=call.start,
            skip_to=skip_to,
            client_id=call.client_id,
        )
        received: Received = await runtime.engine.propose(
            group.spec.group_id, command, timeout_ms=call.timeout_ms
        )
        if received.refused:
            raise _shared_by_members(call.group)
        missed += received.missed
        if not call.max_messages:
            return ReceivedMessages([], missed)
        # What nobody can read is passed over batch by batch: that goes on.
        attempts += not received.missed
        if received.deliveries:
            deliveries = [
                Delivery(Receipt(received.origin, offset, number), records[offset])
                for offset, number in received.deliveries
            ]
            return ReceivedMessages(deliveries, missed)
    raise Overloaded(
        f"the messages of group '{call.group}' keep going to others; try again",
        retry_after_ms=RETRY_AFTER_MS,
    )


async def _read(
    runtime: BrokerRuntime, group: Group, choice: Choice
) -> tuple[dict[int, Record], int]:
    """Return the chosen messages by offset, as far as they fit into one answer.

    Returns:
        The messages; and, when the first is new and cannot be read, the offset behind the batch
        that it is in, else 0.
    """
    records: dict[int, Record] = {}
    room = MAX_FETCH_BYTES
    for start, end in _runs(choice):
        if room <= 0:
            break
        try:
            read = await messages_read(
                runtime=runtime,
                group=group,
                start=start,
                end=end,
                max_messages=end - start,
                max_bytes=room,
            )
        except CorruptBatch as error:
            if records:
                break
            if start < choice.new_from:
                raise
            return {}, int(error.details["next_offset"])
        records.update(enumerate(read, start))
        room -= sum(size_of(record) for record in read)
        if len(read) < end - start:
            break
    return records, 0


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
