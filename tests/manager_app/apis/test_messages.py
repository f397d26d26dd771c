from __future__ import annotations

import asyncio
import base64
import sys
from collections import Counter

import msgspec
import pytest

from manager_app import periodic
from manager_app.models import Consumer
from myqueue.contract.partitioner import partition_for_key
from tests.eventually import eventually
from tests.manager_app.broker_twin import counts


async def test_messages_without_a_partition_are_spread_evenly(any_site):
    await any_site.create_topic(partitions=4)
    producer = await any_site.producer()
    for number in range(100):
        await any_site.produce(producer, f"message {number}")
    assert counts(any_site) == [25] * 4


async def test_messages_sent_at_once_are_spread_evenly_too(site):
    await site.create_topic(partitions=4)
    producer = await site.producer()
    calls = [site.produce(producer, str(number), timeout_ms=30_000) for number in range(100)]
    await asyncio.gather(*calls)
    assert counts(site) == [25] * 4


async def test_an_explicit_partition_gets_all(site):
    await site.create_topic(partitions=4)
    producer = await site.producer()
    for number in range(10):
        answer = await site.produce(producer, "x", partition=2)
        assert (answer["partition"], answer["offset"]) == (2, number)
    assert counts(site) == [0, 0, 10, 0]


@pytest.mark.parametrize("partition", [4, -1, 10**9, 2**62])
async def test_a_partition_that_does_not_exist_is_named(site, partition):
    await site.create_topic(partitions=4)
    producer, consumer = await site.producer(), await site.consumer()
    call = {"topic": "logs", "partition": partition}
    answer = await site.post(
        "/producer/produce", {**call, "producer_id": producer, "message": "x"}, status=404
    )
    assert answer["code"] == "PARTITION_NOT_FOUND"
    assert str(partition) in answer["message"]
    answer = await site.post("/consumer/consume", {**call, "consumer_id": consumer}, status=404)
    assert answer["code"] == "PARTITION_NOT_FOUND"
    answer = await site.get(
        f"/size?topic=logs&consumer_id={consumer}&partition={partition}", status=404
    )
    assert answer["code"] == "PARTITION_NOT_FOUND"


@pytest.mark.parametrize(
    ("key", "index"),
    [(0, 0), (5, 1), (-1, 3), ("user-17", partition_for_key("user-17", 4)), ("", 0)],
)
async def test_a_partition_key_is_an_integer_modulo_or_a_hashed_text(site, key, index):
    await site.create_topic(partitions=4)
    producer = await site.producer()
    assert (await site.produce(producer, "x", partition_key=key))["partition"] == index


async def test_a_consumer_finds_messages_by_the_same_key(site):
    await site.create_topic(partitions=4)
    producer, consumer = await site.producer(), await site.consumer()
    await site.produce(producer, "mine", partition_key="user-17")
    await site.produce(producer, "other", partition_key="user-18")
    call = f"/consumer/consume?topic=logs&consumer_id={consumer}&partition_key=user-17"
    assert (await site.get(call))["message"] == "mine"
    assert (await site.get(call, status=404))["code"] == "QUEUE_EMPTY"


async def test_messages_of_one_key_keep_to_one_partition(site):
    await site.create_topic(partitions=4)
    producer = await site.producer()
    used = {(await site.produce(producer, "x", key="user-17"))["partition"] for _ in range(5)}
    assert used == {partition_for_key("user-17", 4)}


async def test_partition_and_key_at_once_are_refused(site):
    await site.create_topic(partitions=4)
    producer = await site.producer()
    call = {"topic": "logs", "producer_id": producer, "message": "x"}
    answer = await site.post(
        "/producer/produce", {**call, "partition": 1, "partition_key": 1}, status=400
    )
    assert answer["code"] == "INVALID_REQUEST"
    assert answer["field"] == "partition_key"


@pytest.mark.parametrize("topic", ["topic", "topic_name", "name"])
@pytest.mark.parametrize("partition", ["partition", "partition_id", "partition_index", "part"])
@pytest.mark.parametrize("message", ["message", "log_message"])
async def test_every_alias_is_understood(site, topic, partition, message):
    await site.create_topic(partitions=2)
    producer, consumer = await site.producer(), await site.consumer()
    call = {topic: "logs", "producer_id": producer, message: "hello", partition: 1}
    await site.post("/producer/produce", call)
    found = await site.get(f"/consumer/consume?{topic}=logs&consumer_id={consumer}&{partition}=1")
    assert found["message"] == "hello"
    answer = await site.post("/producer/produce", {**call, "part": 0, "partition": 1}, status=400)
    assert answer["code"] == "INVALID_REQUEST"


async def test_a_list_of_messages_is_one_contiguous_batch(site):
    await site.create_topic(partitions=4)
    producer = await site.producer()
    answer = await site.post(
        "/producer/produce",
        {
            "topic": "logs",
            "producer_id": producer,
            "messages": ["a", {"message": "b", "key": "k", "headers": {"h": "v"}}, "c"],
        },
    )
    assert answer["offsets"] == [0, 1, 2]
    assert answer["offset"] == 0
    assert sorted(counts(site)) == [0, 0, 0, 3]


async def test_a_repeated_request_id_is_one_message_also_after_the_topic_grew(site):
    await site.create_topic(partitions=3)
    producer = await site.producer()
    first = await site.produce(producer, "x", request_id="order-1")
    await site.ask("PATCH", "/topics/logs", {"number_of_partitions": 8})
    await site.twins.reported()
    assert await site.produce(producer, "x", request_id="order-1") == first
    assert sum(counts(site)) == 1


async def test_both_ways_to_consume_give_every_message_once_to_each_consumer(any_site):
    site = any_site
    await site.create_topic(partitions=4)
    producer = await site.producer()
    sent = {f"message {number}" for number in range(40)}
    for text in sent:
        await site.produce(producer, text)
    for method in ("GET", "POST"):
        consumer = await site.consumer()
        call = {"topic": "logs", "consumer_id": consumer}
        found = [(await site.ask(method, "/consumer/consume", call))["message"] for _ in sent]
        assert sorted(found) == sorted(sent)
        answer = await site.ask(method, "/consumer/consume", call, status=404)
        assert answer["code"] == "QUEUE_EMPTY"
        assert answer["message"].startswith("QEmpty")


async def test_consuming_without_a_partition_takes_the_partitions_in_turn(site):
    await site.create_topic(partitions=4)
    producer, consumer = await site.producer(), await site.consumer()
    for number in range(12):
        await site.produce(producer, str(number), partition=number % 4)
    call = {"topic": "logs", "consumer_id": consumer}
    used = [(await site.post("/consumer/consume", call))["partition"] for _ in range(12)]
    assert used == (used[:4] * 3)
    assert sorted(used[:4]) == [0, 1, 2, 3]


@pytest.mark.parametrize("partition", range(5))
async def test_consuming_is_never_empty_while_any_partition_has_something(site, partition):
    await site.create_topic(partitions=5)
    producer, consumer = await site.producer(), await site.consumer()
    for number in range(3):
        await site.produce(producer, str(number), partition=partition)
    call = {"topic": "logs", "consumer_id": consumer}
    found = [(await site.post("/consumer/consume", call))["message"] for _ in range(3)]
    assert found == ["0", "1", "2"]
    await site.post("/consumer/consume", call, status=404)


async def test_consuming_is_not_called_empty_while_a_partition_cannot_be_asked(site):
    await site.create_topic(partitions=2)
    producer, consumer = await site.producer(), await site.consumer()
    group = site.twins.group("logs", 1)
    group.leader = 0
    call = {"topic": "logs", "consumer_id": consumer, "timeout_ms": 100}
    answer = await site.post("/consumer/consume", call, status=503)
    assert answer["code"] == "NO_LEADER"
    await site.produce(producer, "there", partition=0)
    assert (await site.post("/consumer/consume", call))["message"] == "there"


async def test_max_messages_gives_a_list_and_an_empty_one_is_a_success(site):
    await site.create_topic(partitions=2)
    producer, consumer = await site.producer(), await site.consumer()
    for number in range(3):
        await site.produce(producer, str(number), partition=1)
    call = {"topic": "logs", "consumer_id": consumer, "max_messages": 10}
    found = await site.post("/consumer/consume", call)
    assert [message["message"] for message in found["messages"]] == ["0", "1", "2"]
    assert (await site.post("/consumer/consume", call))["messages"] == []


async def test_a_long_poll_without_a_partition_waits_for_all_without_asking_in_circles(site):
    await site.create_topic(partitions=4)
    producer, consumer = await site.producer(), await site.consumer()
    call = {"topic": "logs", "consumer_id": consumer, "wait_ms": 20_000}
    waiting = asyncio.ensure_future(site.post("/consumer/consume", call))
    while sum(len(twin.called("/size")) for twin in site.twins.brokers) < 4:
        await asyncio.sleep(0)
    await site.produce(producer, "at last", partition=3)
    async with asyncio.timeout(5):
        assert (await waiting)["message"] == "at last"
    assert sum(len(twin.called("/size")) for twin in site.twins.brokers) == 4
    assert sum(len(twin.called("/consumer/consume")) for twin in site.twins.brokers) == 2


async def test_a_long_poll_of_one_partition_waits_at_its_leader(site):
    await site.create_topic(partitions=2)
    producer, consumer = await site.producer(), await site.consumer()
    call = {"topic": "logs", "consumer_id": consumer, "partition": 1, "wait_ms": 20_000}
    waiting = asyncio.ensure_future(site.post("/consumer/consume", call))
    await eventually(
        lambda: any(twin.called("/consumer/consume") for twin in site.twins.brokers),
        "a leader is asked",
    )
    await site.produce(producer, "at last", partition=1)
    async with asyncio.timeout(5):
        assert (await waiting)["message"] == "at last"


async def test_a_long_poll_ends_empty_after_its_time(site):
    await site.create_topic(partitions=2)
    consumer = await site.consumer()
    call = {"topic": "logs", "consumer_id": consumer, "wait_ms": 50}
    assert (await site.post("/consumer/consume", call, status=404))["code"] == "QUEUE_EMPTY"
    found = await site.post("/consumer/consume", {**call, "max_messages": 5})
    assert found["messages"] == []


async def test_size_counts_what_is_left_in_all_and_in_each_partition(site):
    await site.create_topic(partitions=3)
    producer, consumer = await site.producer(), await site.consumer()
    for partition in (0, 2, 2):
        await site.produce(producer, "x", partition=partition)
    call = f"/size?topic=logs&consumer_id={consumer}"
    found = await site.get(call)
    assert (found["size"], found["sizes"]) == (3, {"0": 1, "1": 0, "2": 2})
    await site.post("/consumer/consume", {"topic": "logs", "consumer_id": consumer})
    assert (await site.get(call))["size"] == 2
    found = await site.get(f"{call}&partition=1")
    assert (found["size"], found["sizes"]) == (0, {"1": 0})


async def test_size_can_wait_until_something_is_there(site):
    await site.create_topic(partitions=2)
    producer, consumer = await site.producer(), await site.consumer()
    call = f"/size?topic=logs&consumer_id={consumer}&wait_ms=20000"
    waiting = asyncio.ensure_future(site.get(call))
    while sum(len(twin.called("/size")) for twin in site.twins.brokers) < 2:
        await asyncio.sleep(0)
    await site.produce(producer, "x", partition=1)
    async with asyncio.timeout(5):
        assert (await waiting)["size"] == 1


@pytest.mark.parametrize("text", ["", "\0", "'\"\\", "🙂", "ä\n\t", " " * 1000, "null"])
async def test_texts_come_back_exactly_as_sent(site, text):
    await site.create_topic(partitions=1)
    producer, consumer = await site.producer(), await site.consumer()
    await site.produce(producer, text, key=text, headers={"h": text})
    found = await site.post("/consumer/consume", {"topic": "logs", "consumer_id": consumer})
    assert (found["message"], found["key"], found["headers"]) == (text, text, {"h": text})


async def test_bytes_come_back_as_bytes_in_messagepack_and_as_base64_in_json(site):
    await site.create_topic(partitions=1)
    producer = await site.producer()
    packed = {"content-type": "application/msgpack", "accept": "application/msgpack"}
    call = {"topic": "logs", "producer_id": producer, "message": b"\xff\x00\xfe"}
    answer = await site.send(
        "POST", "/producer/produce", body=msgspec.msgpack.encode(call), headers=packed
    )
    assert answer.status == 200, answer
    consumer = await site.consumer()
    call = {"topic": "logs", "consumer_id": consumer}
    answer = await site.send(
        "POST", "/consumer/consume", body=msgspec.msgpack.encode(call), headers=packed
    )
    assert msgspec.msgpack.decode(answer.body)["message"] == b"\xff\x00\xfe"
    found = await site.post(
        "/consumer/consume", {"topic": "logs", "consumer_id": await site.consumer()}
    )
    assert found["message"] is None
    assert base64.b64decode(found["message_base64"]) == b"\xff\x00\xfe"


@pytest.mark.parametrize("number", [0, -1, 999, 2**63 - 1])
async def test_an_unknown_id_is_unauthorized(any_site, number):
    await any_site.create_topic()
    for path, call in (
        ("/producer/produce", {"producer_id": number, "message": "x"}),
        ("/consumer/consume", {"consumer_id": number}),
    ):
        answer = await any_site.post(path, {"topic": "logs", **call}, status=401)
        assert answer["code"] == "UNAUTHORIZED"
    answer = await any_site.get(f"/size?topic=logs&consumer_id={number}", status=401)
    assert answer["code"] == "UNAUTHORIZED"


async def test_a_client_of_another_topic_is_unauthorized(site):
    await site.create_topic("logs")
    await site.create_topic("other")
    producer, consumer = await site.producer("other"), await site.consumer("other")
    call = {"topic": "logs", "producer_id": producer, "message": "x"}
    assert (await site.post("/producer/produce", call, status=401))["code"] == "UNAUTHORIZED"
    call = {"topic": "logs", "consumer_id": consumer}
    assert (await site.post("/consumer/consume", call, status=401))["code"] == "UNAUTHORIZED"


async def test_a_wrong_token_is_unauthorized_though_the_id_is_right(site):
    await site.create_topic()
    registered = await site.post("/producer/register", {"topic": "logs"})
    other = await site.post("/producer/register", {"topic": "logs"})
    call = {"topic": "logs", "producer_id": registered["producer_id"], "message": "x"}
    await site.post("/producer/produce", {**call, "token": registered["token"]})
    for token in (other["token"], "nonsense", ""):
        answer = await site.post("/producer/produce", {**call, "token": token}, status=401)
        assert answer["code"] == "UNAUTHORIZED"


async def test_an_unknown_topic_is_not_found(site):
    call = {"topic": "nowhere", "producer_id": 1, "message": "x"}
    assert (await site.post("/producer/produce", call, status=404))["code"] == "TOPIC_NOT_FOUND"


async def test_an_hour_may_lie_between_two_calls(any_site):
    site = any_site
    await site.create_topic()
    producer, consumer = await site.producer(), await site.consumer()

    async def hour():
        site.clock.seconds += 3_600
        await site.in_database(periodic.check_clients, site.runtime)
        rows = (await site.get("/producers"))["producers"] + (await site.get("/consumers"))[
            "consumers"
        ]
        return [row["state"] for row in rows]

    assert await hour() == ["expired", "expired"]
    await site.produce(producer, "x")
    assert (await site.get("/producers"))["producers"][0]["state"] == "alive"
    assert await hour() == ["expired", "expired"]
    assert (await site.get(f"/size?topic=logs&consumer_id={consumer}"))["size"] == 1
    assert (await site.get("/consumers"))["consumers"][0]["state"] == "expired", "others may count"
    found = await site.get(f"/consumer/consume?topic=logs&consumer_id={consumer}")
    assert found["message"] == "x"
    await site.in_database(periodic.check_clients, site.runtime)
    stored = await site.in_database(lambda: Consumer.objects.get().state)
    assert stored == "alive"


async def test_what_retention_took_away_is_told_with_the_next_message(any_site):
    await any_site.create_topic(partitions=1)
    producer, consumer = await any_site.producer(), await any_site.consumer()
    await any_site.produce(producer, "x")
    await any_site.produce(producer, "y")
    any_site.twins.group("logs", 0).missed = 17
    call = {"topic": "logs", "consumer_id": consumer}
    assert (await any_site.post("/consumer/consume", call))["missed"] == 17
    any_site.twins.group("logs", 0).missed = 0
    found = await any_site.post("/consumer/consume", {**call, "partition": 0, "max_messages": 5})
    assert (len(found["messages"]), found["missed"]) == (1, 0)
    found = await any_site.post("/consumer/consume", {**call, "max_messages": 5})
    assert (found["messages"], found["missed"]) == ([], 0)


async def test_what_a_partition_stepped_over_is_told_whatever_partition_answers(any_site):
    await any_site.create_topic(partitions=2)
    producer, consumer = await any_site.producer(), await any_site.consumer()
    for partition in (0, 1):
        any_site.twins.group("logs", partition).corrupt = 2
        any_site.twins.group("logs", partition).missed = 7
    call = {"topic": "logs", "consumer_id": consumer}
    empty = await any_site.post("/consumer/consume", call, status=404)
    assert (empty["code"], empty["missed"], empty["corrupt"]) == ("QUEUE_EMPTY", 7, 2)
    await any_site.produce(producer, "x", partition=1)
    found = await any_site.post("/consumer/consume", {**call, "max_messages": 5})
    assert [one["message"] for one in found["messages"]] == ["x"]
    assert (found["missed"], found["corrupt"]) in ((7, 2), (14, 4))
    found = await any_site.post("/consumer/consume", {**call, "partition": 0, "max_messages": 5})
    assert (found["messages"], found["corrupt"]) == ([], 2)


async def test_a_cursor_is_moved_at_the_leader_if_it_is_where_it_is_expected(any_site):
    await any_site.create_topic(partitions=2)
    producer, consumer = await any_site.producer(), await any_site.consumer()
    for number in range(3):
        await any_site.produce(producer, str(number), partition=1)
    call = {"topic": "logs", "consumer_id": consumer, "partition": 1}
    await any_site.post("/consumer/consume", {**call, "max_messages": 3})
    moved = await any_site.post("/cursors/reset", {**call, "offset": 1, "expected": 3})
    assert moved == {"status": "success", "topic": "logs", "partition": 1, "offset": 1}
    assert (await any_site.post("/consumer/consume", call))["message"] == "1"
    answer = await any_site.post("/cursors/reset", {**call, "offset": 0, "expected": 3}, status=409)
    assert answer["code"] == "CURSOR_MOVED"
    moved = await any_site.post("/cursors/reset", {**call, "timestamp": 0})
    assert moved["offset"] == 0


async def test_a_cursor_of_nobody_or_nowhere_is_not_moved(site):
    await site.create_topic(partitions=1)
    consumer = await site.consumer()
    call = {"topic": "logs", "consumer_id": consumer, "partition": 0, "offset": 0}
    for changed, status, code in (
        ({"topic": "nowhere"}, 404, "TOPIC_NOT_FOUND"),
        ({"partition": 1}, 404, "PARTITION_NOT_FOUND"),
        ({"consumer_id": 99}, 401, "UNAUTHORIZED"),
        ({"token": "another's"}, 401, "UNAUTHORIZED"),
        ({"timeout_ms": 0}, 400, "INVALID_REQUEST"),
    ):
        answer = await site.post("/cursors/reset", {**call, **changed}, status=status)
        assert answer["code"] == code


async def test_a_reset_whose_outcome_is_unknown_is_not_sent_twice(site):
    await site.create_topic(partitions=1)
    consumer = await site.consumer()
    leader = site.twins.by_id(site.twins.group("logs", 0).leader)
    leader.breaks["/cursors/reset"] = "after"
    call = {"topic": "logs", "consumer_id": consumer, "partition": 0, "offset": 0}
    answer = await site.post("/cursors/reset", call, status=503)
    assert (answer["code"], answer["outcome"]) == ("COMMIT_TIMEOUT", "unknown")
    assert len(leader.called("/cursors/reset")) == 1


async def packages_of(work):
    """Return how many Python functions of each package are called while it is awaited."""
    called = Counter()

    def note(frame, event, _):
        if event == "call":
            called[frame.f_globals.get("__name__", "").partition(".")[0]] += 1

    sys.setprofile(note)
    try:
        await work
    finally:
        sys.setprofile(None)
    return called


async def test_a_message_passes_a_manager_beside_django(site):
    await site.create_topic(partitions=1)
    producer, consumer = await site.producer(), await site.consumer()
    call = {"topic": "logs", "consumer_id": consumer}
    for _ in range(2):  # the first time some things are looked up
        produced = await packages_of(site.produce(producer, "x"))
        popped = await packages_of(site.post("/consumer/consume", call))
    for called in (produced, popped):
        assert called["manager_app"]
        assert not called["rest_framework"]
        assert called["django"] <= 4, "the settings alone"
