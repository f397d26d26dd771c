"""Cursors and clients of a partition: opened, moved, forgotten."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broker_app.partition.commands import CursorResult, PopMessages, Start
from broker_app.partition.statemachine import TableSizes
from broker_app.selectors.offsets import size_get
from broker_app.services.cursors import client_forget, cursor_open, cursor_reset
from myqueue.contract.errors import (
    CursorMoved,
    InvalidRequest,
    NotLeader,
    OffsetOutOfRange,
    Overloaded,
)
from myqueue.contract.inputs import CursorReset, read_input
from tests.broker_app.engine_twin import turns
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin


class Mover:
    """Moves cursor 5 over abcd; ab were appended at 1,000 and cd at 2,000."""

    def __init__(self, runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin) -> None:
        self.runtime, self.engine = runtime, engine
        self.replica: Any = replica

    async def open(self, start: str, consumer_id: int = 5) -> CursorResult:
        return await cursor_open(
            runtime=self.runtime,
            replica=self.replica,
            consumer_id=consumer_id,
            start=Start(start),
            timeout_ms=1_000,
        )

    async def reset(self, **fields: Any) -> CursorResult:
        call = {"topic": "logs", "partition": 0, "consumer_id": 5, **fields}
        reset = read_input(CursorReset, call)
        return await cursor_reset(runtime=self.runtime, replica=self.replica, reset=reset)

    async def forget(self, producer_id: int = 0, consumer_id: int = 0) -> None:
        await client_forget(
            runtime=self.runtime,
            replica=self.replica,
            producer_id=producer_id,
            consumer_id=consumer_id,
            timeout_ms=1_000,
        )

    async def pop(self, start: int, end: int) -> Any:
        return await self.engine.propose(7, PopMessages(5, start, end), timeout_ms=1_000)

    @property
    def cursor(self) -> int:
        cursor: int = self.replica.state_machine.applied_cursor(5)
        return cursor


@pytest.fixture
async def mover(runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin) -> Mover:
    for engine.now_ms, values in ((1_000, "ab"), (2_000, "cd")):
        await engine.propose(7, batch_of(*values), timeout_ms=1_000)
    return Mover(runtime, engine, replica)


async def test_cursor_is_opened_once_whoever_asks_again(mover: Mover) -> None:
    assert await mover.open("latest") == CursorResult(4, moved=True)
    proposals = len(mover.engine.proposals)
    assert await mover.open("earliest") == CursorResult(4, moved=False)
    assert len(mover.engine.proposals) == proposals, "what is there writes nothing"
    assert await mover.open("earliest", consumer_id=6) == CursorResult(0, moved=True)


async def test_two_calls_at_once_open_one_cursor(mover: Mover) -> None:
    places = await asyncio.gather(mover.open("latest"), mover.open("earliest"))
    assert places == [CursorResult(4, moved=True), CursorResult(4, moved=False)]


async def test_reset_to_an_offset_in_the_log_or_at_its_end(mover: Mover) -> None:
    for offset in (4, 0, 3):
        assert await mover.reset(offset=offset) == CursorResult(offset, moved=True)
        assert mover.cursor == offset


async def test_reset_to_a_time(mover: Mover) -> None:
    found = [(await mover.reset(timestamp=t)).offset for t in (0, 1_000, 1_001, 2_000, 2_001)]
    assert found == [0, 0, 2, 2, 4]


async def test_reset_needs_exactly_one_of_offset_and_time(mover: Mover) -> None:
    for fields in ({}, {"offset": 1, "timestamp": 1}):
        with pytest.raises(InvalidRequest):
            await mover.reset(**fields)
    assert mover.engine.barriers == 0


async def test_offset_that_is_not_stored_moves_nothing(mover: Mover) -> None:
    await mover.reset(offset=3)
    mover.replica.state_machine._data.log_start_offset = 2
    for offset in (-1, 1, 5):
        with pytest.raises(OffsetOutOfRange) as refused:
            await mover.reset(offset=offset)
        assert refused.value.details == {"log_start_offset": 2, "high_watermark": 4}
    assert mover.cursor == 3


async def test_cursor_elsewhere_than_expected_stays(mover: Mover) -> None:
    await mover.pop(0, 2)
    with pytest.raises(CursorMoved) as refused:
        await mover.reset(offset=0, expected=1)
    assert refused.value.details == {"offset": 2}
    assert mover.cursor == 2
    assert (await mover.reset(offset=0, expected=2)).moved


async def test_expected_place_counts_after_everything_in_flight(mover: Mover) -> None:
    mover.engine.holding = True
    pop = asyncio.get_running_loop().create_task(mover.pop(0, 2))
    await turns()
    with pytest.raises(CursorMoved):
        await mover.reset(offset=1, expected=0)
    reset = asyncio.get_running_loop().create_task(mover.reset(offset=1, expected=2))
    await turns(20)
    mover.engine.release()
    await pop
    assert await reset == CursorResult(1, moved=True)


async def test_reset_takes_its_turn_behind_the_pop_of_its_consumer(mover: Mover) -> None:
    async with mover.runtime.pop_lock.hold((7, 5), timeout_ms=1_000):
        waiting = asyncio.get_running_loop().create_task(mover.reset(offset=1))
        await turns(20)
        assert not waiting.done()
        with pytest.raises(Overloaded):
            await mover.reset(offset=1, timeout_ms=5)
    assert (await waiting).moved


async def test_cursor_that_is_moved_back_wakes_those_who_wait_for_messages(mover: Mover) -> None:
    await mover.pop(0, 4)
    waiting = asyncio.get_running_loop().create_task(
        size_get(
            runtime=mover.runtime,
            replica=mover.replica,
            consumer_id=5,
            wait_ms=60_000,
            timeout_ms=1_000,
        )
    )
    await turns(20)
    await mover.reset(offset=3)
    assert (await waiting).size == 1


async def test_replica_that_does_not_lead_moves_nothing(mover: Mover) -> None:
    mover.engine.lose(mover.replica)
    for call in (mover.reset(offset=1), mover.open("latest"), mover.forget(consumer_id=5)):
        with pytest.raises(NotLeader):
            await call
    assert mover.cursor == 0


async def test_client_is_forgotten_and_again_is_no_error(mover: Mover) -> None:
    await mover.engine.propose(7, batch_of("e", sequence=0), timeout_ms=1_000)
    await mover.pop(0, 2)
    await mover.forget(producer_id=1)
    assert mover.replica.state_machine.table_sizes() == TableSizes(
        cursors=1, consumer_groups=0, producers=0, request_ids=0
    )
    for _ in range(2):
        await mover.forget(consumer_id=5)
        assert mover.replica.state_machine.table_sizes().cursors == 0
    for both in ({}, {"producer_id": 1, "consumer_id": 5}):
        with pytest.raises(InvalidRequest):
            await mover.forget(**both)
