"""Consuming: every message once, retries repeated, empty answers confirmed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from broker_app import log_reading as reading
from broker_app.partition.commands import AppendBatch, PopMessages, ResetCursor, Truncate
from broker_app.services import consume
from broker_app.services.consume import PopCall, PoppedMessages, messages_pop
from myqueue.contract.errors import CommitTimeout, CorruptBatch, NotLeader, Overloaded
from myqueue.contract.records import read_header, request_digest
from tests.batches import crafted, rows
from tests.broker_app.engine_twin import turns
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin


class Consumer:
    """Pops as consumer 5."""

    def __init__(self, runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin) -> None:
        self.runtime, self.engine, self.replica = runtime, engine, replica

    async def append(self, *values: str) -> None:
        await self.engine.propose(self.replica.group_id, batch_of(*values), timeout_ms=1_000)

    async def pop(self, request_id: str = "", **fields: Any) -> PoppedMessages:
        wanted: dict[str, Any] = {
            "consumer_id": 5,
            "max_messages": 10,
            "max_bytes": 1 << 20,
            "wait_ms": 0,
            "timeout_ms": 1_000,
            "request_digest": request_digest(request_id) if request_id else b"",
            **fields,
        }
        return await messages_pop(
            runtime=self.runtime,
            replica=self.replica,
            call=PopCall(**wanted),  # type: ignore[arg-type]
        )

    async def values(self, request_id: str = "", **fields: Any) -> list[Any]:
        popped = await self.pop(request_id, **fields)
        return [record.value for _, record in popped.messages]

    def start(self, request_id: str = "", **fields: Any) -> asyncio.Task[list[Any]]:
        return asyncio.get_running_loop().create_task(self.values(request_id, **fields))


@pytest.fixture
def consumer(runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin) -> Consumer:
    return Consumer(runtime, engine, replica)


async def test_ranges_begin_and_end_in_the_middle_of_batches(consumer: Consumer) -> None:
    await consumer.append("a", "b", "c")
    await consumer.append("d", "e")
    assert await consumer.values(max_messages=2) == ["a", "b"]
    popped = await consumer.pop(max_messages=2)
    assert (popped.first_offset, [one.value for _, one in popped.messages]) == (2, ["c", "d"])
    assert await consumer.values() == ["e"]
    assert await consumer.values() == []


async def test_single_pops_decode_a_batch_once(consumer: Consumer) -> None:
    await consumer.append(*"abcde")
    values = [await consumer.values(max_messages=1) for _ in range(5)]
    assert values == [["a"], ["b"], ["c"], ["d"], ["e"]]
    assert consumer.runtime.decode_cache.find(7, 3) is not None


async def test_max_bytes_bounds_an_answer_but_never_to_nothing(consumer: Consumer) -> None:
    await consumer.append("x" * 1_000, "y" * 1_000, "z")
    assert await consumer.values(max_bytes=10) == ["x" * 1_000]
    assert await consumer.values(max_bytes=1_200) == ["y" * 1_000, "z"]


async def test_retry_gets_the_same_messages_and_moves_nothing(consumer: Consumer) -> None:
    await consumer.append(*"abcd")
    assert await consumer.values("r1", max_messages=2) == ["a", "b"]
    assert await consumer.values("r2", max_messages=1) == ["c"]
    assert await consumer.values("r1", max_messages=9) == ["a", "b"]
    assert await consumer.values() == ["d"]


async def test_retry_after_an_unknown_outcome_gets_what_the_first_try_popped(
    consumer: Consumer, engine: EngineTwin
) -> None:
    await consumer.append(*"abc")
    engine.holding = True
    with pytest.raises(CommitTimeout):
        await consumer.values("r1", max_messages=2, timeout_ms=20)
    again, other = consumer.start("r1", max_messages=1), consumer.start("r2")
    await turns(20)
    engine.release()
    assert await again == ["a", "b"]
    assert await other == ["c"]
    assert sum(isinstance(one, PopMessages) for one in engine.proposals) == 2


async def test_retry_waits_for_its_first_try_when_that_pops_all_there_is(
    consumer: Consumer, engine: EngineTwin
) -> None:
    await consumer.append(*"ab")
    engine.holding = True
    with pytest.raises(CommitTimeout):
        await consumer.values("r1", timeout_ms=20)
    again = consumer.start("r1")
    await turns(20)
    engine.release()
    assert await again == ["a", "b"]
    assert sum(isinstance(one, PopMessages) for one in engine.proposals) == 1


async def test_repetition_that_read_from_elsewhere_gets_the_range_of_its_first_try(
    consumer: Consumer, engine: EngineTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await consumer.append(*"abcd")
    group_id, digest = consumer.replica.group_id, request_digest("r1")
    read = reading.messages_read

    async def meanwhile(**asked: Any) -> reading.MessagesRead:
        """Let the first try come, from elsewhere to the same end, while its repetition reads."""
        found = await read(**asked)
        monkeypatch.undo()
        for earlier in (ResetCursor(5, 2), PopMessages(5, 2, 4, digest)):
            await engine.propose(group_id, earlier, timeout_ms=1_000)
        return found

    monkeypatch.setattr(consume, "messages_read", meanwhile)
    assert await consumer.values("r1") == ["c", "d"]


async def test_empty_is_not_answered_while_an_earlier_pop_may_still_fail(
    consumer: Consumer, engine: EngineTwin
) -> None:
    await consumer.append(*"ab")
    engine.holding = True
    with pytest.raises(CommitTimeout):
        await consumer.values("r1", timeout_ms=20)
    with pytest.raises(Overloaded):
        await consumer.values("r2")
    engine.release()
    assert await consumer.values("r2") == []


async def test_pops_of_one_consumer_take_turns_and_share_nothing(
    consumer: Consumer, engine: EngineTwin
) -> None:
    await consumer.append(*"abcdefghij")
    tasks = [consumer.start(max_messages=1) for _ in range(10)]
    assert sorted(value for values in await asyncio.gather(*tasks) for value in values) == list(
        "abcdefghij"
    )


async def test_turns_behind_one_consumer_are_bounded(
    consumer: Consumer, engine: EngineTwin
) -> None:
    await consumer.append("a")
    engine.holding = True
    tasks = [consumer.start() for _ in range(consumer.runtime.limits.pops_waiting_max + 1)]
    await turns()
    with pytest.raises(Overloaded):
        await consumer.values()
    for task in tasks[1:]:
        task.cancel()
    engine.release()
    assert await tasks[0] == ["a"]
    assert await consumer.values() == []


async def test_empty_answer_writes_nothing_and_is_confirmed(
    consumer: Consumer, engine: EngineTwin
) -> None:
    assert await consumer.values() == []
    assert engine.barriers == 1
    assert not engine.proposals


async def test_deposed_leader_never_says_empty(
    consumer: Consumer, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    await consumer.append("a")
    engine.lose(replica)
    with pytest.raises(NotLeader):
        await consumer.values()


async def test_long_poll_ends_when_a_message_comes(consumer: Consumer) -> None:
    waiting = consumer.start(wait_ms=5_000)
    await turns(20)
    assert consumer.runtime.long_polls.waiting == 1
    await consumer.append("a")
    assert await waiting == ["a"]
    assert consumer.runtime.long_polls.waiting == 0


async def test_long_poll_does_not_block_other_calls_of_the_consumer(consumer: Consumer) -> None:
    waiting = consumer.start(wait_ms=5_000)
    await turns(20)
    assert await consumer.values() == []
    waiting.cancel()
    await turns()
    assert consumer.runtime.long_polls.waiting == 0


async def test_waiting_pop_follows_its_message_into_the_log_in_the_same_turn(
    consumer: Consumer, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    waiting = consumer.start("r1", wait_ms=60_000)
    await turns()
    engine.holding = True
    barriers = engine.barriers
    produced = asyncio.get_running_loop().create_task(consumer.append("a", "b"))
    await turns(2)
    assert [type(one) for one in engine.proposals] == [AppendBatch, PopMessages]
    assert replica.state_machine.next_offset == 0, "nothing is committed"
    assert not waiting.done()
    engine.release()
    await produced
    assert await waiting == ["a", "b"]
    assert engine.barriers == barriers
    assert await consumer.values("r1") == ["a", "b"]
    assert await consumer.values("r2") == []


async def test_waiting_pop_takes_no_more_than_it_asked_for_of_what_is_in_the_log(
    consumer: Consumer, engine: EngineTwin
) -> None:
    waiting = consumer.start("r1", wait_ms=60_000, max_messages=2)
    await turns()
    await consumer.append("a", "b", "c")
    assert await waiting == ["a", "b"]
    assert await consumer.values() == ["c"]
    waiting = consumer.start("r2", wait_ms=60_000, max_bytes=1)
    await turns()
    await consumer.append("d", "e")
    assert await waiting == ["d"], "as many as fit, which is known once they are decoded"


async def test_pop_without_a_request_id_takes_what_is_committed(
    consumer: Consumer, engine: EngineTwin
) -> None:
    waiting = consumer.start(wait_ms=60_000)
    await turns()
    engine.holding = True
    produced = asyncio.get_running_loop().create_task(consumer.append("a"))
    await turns()
    assert [type(one) for one in engine.proposals] == [AppendBatch]
    engine.release()
    await produced
    assert await waiting == ["a"]


async def test_pop_that_finds_messages_in_the_log_does_not_wait_for_their_commit(
    consumer: Consumer, engine: EngineTwin
) -> None:
    engine.holding = True
    produced = asyncio.get_running_loop().create_task(consumer.append("a"))
    await turns()
    waiting = consumer.start("r1", wait_ms=60_000)
    await turns()
    assert [type(one) for one in engine.proposals] == [AppendBatch, PopMessages]
    engine.release()
    await produced
    assert await waiting == ["a"]


@pytest.mark.parametrize(("kept", "messages"), [(0, []), (1, ["a"]), (2, ["a"])])
async def test_waiting_pop_that_is_lost_with_the_leadership_is_found_out_by_its_repetition(
    consumer: Consumer, engine: EngineTwin, replica: ReplicaTwin, kept: int, messages: list[str]
) -> None:
    waiting = consumer.start("r1", wait_ms=60_000)
    await turns()
    engine.holding = True
    produced = asyncio.get_running_loop().create_task(consumer.append("a"))
    await turns()
    before = len(replica.log) - 2
    engine.lose(replica, kept=before + kept)
    engine.win(replica)
    engine.holding = False
    if kept < 2:
        with pytest.raises(NotLeader):
            await waiting
    else:
        assert await waiting == ["a"]
    assert await consumer.values("r1") == messages
    assert await consumer.values("r2") == []
    await asyncio.gather(produced, return_exceptions=True)


async def test_repetition_of_a_waiting_pop_joins_it(consumer: Consumer, engine: EngineTwin) -> None:
    waiting = consumer.start("r1", wait_ms=60_000)
    await turns()
    engine.holding = True
    produced = asyncio.get_running_loop().create_task(consumer.append("a"))
    await turns()
    waiting.cancel()
    at_once = consumer.start("r1")
    again = consumer.start("r1", wait_ms=60_000)
    await turns()
    engine.release()
    await produced
    assert await at_once == ["a"]
    assert await again == ["a"]
    assert sum(isinstance(one, PopMessages) for one in engine.proposals) == 1


async def test_long_poll_ends_empty_after_its_time_and_when_the_broker_stops(
    consumer: Consumer,
) -> None:
    assert await consumer.values(wait_ms=10) == []
    waiting = consumer.start(wait_ms=30_000)
    await turns(20)
    consumer.runtime.end_long_polls()
    assert await waiting == []
    assert await consumer.values(wait_ms=30_000) == []


async def test_long_poll_learns_of_a_lost_leadership(
    consumer: Consumer, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    waiting = consumer.start(wait_ms=30_000)
    await turns(20)
    engine.lose(replica)
    with pytest.raises(NotLeader):
        await waiting


async def test_pop_lost_with_the_leadership_moves_nothing(
    consumer: Consumer, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    await consumer.append("a", "b")
    engine.holding = True
    waiting = consumer.start("r1", max_messages=1)
    await turns(20)
    engine.lose(replica, kept=1)
    with pytest.raises(NotLeader):
        await waiting
    engine.win(replica)
    engine.holding = False
    assert await consumer.values("r1", max_messages=2) == ["a", "b"]


async def test_pop_follows_a_cursor_that_was_reset_meanwhile(
    consumer: Consumer, engine: EngineTwin
) -> None:
    await consumer.append("a", "b")
    assert await consumer.values() == ["a", "b"]
    await engine.propose(7, ResetCursor(5, 1), timeout_ms=100)
    assert await consumer.values() == ["b"]


async def test_unreadable_batches_are_never_taken_for_an_empty_partition(
    consumer: Consumer, engine: EngineTwin
) -> None:
    await consumer.append("a")
    engine.unreadable = True
    with pytest.raises(Overloaded):
        await consumer.values()


async def poison(engine: EngineTwin, *, count: int = 1) -> None:
    """Put a batch into the log that nobody can decode, past the check at the door."""
    batch = crafted(rows(*[b"\x07"] * count), record_count=count)
    await engine.propose(7, AppendBatch(batch, read_header(batch)), timeout_ms=1_000)


async def test_messages_around_what_nobody_can_decode_come_in_one_pop(
    consumer: Consumer, engine: EngineTwin
) -> None:
    await consumer.append("a")
    await poison(engine, count=2)
    await consumer.append("b")
    await poison(engine, count=3)
    popped = await consumer.pop("r1")
    assert [(offset, one.value) for offset, one in popped.messages] == [(0, "a"), (3, "b")]
    assert (popped.first_offset, popped.corrupt) == (0, 5)
    assert consumer.replica.state_machine.applied_cursor(5) == 7
    assert await consumer.pop("r1") == popped, "a retry is told the same"
    await consumer.append("c")
    popped = await consumer.pop("r2")
    assert ([one.value for _, one in popped.messages], popped.corrupt) == (["c"], 0)


async def test_pop_with_nothing_readable_left_says_so_and_the_same_request_gets_what_comes(
    consumer: Consumer, engine: EngineTwin
) -> None:
    await poison(engine, count=2)
    popped = await consumer.pop("r1", max_messages=1)
    assert (popped.messages, popped.corrupt) == ([], 2)
    assert consumer.replica.state_machine.applied_cursor(5) == 2
    await consumer.append("a")
    popped = await consumer.pop("r1")
    assert ([one.value for _, one in popped.messages], popped.corrupt) == (["a"], 0)
    assert await consumer.values("r1") == ["a"]


async def test_long_poll_that_steps_over_goes_on_to_wait(
    consumer: Consumer, engine: EngineTwin
) -> None:
    call = consumer.start(wait_ms=5_000)
    await turns()
    await poison(engine)
    await turns(20)
    assert not call.done()
    await consumer.append("a")
    assert await call == ["a"]


async def test_long_poll_that_stepped_over_tells_of_it_and_of_what_retention_took(
    consumer: Consumer, engine: EngineTwin
) -> None:
    await consumer.append("a")
    assert await consumer.values() == ["a"]
    await consumer.append("b", "c")
    await poison(engine, count=2)
    await engine.propose(7, Truncate(3), timeout_ms=1_000)
    call = asyncio.get_running_loop().create_task(consumer.pop(wait_ms=5_000))
    await turns(20)
    await consumer.append("d")
    popped = await call
    assert [(offset, one.value) for offset, one in popped.messages] == [(5, "d")]
    assert (popped.missed, popped.corrupt) == (2, 2)


async def test_more_than_one_reading_steps_over_is_stepped_over_in_one_pop(
    consumer: Consumer, engine: EngineTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "STEPPED_OVER_MAX", 2)
    for _ in range(11):
        await poison(engine)
    await consumer.append("a")
    popped = await consumer.pop()
    assert ([one.value for _, one in popped.messages], popped.corrupt) == (["a"], 11)


async def test_damaged_batch_is_refused_and_never_stepped_over(
    consumer: Consumer, replica: ReplicaTwin
) -> None:
    await consumer.append("a", "b")
    await consumer.append("c")
    batch = replica.batches[0]
    replica.batches[0] = replace(batch, data=batch.data[:-1] + b"\xc1")
    for _ in range(2):
        with pytest.raises(CorruptBatch) as refused:
            await consumer.values()
        assert refused.value.details == {"offset": 0, "next_offset": 2}
    assert replica.state_machine.applied_cursor(5) == 0
