from __future__ import annotations

import asyncio
import threading
import time

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from manager_app import selectors
from manager_app.apis.rendering import partition_detail
from manager_app.brokers import orders
from manager_app.brokers.orders import REPORT_TIMEOUT_S
from manager_app.models import DeletedGroup, Partition, Replica, Topic
from manager_app.placement import topic_changes
from tests.manager_app.writing import change


@pytest.fixture
def short_wait(monkeypatch):
    monkeypatch.setattr(topic_changes, "LEADERS_WAIT_S", 0.05)


async def test_a_created_topic_is_ready_for_the_next_call(site):
    created = await site.post("/topics", {"topic": "logs", "number_of_partitions": 3}, status=201)
    assert created["message"] == "Topic 'logs' created successfully"
    assert created["topic"] == "logs"
    assert created["number_of_partitions"] == 3
    assert created["leaders_pending"] == []
    assert [part["partition"] for part in created["partitions"]] == [0, 1, 2]
    assert sorted(part["leader"]["broker_id"] for part in created["partitions"]) == [1, 2, 3]
    for part in created["partitions"]:
        assert len({replica["broker_id"] for replica in part["replicas"]}) == 3
    await site.twins.reported()


@pytest.mark.parametrize("topic", ["topic", "topic_name", "name"])
@pytest.mark.parametrize("count", ["number_of_partitions", "partitions", "part"])
async def test_every_alias_is_understood(site, topic, count):
    created = await site.post("/topics", {topic: "logs", count: 2}, status=201)
    assert created["number_of_partitions"] == 2
    await site.twins.reported()


async def test_the_defaults_are_three_partitions_and_three_replicas(site):
    await site.post("/topics", {"topic": "logs"}, status=201)
    await site.twins.reported()
    detail = await site.get("/topics/logs")
    assert detail["number_of_partitions"] == 3
    assert detail["settings"]["replication_factor"] == 3


async def test_two_values_for_one_field_are_refused(site):
    call = {"topic": "logs", "name": "other"}
    assert (await site.post("/topics", call, status=400))["code"] == "INVALID_REQUEST"


async def test_a_taken_name_is_a_conflict(site):
    await site.create_topic("logs")
    answer = await site.post("/topics", {"topic": "logs"}, status=409)
    assert answer["code"] == "TOPIC_ALREADY_EXISTS"


async def test_of_creators_at_once_exactly_one_wins(site):
    calls = [site.send("POST", "/topics", body=b'{"topic": "logs"}') for _ in range(5)]
    statuses = sorted(answer.status for answer in await asyncio.gather(*calls))
    assert statuses == [201, 409, 409, 409, 409]
    await site.twins.reported()
    assert await site.in_database(Topic.objects.count) == 1
    assert await site.in_database(Replica.objects.count) == 9


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "ä", "a/b", "x" * 250, "a\0b", "a\n"])
async def test_a_name_with_other_characters_is_invalid(site, name):
    answer = await site.post("/topics", {"topic": name}, status=400)
    assert answer["code"] == "INVALID_TOPIC_NAME"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number_of_partitions", 0),
        ("number_of_partitions", -1),
        ("number_of_partitions", 1025),
        ("number_of_partitions", "three"),
        ("replication_factor", 0),
        ("replication_factor", 10),
        ("retention_ms", 0),
        ("retention_ms", -5),
        ("retention_bytes", 0),
        ("retention_bytes", 2**70),
    ],
)
async def test_a_value_out_of_range_is_named(site, field, value):
    answer = await site.post("/topics", {"topic": "logs", field: value}, status=400)
    assert answer["code"] == "INVALID_REQUEST"
    assert answer["field"] == field
    assert (await site.get("/topics"))["topics"] == []


async def test_more_replicas_than_live_brokers_are_refused(site):
    call = {"topic": "logs", "replication_factor": 4}
    answer = await site.post("/topics", call, status=503)
    assert answer["code"] == "NOT_ENOUGH_BROKERS"
    await site.post("/topics", {"topic": "logs", "replication_factor": 1}, status=201)
    await site.twins.reported()


async def test_topics_are_listed_in_the_order_of_their_creation_also_after_a_restart(site):
    names = ["zebra", "ant", "Mule", "bee"]
    for name in names:
        await site.create_topic(name, partitions=12)
    assert (await site.get("/topics"))["topics"] == names
    before = [await site.get(f"/topics/{name}") for name in names]
    await site.restart_manager()
    assert (await site.get("/topics"))["topics"] == names
    after = [await site.get(f"/topics/{name}") for name in names]
    for topic in before + after:
        del topic["metadata_version"]
    assert after == before
    assert [part["partition"] for part in before[0]["partitions"]] == list(range(12))
    details = (await site.get("/topics?detail=1"))["topics"]
    assert [(topic["topic"], topic["number_of_partitions"]) for topic in details] == [
        (name, 12) for name in names
    ]


async def test_a_topic_says_who_leads_and_how_far_each_replica_is(site):
    await site.create_topic(partitions=2)
    producer = await site.producer()
    for _ in range(3):
        await site.produce(producer, "x", partition=1)
    detail = await site.get("/topics/logs")
    assert [part["high_watermark"] for part in detail["partitions"]] == [0, 3]
    assert [part["log_start_offset"] for part in detail["partitions"]] == [0, 0]
    assert detail["metadata_version"] > 1
    for part in detail["partitions"]:
        roles = {replica["broker_id"]: replica["role"] for replica in part["replicas"]}
        assert roles.pop(part["leader"]["broker_id"]) == "leader"
        assert set(roles.values()) == {"follower"}
        assert part["term"] == 1


async def test_the_brokers_are_asked_while_the_database_is_read(site, monkeypatch):
    await site.create_topic(partitions=1)
    asked = threading.Event()
    ask, read = site.runtime.orders.ask_replicas, selectors.topic_partitions

    async def ask_replicas(topic):
        asked.set()
        return await ask(topic)

    def topic_partitions(topic):
        assert asked.wait(20)
        return read(topic)

    monkeypatch.setattr(site.runtime.orders, "ask_replicas", ask_replicas)
    monkeypatch.setattr(selectors, "topic_partitions", topic_partitions)
    assert len((await site.get("/topics/logs"))["partitions"]) == 1


async def test_a_topic_takes_as_many_queries_however_many_partitions_it_has(site):
    def queries_for(name):
        with CaptureQueriesContext(connection) as queries:
            partitions = selectors.topic_partitions(selectors.topic_get(name))
            details = [partition_detail(partition, {}) for partition in partitions]
        assert all(detail.leader and len(detail.replicas) == 3 for detail in details)
        return len(queries)

    for name, partitions in (("small", 1), ("large", 5)):
        await site.create_topic(name, partitions=partitions)
    small, large = [await site.in_database(queries_for, name) for name in ("small", "large")]
    assert small == large == 2


async def test_without_an_answer_of_the_brokers_their_last_reports_stand(site):
    await site.create_topic(partitions=1)
    producer = await site.producer()
    await site.produce(producer, "x")
    for twin in site.twins.brokers:
        await twin.report()
        await twin.stop()
    await site.restart_manager()
    (part,) = (await site.get("/topics/logs"))["partitions"]
    assert part["high_watermark"] == 1
    assert part["leader"]["broker_id"] == 1
    assert not any(replica["live"] for replica in part["replicas"])
    assert sorted(replica["role"] for replica in part["replicas"]) == [
        "follower",
        "follower",
        "leader",
    ]


async def test_a_broker_that_is_stopped_holds_up_the_answer_for_a_moment_only(site):
    assert REPORT_TIMEOUT_S < 0.5
    assert orders.REPORT_TIMEOUT_S == 2.0, "the others answer on a busy machine, too"
    await site.create_topic(partitions=3)
    site.twins.brokers[1].offsets.silent.add("/partitions")
    started_s = time.monotonic()
    detail = await site.get("/topics/logs")
    assert 2.0 <= time.monotonic() - started_s < 8.0
    for part in detail["partitions"]:
        live = {replica["broker_id"]: replica["live"] for replica in part["replicas"]}
        assert live == {1: True, 2: False, 3: True}
        assert part["leader"] is not None


@pytest.mark.parametrize("name", ["nowhere", "a%20b", "%00", "x" * 300, "%F0%9F%99%82"])
async def test_an_unknown_topic_is_not_found(site, name):
    for method in ("GET", "DELETE"):
        answer = await site.ask(method, f"/topics/{name}", status=404)
        assert answer["code"] == "TOPIC_NOT_FOUND"
    answer = await site.ask("PATCH", f"/topics/{name}", {"retention_ms": 5}, status=404)
    assert answer["code"] == "TOPIC_NOT_FOUND"


async def test_a_topic_without_leaders_in_time_is_created_and_says_so(site, short_wait):
    site.twins.elects = False
    created = await site.post("/topics", {"topic": "logs", "number_of_partitions": 2}, status=201)
    assert created["leaders_pending"] == [0, 1]
    assert [part["leader"] for part in created["partitions"]] == [None, None]


async def test_a_broker_that_missed_the_order_gets_it_with_its_heartbeat(site, short_wait):
    down = site.twins.brokers[0]
    await down.stop()
    created = await site.post("/topics", {"topic": "logs", "number_of_partitions": 3}, status=201)
    assert 0 in created["leaders_pending"]
    await site.twins.reported()
    assert down.orders == []
    await down.start()
    orders = await down.report()
    assert [order.bootstrap for order in orders.assignment] == [True] * 3
    await site.twins.reported()
    assert (await site.get("/topics/logs"))["partitions"][0]["leader"]["broker_id"] == 1


async def test_what_was_reported_once_is_never_bootstrapped_again(site):
    await site.create_topic(partitions=1)
    twin = site.twins.brokers[0]
    orders = await twin.report()
    orders = await twin.report()
    assert [order.bootstrap for order in orders.assignment] == [False]
    group_id = twin.orders[0].group_id
    del twin.replicas[group_id]
    assert (await twin.report()).assignment == []


async def test_partitions_can_only_be_added(site):
    await site.create_topic(partitions=2)
    answer = await site.ask("PATCH", "/topics/logs", {"number_of_partitions": 1}, status=400)
    assert answer["field"] == "number_of_partitions"
    grown = await site.ask("PATCH", "/topics/logs", {"partitions": 5})
    assert grown["leaders_pending"] == []
    assert [part["partition"] for part in grown["partitions"]] == [0, 1, 2, 3, 4]
    assert all(part["leader"] for part in grown["partitions"])
    same = await site.ask("PATCH", "/topics/logs", {"number_of_partitions": 5})
    assert len(same["partitions"]) == 5
    await site.twins.reported()


async def test_new_partitions_are_used_at_once(site):
    await site.create_topic(partitions=1)
    producer, consumer = await site.producer(), await site.consumer()
    await site.ask("PATCH", "/topics/logs", {"number_of_partitions": 2})
    await site.produce(producer, "x", partition=1)
    found = await site.post("/consumer/consume", {"topic": "logs", "consumer_id": consumer})
    assert found["partition"] == 1
    await site.twins.reported()


async def test_retention_is_stored_and_null_takes_the_limit_away(site):
    await site.create_topic()
    changed = await site.ask("PATCH", "/topics/logs", {"retention_ms": 5, "retention_bytes": 7})
    assert changed["settings"]["retention_ms"] == 5
    changed = await site.ask("PATCH", "/topics/logs", {"retention_ms": None})
    assert changed["settings"]["retention_ms"] is None
    assert changed["settings"]["retention_bytes"] == 7
    answer = await site.ask("PATCH", "/topics/logs", {"retention_ms": -1}, status=400)
    assert answer["field"] == "retention_ms"


async def test_a_deleted_topic_is_gone_everywhere_and_its_clients_with_it(site):
    await site.create_topic("logs", partitions=2)
    await site.create_topic("other", partitions=1)
    producer = await site.producer()
    assert (await site.ask("DELETE", "/topics/logs"))["replicas_pending"] == 0
    assert (await site.get("/topics"))["topics"] == ["other"]
    assert all(len(twin.replicas) == 1 for twin in site.twins.brokers)
    call = {"topic": "logs", "producer_id": producer, "message": "x"}
    assert (await site.post("/producer/produce", call, status=404))["code"] == "TOPIC_NOT_FOUND"
    await site.create_topic("logs", partitions=2)
    assert (await site.post("/producer/produce", call, status=401))["code"] == "UNAUTHORIZED"
    groups = await site.in_database(
        lambda: list(Partition.objects.order_by("group_id").values_list("group_id", flat=True))
    )
    assert groups == [3, 4, 5]


async def test_a_deletion_spares_another_topic_that_has_the_same_group_id(site):
    await site.create_topic("kept", partitions=1)
    # As after a restored backup: brokers hold a group whose id the database gave to another topic.
    await site.in_database(lambda: change(Topic.objects.all(), name="other"))
    assert (await site.ask("DELETE", "/topics/other"))["replicas_pending"] == 3
    for twin in site.twins.brokers:
        orders = await twin.report()
        assert (orders.deleted_groups, orders.removed_replicas) == ([], [])
        assert list(twin.replicas) == [1]


async def test_a_broker_that_missed_a_deletion_hears_of_it_with_its_heartbeat(site):
    await site.create_topic(partitions=2)
    twin = site.twins.brokers[2]
    await twin.stop()
    assert (await site.ask("DELETE", "/topics/logs"))["replicas_pending"] == 2
    assert sorted(twin.replicas) == [1, 2]
    await twin.start()
    orders = await twin.report()
    assert sorted(deleted.group_id for deleted in orders.deleted_groups) == [1, 2]
    assert twin.replicas == {}
    assert await site.in_database(DeletedGroup.objects.count) == 2
