"""Lists of partitions at a manager: each broker is asked once."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from myqueue.contract.errors import NoLeader
from myqueue.contract.inputs import MSGPACK
from myqueue.contract.records import Record, unframe_batches
from tests.manager_app.broker_twin import overloaded, unknown_outcome

ALL = [{"topic": "logs", "partition": index, "offset": 0} for index in range(4)]


@pytest.fixture
async def filled(site):
    """Four partitions on three brokers, with a message in each of the first two."""
    await site.create_topic("logs", partitions=4)
    producer = await site.producer()
    for index in (0, 1):
        await site.produce(producer, f"in {index}", partition=index)
    answer = await site.post("/consumer/register", {"topic": "logs"})
    site.token = answer["token"]
    return site


async def fetch(site, partitions=ALL, *, status=200, **fields):
    call = {"partitions": partitions, "token": site.token, **fields}
    return await site.post("/fetch", call, status=status)


def told(answer):
    return {
        part["partition"]: part["error"]["code"]
        if "error" in part
        else "".join(message["message"] for message in part["messages"])
        for part in answer["partitions"]
    }


def leader(site, index):
    return site.twins.by_id(site.twins.group("logs", index).leader)


async def test_partitions_of_several_brokers_come_in_one_answer(filled):
    answer = await fetch(filled)
    assert told(answer) == {0: "in 0", 1: "in 1"}
    assert [part["next_offset"] for part in answer["partitions"]] == [1, 1]
    asked = [call for twin in filled.twins.brokers for call in twin.called("/fetch")]
    assert len(asked) == len({leader(filled, index).broker_id for index in range(4)})
    assert {call["max_bytes"] for call in asked} == {(1 << 20) // len(asked)}
    assert not any(call.get("tokens") for call in asked)


async def test_the_first_message_anywhere_ends_the_wait(filled):
    from_end = [{**one, "offset": 1 if one["partition"] < 2 else 0} for one in ALL]
    assert (await fetch(filled, from_end, wait_ms=10))["partitions"] == []
    waiting = asyncio.ensure_future(fetch(filled, from_end, wait_ms=30_000))
    while sum(bool(call["wait_ms"]) for call in leader(filled, 3).called("/fetch")) < 2:
        await asyncio.sleep(0.01)
    await filled.produce(await filled.producer(), "late", partition=3)
    assert told(await waiting) == {3: "late"}
    assert filled.runtime.waiting_calls == 0


async def test_what_cannot_be_read_is_told_and_ends_the_wait(filled):
    places = [ALL[0], ALL[2], {"topic": "logs", "partition": 9, "offset": 0}]
    answer = await fetch(filled, [*places, {**ALL[0], "topic": "none"}], wait_ms=30_000)
    codes = [part["error"]["code"] for part in answer["partitions"] if "error" in part]
    assert codes == ["PARTITION_NOT_FOUND", "TOPIC_NOT_FOUND"]


@pytest.mark.parametrize("error", [overloaded(), NoLeader("none")])
async def test_a_broker_that_refuses_costs_its_own_partitions_alone(filled, error):
    leader(filled, 0).refuses["/fetch"] = error
    found = told(await fetch(filled, ALL[:2], wait_ms=30_000))
    assert found == {0: error.code, 1: "in 1"}


async def test_a_broker_that_is_away_is_told_as_no_leader(filled):
    await leader(filled, 0).stop()
    assert told(await fetch(filled, ALL[:2]))[0] == "NO_LEADER"


async def test_tokens_are_by_topic_and_none_is_none(filled):
    await filled.create_topic("other", partitions=1)
    other = (await filled.post("/consumer/register", {"topic": "other"}))["token"]
    places = [ALL[0], {"topic": "other", "partition": 0, "offset": 0}]
    answer = await fetch(filled, places)
    assert [one["topic"] for one in answer["partitions"] if "error" in one] == ["other"]
    answer = await fetch(filled, places, tokens={"other": other})
    assert [part["topic"] for part in answer["partitions"]] == ["logs"]
    answer = await filled.post("/fetch", {"partitions": ALL[:1]})
    assert told(answer) == {0: "UNAUTHORIZED"}


async def test_stored_batches_come_in_messagepack_alone(filled):
    assert (await fetch(filled, stored=True, status=400))["field"] == "stored"
    body = msgspec.msgpack.encode({"partitions": ALL[:1], "token": filled.token, "stored": True})
    headers = {"content-type": MSGPACK, "accept": MSGPACK}
    answer = msgspec.msgpack.decode(
        (await filled.send("POST", "/fetch", body=body, headers=headers)).body
    )
    [part] = answer["partitions"]
    assert [offset for offset, _ in unframe_batches(part["batches"])] == [0]


CONSUME, RECEIVE = "/consumer/consume", "/messages/receive"


def pops(consumer, request_id, count=4):
    place = {"topic": "logs", "consumer_id": consumer["consumer_id"]}
    return [
        {**place, "partition": index, "request_id": f"{request_id}-{index}"}
        for index in range(count)
    ]


async def pop(site, consumer, request_id, *, status=200, **fields):
    call = {"partitions": pops(consumer, request_id), "max_messages": 8, **fields}
    return await site.post(CONSUME, {"token": consumer["token"], **call}, status=status)


@pytest.fixture
async def consumer(filled):
    return await filled.post("/consumer/register", {"topic": "logs"})


def brokers_of(site, *indexes):
    return {leader(site, index).broker_id for index in indexes}


async def test_partitions_of_several_brokers_are_popped_from_in_one_call(filled, consumer):
    answer = await pop(filled, consumer, "r")
    assert told(answer) == {0: "in 0", 1: "in 1"}
    asked = [call for twin in filled.twins.brokers for call in twin.called(CONSUME)]
    assert len(asked) == len(brokers_of(filled, *range(4)))
    assert {call["max_messages"] for call in asked} == {8 // len(asked)}
    assert await pop(filled, consumer, "r") == answer, "a repetition gets the same"
    assert told(await pop(filled, consumer, "s")) == {}


async def test_a_list_without_messages_says_where_there_are_some(filled, consumer):
    places = [{**one, "request_id": None} for one in pops(consumer, "r")]
    answer = await pop(filled, consumer, "r", max_messages=0, partitions=places, wait_ms=30_000)
    found = [(part["partition"], part.keys()) for part in answer["partitions"]]
    assert sorted(found) == [(0, {"topic", "partition"}), (1, {"topic", "partition"})]
    assert told(await pop(filled, consumer, "s")) == {0: "in 0", 1: "in 1"}


async def test_what_another_broker_popped_when_the_wait_ended_is_answered_too(filled, consumer):
    """The pops that wait at other brokers are repeated, for what they may have taken meanwhile."""
    await pop(filled, consumer, "before")
    first, last = (
        leader(filled, 0),
        next(
            leader(filled, index)
            for index in range(4)
            if brokers_of(filled, index) != brokers_of(filled, 0)
        ),
    )
    late = next(index for index in range(4) if leader(filled, index) is last)
    waiting = asyncio.ensure_future(pop(filled, consumer, "r", wait_ms=30_000))
    while not all(any(call["wait_ms"] for call in one.called(CONSUME)) for one in (first, last)):
        await asyncio.sleep(0.01)
    # The other one has popped, and its answer never comes.
    last.passing.never_answers_waits = True
    group = filled.twins.group("logs", late)
    group.append([Record(value="taken")])
    mark = (consumer["consumer_id"], f"r-{late}")
    group.pops[mark] = (len(group.records) - 1, len(group.records))
    group.cursors[consumer["consumer_id"]] = len(group.records)
    await filled.produce(await filled.producer(), "first", partition=0)
    assert told(await waiting) == {0: "first", late: "taken"}
    assert filled.runtime.waiting_calls == 0


async def test_pops_of_a_broker_that_does_not_answer_have_an_unknown_outcome(filled, consumer):
    away = leader(filled, 0)
    away.refuses[CONSUME] = unknown_outcome()
    found = {part["partition"]: part for part in (await pop(filled, consumer, "r"))["partitions"]}
    assert found[0]["error"]["outcome"] == "unknown"
    await away.stop()
    found = {part["partition"]: part for part in (await pop(filled, consumer, "r"))["partitions"]}
    assert found[0]["error"]["code"] == "NO_LEADER"
    assert "outcome" not in found[0]["error"], "it was not sent"


async def test_another_consumers_partitions_are_not_popped_from(filled, consumer):
    other = await filled.post("/consumer/register", {"topic": "logs"})
    places = [*pops(other, "r", 1), {**pops(consumer, "r", 1)[0], "topic": "none"}]
    answer = await pop(filled, consumer, "r", partitions=places)
    codes = [part["error"]["code"] for part in answer["partitions"]]
    assert codes == ["UNAUTHORIZED", "TOPIC_NOT_FOUND"]


async def test_workers_wait_at_several_brokers_in_one_call(filled, consumer):
    places = [{"topic": "logs", "partition": index} for index in range(4)]
    look = {"partitions": places, "group": "workers", "token": consumer["token"]}
    answer = await filled.post(RECEIVE, look)
    assert sorted(part["partition"] for part in answer["partitions"]) == [0, 1]
    empty = {**look, "partitions": places[2:]}
    assert (await filled.post(RECEIVE, {**empty, "wait_ms": 10}))["partitions"] == []
    waiting = asyncio.ensure_future(filled.post(RECEIVE, {**empty, "wait_ms": 30_000}))
    while not any(call["wait_ms"] > 10 for call in leader(filled, 3).called(RECEIVE)):
        await asyncio.sleep(0.01)
    await filled.produce(await filled.producer(), "late", partition=3)
    assert (await waiting)["partitions"] == [{"topic": "logs", "partition": 3}]
    assert filled.runtime.waiting_calls == 0
