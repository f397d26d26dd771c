"""Where a consumer or a consumer group is, and which offset a time has."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broker_app.partition.commands import CommitOffsets, PopMessages, ResetCursor, Truncate
from broker_app.selectors.offsets import (
    GroupOffsets,
    Left,
    group_offsets_get,
    offset_by_time,
    size_get,
)
from broker_app.services.consume import PopCall, messages_pop
from myqueue.contract.errors import GroupNotFound, NotLeader, Overloaded
from tests.broker_app.engine_twin import turns
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin


class Asker:
    """Asks of one partition; consumer 5."""

    def __init__(self, runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin) -> None:
        self.runtime, self.engine = runtime, engine
        self.replica: Any = replica

    async def append(self, values: str, at_ms: int = 1_000) -> None:
        self.engine.now_ms = at_ms
        await self.engine.propose(7, batch_of(*values), timeout_ms=1_000)

    async def left(self, request_digest: bytes = b"", wait_ms: int = 0) -> Left:
        return await size_get(
            runtime=self.runtime,
            replica=self.replica,
            consumer_id=5,
            wait_ms=wait_ms,
            timeout_ms=1_000,
            request_digest=request_digest,
        )

    async def size(self, wait_ms: int = 0) -> int:
        return (await self.left(wait_ms=wait_ms)).size

    async def start(self) -> asyncio.Task[int]:
        """Return a question for the size that waits."""
        task = asyncio.get_running_loop().create_task(self.size(wait_ms=60_000))
        await turns(20)
        assert not task.done()
        return task

    async def group_at(self, name: str = "g") -> GroupOffsets:
        return await group_offsets_get(
            runtime=self.runtime, replica=self.replica, name=name, timeout_ms=1_000
        )

    async def commit(self, generation: int, offset: int | None = None) -> None:
        request = CommitOffsets("g", generation, offset)
        await self.engine.propose(7, request, timeout_ms=1_000)

    async def by_time(self, timestamp: int) -> int:
        return await offset_by_time(runtime=self.runtime, replica=self.replica, timestamp=timestamp)


@pytest.fixture
def asker(runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin) -> Asker:
    return Asker(runtime, engine, replica)


# --- size --------------------------------------------------------------------------------------


async def test_size_counts_from_the_applied_cursor_and_asks_a_quorum(asker: Asker) -> None:
    assert await asker.size() == 0
    await asker.append("abcd")
    assert await asker.size() == 4
    await asker.engine.propose(7, PopMessages(5, 0, 3), timeout_ms=1_000)
    assert await asker.size() == 1
    assert asker.engine.barriers == 3
    assert len(asker.engine.proposals) == 2, "a question writes nothing"


async def test_pop_in_flight_does_not_count_yet(asker: Asker) -> None:
    await asker.append("abcd")
    asker.engine.holding = True
    pop = asyncio.get_running_loop().create_task(
        asker.engine.propose(7, PopMessages(5, 0, 3), timeout_ms=60_000)
    )
    await turns()
    assert await asker.size() == 4
    asker.engine.release()
    await pop


async def test_a_pop_is_remembered_by_its_request_id_and_by_no_other(asker: Asker) -> None:
    await asker.append("ab")
    assert await asker.left(b"one") == Left(2, remembers=False)
    await asker.engine.propose(7, PopMessages(5, 0, 2, b"one"), timeout_ms=1_000)
    assert await asker.left(b"one", wait_ms=60_000) == Left(0, remembers=True)
    assert await asker.left(b"two") == Left(0, remembers=False)
    assert await asker.left() == Left(0, remembers=False)


async def test_a_pop_in_the_log_is_remembered_before_it_is_applied(asker: Asker) -> None:
    await asker.append("ab")
    asker.engine.holding = True
    pop = asyncio.get_running_loop().create_task(
        asker.engine.propose(7, PopMessages(5, 0, 2, b"one"), timeout_ms=60_000)
    )
    await turns()
    assert await asker.left(b"one") == Left(2, remembers=True)
    asker.engine.release()
    await pop


async def test_a_pop_that_still_waits_for_its_turn_is_remembered(asker: Asker) -> None:
    await asker.append("ab")
    call = PopCall(
        consumer_id=5,
        max_messages=1,
        max_bytes=1_000,
        wait_ms=0,
        timeout_ms=60_000,
        request_digest=b"one",
    )
    async with asker.runtime.pop_lock.hold((7, 5), timeout_ms=1_000):
        pop = asyncio.get_running_loop().create_task(
            messages_pop(runtime=asker.runtime, replica=asker.replica, call=call)
        )
        await turns()
        assert await asker.left(b"one") == Left(2, remembers=True)
    assert len((await pop).messages) == 1
    assert not asker.runtime.pop_tries
    assert await asker.left(b"one") == Left(1, remembers=True)


async def test_messages_below_the_log_start_do_not_count(asker: Asker) -> None:
    await asker.append("abcd")
    asker.replica.state_machine._data.log_start_offset = 3
    assert await asker.size() == 1


async def test_size_waits_for_a_message_or_a_cursor_that_is_moved_back(asker: Asker) -> None:
    waiting = await asker.start()
    await asker.append("ab")
    assert await waiting == 2
    await asker.engine.propose(7, PopMessages(5, 0, 2), timeout_ms=1_000)
    waiting = await asker.start()
    await asker.engine.propose(7, ResetCursor(5, 1), timeout_ms=1_000)
    asker.runtime.long_polls.disturb(7)
    assert await waiting == 1


async def test_size_is_zero_when_the_time_is_over(asker: Asker) -> None:
    assert await asker.size(wait_ms=5) == 0
    assert asker.runtime.long_polls.waiting == 0


async def test_replica_that_does_not_lead_tells_no_size(asker: Asker) -> None:
    waiting = await asker.start()
    asker.engine.lose(asker.replica)
    with pytest.raises(NotLeader):
        await waiting
    with pytest.raises(NotLeader):
        await asker.size()


# --- offsets by time ---------------------------------------------------------------------------


def first_at_or_after(stamps: list[int], timestamp: int) -> int:
    return next((n for n, stamp in enumerate(stamps) if stamp >= timestamp), len(stamps))


@pytest.mark.parametrize(
    "batches",
    [
        [],
        [(1, 100)],
        [(5, 100)],
        [(3, 100), (1, 100), (2, 100)],
        [(1, 100), (4, 200), (1, 300), (2, 300), (7, 500), (1, 501)],
        [(2, 100)] * 3 + [(1, 200)] * 5 + [(9, 300)],
    ],
)
async def test_first_offset_at_or_after_a_time_is_found(
    asker: Asker, batches: list[tuple[int, int]]
) -> None:
    stamps: list[int] = []
    for count, at_ms in batches:
        await asker.append("x" * count, at_ms)
        stamps += [at_ms] * count
    for timestamp in (-1, 0, 99, 100, 101, 200, 201, 300, 301, 500, 501, 502, 1 << 62):
        expected = first_at_or_after(stamps, timestamp)
        assert await asker.by_time(timestamp) == expected, timestamp


async def test_times_before_the_log_start_are_at_the_log_start(asker: Asker) -> None:
    await asker.append("abc", 100)
    await asker.append("def", 200)
    for log_start, timestamp, expected in ((2, 0, 2), (2, 100, 2), (2, 150, 3), (4, 0, 4)):
        asker.replica.state_machine._data.log_start_offset = log_start
        assert await asker.by_time(timestamp) == expected
    asker.replica.state_machine._data.log_start_offset = 6
    assert await asker.by_time(0) == 6


async def test_clock_that_was_set_back_misleads_nobody(asker: Asker) -> None:
    for at_ms in (300, 100, 400):
        await asker.append("x", at_ms)
    assert [await asker.by_time(timestamp) for timestamp in (100, 300, 301)] == [0, 0, 2]


async def test_search_reads_few_batches_and_no_more_than_one_each(asker: Asker) -> None:
    for number in range(256):
        await asker.append("x", number)
    asked: list[int] = []
    answer = asker.engine.read_batches

    async def noting(group_id: int, offset: int, end: int, max_bytes: int) -> Any:
        asked.append(max_bytes)
        return await answer(group_id, offset, end, max_bytes)

    asker.engine.read_batches = noting  # type: ignore[method-assign]
    assert await asker.by_time(200) == 200
    assert len(asked) <= 9
    assert set(asked) == {1}


async def test_unreadable_batches_give_no_false_offset(asker: Asker) -> None:
    await asker.append("abc")
    asker.engine.unreadable = True
    with pytest.raises(Overloaded):
        await asker.by_time(0)


# --- consumer groups ---------------------------------------------------------------------------


async def test_group_is_where_it_committed_last_confirmed_by_a_quorum(asker: Asker) -> None:
    await asker.append("abcd")
    await asker.commit(3, 1)
    proposals = len(asker.engine.proposals)
    where = await asker.group_at()
    assert where == GroupOffsets(generation=3, offset=1, high_watermark=4, log_start_offset=0)
    assert (where.lag, where.unsettled, where.dead) == (3, 0, 0)
    assert asker.engine.barriers == 1
    assert len(asker.engine.proposals) == proposals, "a question writes nothing"


async def test_commit_in_flight_is_not_told_yet(asker: Asker) -> None:
    await asker.append("abcd")
    await asker.commit(3, 1)
    asker.engine.holding = True
    commit = asyncio.get_running_loop().create_task(asker.commit(4, 3))
    await turns()
    assert (await asker.group_at()).generation == 3
    asker.engine.release()
    await commit
    assert (await asker.group_at()).lag == 1


async def test_question_leaves_it_to_the_members_to_be_told_what_they_missed(asker: Asker) -> None:
    for values in ("abc", "d"):
        await asker.append(values)
    await asker.commit(3, 1)
    await asker.engine.propose(7, Truncate(3), timeout_ms=1_000)
    for _ in range(2):
        where = await asker.group_at()
        assert (where.offset, where.log_start_offset, where.lag) == (3, 3, 1)
    place = await asker.engine.propose(7, CommitOffsets("g", 3), timeout_ms=1_000)
    assert place.missed == 2


async def test_unknown_group_is_not_found_and_confirmed_first(asker: Asker) -> None:
    with pytest.raises(GroupNotFound, match="'g'"):
        await asker.group_at()
    assert asker.engine.barriers == 1
    await asker.append("ab")
    await asker.commit(1)
    with pytest.raises(GroupNotFound):
        await asker.group_at("G")


async def test_replica_that_does_not_lead_says_nothing_of_a_group(asker: Asker) -> None:
    await asker.append("ab")
    await asker.commit(1)
    asker.engine.lose(asker.replica)
    with pytest.raises(NotLeader):
        await asker.group_at()
