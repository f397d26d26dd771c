"""Consumer groups of a partition: committed, fenced, forgotten."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broker_app.partition.commands import CommitResult, Truncate
from broker_app.partition.groups import ConsumerGroup
from broker_app.services.groups import group_forget, offsets_commit
from myqueue.contract.errors import (
    CommitTimeout,
    IllegalGeneration,
    InvalidRequest,
    NotLeader,
    OffsetOutOfRange,
)
from myqueue.contract.group_inputs import OffsetsCommit
from myqueue.contract.inputs import read_input
from tests.broker_app.engine_twin import turns
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin


class Member:
    """Commits in group billing over abcd."""

    def __init__(self, runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin) -> None:
        self.runtime, self.engine = runtime, engine
        self.replica: Any = replica

    async def commit(
        self, generation: int, offset: int | None = None, **fields: Any
    ) -> CommitResult:
        call = {"topic": "logs", "partition": 0, "group": "billing", "generation": generation}
        commit = read_input(OffsetsCommit, {**call, "offset": offset, **fields})
        return await offsets_commit(runtime=self.runtime, replica=self.replica, commit=commit)

    def start(self, generation: int, offset: int | None = None) -> asyncio.Task[CommitResult]:
        return asyncio.get_running_loop().create_task(self.commit(generation, offset))

    async def forget(self, name: str = "billing") -> bool:
        return await group_forget(
            runtime=self.runtime, replica=self.replica, name=name, timeout_ms=1_000
        )

    @property
    def known(self) -> ConsumerGroup | None:
        known: ConsumerGroup | None = self.replica.state_machine.consumer_group("billing")
        return known


@pytest.fixture
async def member(runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin) -> Member:
    await engine.propose(7, batch_of(*"abcd"), timeout_ms=1_000)
    return Member(runtime, engine, replica)


async def test_member_fences_and_goes_on_where_the_one_before_committed(member: Member) -> None:
    assert await member.commit(1) == CommitResult(1, 0)
    assert await member.commit(1, 3) == CommitResult(1, 3)
    assert await member.commit(2) == CommitResult(2, 3)


async def test_new_group_may_begin_at_the_end(member: Member) -> None:
    assert await member.commit(1, start="latest") == CommitResult(1, 4)


@pytest.mark.parametrize("start", ["", "Latest", "0", "middle"])
async def test_unknown_start_is_refused(member: Member, start: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await member.commit(1, start=start)
    assert refused.value.details["field"] == "start"
    assert member.known is None


@pytest.mark.parametrize("name", ["", "..", "a b", "x" * 250, "billing\n", "größe"])
async def test_name_that_cannot_be_is_refused(member: Member, name: str) -> None:
    for call in (member.commit(1, group=name), member.forget(name)):
        with pytest.raises(InvalidRequest) as refused:
            await call
        assert refused.value.details["field"] == "group"
    assert len(member.engine.proposals) == 1


async def test_every_commit_is_replicated_also_one_that_changes_nothing(member: Member) -> None:
    for _ in range(3):
        await member.commit(1, 2)
    assert len(member.engine.proposals) == 4, "an answer counts because a quorum took it"


async def test_later_generation_refuses_the_earlier_one(member: Member) -> None:
    await member.commit(2, 3)
    with pytest.raises(IllegalGeneration) as refused:
        await member.commit(1, 4)
    assert refused.value.details == {"generation": 2}
    assert len(member.engine.proposals) == 2


async def test_commit_that_is_overtaken_in_the_log_is_refused_by_its_result(
    member: Member,
) -> None:
    await member.commit(1, 1)
    counted = member.runtime.traffic["logs"].offsets_committed
    member.engine.holding = True
    fence, late = member.start(2), member.start(1, 3)
    await turns()
    assert not fence.done()
    assert not late.done()
    member.engine.release()
    assert await fence == CommitResult(2, 1)
    with pytest.raises(IllegalGeneration) as refused:
        await late
    assert refused.value.details == {"generation": 2}
    assert member.known == ConsumerGroup(2, 1, origin=2)
    assert member.runtime.traffic["logs"].offsets_committed == counted + 1


async def test_offset_that_is_not_there_is_refused(member: Member) -> None:
    for offset in (5, -1):
        with pytest.raises(OffsetOutOfRange) as refused:
            await member.commit(1, offset)
        assert refused.value.details == {"log_start_offset": 0, "high_watermark": 4}
    assert member.known is None


async def test_leader_that_knows_too_little_refuses_an_offset_only_once_confirmed(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirm = member.engine.read_barrier

    async def learn(group_id: int, *, timeout_ms: int) -> None:
        await member.engine.propose(group_id, batch_of("e"), timeout_ms=timeout_ms)
        await confirm(group_id, timeout_ms=timeout_ms)

    monkeypatch.setattr(member.engine, "read_barrier", learn)
    assert await member.commit(1, 5) == CommitResult(1, 5)


async def test_what_retention_took_is_told_once(member: Member) -> None:
    await member.commit(1, 1)
    await member.engine.propose(7, Truncate(4), timeout_ms=1_000)
    assert await member.commit(2) == CommitResult(2, 4, missed=3)
    assert await member.commit(2) == CommitResult(2, 4)
    assert await member.commit(2, 2) == CommitResult(2, 4, missed=2), "back to where nothing is"


async def test_member_of_a_lost_leader_fences_at_the_next(member: Member) -> None:
    await member.commit(1, 1)
    kept = len(member.replica.log)
    member.engine.holding = True
    fence = member.start(2)
    await turns()
    member.engine.lose(member.replica, kept=kept)
    with pytest.raises(NotLeader):
        await fence
    with pytest.raises(NotLeader):
        await member.commit(1, 2)
    member.engine.win(member.replica)
    member.engine.release()
    assert await member.commit(1, 2) == CommitResult(1, 2), "the fence never happened"
    assert await member.commit(2) == CommitResult(2, 2)


async def test_commit_without_an_answer_may_be_repeated(member: Member) -> None:
    member.engine.holding = True
    with pytest.raises(CommitTimeout) as unknown:
        await member.commit(1, 3, timeout_ms=5)
    assert not unknown.value.outcome_known
    member.engine.release()
    assert await member.commit(1, 3) == CommitResult(1, 3)


async def test_forgotten_group_begins_anew(member: Member) -> None:
    await member.commit(5, 3)
    assert await member.forget()
    assert not await member.forget(), "again is no error"
    assert member.known is None
    assert await member.commit(1) == CommitResult(1, 0)


async def test_replica_that_does_not_lead_forgets_nothing(member: Member) -> None:
    await member.commit(1, 3)
    member.engine.lose(member.replica)
    with pytest.raises(NotLeader):
        await member.forget()
    assert member.known is not None
