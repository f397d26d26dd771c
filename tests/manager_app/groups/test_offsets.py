from __future__ import annotations

import asyncio

import pytest

from manager_app.groups import offsets
from manager_app.groups.offsets import Unsaid
from myqueue.contract.errors import NoLeader
from tests.manager_app.group_twin import CommittedTwin


@pytest.fixture
async def filled(site):
    await site.create_topic("logs", partitions=3)
    await site.create_topic("more", partitions=1)
    site.twins.group("logs", 0).offsets["billing"] = CommittedTwin(4, offset=0)
    site.twins.group("more", 0).offsets["billing"] = CommittedTwin(9, offset=0)
    return site


async def test_every_partition_says_where_the_group_is_or_that_it_knows_none(filled):
    found = await filled.runtime.group_offsets.ask("billing", ["logs", "gone"])
    assert found.keys() == {("logs", index) for index in range(3)}
    assert found["logs", 0].generation == 4
    assert (found["logs", 1], found["logs", 2]) == (Unsaid.NOT_THERE, Unsaid.NOT_THERE)
    everything = await filled.runtime.group_offsets.ask("billing")
    assert everything.keys() == found.keys() | {("more", 0)}


async def test_the_highest_generation_is_the_floor(filled):
    floor = filled.runtime.group_offsets.generation_floor
    assert await floor("billing", ["logs", "more"]) == 9
    assert await floor("billing", ["logs"]) == 4
    assert await floor("other", ["logs", "more"]) == 0
    assert await floor("other", []) == 0


async def test_many_partitions_are_asked_a_bounded_number_at_once(filled, monkeypatch):
    monkeypatch.setattr(offsets, "PARTITIONS_AT_ONCE", 2)
    calls, most = 0, 0
    call = filled.runtime.calls.call

    async def counted(partition_call, answer_type):
        nonlocal calls, most
        calls += 1
        most = max(most, calls)
        try:
            return await call(partition_call, answer_type)
        finally:
            calls -= 1

    monkeypatch.setattr(filled.runtime.calls, "call", counted)
    assert len(await filled.runtime.group_offsets.ask("billing")) == 4
    assert most == 2


async def test_brokers_that_say_nothing_cost_a_bounded_time_in_all(filled, monkeypatch):
    monkeypatch.setattr(offsets, "ASK_LIMIT_S", 0.2)
    monkeypatch.setattr(offsets, "PARTITIONS_AT_ONCE", 1)
    for twin in filled.twins.brokers:
        twin.offsets.silent.add("/offsets")
    async with asyncio.timeout(1):
        found = await filled.runtime.group_offsets.ask("billing")
    assert list(found.values()) == [Unsaid.NO_ANSWER] * 4


async def test_forgetting_names_the_partitions_where_it_failed(filled, monkeypatch):
    leader = filled.twins.by_id(filled.twins.group("more", 0).leader)
    leader.refuses["/groups/forget"] = NoLeader()
    with monkeypatch.context() as hurried:
        hurried.setattr(offsets, "FORGET_TIMEOUT_MS", 50)
        pending = await filled.runtime.group_offsets.forget("billing")
    assert ("more", 0) in pending
    assert filled.twins.group("more", 0).offsets.keys() == {"billing"}
    leader.refuses.clear()
    assert await filled.runtime.group_offsets.forget("billing") == []
    assert filled.twins.group("more", 0).offsets == {}
