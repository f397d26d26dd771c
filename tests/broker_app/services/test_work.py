"""Queue workers over the engine twin."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
from msgspec.structs import replace

from broker_app.partition.commands import (
    AppendBatch,
    CommitOffsets,
    ReceiveMessages,
    SettleMessages,
    Start,
    Truncate,
)
from broker_app.partition.limits import StateLimits
from broker_app.runtime import state_of
from broker_app.services import work as work_service
from broker_app.services.work import (
    ReceiveCall,
    ReceivedMessages,
    messages_receive,
    messages_settle,
)
from myqueue.contract.errors import (
    CommitTimeout,
    CorruptBatch,
    InvalidRequest,
    NotLeader,
    TooManyGroups,
)
from myqueue.contract.records import Record, encode_batch, read_header
from myqueue.contract.rules.work import DONE, SUPERSEDED, UNKNOWN, Outcome, Receipt, SettleKind
from tests.batches import crafted, rows
from tests.broker_app.engine_twin import EngineTwin, runtime_over, turns
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import ReplicaTwin

ACK, NACK, EXTEND = SettleKind


class Worker:
    """Workers of one group at partition 0 of topic logs."""

    def __init__(self, runtime: BrokerRuntime, replica: ReplicaTwin, engine: EngineTwin) -> None:
        self.runtime, self.replica, self.engine = runtime, replica, engine

    async def produce(self, *values: str) -> None:
        await self.engine.propose(7, batch_of(*values), timeout_ms=1_000)

    async def receive(self, **changes: Any) -> ReceivedMessages:
        fields: dict[str, Any] = {
            "group": "workers",
            "max_messages": 1,
            "visibility_ms": 30_000,
            "delivery_limit": 3,
            "dead_letter_topic": "",
            "start": Start.EARLIEST,
            "wait_ms": 0,
            "timeout_ms": 1_000,
        }
        call = ReceiveCall(**{**fields, **changes})
        return await messages_receive(runtime=self.runtime, replica=self.replica, call=call)

    async def got(self, **changes: Any) -> list[tuple[str, int]]:
        return seen(await self.receive(**changes))

    def start(self, **changes: Any) -> asyncio.Task[ReceivedMessages]:
        return asyncio.get_running_loop().create_task(self.receive(**changes))

    async def settle(
        self, kind: SettleKind, *receipts: Receipt, delay_ms: int = 0, name: str = "workers"
    ) -> list[Outcome]:
        command = SettleMessages(name, kind, list(receipts), delay_ms)
        return await messages_settle(
            runtime=self.runtime, replica=self.replica, command=command, timeout_ms=1_000
        )

    def proposed(self, kind: type) -> int:
        return sum(isinstance(request, kind) for request in self.engine.proposals)


def seen(received: ReceivedMessages) -> list[tuple[str, int]]:
    """Return (value, number of the delivery) of each message."""
    return [(str(one.record.value), one.receipt.attempt) for one in received.deliveries]


@pytest.fixture
def worker(runtime: BrokerRuntime, replica: ReplicaTwin, engine: EngineTwin) -> Worker:
    return Worker(runtime, replica, engine)


async def test_workers_share_the_messages_and_settle_them_one_by_one(worker: Worker) -> None:
    await worker.produce("a", "b", "c")
    first, second = await worker.receive(max_messages=2), await worker.receive()
    assert seen(first) == [("a", 1), ("b", 1)]
    assert seen(second) == [("c", 1)]
    receipts = [one.receipt for one in (*first.deliveries, *second.deliveries)]
    assert await worker.settle(ACK, *receipts[1:]) == [DONE, DONE]
    assert await worker.settle(ACK, *receipts) == [DONE, *[Outcome(True, "settled")] * 2]
    assert state_of(worker.replica).works.counts() == (0, 0)


async def test_nothing_is_proposed_when_nothing_is_there_or_nothing_changes(
    worker: Worker,
) -> None:
    assert await worker.got() == []
    assert await worker.settle(ACK, Receipt(1, 0, 1)) == [UNKNOWN]
    assert worker.engine.proposals == []
    assert worker.engine.barriers == 2
    await worker.produce("a")
    [delivery] = (await worker.receive()).deliveries
    assert await worker.got() == []
    await worker.settle(ACK, delivery.receipt)
    assert await worker.settle(ACK, delivery.receipt) == [Outcome(True, "settled")]
    assert (worker.proposed(ReceiveMessages), worker.proposed(SettleMessages)) == (1, 1)


async def test_what_is_not_settled_in_time_comes_back_before_what_is_new(worker: Worker) -> None:
    await worker.produce("a", "b", "c", "d")
    [late] = (await worker.receive(visibility_ms=100)).deliveries
    [other] = (await worker.receive(visibility_ms=500)).deliveries
    worker.engine.clock += 100
    assert await worker.got(max_messages=3) == [("a", 2), ("c", 1), ("d", 1)]
    assert await worker.settle(ACK, late.receipt, other.receipt) == [SUPERSEDED, DONE]


async def test_given_back_messages_come_back_after_the_delay_and_die_at_the_limit(
    worker: Worker,
) -> None:
    await worker.produce("a")
    for number in (1, 2, 3):
        [delivery] = (await worker.receive()).deliveries
        assert delivery.receipt.attempt == number
        reason = "dead" if number == 3 else ""
        outcome = await worker.settle(NACK, delivery.receipt, delay_ms=50)
        assert outcome == [Outcome(True, reason)]
        assert await worker.got() == []
        worker.engine.clock += 50
    assert await worker.got() == []
    assert state_of(worker.replica).works.with_dead == ["workers"]
    assert await worker.settle(ACK, delivery.receipt) == [Outcome(False, "dead")]


async def test_a_long_poll_ends_when_a_message_comes_and_holds_no_turn(worker: Worker) -> None:
    waiting = [worker.start(wait_ms=20_000) for _ in range(3)]
    await turns()
    assert worker.runtime.work_waits.waiting == 3
    await worker.produce("a", "b")
    await turns(20)
    assert [task.done() for task in waiting] == [True, True, False]
    assert [seen(task.result()) for task in waiting[:2]] == [[("a", 1)], [("b", 1)]]
    worker.runtime.end_long_polls()
    assert seen(await waiting[2]) == []


async def test_one_message_for_many_waiting_workers_costs_one_proposal(worker: Worker) -> None:
    waiting = [worker.start(wait_ms=20_000) for _ in range(50)]
    await turns()
    await worker.produce("a")
    await turns(300)
    assert sum(task.done() for task in waiting) == 1
    assert worker.proposed(ReceiveMessages) == 1
    assert worker.engine.barriers == 50
    worker.runtime.end_long_polls()
    assert sorted(seen(one) for one in await asyncio.gather(*waiting)) == [[]] * 49 + [[("a", 1)]]


async def test_a_long_poll_ends_when_a_message_comes_back(worker: Worker) -> None:
    await worker.produce("a")
    await worker.receive(visibility_ms=30)
    waiting = worker.start(wait_ms=20_000)
    await turns()
    worker.engine.clock += 30
    assert seen(await waiting) == [("a", 2)]


async def test_a_long_poll_ends_when_a_message_is_given_back(worker: Worker) -> None:
    await worker.produce("a")
    [delivery] = (await worker.receive()).deliveries
    waiting = worker.start(wait_ms=20_000)
    await turns()
    await worker.settle(NACK, delivery.receipt)
    assert seen(await waiting) == [("a", 2)]


async def test_a_waiting_worker_that_goes_away_when_it_is_woken_wakes_the_next(
    worker: Worker,
) -> None:
    first, second = worker.start(wait_ms=20_000), worker.start(wait_ms=20_000)
    await turns()
    worker.engine.holding = True
    produced = asyncio.get_running_loop().create_task(worker.produce("a"))
    await turns()
    worker.engine.release()
    first.cancel()
    assert seen(await second) == [("a", 1)]
    await produced
    assert first.cancelled()


async def test_receives_of_one_group_take_turns_and_other_groups_do_not_wait(
    worker: Worker,
) -> None:
    await worker.produce("a", "b", "c")
    worker.engine.holding = True
    tasks = [worker.start(), worker.start(), worker.start(group="others")]
    await turns(20)
    assert worker.proposed(ReceiveMessages) == 2
    worker.engine.release()
    received = await asyncio.gather(*tasks)
    assert [seen(one) for one in received] == [[("a", 1)], [("b", 1)], [("a", 1)]]


async def test_an_unknown_outcome_delivers_nothing_twice(worker: Worker) -> None:
    await worker.produce("a", "b")
    worker.engine.holding = True
    with pytest.raises(CommitTimeout):
        await worker.receive(timeout_ms=1)
    again = worker.start()
    await turns(20)
    worker.engine.release()
    assert seen(await again) == [("b", 1)]


async def test_lost_leadership_ends_the_waiting_and_what_is_out_stays_out(worker: Worker) -> None:
    await worker.produce("a", "b")
    [delivery] = (await worker.receive()).deliveries
    await worker.settle(ACK, (await worker.receive()).deliveries[0].receipt)
    waiting = worker.start(wait_ms=20_000)
    await turns()
    worker.engine.lose(worker.replica)
    with pytest.raises(NotLeader):
        await waiting
    for call in (worker.receive(), worker.settle(ACK, delivery.receipt)):
        with pytest.raises(NotLeader):
            await call
    worker.engine.win(worker.replica)
    assert await worker.got() == []
    assert await worker.settle(EXTEND, delivery.receipt, delay_ms=10) == [DONE]
    worker.engine.clock += 10
    assert await worker.got() == [("a", 2)]


async def test_a_receive_that_was_overwritten_has_delivered_nothing(worker: Worker) -> None:
    await worker.produce("a")
    worker.engine.holding = True
    task = worker.start()
    await turns(20)
    assert worker.proposed(ReceiveMessages) == 1
    worker.engine.lose(worker.replica, kept=1)
    with pytest.raises(NotLeader):
        await task
    worker.engine.win(worker.replica)
    worker.engine.release()
    assert await worker.got() == [("a", 1)]


async def test_latest_begins_with_the_first_receive(worker: Worker) -> None:
    await worker.produce("old")
    assert await worker.got(start=Start.LATEST) == []
    await worker.produce("new")
    assert await worker.got(start=Start.LATEST) == [("new", 1)]
    assert await worker.got(group="all") == [("old", 1)]


async def test_members_and_workers_do_not_share_a_group(worker: Worker) -> None:
    await worker.produce("a", "b", "c")
    await worker.engine.propose(7, CommitOffsets("workers", 3, 1), timeout_ms=1_000)
    with pytest.raises(InvalidRequest) as caught:
        await worker.receive()
    assert caught.value.details["field"] == "group"
    assert worker.proposed(ReceiveMessages) == 0


async def test_workers_go_on_where_a_commit_without_generation_was(worker: Worker) -> None:
    await worker.produce("a", "b", "c")
    await worker.engine.propose(7, CommitOffsets("workers", 0, 1), timeout_ms=1_000)
    assert await worker.got(start=Start.LATEST) == [("b", 1)]


async def test_only_what_comes_back_is_delivered_when_too_much_is_out() -> None:
    engine = EngineTwin(StateLimits(unsettled_max=2, groups_max=1))
    replica = engine.add()
    worker = Worker(runtime_over(engine), replica, engine)
    await worker.produce("a", "b", "c")
    first = await worker.receive(max_messages=3)
    assert seen(first) == [("a", 1), ("b", 1)]
    assert await worker.got() == []
    await worker.settle(NACK, first.deliveries[0].receipt)
    assert await worker.got(max_messages=3) == [("a", 2)]
    await worker.settle(ACK, first.deliveries[1].receipt)
    assert await worker.got() == [("c", 1)]
    with pytest.raises(TooManyGroups, match="groups"):
        await worker.receive(group="others")


async def test_what_retention_took_is_told_once(worker: Worker) -> None:
    for value in "abcd":
        await worker.produce(value)
    await worker.receive()
    await worker.engine.propose(7, Truncate(3), timeout_ms=1_000)
    received = await worker.receive()
    assert (seen(received), received.missed) == ([("d", 1)], 3)
    assert (await worker.receive()).missed == 0


async def test_messages_that_nobody_can_read_are_passed_over_and_counted(worker: Worker) -> None:
    await worker.produce("a")
    batch = encode_batch([Record("x")] * 2)
    garbage = bytearray(batch)
    garbage[-3:] = b"\xc1\xc1\xc1"
    damaged = resealed(bytes(garbage))
    for _ in range(6):
        await worker.engine.propose(7, AppendBatch(damaged, read_header(damaged)), timeout_ms=1_000)
    await worker.produce("b")
    assert await worker.got(max_messages=9) == [("a", 1)]
    received = await worker.receive(max_messages=9)
    assert (seen(received), received.missed, received.corrupt) == ([("b", 1)], 0, 12)


async def test_a_long_batch_that_nobody_can_read_is_one_step(worker: Worker) -> None:
    batch = crafted(rows(*[b"\x07"] * 1_000), record_count=1_000)
    await worker.engine.propose(7, AppendBatch(batch, read_header(batch)), timeout_ms=1_000)
    await worker.produce("a")
    received = await worker.receive(max_messages=1)
    assert (seen(received), received.corrupt) == ([("a", 1)], 1_000)
    assert worker.proposed(ReceiveMessages) == 2


async def test_what_is_out_and_cannot_be_read_any_more_is_settled_and_told(worker: Worker) -> None:
    await worker.produce("a")
    await worker.produce("b", "c")
    await worker.produce("d")
    assert len(await worker.got(max_messages=9, visibility_ms=100)) == 4
    bad = crafted(rows(b"\x07", b"\x07"), record_count=2)
    worker.replica.batches[1] = replace(worker.replica.batches[1], data=bad)
    worker.engine.clock += 100
    received = await worker.receive(max_messages=9)
    assert (seen(received), received.missed, received.corrupt) == ([("a", 2), ("d", 2)], 0, 2)
    assert state_of(worker.replica).works.counts() == (2, 0)


async def test_a_damaged_batch_is_this_replicas_fault_and_never_passed_over(
    worker: Worker,
) -> None:
    await worker.produce("a")
    await worker.produce("b")
    await worker.produce("c")
    batch = worker.replica.batches[1]
    worker.replica.batches[1] = replace(batch, data=batch.data[:-1] + b"\xc1")
    assert await worker.got(max_messages=9) == [("a", 1)]
    for _ in range(2):
        with pytest.raises(CorruptBatch):
            await worker.receive(max_messages=9)
    worker.replica.batches[1] = batch
    assert await worker.got(max_messages=9) == [("b", 1), ("c", 1)]


async def test_a_wait_that_only_steps_over_tells_it_when_it_ends(worker: Worker) -> None:
    batch = crafted(rows(b"\x07"))
    await worker.engine.propose(7, AppendBatch(batch, read_header(batch)), timeout_ms=1_000)
    received = await worker.receive(wait_ms=5)
    assert (received.deliveries, received.corrupt) == ([], 1)
    assert (await worker.receive(wait_ms=5)).corrupt == 0


async def test_an_answer_holds_no_more_than_its_limit(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_service, "MAX_FETCH_BYTES", 150)
    await worker.produce("a" * 60, "b" * 60, "c")
    first = await worker.receive(max_messages=3, visibility_ms=0)
    assert [value[0] for value, _ in seen(first)] == ["a"]
    second = await worker.receive(max_messages=3)
    assert [value[0] for value, _ in seen(second)] == ["a", "b"]
    assert await worker.got(max_messages=3) == [("c", 1)]


async def test_scattered_messages_come_back_in_one_receive(worker: Worker) -> None:
    await worker.produce("a", "b", "c", "d", "e")
    received = await worker.receive(max_messages=5, visibility_ms=10)
    await worker.settle(ACK, received.deliveries[2].receipt)
    await worker.produce("f")
    worker.engine.clock += 10
    expected = [("a", 2), ("b", 2), ("d", 2), ("e", 2), ("f", 1)]
    assert await worker.got(max_messages=9) == expected


def resealed(batch: bytes) -> bytes:
    """Return a batch whose payload was changed, with a checksum that says it was not."""
    return batch[:56] + crc32(batch[60:], crc32(batch[:56])).to_bytes(4, "little") + batch[60:]
