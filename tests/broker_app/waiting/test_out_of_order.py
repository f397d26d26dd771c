"""Batches before their turn: who waits, who does not, and who is woken with what."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker_app.waiting.out_of_order import BATCHES_AHEAD_MAX, OutOfOrderBatches
from http_base.memory_budget import MemoryShare
from myqueue.contract.records import MAX_RECORDS
from tests.broker_app.engine_twin import turns
from tests.broker_app.replica import Leader, batch_of

BYTES_MAX = 100


class Yard:
    """A place for 100 bytes before a partition whose producer 1 is due at sequence 1."""

    def __init__(self) -> None:
        self.share = MemoryShare("decoded", 2 * BYTES_MAX)
        self.out_of_order = OutOfOrderBatches(bytes_max=1 << 30, share=self.share)
        self.leader = Leader()
        self.leader.run(batch_of("a", sequence=0))
        self.finished: list[tuple[int, bool]] = []

    def start(
        self, sequence: int, *, size: int = 10, wait_s: float = 60.0, **stamp: Any
    ) -> asyncio.Task[bool]:
        deadline = asyncio.get_running_loop().time() + wait_s
        header = batch_of("x", sequence=sequence, **stamp).header

        async def wait() -> bool:
            again = await self.out_of_order.wait(self.leader.state, header, size, deadline)
            self.finished.append((sequence, again))
            return again

        return asyncio.get_running_loop().create_task(wait())

    def refuse(self, sequence: int, *, group_id: int = 7, **stamp: Any) -> None:
        header = batch_of("x", sequence=sequence, **stamp).header
        self.out_of_order.predecessor_refused(group_id, header)


@pytest.fixture
async def yard() -> Any:
    yard = Yard()
    yield yard
    assert yard.out_of_order.parked_bytes == yard.share.used_bytes == 0
    assert not yard.out_of_order._parked


async def test_batch_that_is_due_tries_again_at_once(yard: Yard) -> None:
    assert await yard.start(1, size=BYTES_MAX + 1, wait_s=-1)


async def test_batch_of_the_past_never_waits(yard: Yard) -> None:
    assert not await yard.start(0)


async def test_batch_further_ahead_than_four_of_the_longest_never_waits(yard: Yard) -> None:
    assert not await yard.start(1 + BATCHES_AHEAD_MAX * MAX_RECORDS + 1)
    last = yard.start(1 + BATCHES_AHEAD_MAX * MAX_RECORDS)
    await turns()
    assert not last.done()
    yard.out_of_order.sequence_entered(7, 1)
    assert await last


async def test_batch_without_time_left_never_waits(yard: Yard) -> None:
    assert not await yard.start(2, wait_s=0)


async def test_fifth_batch_ahead_is_refused_and_other_producers_are_not(yard: Yard) -> None:
    parked = [yard.start(sequence) for sequence in (5, 3, 2, 4)]
    await turns()
    assert not await yard.start(6)
    other = yard.start(1, producer_id=2)
    await turns()
    assert not other.done()
    assert yard.out_of_order.parked_bytes == 50
    yard.out_of_order.sequence_entered(7, 1)
    await asyncio.gather(*parked)
    assert not other.done()
    yard.out_of_order.sequence_entered(7, 2)
    assert await other


async def test_bytes_of_all_producers_are_bounded_and_given_back(yard: Yard) -> None:
    first = yard.start(2, size=60)
    second = yard.start(1, size=40, producer_id=2)
    await turns()
    assert not await yard.start(3, size=1)
    assert not await yard.start(1, size=1, producer_id=3)
    first.cancel()
    await turns()
    assert yard.out_of_order.parked_bytes == 40
    third = yard.start(3, size=60)
    await turns()
    assert not third.done()
    yard.out_of_order.sequence_entered(7, 1)
    yard.out_of_order.sequence_entered(7, 2)
    assert await asyncio.gather(second, third) == [True, True]


async def test_predecessor_in_the_log_wakes_those_parked_in_their_order(yard: Yard) -> None:
    tasks = [yard.start(sequence) for sequence in (3, 2, 4)]
    await turns()
    yard.leader.decide(batch_of("b", sequence=1))
    await asyncio.gather(*tasks)
    assert yard.finished == [(3, True), (2, True), (4, True)]


async def test_batches_of_others_and_without_sequence_wake_nobody(yard: Yard) -> None:
    task = yard.start(2)
    await turns()
    yard.leader.decide(batch_of("b", producer_id=2, sequence=0))
    yard.leader.decide(batch_of("b", request_id="r"))
    yard.out_of_order.sequence_entered(8, 1)
    await turns()
    assert not task.done()
    yard.leader.decide(batch_of("b", sequence=1))
    assert await task


async def test_refused_predecessor_refuses_only_those_behind_it_in_its_epoch(yard: Yard) -> None:
    before, behind = yard.start(2), [yard.start(4), yard.start(5)]
    later_epoch = yard.start(6, epoch=1)
    await turns()
    yard.refuse(4, group_id=8)
    yard.refuse(4, producer_id=2)
    yard.refuse(9)
    await turns()
    assert not yard.finished
    yard.refuse(4)
    assert not await behind[1]
    assert not before.done()
    assert not behind[0].done()
    assert not later_epoch.done()
    yard.refuse(1)
    assert [await before, await behind[0]] == [False, False]
    assert not later_epoch.done()
    yard.out_of_order.sequence_entered(7, 1)
    assert await later_epoch


async def test_predecessor_that_does_not_come_in_time_ends_the_wait(yard: Yard) -> None:
    assert not await yard.start(2, wait_s=0.005)
    assert yard.finished == [(2, False)]


async def test_first_word_counts_when_a_batch_is_woken_twice(yard: Yard) -> None:
    task = yard.start(2)
    await turns()
    yard.out_of_order.sequence_entered(7, 1)
    yard.refuse(1)
    assert await task


async def test_unknown_producer_waits_for_its_sequence_zero(yard: Yard) -> None:
    task = yard.start(1, producer_id=3)
    await turns()
    assert not task.done()
    yard.leader.decide(batch_of("b", producer_id=3, sequence=0))
    assert await task
