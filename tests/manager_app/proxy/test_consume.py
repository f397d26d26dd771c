from __future__ import annotations

import asyncio

import pytest

from manager_app.brokers import client as broker_client
from manager_app.proxy.consume import _first_positive
from myqueue.contract.errors import NoLeader
from tests.eventually import eventually


def futures(count):
    loop = asyncio.get_running_loop()
    return [loop.create_future() for _ in range(count)]


async def polls(site, consumer, count, **fields):
    """Return long polls once brokers have got their calls."""
    call = {"topic": "logs", "consumer_id": consumer, "wait_ms": 30_000, **fields}
    path = "/consumer/consume" if "partition" in fields else "/size"
    tasks = [asyncio.ensure_future(site.post("/consumer/consume", call)) for _ in range(count)]
    expected = count if "partition" in fields else 4 * count
    async with asyncio.timeout(10):
        while sum(len(twin.called(path)) for twin in site.twins.brokers) < expected:
            assert not any(task.done() for task in tasks)
            await asyncio.sleep(0)
    return tasks


async def stop(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_produce_call_stands_behind_no_long_poll(site, monkeypatch):
    monkeypatch.setattr(broker_client, "WAITING_CALLS_PER_BROKER", 20)
    monkeypatch.setattr(broker_client, "CONNECTIONS_PER_BROKER", 1)
    await site.restart_manager()
    await site.create_topic(partitions=1)
    await site.create_topic("quiet", partitions=1)
    producer, consumer = await site.producer(), await site.consumer("quiet")
    place = {"topic": "quiet", "partition": 0}
    tasks = await polls(site, consumer, 20, **place)
    group = site.twins.group("logs", 0)
    site.twins.elect(group, site.twins.group("quiet", 0).leader)
    async with asyncio.timeout(4):
        assert (await site.produce(producer, "x"))["offset"] == 0
    call = {**place, "consumer_id": consumer, "wait_ms": 30_000}
    answer = await site.post("/consumer/consume", call, status=503)
    assert (answer["code"], answer.get("outcome")) == ("OVERLOADED", None)
    await stop(tasks)


async def test_a_long_poll_over_all_partitions_counts_once_for_each(site):
    await site.create_topic(partitions=4)
    producer, consumer = await site.producer(), await site.consumer()
    site.runtime.open_calls_max = 7
    tasks = await polls(site, consumer, 1)
    assert site.runtime.waiting_calls == 4
    call = {"topic": "logs", "consumer_id": consumer, "wait_ms": 30_000}
    answer = await site.post("/consumer/consume", call, status=503)
    assert (answer["code"], answer["retry_after_ms"]) == ("OVERLOADED", 200)
    assert site.runtime.waiting_calls == 4
    site.runtime.open_calls_max = 1
    await site.produce(producer, "x")
    assert (await tasks[0])["message"] == "x"
    assert (site.runtime.waiting_calls, site.runtime.open_calls) == (0, 0)


async def test_the_first_in_the_order_wins_when_all_are_known():
    tasks = futures(3)
    for task, size in zip(tasks, (0, 4, 9), strict=True):
        task.set_result(size)
    assert await _first_positive(tasks) == 1


async def test_nothing_anywhere_is_none():
    tasks = futures(2)
    for task in tasks:
        task.set_result(0)
    assert await _first_positive(tasks) is None


async def test_one_that_waits_does_not_hold_up_one_that_has_something():
    tasks = futures(3)
    tasks[2].set_result(1)
    async with asyncio.timeout(2):
        assert await _first_positive(tasks) == 2


async def test_an_earlier_one_is_preferred_when_it_comes_soon_enough():
    tasks = futures(2)
    tasks[1].set_result(1)
    deciding = asyncio.ensure_future(_first_positive(tasks))
    for _ in range(3):
        await asyncio.sleep(0)
    tasks[0].set_result(1)
    assert await deciding == 0


async def test_a_failure_counts_only_when_nothing_was_found():
    tasks = futures(2)
    tasks[0].set_exception(NoLeader())
    tasks[1].set_result(1)
    assert await _first_positive(tasks) == 1
    tasks = futures(2)
    tasks[0].set_exception(NoLeader())
    tasks[1].set_result(0)
    with pytest.raises(NoLeader):
        await _first_positive(tasks)


async def fill(site, *counts):
    """Produce to the partitions of a new topic; return its consumer's call without a partition."""
    await site.create_topic(partitions=len(counts))
    producer = await site.producer()
    for partition, count in enumerate(counts):
        for number in range(count):
            await site.produce(producer, f"{partition}:{number}", partition=partition)
    return {"topic": "logs", "consumer_id": await site.consumer()}


async def test_a_pop_by_request_id_repeats_its_first_answer_wherever_that_came_from(site):
    call = await fill(site, 2, 0, 3, 1)
    first = [
        await site.post("/consumer/consume", {**call, "request_id": f"r{number}"})
        for number in range(6)
    ]
    assert len({one["message"] for one in first}) == 6
    for number in (0, 5, 3, 1, 4, 2):
        again = {**call, "request_id": f"r{number}"}
        assert await site.post("/consumer/consume", again) == first[number]
    await site.restart_manager()
    await site.produce(await site.producer(), "new", partition=1)
    assert await site.post("/consumer/consume", {**call, "request_id": "r2"}) == first[2]
    found = await site.post("/consumer/consume", {**call, "request_id": "r6", "max_messages": 5})
    assert [one["message"] for one in found["messages"]] == ["new"]


async def test_an_empty_answer_is_none_to_repeat(site):
    call = {**await fill(site, 0, 0), "request_id": "one"}
    assert (await site.post("/consumer/consume", call, status=404))["code"] == "QUEUE_EMPTY"
    await site.produce(await site.producer(), "late", partition=1)
    assert (await site.post("/consumer/consume", call))["message"] == "late"
    assert (await site.post("/consumer/consume", call))["message"] == "late"


async def test_nothing_is_popped_beside_a_partition_that_may_remember(site):
    call = {**await fill(site, 3, 3, 3), "timeout_ms": 100}
    first = await site.post("/consumer/consume", {**call, "request_id": "one"})
    group = site.twins.group("logs", first["partition"])
    leader, group.leader = group.leader, 0
    for request_id in ("one", "two"):
        again = {**call, "request_id": request_id}
        answer = await site.post("/consumer/consume", again, status=503)
        assert (answer["code"], answer.get("outcome")) == ("NO_LEADER", None)
    others = [one for one in site.twins.groups.values() if one is not group]
    assert [list(one.pops) for one in others] == [[], []]
    site.twins.elect(group, leader % 3 + 1)
    assert await site.post("/consumer/consume", {**call, "request_id": "one"}) == first
    assert (await site.post("/consumer/consume", {**call, "request_id": "two"})) != first


async def test_one_that_remembers_is_enough(site):
    call = {**await fill(site, 3, 3, 3), "timeout_ms": 5_000}
    first = await site.post("/consumer/consume", {**call, "request_id": "one"})
    site.twins.group("logs", (first["partition"] + 1) % 3).leader = 0
    async with asyncio.timeout(4):
        assert await site.post("/consumer/consume", {**call, "request_id": "one"}) == first


async def test_the_same_call_twice_at_once_is_one_pop(site):
    call = {**await fill(site, 3, 3, 3), "request_id": "one"}
    answers = await asyncio.gather(*(site.post("/consumer/consume", call) for _ in range(8)))
    assert answers == answers[:1] * 8
    assert sum(len(group.pops) for group in site.twins.groups.values()) == 1
    assert not site.runtime.pops_at_once


async def test_the_same_call_is_held_off_for_its_time_only(site):
    call = {**await fill(site, 0, 0), "request_id": "one"}
    waiting = asyncio.ensure_future(site.post("/consumer/consume", {**call, "wait_ms": 30_000}))
    async with asyncio.timeout(10):
        await eventually(lambda: site.runtime.pops_at_once, "the first call is under way")
    answer = await site.post("/consumer/consume", {**call, "timeout_ms": 50}, status=503)
    assert (answer["code"], answer.get("outcome")) == ("OVERLOADED", None)
    await site.produce(await site.producer(), "late", partition=1)
    assert (await waiting)["message"] == "late"


async def test_a_pop_by_request_id_waits_at_all_partitions(site):
    call = {**await fill(site, 0, 0, 0, 0), "wait_ms": 30_000, "request_id": "one"}
    waiting = asyncio.ensure_future(site.post("/consumer/consume", call))
    async with asyncio.timeout(10):
        while sum(len(twin.called("/size")) for twin in site.twins.brokers) < 8:
            assert not waiting.done()
            await asyncio.sleep(0)
    await site.produce(await site.producer(), "late", partition=2)
    first = await waiting
    assert first["message"] == "late"
    assert await site.post("/consumer/consume", call) == first
    empty = {**call, "request_id": "two", "wait_ms": 50}
    assert (await site.post("/consumer/consume", empty, status=404))["code"] == "QUEUE_EMPTY"


async def test_a_pop_whose_answer_was_lost_is_found_again(site):
    call = {**await fill(site, 3, 3, 3), "request_id": "one"}
    for twin in site.twins.brokers:
        twin.breaks["/consumer/consume"] = "after"
    first = await site.post("/consumer/consume", call)
    for twin in site.twins.brokers:
        twin.breaks.pop("/consumer/consume", None)
    assert await site.post("/consumer/consume", call) == first
    assert sum(len(group.pops) for group in site.twins.groups.values()) == 1
