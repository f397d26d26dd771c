from __future__ import annotations

import pytest

from manager_app.brokers import orders
from manager_app.models import Consumer
from manager_app.selectors import ClientKey
from myqueue.contract.errors import NoLeader


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(orders, "CURSOR_TIMEOUT_MS", 100)


async def register(site, kind, status=200, **fields):
    return await site.post(f"/{kind}/register", fields, status=status)


async def test_a_producer_of_a_missing_topic_creates_it(site):
    answer = await register(site, "producer", topic="logs")
    assert answer["producer_id"] == 1
    assert answer["number_of_partitions"] == 3
    assert all(part["leader"] for part in answer["partitions"])
    assert (await site.get("/topics"))["topics"] == ["logs"]
    await site.twins.reported()


async def test_a_registration_says_so_and_ids_may_be_texts(site):
    await site.create_topic("logs")
    producer = await register(site, "producer", topic="logs")
    assert producer["message"] == "producer 1 is registered for topic 'logs'"
    consumer = await register(site, "consumer", topic="logs")
    assert consumer["message"].startswith("consumer 1 is registered for topic ")
    produce = {"topic": "logs", "message": "x", "partition": 0}
    await site.post("/producer/produce", {**produce, "producer_id": "1"})
    for wrong in (True, 1.0, "one"):
        await site.post("/producer/produce", {**produce, "producer_id": wrong}, status=400)
    consume = {"topic": "logs", "partition": 0}
    answer = await site.post("/consumer/consume", {**consume, "consumer_id": "1"})
    assert answer["message"] == "x"
    again = {"topic": "logs", "consumer_id": "1", "token": consumer["token"]}
    assert (await register(site, "consumer", **again))["consumer_id"] == 1


async def test_a_consumer_of_a_missing_topic_is_told_so(site):
    answer = await register(site, "consumer", status=404, topic="logs")
    assert answer["code"] == "TOPIC_NOT_FOUND"


async def test_producers_and_consumers_are_numbered_separately_and_never_again(site):
    await site.create_topic()
    producers = [await register(site, "producer", topic="logs") for _ in range(3)]
    consumers = [await register(site, "consumer", topic="logs") for _ in range(2)]
    assert [answer["producer_id"] for answer in producers] == [1, 2, 3]
    assert [answer["consumer_id"] for answer in consumers] == [1, 2]
    call = {"token": producers[2]["token"]}
    await site.ask("DELETE", "/producers/3", call)
    assert (await register(site, "producer", topic="logs"))["producer_id"] == 4


@pytest.mark.parametrize("kind", ["producer", "consumer"])
async def test_a_client_that_re_attaches_keeps_its_id(site, kind):
    await site.create_topic()
    first = await register(site, kind, topic="logs")
    name = f"{kind}_id"
    fields = {"topic": "logs", name: first[name], "token": first["token"]}
    assert (await register(site, kind, **fields))[name] == first[name]
    site.clock.seconds += 61
    call = {"topic": "logs", name: first[name], "message": "x"}
    path = "/producer/produce" if kind == "producer" else "/consumer/consume"
    call = call if kind == "producer" else {k: v for k, v in call.items() if k != "message"}
    await register(site, kind, **fields)
    await site.post(path, {**call, **({} if kind == "producer" else {"max_messages": 1})})


@pytest.mark.parametrize("kind", ["producer", "consumer"])
async def test_re_attaching_needs_the_right_token(site, kind):
    await site.create_topic("logs")
    await site.create_topic("other")
    name = f"{kind}_id"
    mine = await register(site, kind, topic="logs")
    others = await register(site, kind, topic="logs")
    for fields in (
        {"topic": "logs", name: mine[name]},
        {"topic": "logs", name: mine[name], "token": others["token"]},
        {"topic": "logs", name: mine[name], "token": "nonsense"},
        {"topic": "other", name: mine[name], "token": mine["token"]},
        {"topic": "logs", name: 2**63 - 1, "token": mine["token"]},
    ):
        answer = await register(site, kind, status=401, **fields)
        assert answer["code"] == "UNAUTHORIZED"
    answer = await register(site, kind, status=400, topic="logs", token=mine["token"])
    assert answer["field"] == name


async def test_a_consumer_that_starts_at_the_latest_sees_only_what_comes_after_its_answer(site):
    await site.create_topic(partitions=3)
    producer = await site.producer()
    for partition in range(3):
        await site.produce(producer, "before", partition=partition)
    late = await site.consumer(start="latest")
    early = await site.consumer(start="earliest")
    await site.produce(producer, "after", partition=1)
    call = {"topic": "logs", "max_messages": 10}
    found = await site.post("/consumer/consume", {**call, "consumer_id": late})
    assert [message["message"] for message in found["messages"]] == ["after"]
    assert (await site.get(f"/size?topic=logs&consumer_id={early}"))["size"] == 4


async def test_when_a_cursor_cannot_be_opened_no_consumer_is_left_behind(site, impatient):
    await site.create_topic(partitions=2)
    for twin in site.twins.brokers:
        twin.refuses["/cursors/open"] = NoLeader("electing")
    answer = await register(site, "consumer", status=503, topic="logs", start="latest")
    assert answer["code"] == "NO_LEADER"
    assert (await site.get("/consumers"))["consumers"] == []
    assert await site.in_database(Consumer.objects.filter(state="alive").count) == 0


async def test_an_unknown_start_is_refused(site):
    await site.create_topic()
    answer = await register(site, "consumer", status=400, topic="logs", start="middle")
    assert answer["field"] == "start"


@pytest.mark.parametrize("kind", ["producer", "consumer"])
async def test_a_forgotten_client_is_unknown_and_brokers_are_told(site, kind):
    await site.create_topic(partitions=2)
    name = f"{kind}_id"
    mine = await register(site, kind, topic="logs")
    others = await register(site, kind, topic="logs")
    path = f"/{kind}s/{mine[name]}"
    for call in ({}, {"token": "nonsense"}, {"token": others["token"]}):
        assert (await site.ask("DELETE", path, call, status=401))["code"] == "UNAUTHORIZED"
    answer = await site.ask("DELETE", path, {"token": mine["token"]})
    assert answer["partitions_pending"] == []
    forgotten = [call for twin in site.twins.brokers for call in twin.called("/clients/forget")]
    assert sorted(call["partition"] for call in forgotten) == [0, 1]
    assert all(call[name] == mine[name] for call in forgotten)
    answer = await site.ask("DELETE", path, {"token": mine["token"]}, status=404)
    assert answer["code"] == "CLIENT_NOT_FOUND"
    orders = await site.twins.brokers[0].report()
    assert getattr(orders, f"revoked_{kind}s") == [mine[name]]
    fields = {"topic": "logs", name: mine[name], "token": mine["token"]}
    assert (await register(site, kind, status=401, **fields))["code"] == "UNAUTHORIZED"


async def test_a_client_may_show_its_token_as_bearer(site):
    await site.create_topic(partitions=1)
    mine = await register(site, "producer", topic="logs")
    answer = await site.send(
        "DELETE", "/producers/1", headers={"authorization": f"Bearer {mine['token']}"}
    )
    assert answer.status == 200


async def test_partitions_that_still_know_a_forgotten_client_are_named(site, impatient):
    await site.create_topic(partitions=1)
    mine = await register(site, "consumer", topic="logs")
    leader = site.twins.by_id(site.twins.group("logs", 0).leader)
    leader.breaks["/clients/forget"] = "before"
    leader.refuses["/clients/forget"] = NoLeader("electing")
    answer = await site.ask("DELETE", "/consumers/1", {"token": mine["token"]})
    assert answer["partitions_pending"] == [0]


async def test_forgetting_may_be_repeated_until_no_partition_knows_the_client(site, impatient):
    await site.create_topic(partitions=2)
    mine = await register(site, "consumer", topic="logs", start="latest")
    group = site.twins.group("logs", 1)
    leader, group.leader = group.leader, 0
    call = {"token": mine["token"]}
    for _ in range(2):
        answer = await site.ask("DELETE", "/consumers/1", call)
        assert answer["partitions_pending"] == [1]
    fields = {"topic": "logs", "consumer_id": 1, **call}
    assert (await register(site, "consumer", status=401, **fields))["code"] == "UNAUTHORIZED"
    group.leader = leader
    answer = await site.ask("DELETE", "/consumers/1", call)
    assert answer["partitions_pending"] == []
    assert [site.twins.group("logs", partition).cursors for partition in (0, 1)] == [{}, {}]
    answer = await site.ask("DELETE", "/consumers/1", call, status=404)
    assert answer["code"] == "CLIENT_NOT_FOUND"


async def test_clients_are_listed_with_topic_state_and_last_heartbeat(site):
    await site.create_topic("logs")
    await site.create_topic("other")
    await register(site, "producer", topic="logs")
    await register(site, "producer", topic="other")
    site.clock.seconds += 10
    await site.get("/health?type=1&key=2")
    found = (await site.get("/producers"))["producers"]
    assert [(row["producer_id"], row["topic"], row["state"]) for row in found] == [
        (1, "logs", "alive"),
        (2, "other", "alive"),
    ]
    found = (await site.get("/producers?topic=other"))["producers"]
    assert [row["producer_id"] for row in found] == [2]
    assert (await site.get("/producers?topic=x", status=404))["code"] == "TOPIC_NOT_FOUND"
    site.clock.seconds += 55
    found = (await site.get("/producers"))["producers"]
    assert [row["state"] for row in found] == ["expired", "alive"]
    assert (await site.get("/consumers"))["consumers"] == []


@pytest.mark.parametrize("kind", ["producer", "consumer"])
async def test_whoever_is_listed_is_listed_with_where_it_speaks_from(site, kind):
    await site.create_topic(partitions=1)
    mine = await register(site, kind, topic="logs")
    [listed] = (await site.get(f"/{kind}s"))[f"{kind}s"]
    assert listed["address"] == "127.0.0.1"
    site.runtime.clients.forget(ClientKey(kind, mine[f"{kind}_id"]))
    [listed] = (await site.get(f"/{kind}s"))[f"{kind}s"]
    assert listed["address"] is None
    sign = {"type": 1 if kind == "producer" else 0, "key": mine[f"{kind}_id"]}
    await site.ask("POST", "/health", sign)
    [listed] = (await site.get(f"/{kind}s"))[f"{kind}s"]
    assert listed["address"] == "127.0.0.1"


async def test_members_of_groups_are_listed_with_where_they_speak_from(site):
    await site.create_topic(partitions=1)
    joined = await site.ask("POST", "/groups/g/join", {"topics": ["logs"]})
    [member] = (await site.get("/groups/g"))["members"]
    assert (member["member_id"], member["address"]) == (joined["member_id"], "127.0.0.1")
