"""Calls to leaders through elections, lost brokers and broken connections."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from http_base.cluster_http import CallFailed, NotSent, OutcomeUnknown
from manager_app.models import Broker, Partition, Replica, Topic
from manager_app.proxy.partition_calls import PartitionCall, PartitionCalls
from myqueue.contract.answers import Done
from myqueue.contract.errors import (
    CommitTimeout,
    DiskFull,
    InvalidRequest,
    NoLeader,
    NotLeader,
    OutOfOrderSequence,
    Overloaded,
    PartitionNotFound,
    ProducerFenced,
    QueueError,
    TopicDoesNotExist,
    UnknownProducer,
)
from tests.eventually import eventually
from tests.manager_app.broker_twin import counts, overloaded, unknown_outcome


async def test_while_a_partition_elects_a_write_waits_for_the_report(site):
    await site.create_topic(partitions=1)
    producer = await site.producer()
    group = site.twins.group("logs", 0)
    group.leader = 0
    waiting = asyncio.ensure_future(site.produce(producer, "x"))
    await eventually(
        lambda: any(twin.called("/producer/produce") for twin in site.twins.brokers),
        "a leader is asked",
    )
    site.twins.elect(group, group.brokers[1])
    site.twins.report_soon(site.twins.by_id(group.leader), group)
    async with asyncio.timeout(4):
        assert (await waiting)["offset"] == 0


async def test_without_a_leader_in_time_a_write_is_refused_and_did_not_happen(site):
    await site.create_topic(partitions=1)
    producer = await site.producer()
    site.twins.group("logs", 0).leader = 0
    call = {"topic": "logs", "producer_id": producer, "message": "x", "timeout_ms": 100}
    answer = await site.post("/producer/produce", call, status=503)
    assert answer["code"] == "NO_LEADER"
    assert "outcome" not in answer
    assert counts(site) == [0]


async def test_a_leader_that_moved_unreported_is_followed(site):
    await site.create_topic(partitions=1)
    producer = await site.producer()
    group = site.twins.group("logs", 0)
    site.twins.elect(group, group.brokers[2])
    assert (await site.produce(producer, "x"))["offset"] == 0


async def test_a_dead_leader_is_replaced_without_an_error(site):
    await site.create_topic(partitions=1)
    producer = await site.producer()
    group = site.twins.group("logs", 0)
    await site.produce(producer, "before")
    await site.twins.by_id(group.leader).stop()
    waiting = asyncio.ensure_future(site.produce(producer, "after"))
    await eventually(
        lambda: any(len(twin.called("/producer/produce")) for twin in site.twins.brokers[1:]),
        "a leader is asked",
    )
    site.twins.elect(group, group.brokers[1])
    async with asyncio.timeout(4):
        assert (await waiting)["offset"] == 1


async def test_a_connection_that_breaks_after_sending_is_never_a_second_message(site):
    await site.create_topic(partitions=1)
    producer = await site.producer()
    leader = site.twins.by_id(site.twins.group("logs", 0).leader)
    for moment, appended in (("before", 0), ("after", 1)):
        leader.breaks["/producer/produce"] = moment
        call = {"topic": "logs", "producer_id": producer, "message": moment}
        answer = await site.post("/producer/produce", call, status=503)
        assert (answer["code"], answer["outcome"]) == ("COMMIT_TIMEOUT", "unknown")
        assert counts(site) == [appended]


async def test_with_a_request_id_or_sequence_a_broken_call_is_repeated_and_counts_once(site):
    await site.create_topic(partitions=1)
    producer = await site.producer()
    leader = site.twins.by_id(site.twins.group("logs", 0).leader)
    marks = ({"request_id": "r1"}, {"producer_epoch": 0, "base_sequence": 0})
    for offset, mark in enumerate(marks):
        leader.breaks["/producer/produce"] = "after"
        assert (await site.produce(producer, "x", **mark))["offset"] == offset
    assert counts(site) == [2]


class ScriptedClient:
    """A client of brokers whose calls end as the script says, the last line again and again."""

    def __init__(self, *script):
        self.script = list(script)

    async def call(self, address, call, answer_type, *, timeout_s):
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, CallFailed | QueueError):
            raise step
        return step


class SlowClient:
    """A client of brokers that answer at the very end, and send the caller elsewhere."""

    async def call(self, address, call, answer_type, *, timeout_s):
        await asyncio.sleep(timeout_s)
        raise NotLeader("it moved on", leader={"broker_id": 2})


async def ask(site, *script, method="POST", timeout_ms=150):
    """Call the leader of a partition with a repeatable call, through a scripted client."""
    if "logs" not in site.runtime.metadata.current.topics:
        await site.create_topic(partitions=1)
    partition = (await site.runtime.find_topic("logs")).partition(0)
    calls = PartitionCalls(site.runtime.metadata, ScriptedClient(*script))
    return await calls.call(
        PartitionCall(partition, method, "/x", {}, timeout_ms=timeout_ms, repeatable=True), Done
    )


async def test_whoever_has_no_time_left_is_told_what_was_answered_last(site):
    await site.create_topic(partitions=1)
    partition = (await site.runtime.find_topic("logs")).partition(0)
    calls = PartitionCalls(site.runtime.metadata, SlowClient())
    call = PartitionCall(partition, "GET", "/x", {}, timeout_ms=100)
    with pytest.raises(NoLeader, match="has no leader at the moment"):
        await calls.call(call, Done)


@pytest.mark.parametrize("first", [OutcomeUnknown("it broke"), CommitTimeout(outcome="unknown")])
async def test_after_a_try_of_unknown_outcome_no_refusal_says_that_nothing_happened(site, first):
    for refusal in (
        NotSent("connection refused"),
        NoLeader("none"),
        NotLeader("not here"),
        PartitionNotFound("not here"),
        TopicDoesNotExist("not here"),
        Overloaded("the limit is reached", retry_after_ms=100),
        DiskFull("no space"),
        OutOfOrderSequence("too old to be remembered", expected_sequence=9),
        UnknownProducer("forgotten since"),
        ProducerFenced("fenced since"),
        InvalidRequest("another version"),
    ):
        with pytest.raises(QueueError) as raised:
            await ask(site, first, refusal)
        assert not raised.value.outcome_known, refusal
        if not isinstance(raised.value, NoLeader):
            assert type(raised.value) is type(refusal)
            expected = {**refusal.details, "outcome": "unknown"}
            assert (raised.value.message, raised.value.details) == (refusal.message, expected)


async def test_a_success_settles_a_try_of_unknown_outcome(site):
    script = (OutcomeUnknown("it broke"), NotSent("refused"), {"x": 1})
    assert await ask(site, *script, timeout_ms=30_000) == {"x": 1}


async def test_without_a_try_of_unknown_outcome_a_refusal_says_that_nothing_happened(site):
    for script in ([NotSent("refused")], [NotSent("refused"), DiskFull("no space")]):
        with pytest.raises(QueueError) as raised:
            await ask(site, *script)
        assert raised.value.outcome_known


async def test_a_call_that_changes_nothing_has_no_unknown_outcome_behind_a_refusal(site):
    with pytest.raises(NoLeader) as raised:
        await ask(site, OutcomeUnknown("it broke"), NotSent("refused"), method="GET")
    assert raised.value.outcome_known


async def test_a_write_that_broke_at_a_leader_that_then_stopped_has_an_unknown_outcome(site):
    await site.create_topic(partitions=1)
    producer = await site.producer()
    group = site.twins.group("logs", 0)
    leader = site.twins.by_id(group.leader)
    leader.breaks["/producer/produce"] = "after"
    call = {"topic": "logs", "producer_id": producer, "message": "x", "request_id": "r1"}
    waiting = asyncio.ensure_future(
        site.post("/producer/produce", {**call, "timeout_ms": 300}, status=503)
    )
    async with asyncio.timeout(4):
        await eventually(lambda: group.records, "a leader is asked")
    group.leader = 0
    await leader.stop()
    answer = await waiting
    assert (answer["code"], answer.get("outcome")) == ("NO_LEADER", "unknown")
    await leader.start()
    group.leader = leader.broker_id
    assert (await site.post("/producer/produce", call))["offset"] == 0
    assert counts(site) == [1]


async def test_an_unknown_outcome_of_the_leader_is_passed_on_not_repeated(site):
    await site.create_topic(partitions=1)
    producer = await site.producer()
    leader = site.twins.by_id(site.twins.group("logs", 0).leader)
    leader.refuses["/producer/produce"] = unknown_outcome()
    call = {"topic": "logs", "producer_id": producer, "message": "x"}
    answer = await site.post("/producer/produce", call, status=503)
    assert (answer["code"], answer["outcome"]) == ("COMMIT_TIMEOUT", "unknown")
    assert len(leader.called("/producer/produce")) == 1


async def test_a_pop_that_broke_is_repeated_only_with_a_request_id(site):
    await site.create_topic(partitions=1)
    producer, consumer = await site.producer(), await site.consumer()
    for number in range(4):
        await site.produce(producer, str(number))
    leader = site.twins.by_id(site.twins.group("logs", 0).leader)
    call = {"topic": "logs", "consumer_id": consumer, "partition": 0}
    leader.breaks["/consumer/consume"] = "after"
    answer = await site.post("/consumer/consume", call, status=503)
    assert answer["outcome"] == "unknown"
    leader.breaks["/consumer/consume"] = "after"
    found = await site.post("/consumer/consume", {**call, "request_id": "r1"})
    assert found["message"] == "1"
    again = await site.post("/consumer/consume", {**call, "request_id": "r1"})
    assert again["message"] == "1"
    assert (await site.post("/consumer/consume", call))["message"] == "2"


async def test_a_failed_connection_to_a_broker_removes_nothing(site):
    def stored():
        return [
            list(model.objects.order_by("pk").values())
            for model in (Topic, Partition, Replica, Broker)
        ]

    await site.create_topic(partitions=3)
    producer, consumer = await site.producer(), await site.consumer()
    before = await site.in_database(stored)
    for twin in site.twins.brokers:
        await twin.stop()
    await site.restart_manager()  # without connections from before
    for path, call in (
        ("/producer/produce", {"producer_id": producer, "message": "x"}),
        ("/consumer/consume", {"consumer_id": consumer}),
    ):
        fields = {"topic": "logs", "timeout_ms": 100, **call}
        assert (await site.post(path, fields, status=503))["code"] == "NO_LEADER"
    assert await site.in_database(stored) == before
    for twin in site.twins.brokers:
        await twin.start()
    assert (await site.produce(producer, "back"))["offset"] == 0


async def test_a_broker_at_its_limit_says_when_to_come_back(site):
    await site.create_topic(partitions=1)
    producer = await site.producer()
    leader = site.twins.by_id(site.twins.group("logs", 0).leader)
    leader.refuses["/producer/produce"] = overloaded()
    body = msgspec.json.encode({"topic": "logs", "producer_id": producer, "message": "x"})
    answer = await site.send("POST", "/producer/produce", body=body)
    assert answer.status == 503
    assert answer.json["code"] == "OVERLOADED"
    assert answer.headers["retry-after"] == "1"


async def test_a_manager_at_its_limit_refuses_before_it_passes_on(site):
    await site.create_topic(partitions=1)
    producer = await site.producer()
    site.runtime.open_calls = site.runtime.open_calls_max
    call = {"topic": "logs", "producer_id": producer, "message": "x"}
    assert (await site.post("/producer/produce", call, status=503))["code"] == "OVERLOADED"
    site.runtime.open_calls = 0
    await site.post("/producer/produce", call)
    assert site.runtime.open_calls == 0


async def test_a_call_that_does_not_wait_for_a_silent_leader_fails_at_once(site):
    await site.create_topic(partitions=1)
    [partition] = site.runtime.metadata.topic("logs").partitions
    leader = site.twins.by_id(site.twins.group("logs", 0).leader)
    fields = {"topic": "logs", "partition": 0, "timestamp": 0}
    call = PartitionCall(
        partition, "GET", "/offsets/by-time", fields, timeout_ms=60_000, asks_silent=False
    )
    site.silence(leader)
    with pytest.raises(NoLeader, match="has not answered for a while"):
        async with asyncio.timeout(20):
            await site.runtime.calls.call(call, Done)
    assert not leader.called("/offsets/by-time")
