"""Fetching on leaders and followers: what is there, what waits, what is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broker_app.selectors.fetch import FetchedBatches, batches_fetch
from myqueue.contract.errors import CommitTimeout, NoLeader, OffsetOutOfRange, Overloaded
from raft_app.core.types import Entry
from tests.broker_app.engine_twin import turns
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin


class Fetcher:
    """Fetches from a partition with the batches abc, d, ef: the high watermark is 6."""

    def __init__(self, runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin) -> None:
        self.runtime, self.engine, self.replica = runtime, engine, replica

    async def fetch(
        self, offset: int, *, wait_ms: int = 0, max_bytes: int = 1 << 20
    ) -> FetchedBatches:
        replica: Any = self.replica
        return await batches_fetch(
            runtime=self.runtime,
            replica=replica,
            offset=offset,
            max_bytes=max_bytes,
            wait_ms=wait_ms,
        )

    async def start(self, offset: int) -> asyncio.Task[FetchedBatches]:
        """Return a fetch that waits."""
        task = asyncio.get_running_loop().create_task(self.fetch(offset, wait_ms=60_000))
        await turns(20)
        return task

    def start_log_at(self, offset: int) -> None:
        self.replica.state_machine._data.log_start_offset = offset

    def at_barrier(self, happens: Callable[[], None], error: Exception | None = None) -> None:
        """Let something happen while the next read is confirmed."""
        confirm = self.engine.read_barrier

        async def barrier(group_id: int, *, timeout_ms: int) -> None:
            self.engine.read_barrier = confirm  # type: ignore[method-assign]
            self.engine.barriers += 1
            happens()
            if error is not None:
                raise error

        self.engine.read_barrier = barrier  # type: ignore[method-assign]


@pytest.fixture
async def fetcher(runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin) -> Fetcher:
    for values in ("abc", "d", "ef"):
        await engine.propose(7, batch_of(*values), timeout_ms=1_000)
    return Fetcher(runtime, engine, replica)


def offsets_of(fetched: FetchedBatches) -> list[int]:
    return [batch.base_offset for batch in fetched.batches]


@pytest.mark.parametrize("leads", [True, False])
async def test_batches_begin_with_the_one_that_contains_the_offset(
    fetcher: Fetcher, leads: bool
) -> None:
    if not leads:
        fetcher.engine.lose(fetcher.replica)
    for offset, expected in ((0, [0, 3, 4]), (2, [0, 3, 4]), (3, [3, 4]), (5, [4])):
        fetched = await fetcher.fetch(offset)
        assert offsets_of(fetched) == expected
        assert (fetched.next_offset, fetched.high_watermark, fetched.log_start_offset) == (6, 6, 0)
    assert fetcher.engine.barriers == 0, "what is committed needs no quorum"


async def test_next_offset_is_behind_the_last_batch_that_came(fetcher: Fetcher) -> None:
    fetched = await fetcher.fetch(1, max_bytes=1)
    assert (offsets_of(fetched), fetched.next_offset, fetched.high_watermark) == ([0], 3, 6)


async def test_messages_that_are_not_committed_are_not_returned(fetcher: Fetcher) -> None:
    fetcher.engine.holding = True
    task = asyncio.get_running_loop().create_task(
        fetcher.engine.propose(7, batch_of("g"), timeout_ms=60_000)
    )
    waiting = await fetcher.start(6)
    assert not waiting.done()
    assert (await fetcher.fetch(4)).high_watermark == 6
    fetcher.engine.release()
    assert offsets_of(await waiting) == [6]
    await task


@pytest.mark.parametrize("leads", [True, False])
async def test_offset_below_the_log_start_is_out_of_range_everywhere(
    fetcher: Fetcher, leads: bool
) -> None:
    fetcher.start_log_at(4)
    if not leads:
        fetcher.engine.lose(fetcher.replica)
    for offset in (-1, 0, 3):
        with pytest.raises(OffsetOutOfRange) as refused:
            await fetcher.fetch(offset, wait_ms=60_000)
        assert refused.value.details == {"log_start_offset": 4, "high_watermark": 6}
    assert offsets_of(await fetcher.fetch(4)) == [4]


async def test_offset_above_the_high_watermark_is_refused_by_a_confirmed_leader(
    fetcher: Fetcher,
) -> None:
    with pytest.raises(OffsetOutOfRange) as refused:
        await fetcher.fetch(7, wait_ms=60_000)
    assert refused.value.details == {"log_start_offset": 0, "high_watermark": 6}
    assert fetcher.engine.barriers == 1


async def test_high_watermark_itself_is_no_error_and_needs_no_quorum(fetcher: Fetcher) -> None:
    fetched = await fetcher.fetch(6)
    assert (fetched.batches, fetched.next_offset, fetched.high_watermark) == ([], 6, 6)
    assert fetcher.engine.barriers == 0


async def test_offset_that_confirmation_brings_is_served(fetcher: Fetcher) -> None:
    def commit() -> None:
        state = fetcher.replica.state_machine
        decision: Any = state.prepare(batch_of("g", "h"), now_ms=1, clock_ms=1)
        proposal = decision.proposal
        fetcher.replica.log.append(
            Entry(
                index=4,
                term=1,
                kind=proposal.kind,
                data=proposal.data,
                base_offset=6,
                record_count=2,
                append_timestamp=1,
            )
        )
        fetcher.engine.apply(fetcher.replica)

    fetcher.at_barrier(commit)
    fetched = await fetcher.fetch(7)
    assert (offsets_of(fetched), fetched.high_watermark) == ([6], 8)


async def test_follower_lets_an_offset_wait_that_it_does_not_know(fetcher: Fetcher) -> None:
    fetcher.engine.lose(fetcher.replica)
    fetched = await fetcher.fetch(1_000)
    assert (fetched.batches, fetched.next_offset, fetched.high_watermark) == ([], 1_000, 6)
    assert fetcher.engine.barriers == 0


async def test_leader_deposed_while_it_asks_lets_the_offset_wait(fetcher: Fetcher) -> None:
    fetcher.at_barrier(lambda: fetcher.engine.lose(fetcher.replica), NoLeader("deposed"))
    waiting = await fetcher.start(7)
    assert not waiting.done()
    fetcher.engine.win(fetcher.replica)
    with pytest.raises(OffsetOutOfRange):
        await waiting


async def test_refused_confirmation_concludes_nothing_though_the_replica_leads_again(
    fetcher: Fetcher,
) -> None:
    def lose_and_win() -> None:
        fetcher.engine.lose(fetcher.replica)
        fetcher.engine.win(fetcher.replica)

    fetcher.at_barrier(lose_and_win, NoLeader("deposed"))
    with pytest.raises(OffsetOutOfRange):
        await fetcher.fetch(7)
    assert fetcher.engine.barriers == 2, "the new leadership is confirmed before it says so"


async def test_leader_without_a_quorum_says_nothing_of_the_range(fetcher: Fetcher) -> None:
    fetcher.at_barrier(lambda: None, CommitTimeout("no quorum"))
    with pytest.raises(CommitTimeout):
        await fetcher.fetch(7)


@pytest.mark.parametrize("offset", [-1, 0, 6, 7])
async def test_replica_that_hears_no_leader_or_is_faulty_answers_nothing(
    fetcher: Fetcher, offset: int
) -> None:
    fetcher.engine.lose(fetcher.replica, leader=0)
    fetcher.replica.hears_leader = False
    with pytest.raises(NoLeader, match="hears no leader"):
        await fetcher.fetch(offset, wait_ms=60_000)
    fetcher.replica.hears_leader, fetcher.replica.faulty = True, "a bad row"
    with pytest.raises(NoLeader, match="faulty: a bad row") as refused:
        await fetcher.fetch(offset, wait_ms=60_000)
    assert refused.value.retry_after_ms


async def test_long_poll_learns_that_the_leader_is_gone(fetcher: Fetcher) -> None:
    waiting = await fetcher.start(6)
    fetcher.replica.hears_leader = False
    fetcher.engine.lose(fetcher.replica, leader=0)
    with pytest.raises(NoLeader):
        await waiting


async def test_long_poll_on_a_follower_ends_with_the_message_it_waits_for(
    fetcher: Fetcher,
) -> None:
    fetcher.engine.lose(fetcher.replica)
    waiting = await fetcher.start(7)
    fetcher.engine.win(fetcher.replica)
    fetcher.engine.lose(fetcher.replica)
    fetcher.runtime.long_polls.applied(7, 7)
    await turns(20)
    assert not waiting.done(), "only 6 messages are there"
    fetcher.runtime.end_long_polls()
    assert (await waiting).next_offset == 7


async def test_long_polls_are_bounded(fetcher: Fetcher) -> None:
    fetcher.runtime.long_polls._waiting_max = 1
    waiting = await fetcher.start(6)
    with pytest.raises(Overloaded):
        await fetcher.fetch(6, wait_ms=60_000)
    assert (await fetcher.fetch(6)).batches == []
    waiting.cancel()


async def test_batches_that_cannot_be_read_now_are_no_empty_success(fetcher: Fetcher) -> None:
    fetcher.engine.unreadable = True
    with pytest.raises(Overloaded):
        await fetcher.fetch(0)
