"""Copying dead messages: the source and the dead-letter topic are groups of one engine twin."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from broker_app.partition.commands import (
    AppendBatch,
    DeadCopied,
    ExpireWork,
    SettleMessages,
    Truncate,
)
from broker_app.runtime import BrokerRuntime, state_of
from broker_app.services import dead_letters
from broker_app.services.dead_letters import (
    DEAD_LETTER_PRODUCERS,
    DeadLetterCopier,
    dead_letters_start,
)
from broker_app.services.produce import batch_produce
from myqueue.contract.backoff import Backoff
from myqueue.contract.errors import BrokerUnreachable, ManagerNotFound, NotLeader, TopicDoesNotExist
from myqueue.contract.records import (
    MAX_BATCH_BYTES,
    MAX_STORED_HEADERS,
    Record,
    decode_records,
    encode_batch,
    read_header,
)
from myqueue.contract.rules.work import SettleKind
from tests.batches import crafted, rows
from tests.broker_app.engine_twin import EngineTwin, LinkTwin, PeersTwin, runtime_over, turns
from tests.broker_app.services.test_work import Worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from myqueue.contract.errors import QueueError
    from tests.broker_app.engine_twin import ReplicaTwin

HERE = "http://here:1"


@dataclass
class ManagersTwin(LinkTwin):
    """Managers that know topics by the address of each partition's leader."""

    topics: dict[str, list[str | None]] = field(default_factory=lambda: {"logs": [HERE]})
    created: list[tuple[str, int, int]] = field(default_factory=list)
    asked: int = 0
    failures: list[QueueError] = field(default_factory=list)

    async def topic_leaders(self, topic: str) -> list[str | None]:
        self.asked += 1
        if self.failures:
            raise self.failures.pop()
        if topic not in self.topics:
            raise TopicDoesNotExist(topic)
        return list(self.topics[topic])

    async def topic_create(self, topic: str, partitions: int, replication_factor: int) -> None:
        self.created.append((topic, partitions, replication_factor))
        self.topics[topic] = [HERE] * partitions


@dataclass
class BrokersTwin(PeersTwin):
    """Brokers, all of them this one."""

    runtime: BrokerRuntime | None = None
    posts: list[str] = field(default_factory=list)
    """Address of each call."""
    before: list[QueueError] = field(default_factory=list)
    """Raised instead of the next calls, one each."""
    after: list[QueueError] = field(default_factory=list)
    """Raised by the next calls after the batch was appended, one each."""

    async def produce(self, address: str, batch: bytes, query: Mapping[str, str]) -> None:
        self.posts.append(address)
        if self.before:
            raise self.before.pop()
        assert self.runtime is not None
        replica = self.runtime.partition(query["topic"], int(query["partition"]))
        await batch_produce(
            runtime=self.runtime,
            replica=replica,
            producer_id=int(query["producer_id"]),
            batch=batch,
            timeout_ms=int(query["timeout_ms"]),
        )
        if self.after:
            raise self.after.pop()


class Graveyard:
    """A broker with a topic of messages and its dead-letter topic."""

    def __init__(self) -> None:
        self.engine = EngineTwin()
        self.source = self.engine.add()
        self.target = self.engine.add("logs.dead", group_id=8)
        self.managers, self.brokers = ManagersTwin(), BrokersTwin()
        self.managers.topics["logs.dead"] = [HERE]
        self.runtime = runtime_over(self.engine, self.managers, peers=self.brokers)
        self.brokers.runtime = self.runtime
        self.worker = Worker(self.runtime, self.source, self.engine)
        self.letters = DeadLetterCopier(self.runtime)

    async def kill(self, *values: str, **changes: Any) -> None:
        """Produce messages, receive them and give them back for the last time."""
        if values:
            await self.worker.produce(*values)
        changes = {"max_messages": len(values), "delivery_limit": 1, **changes}
        received = await self.worker.receive(**changes)
        receipts = [one.receipt for one in received.deliveries]
        assert len(receipts) == changes["max_messages"]
        await self.worker.settle(SettleKind.NACK, *receipts, name=changes.get("group", "workers"))

    @property
    def dead(self) -> int:
        return state_of(self.source).works.counts()[1]

    def buried(self, replica: ReplicaTwin | None = None) -> list[Record]:
        batches = (replica or self.target).batches
        return [record for batch in batches for record in decode_records(batch.data)]

    def count(self, kind: type) -> int:
        return sum(isinstance(request, kind) for request in self.engine.proposals)


@pytest.fixture
def yard(monkeypatch: pytest.MonkeyPatch) -> Graveyard:
    monkeypatch.setattr(dead_letters, "REFUSAL_PAUSE", Backoff(0.0, 10.0))
    monkeypatch.setattr(dead_letters, "GATHER_SECONDS", 0.0)
    return Graveyard()


async def test_a_dead_message_goes_to_the_dead_letter_topic_as_it_was(yard: Graveyard) -> None:
    record = Record(b"\xff\x00", "key", {"trace": "t"}, 77)
    batch = encode_batch([record])
    await yard.engine.propose(7, AppendBatch(batch, read_header(batch)), timeout_ms=1_000)
    [delivery] = (await yard.worker.receive(delivery_limit=1)).deliveries
    await yard.worker.settle(SettleKind.NACK, delivery.receipt)
    assert await yard.letters.round() is not None
    [letter] = yard.buried()
    assert letter == record._replace(
        headers={
            "trace": "t",
            "dead-letter-topic": "logs",
            "dead-letter-partition": "0",
            "dead-letter-offset": "0",
            "dead-letter-group": "workers",
            "dead-letter-deliveries": "1",
        }
    )
    header = read_header(yard.target.batches[0].data)
    assert header.producer_id == DEAD_LETTER_PRODUCERS + 7
    assert yard.dead == 0
    assert await yard.letters.round() is None
    assert yard.runtime.groups_with_dead.group_ids() == []


async def test_a_dead_message_that_nobody_can_decode_is_dropped_and_told(
    yard: Graveyard, caplog: pytest.LogCaptureFixture
) -> None:
    await yard.kill("a")
    await yard.kill("b")
    bad = crafted(rows(b"\x07"))
    yard.source.batches[0] = replace(yard.source.batches[0], data=bad)
    await yard.letters.round()
    assert [record.value for record in yard.buried()] == ["b"]
    assert yard.dead == 0
    assert "dead message 0 is lost" in caplog.text


async def test_a_dead_message_that_is_damaged_here_waits(yard: Graveyard) -> None:
    await yard.kill("a")
    batch = yard.source.batches[0]
    yard.source.batches[0] = replace(batch, data=batch.data[:-1] + b"\xc1")
    await yard.letters.round()
    assert (yard.buried(), yard.dead) == ([], 1)
    yard.source.batches[0] = batch
    await yard.letters.round()
    assert ([record.value for record in yard.buried()], yard.dead) == (["a"], 0)


async def test_a_dead_message_too_large_for_a_letter_holds_up_no_other(
    yard: Graveyard, caplog: pytest.LogCaptureFixture
) -> None:
    headers: dict[str, str | bytes] = {str(n): "" for n in range(MAX_STORED_HEADERS)}
    full = encode_batch([Record("x" * (MAX_BATCH_BYTES - 80))])
    for batch in (encode_batch([Record("a", headers=headers)]), full):
        await yard.engine.propose(7, AppendBatch(batch, read_header(batch)), timeout_ms=1_000)
        await yard.kill(max_messages=1)
    await yard.kill("b")
    assert yard.dead == 3
    await yard.letters.round()
    assert ([record.value for record in yard.buried()], yard.dead) == (["b"], 0)
    assert caplog.text.count("gets no copy") == 2


async def test_each_message_is_a_request_and_the_partition_is_told_of_several(
    yard: Graveyard,
) -> None:
    await yard.kill(*[str(number) for number in range(40)])
    await yard.letters.round()
    assert (len(yard.buried()), yard.count(DeadCopied), yard.dead) == (32, 1, 8)
    await yard.letters.round()
    assert [record.value for record in yard.buried()] == [str(number) for number in range(40)]
    assert yard.managers.asked == 1


async def test_a_copy_made_again_after_a_crash_is_one_message(yard: Graveyard) -> None:
    await yard.kill("a", "b")
    yard.engine.refusals = [NotLeader("lost it")]
    real = yard.engine.propose

    async def propose(group_id: int, request: Any, **facts: Any) -> Any:
        if isinstance(request, DeadCopied) and yard.engine.refusals:
            raise yard.engine.refusals.pop()
        held, yard.engine.refusals = yard.engine.refusals, []
        result = await real(group_id, request, **facts)
        yard.engine.refusals = held
        return result

    yard.engine.propose = propose
    await yard.letters.round()
    assert (len(yard.buried()), yard.dead) == (2, 2)
    # Another broker takes over and knows nothing of the copies.
    yard.engine.lose(yard.source)
    yard.engine.win(yard.source)
    await DeadLetterCopier(yard.runtime).round()
    assert [record.value for record in yard.buried()] == ["a", "b"]
    assert len(yard.brokers.posts) == 4
    assert yard.dead == 0


async def test_a_copy_whose_answer_was_lost_is_one_message(yard: Graveyard) -> None:
    await yard.kill("a", "b")
    yard.brokers.after = [BrokerUnreachable("cut off")]
    await yard.letters.round()
    assert (len(yard.buried()), yard.dead) == (1, 2)
    await yard.letters.round()
    assert [record.value for record in yard.buried()] == ["a", "b"]
    assert yard.dead == 0


async def test_what_was_copied_before_a_refusal_is_settled(yard: Graveyard) -> None:
    await yard.kill("a", "b", "c")
    yard.brokers.after = [BrokerUnreachable("cut off")]
    await yard.letters.round()
    yard.brokers.before = [BrokerUnreachable("down")]
    await yard.letters.round()
    assert yard.dead == 3
    await yard.letters.round()
    assert (len(yard.buried()), yard.dead) == (3, 0)


async def test_the_dead_letter_topic_is_made_like_the_topic_of_the_messages(
    yard: Graveyard,
) -> None:
    yard.managers.topics = {"logs": [HERE, None, HERE]}
    yard.engine.add("other", group_id=9)
    await yard.kill("a", dead_letter_topic="other")
    await yard.letters.round()
    assert yard.managers.created == [("other", 3, 1)]
    assert [record.value for record in yard.buried(yard.engine.replicas[9])] == ["a"]


@pytest.mark.parametrize("how", ["no manager", "no leader", "no broker"])
async def test_nothing_is_lost_while_the_dead_letter_topic_is_out_of_reach(
    yard: Graveyard, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await yard.kill("a")
    if how == "no manager":
        yard.managers.failures = [ManagerNotFound("nobody")]
    elif how == "no leader":
        yard.managers.topics["logs.dead"] = [None]
    else:
        yard.brokers.before = [BrokerUnreachable("down")]
    monkeypatch.setattr(dead_letters, "REFUSAL_PAUSE", Backoff(1_000.0, 2_000.0))
    started = asyncio.get_running_loop().time()
    again_at = await yard.letters.round()
    assert again_at is not None
    assert again_at >= started + 1_000
    assert (await yard.letters.round(), yard.dead) == (again_at, 1)
    yard.managers.topics["logs.dead"] = [HERE]
    await DeadLetterCopier(yard.runtime).round()
    assert (len(yard.buried()), yard.dead) == (1, 0)


async def test_the_leader_that_a_broker_names_is_asked_next_without_a_manager(
    yard: Graveyard,
) -> None:
    await yard.kill("a")
    leader = {"broker_id": 2, "address": "http://there:1"}
    yard.brokers.before = [NotLeader("not here", leader=leader)]
    await yard.letters.round()
    await yard.letters.round()
    assert yard.brokers.posts == [HERE, "http://there:1"]
    assert (yard.managers.asked, yard.dead) == (1, 0)


async def test_messages_out_for_the_last_time_die_when_nobody_receives(yard: Graveyard) -> None:
    await yard.worker.produce("a", "b")
    await yard.worker.receive(max_messages=2, delivery_limit=1, visibility_ms=5_000)
    loop = asyncio.get_running_loop()
    again_at = await yard.letters.round()
    assert again_at is not None
    assert 4 < again_at - loop.time() <= 5
    assert yard.count(ExpireWork) == 0
    yard.engine.clock += 5_000
    await yard.letters.round()
    await yard.letters.round()
    assert (len(yard.buried()), yard.count(ExpireWork)) == (2, 1)


async def test_a_broker_that_does_not_lead_copies_nothing_and_begins_when_it_does(
    yard: Graveyard,
) -> None:
    await yard.kill("a")
    yard.engine.lose(yard.source)
    assert await yard.letters.round() is None
    dead_letters_start(yard.runtime)
    await turns(20)
    assert yard.buried() == []
    yard.engine.win(yard.source)
    while yard.dead:
        await turns(1)
    assert len(yard.buried()) == 1
    await yard.runtime.stop()


async def test_the_task_copies_what_dies_while_it_waits(yard: Graveyard) -> None:
    dead_letters_start(yard.runtime)
    await turns(20)
    await yard.kill("a")
    await yard.kill("b", group="others")
    while yard.dead:
        await turns(1)
    letters = [(record.value, record.headers) for record in yard.buried()]
    groups = [headers["dead-letter-group"] for _, headers in letters if headers]
    assert [value for value, _ in letters] == ["a", "a"]
    assert sorted(groups) == ["others", "workers"]
    await yard.runtime.stop()


async def test_what_retention_takes_is_not_copied(yard: Graveyard) -> None:
    await yard.kill("a")
    await yard.engine.propose(7, Truncate(1), timeout_ms=1_000)
    assert await yard.letters.round() is None
    assert (yard.buried(), yard.dead) == ([], 0)
    assert yard.count(SettleMessages) == 1


async def test_a_partition_that_is_gone_leaves_the_index(yard: Graveyard) -> None:
    await yard.kill("a")
    yard.engine.remove(7)
    assert await yard.letters.round() is None
    assert yard.runtime.groups_with_dead.group_ids() == []
