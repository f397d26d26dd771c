"""Retention by age and size, and what a consumer hears of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError

from broker_app import tasks
from broker_app.metrics import RETENTION_FAILURES
from broker_app.partition.commands import OpenCursor, SetRetention, Start, Truncate
from broker_app.runtime import state_of
from broker_app.selectors.offsets import size_get
from broker_app.services.consume import PopCall, messages_pop
from broker_app.services.retention import messages_purge, messages_truncate, retention_set
from myqueue.contract.errors import NoLeader, OffsetOutOfRange, QueueError
from myqueue.contract.records import request_digest
from tests.broker_app.engine_twin import turns
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from broker_app.services.consume import PoppedMessages
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin


async def produce(engine: EngineTwin, *values: str, at: int) -> None:
    engine.now_ms = at
    await engine.propose(7, batch_of(*values), timeout_ms=1_000)


async def keep(runtime: BrokerRuntime, replica: Any, **limits: int) -> None:
    assert await retention_set(runtime=runtime, replica=replica, wanted=SetRetention(**limits))


async def pop(runtime: BrokerRuntime, replica: Any, request: str = "r1") -> PoppedMessages:
    call = PopCall(
        consumer_id=5,
        max_messages=1,
        max_bytes=1 << 20,
        wait_ms=0,
        timeout_ms=1_000,
        request_digest=request_digest(request),
    )
    return await messages_pop(runtime=runtime, replica=replica, call=call)


async def test_what_a_partition_keeps_is_replicated_once(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    wanted = SetRetention(retention_ms=1_000, retention_bytes=2_000)
    assert await retention_set(runtime=runtime, replica=replica, wanted=wanted)
    assert not await retention_set(runtime=runtime, replica=replica, wanted=wanted)
    assert state_of(replica).retention == wanted
    engine.lose(replica)
    assert not await retention_set(runtime=runtime, replica=replica, wanted=SetRetention())


async def test_batches_older_than_the_limit_go_whole(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    for at in (1_000, 2_000, 3_000):
        await produce(engine, "a", "b", at=at)
    await keep(runtime, replica, retention_ms=2_500)
    assert await messages_truncate(runtime=runtime, replica=replica, now_ms=3_499) == 0
    assert await messages_truncate(runtime=runtime, replica=replica, now_ms=3_500) == 2
    assert await messages_truncate(runtime=runtime, replica=replica, now_ms=5_400) == 4
    assert await messages_truncate(runtime=runtime, replica=replica, now_ms=9_000) == 6
    await produce(engine, "c", at=9_000)
    assert await messages_truncate(runtime=runtime, replica=replica, now_ms=9_100) == 6


async def test_timestamp_ahead_of_the_clock_counts_from_the_first_sight(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    await produce(engine, "a", at=1_000_000)  # a former leader's clock
    await keep(runtime, replica, retention_ms=500)
    assert await messages_truncate(runtime=runtime, replica=replica, now_ms=2_000) == 0
    assert await messages_truncate(runtime=runtime, replica=replica, now_ms=2_499) == 0
    assert await messages_truncate(runtime=runtime, replica=replica, now_ms=2_500) == 1


async def test_oldest_batches_go_while_the_limit_remains(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    for number in range(10):
        await produce(engine, f"{number}" * 5_000, at=1_000)
    await keep(runtime, replica, retention_bytes=12_000)
    assert await messages_truncate(runtime=runtime, replica=replica, now_ms=1_000) == 7
    assert 12_000 <= state_of(replica).size_bytes < 17_000
    assert await messages_truncate(runtime=runtime, replica=replica, now_ms=1_000) == 7


async def test_cursor_below_the_log_start_moves_up_and_its_consumer_hears_what_it_missed(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    await engine.propose(7, OpenCursor(5, Start.EARLIEST), timeout_ms=1_000)
    for number in range(6):
        await produce(engine, f"{number}", at=1_000)
    assert (await pop(runtime, replica)).missed == 0
    await engine.propose(7, Truncate(4), timeout_ms=1_000)
    left = await size_get(
        runtime=runtime, replica=replica, consumer_id=5, wait_ms=0, timeout_ms=1_000
    )
    assert left.size == 2
    popped = await pop(runtime, replica, "r2")
    assert (popped.first_offset, popped.missed) == (4, 3)
    again = await pop(runtime, replica, "r2")
    assert (again.first_offset, again.missed) == (4, 3)
    assert (await pop(runtime, replica, "r3")).missed == 0


async def test_pop_that_crosses_a_truncate_is_made_anew(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    for number in range(4):
        await produce(engine, f"{number}", at=1_000)
    engine.holding = True
    truncating = engine.propose(7, Truncate(2), timeout_ms=1_000)
    popping = pop(runtime, replica)
    calls = [asyncio.ensure_future(one) for one in (truncating, popping)]
    await turns(20)
    engine.release()
    await calls[0]
    assert (await calls[1]).first_offset == 2


async def test_round_goes_over_the_partitions_led_here(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    other = engine.add("other", 1, group_id=9)
    for one in (replica, other):
        await engine.propose(one.group_id, batch_of("a"), timeout_ms=1_000)
        await keep(runtime, one, retention_ms=500)
    third = engine.add("kept", 2, group_id=11)
    await engine.propose(11, batch_of("a"), timeout_ms=1_000)
    engine.lose(other)
    engine.refusals.append(NoLeader("not now"))
    for _ in range(2):
        tasks.retention()
        await turns(30)
    assert runtime.retaining is not None
    await runtime.retaining
    starts = [state_of(one).log_start_offset for one in (replica, other, third)]
    assert starts == [1, 0, 0]
    assert set(runtime.retention_clocks) == {7}


async def test_a_partition_that_cannot_be_read_keeps_no_other_from_letting_go(
    runtime: BrokerRuntime,
    engine: EngineTwin,
    replica: ReplicaTwin,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    others = [engine.add("other", index, group_id=9 + index) for index in range(2)]
    for one in (replica, *others):
        await engine.propose(one.group_id, batch_of("a"), timeout_ms=1_000)
        await keep(runtime, one, retention_ms=500)
    read, failures = engine.read_batches, RETENTION_FAILURES._value.get()

    async def read_batches(group_id: int, *asked: Any) -> Any:
        if group_id == replica.group_id:
            raise DatabaseError("disk I/O error")
        return await read(group_id, *asked)

    async def whole_round() -> list[int]:
        tasks.retention()
        await turns(5)
        assert runtime.retaining is not None
        await asyncio.wait((runtime.retaining,), timeout=10)
        return [state_of(one).log_start_offset for one in (replica, *others)]

    monkeypatch.setattr(engine, "read_batches", read_batches)
    assert await whole_round() == [0, 1, 1]
    [failed] = [record for record in caplog.records if record.exc_info]
    assert failed.getMessage() == f"{replica.label} keeps its messages until the next round"
    assert RETENTION_FAILURES._value.get() == failures + 1
    monkeypatch.undo()
    assert await whole_round() == [1, 1, 1]


async def purge(runtime: BrokerRuntime, replica: Any, below: int) -> int:
    purged = await messages_purge(runtime=runtime, replica=replica, below=below, timeout_ms=1_000)
    return purged.log_start_offset


async def test_messages_below_an_offset_go_on_every_replica_and_in_whole_batches(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    for at in (1_000, 2_000, 3_000):
        await produce(engine, "a", "b", at=at)
    assert await purge(runtime, replica, 0) == 0
    assert await purge(runtime, replica, 2) == 2
    assert await purge(runtime, replica, 5) == 4
    assert await purge(runtime, replica, 1) == 4
    assert state_of(replica).log_start_offset == 4


async def test_everything_goes_up_to_the_high_watermark_and_what_follows_stays(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    await produce(engine, "a", "b", at=1_000)
    assert await purge(runtime, replica, 2) == 2
    await produce(engine, "c", at=2_000)
    assert await purge(runtime, replica, 2) == 2
    assert (await pop(runtime, replica)).first_offset == 2
    with pytest.raises(OffsetOutOfRange):
        await purge(runtime, replica, 4)


async def test_who_does_not_lead_purges_nothing(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    await produce(engine, "a", at=1_000)
    engine.lose(replica)
    with pytest.raises(QueueError):
        await purge(runtime, replica, 1)
    assert state_of(replica).log_start_offset == 0
