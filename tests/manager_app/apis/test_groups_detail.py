from __future__ import annotations

import asyncio

import pytest
from django.contrib.auth import get_user_model
from django.test import Client as Browser

from myqueue.contract.errors import Overloaded
from tests.manager_app.group_twin import CommittedTwin
from tests.manager_app.reader import Reader


@pytest.fixture
async def busy(site):
    await site.create_topic("logs", partitions=4)
    return site


@pytest.fixture
async def quiet(site):
    """A site whose own sweeps see no change of time: the tests sweep."""
    await site.create_topic("logs", partitions=4)
    return site


async def test_a_group_tells_its_members_offsets_and_lag(busy):
    reader = Reader(busy)
    await reader.join()
    producer = await busy.producer()
    for _ in range(3):
        await busy.produce(producer, "x", partition=1)
    busy.twins.group("logs", 1).offsets["billing"] = CommittedTwin(1, offset=1, age_ms=9_000)
    detail = await busy.get("/groups/billing")
    assert (detail["group"], detail["kind"]) == ("billing", "consumers")
    assert (detail["generation"], detail["member_count"], detail["next"]) == (1, 1, None)
    (member,) = detail["members"]
    assert member == {
        "member_id": reader.member_id,
        "topics": ["logs"],
        "assignment": {"logs": [0, 1, 2, 3]},
        "last_heartbeat": int(busy.clock.now().timestamp() * 1000),
        "session_timeout_ms": 30_000,
        "address": "127.0.0.1",
    }
    assert detail["partitions"][1] == {
        "topic": "logs",
        "partition": 1,
        "member_id": reader.member_id,
        "offset": 1,
        "high_watermark": 3,
        "lag": 2,
        "unsettled": 0,
        "dead": 0,
        "visible": 0,
        "in_flight": 0,
        "delayed": 0,
        "age_ms": 9_000,
    }
    assert [part["lag"] for part in detail["partitions"]] == [None, 2, None, None]
    (summary,) = (await busy.get("/groups?detail=1"))["groups"]
    assert (summary["group"], summary["members"], summary["topics"]) == ("billing", 1, ["logs"])
    assert (summary["lag"], summary["age_ms"]) == (2, 9_000)


async def test_members_come_in_pages_by_id_and_only_the_first_has_the_partitions(busy):
    readers = [Reader(busy) for _ in range(5)]
    for reader in readers:
        await reader.join()
    ids = sorted(reader.member_id for reader in readers)
    first = await busy.get("/groups/billing?limit=2")
    assert ([one["member_id"] for one in first["members"]], first["next"]) == (ids[:2], ids[1])
    assert (first["member_count"], len(first["partitions"])) == (5, 4)
    second = await busy.get(f"/groups/billing?limit=3&after={first['next']}")
    assert ([one["member_id"] for one in second["members"]], second["next"]) == (ids[2:], None)
    assert second["partitions"] == []


async def test_a_partition_that_does_not_answer_is_null_and_holds_up_no_other(quiet):
    await Reader(quiet).join()
    for index in range(4):
        quiet.twins.group("logs", index).offsets["billing"] = CommittedTwin(1, offset=0)
    quiet.twins.brokers[0].offsets.silent.add("/offsets")
    async with asyncio.timeout(4):
        detail = await quiet.get("/groups/billing")
    led = [quiet.twins.group("logs", index).leader for index in range(4)]
    assert [part["lag"] for part in detail["partitions"]] == [
        None if leader == 1 else 0 for leader in led
    ]
    assert None in [part["lag"] for part in detail["partitions"]]


async def test_an_unknown_group_is_not_found(busy):
    for method in ("GET", "DELETE"):
        answer = await busy.ask(method, "/groups/nowhere", status=404)
        assert answer["code"] == "GROUP_NOT_FOUND"


async def test_a_group_of_queue_workers_is_found_in_its_partitions_and_can_be_forgotten(busy):
    busy.twins.group("logs", 2).offsets["jobs"] = CommittedTwin(0, unsettled=2, dead=1)
    detail = await busy.get("/groups/jobs")
    assert (detail["generation"], detail["members"]) == (0, [])
    (part,) = detail["partitions"]
    assert (part["partition"], part["unsettled"], part["dead"]) == (2, 2, 1)
    assert (await busy.ask("DELETE", "/groups/jobs"))["partitions_pending"] == []
    await busy.ask("GET", "/groups/jobs", status=404)


async def test_groups_of_queue_workers_are_listed_among_the_others(busy):
    await Reader(busy).join()
    await busy.create_topic("mails", partitions=2)
    for topic, index in (("logs", 2), ("logs", 3), ("mails", 0)):
        busy.twins.group(topic, index).offsets["a-workers"] = CommittedTwin(0, unsettled=2)
    assert (await busy.get("/groups"))["groups"] == ["a-workers", "billing"]
    workers, readers = (await busy.get("/groups?detail=1"))["groups"]
    assert (workers["kind"], workers["topics"]) == ("workers", ["logs", "mails"])
    assert (workers["members"], workers["created_at"]) == (0, None)
    assert (workers["in_flight"], workers["dead"]) == (6, 0)
    assert (readers["kind"], readers["members"], readers["lag"]) == ("consumers", 1, None)
    stopped = busy.twins.group("logs", 2).leader
    await busy.twins.by_id(stopped).stop()
    listed = await busy.get("/groups")
    assert "a-workers" in listed["groups"], "the other leaders know it"
    assert stopped in listed["silent_brokers"]


async def test_the_admin_names_them_too(busy):
    busy.twins.group("logs", 2).offsets["mailers"] = CommittedTwin(0, unsettled=2)

    def look():
        person = get_user_model().objects.create_superuser("admin", "", "secret")
        browser = Browser()
        browser.force_login(person)
        return browser.get("/admin/manager_app/consumergroup/").content

    assert b"Groups of queue workers: mailers" in await busy.in_database(look)


async def test_a_group_with_members_is_not_forgotten_and_one_without_is(busy):
    reader = Reader(busy)
    await reader.join()
    busy.twins.group("logs", 1).offsets["billing"] = CommittedTwin(1, offset=1)
    answer = await busy.ask("DELETE", "/groups/billing", status=400)
    assert (answer["code"], answer["field"]) == ("INVALID_REQUEST", "group")
    await reader.leave()
    answer = await busy.ask("DELETE", "/groups/billing")
    assert answer["partitions_pending"] == []
    assert busy.twins.group("logs", 1).offsets == {}
    assert (await busy.get("/groups"))["groups"] == []
    assert (await Reader(busy).join())["generation"] == 1


async def test_a_group_that_comes_back_begins_above_what_partitions_remember(quiet):
    quiet.twins.group("logs", 1).offsets["billing"] = CommittedTwin(7, offset=1)
    reader = Reader(quiet)
    assert (await reader.join())["generation"] == 8
    await quiet.create_topic("more", partitions=1)
    quiet.twins.group("more", 0).offsets["billing"] = CommittedTwin(20)
    heard = await reader.join(member_id=reader.member_id, topics=["logs", "more"])
    assert heard["generation"] == 21


async def test_a_partition_that_is_not_reached_keeps_a_forgotten_group_and_is_named(quiet):
    reader = Reader(quiet)
    await reader.join()
    await reader.leave()
    for twin in quiet.twins.brokers:
        twin.refuses["/groups/forget"] = Overloaded("busy")
    answer = await quiet.ask("DELETE", "/groups/billing")
    assert answer["partitions_pending"] == [
        {"topic": "logs", "partition": index} for index in range(4)
    ]
