"""Where groups are on a broker: counts by topic, and the age of the oldest message left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker_app.partition.commands import CommitOffsets, ReceiveMessages, SettleMessages, Truncate
from broker_app.selectors import standings
from broker_app.selectors.standings import standings_list
from myqueue.contract.rules.work import Receipt, SettleKind
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from http_base.cluster import GroupStanding
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin

NOW_MS = 10_000


class Broker:
    """A broker that leads partitions 7 and, after `more`, others of the same topic."""

    def __init__(self, runtime: BrokerRuntime, engine: EngineTwin) -> None:
        self.runtime, self.engine = runtime, engine
        self.read: list[tuple[int, int]] = []

    async def append(self, values: str, at_ms: int, group_id: int = 7) -> None:
        self.engine.now_ms = at_ms
        await self.engine.propose(group_id, batch_of(*values), timeout_ms=1_000)

    async def commit(self, offset: int, *, name: str = "g", group_id: int = 7) -> None:
        command = CommitOffsets(name, 1, offset)
        await self.engine.propose(group_id, command, timeout_ms=1_000)

    async def look(self) -> list[GroupStanding]:
        return (await standings_list(runtime=self.runtime, now_ms=NOW_MS)).standings

    async def one(self) -> GroupStanding:
        [found] = await self.look()
        return found


@pytest.fixture
def broker(
    runtime: BrokerRuntime,
    engine: EngineTwin,
    replica: ReplicaTwin,
    monkeypatch: pytest.MonkeyPatch,
) -> Broker:
    made = Broker(runtime, engine)
    read = engine.read_batches

    async def counted(group_id: int, offset: int, *rest: Any) -> Any:
        made.read.append((group_id, offset))
        return await read(group_id, offset, *rest)

    monkeypatch.setattr(engine, "read_batches", counted)
    return made


async def test_a_group_that_hangs_is_as_old_as_its_next_message_and_costs_one_read(
    broker: Broker,
) -> None:
    await broker.append("ab", 1_000)
    await broker.append("cd", 4_000)
    await broker.commit(1)
    assert ((await broker.one()).lag, (await broker.one()).age_ms) == (3, 9_000)
    assert broker.read == [(7, 1)]
    await broker.commit(2)
    assert ((await broker.one()).lag, (await broker.one()).age_ms) == (2, 6_000)
    await broker.commit(4)
    assert ((await broker.one()).lag, (await broker.one()).age_ms) == (0, 0)
    assert broker.read == [(7, 1), (7, 2)]
    assert broker.runtime.oldest_times == {}, "nothing is remembered of a group that went on"


async def test_partitions_of_a_topic_count_together_and_the_oldest_tells_the_age(
    broker: Broker, engine: EngineTwin
) -> None:
    engine.add(group_id=8, partition=1)
    await broker.append("a", 3_000)
    await broker.append("bc", 2_000, group_id=8)
    for group_id in (7, 8):
        await broker.commit(0, group_id=group_id)
    found = await broker.one()
    assert (found.topic, found.partitions, found.lag, found.age_ms) == ("logs", 2, 3, 8_000)


async def test_beyond_the_limit_of_reads_ages_are_not_known_and_follow(
    broker: Broker, engine: EngineTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standings, "READS_MAX", 1)
    engine.add(group_id=8, partition=1)
    await broker.append("a", 1_000)
    await broker.append("bc", 2_000, group_id=8)
    for group_id in (7, 8):
        await broker.commit(0, group_id=group_id)
    first, second = await broker.one(), await broker.one()
    assert (first.age_ms, first.ages_unknown) == (8_000, 1), "where most is left comes first"
    assert (second.age_ms, second.ages_unknown) == (9_000, 0)


async def test_what_cannot_be_read_is_not_known(broker: Broker, engine: EngineTwin) -> None:
    await broker.append("a", 1_000)
    await broker.commit(0)
    engine.unreadable = True
    found = await broker.one()
    assert (found.age_ms, found.ages_unknown) == (None, 1)


async def test_below_the_log_start_the_oldest_message_there_is_counts(
    broker: Broker, engine: EngineTwin
) -> None:
    await broker.append("a", 1_000)
    await broker.append("b", 4_000)
    await broker.commit(0)
    await engine.propose(7, Truncate(1), timeout_ms=1_000)
    found = await broker.one()
    assert (found.lag, found.age_ms) == (1, 6_000)


async def test_messages_of_workers_are_counted_by_their_state(
    broker: Broker, engine: EngineTwin
) -> None:
    await broker.append("abcdef", 1_000)
    receive = ReceiveMessages(
        "w", again=(), new_from=0, new_to=4, visibility_ms=500, delivery_limit=1
    )
    result = await engine.propose(7, receive, timeout_ms=1_000)
    origin = result.origin

    async def settle(kind: SettleKind, offset: int, delay_ms: int = 0) -> None:
        command = SettleMessages("w", kind, [Receipt(origin, offset, 1)], delay_ms=delay_ms)
        await engine.propose(7, command, timeout_ms=1_000)

    await settle(SettleKind.ACK, 0)
    await settle(SettleKind.NACK, 1)
    found = await broker.one()
    assert found.is_workers
    assert (found.visible, found.in_flight, found.delayed, found.dead) == (2, 2, 0, 1)
    assert found.lag == 5


async def test_what_does_not_fit_into_an_answer_is_counted(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standings, "STANDINGS_MAX", 1)
    for name in ("b", "a"):
        await broker.commit(0, name=name)
    told = await standings_list(runtime=broker.runtime, now_ms=NOW_MS)
    assert ([one.group for one in told.standings], told.left_out) == (["a"], 1)


async def test_only_partitions_led_here_are_told(broker: Broker, engine: EngineTwin) -> None:
    await broker.commit(0)
    engine.lose(engine.replicas[7])
    assert await broker.look() == []
