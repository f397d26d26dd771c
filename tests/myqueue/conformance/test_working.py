from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from myqueue import (
    Client,
    ClientClosed,
    ClientConfig,
    Delivery,
    InvalidRequest,
    Settlement,
    TopicDoesNotExist,
    UnauthorizedException,
    UnsettledDeliveries,
)
from myqueue.contract.records import Record
from tests.myqueue.conformance.styles import Style, later

MakeTopic = Callable[..., str]
WAIT_S = 20.0
"""Longer than anything here takes, on a busy machine too."""


async def fill(style: Style, topic: str, *counts: int) -> None:
    async with await style.producer(topic) as producer:
        for partition, count in enumerate(counts):
            if count:
                values = [f"{partition}:{number}" for number in range(count)]
                await producer.produce_many(topic, values, partition=partition)


def is_ready(client: Client, topic: str) -> bool:
    """Tell whether a topic that somebody makes can be used by now."""
    try:
        return all(row["leader"] for row in client.describe_topic(topic)["partitions"])
    except TopicDoesNotExist:
        return False


async def dead_letters(client: Client, style: Style, topic: str, count: int) -> list[Any]:
    """Return what is in a topic's dead-letter topic once there is enough."""
    end_s = time.monotonic() + WAIT_S
    while not is_ready(client, topic):
        assert time.monotonic() < end_s, "no dead-letter topic was made"
        await asyncio.sleep(0.05)
    async with await style.consumer(topic) as consumer:
        found: list[Any] = []
        while len(found) < count and time.monotonic() < end_s:
            found += await consumer.poll(timeout=1)
        return found + await consumer.poll()


async def test_an_acknowledged_message_never_comes_again(
    style: Style, make_topic: MakeTopic
) -> None:
    topic = make_topic(2)
    await fill(style, topic, 2, 1)
    async with await style.worker(topic, visibility_ms=600) as worker:
        first = await worker.receive(10, timeout=WAIT_S)
        second = await worker.receive(10, timeout=WAIT_S)
        found = first + second
        assert sorted(one.text for one in found) == ["0:0", "0:1", "1:0"]
        assert {one.delivery_count for one in found} == {1}
        assert await worker.receive(timeout=0) == []
        assert await worker.ack(*found) == [Settlement(one, True) for one in found]
        again = await worker.ack(*found)
        assert [(one.done, one.reason) for one in again] == [(True, "settled")] * 3
        assert await worker.receive(timeout=1.2) == []


async def test_a_message_has_everything_that_was_sent(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    async with await style.producer(topic) as producer:
        await producer.produce_many(topic, [Record(b"\xff\x00", "key", {"trace": "7"}, 5)])
    async with await style.worker(topic) as worker:
        (found,) = await worker.receive(timeout=None)
        assert isinstance(found, Delivery)
        assert (found.topic, found.partition, found.offset) == (topic, 0, 0)
        assert (found.value, found.key, found.headers) == (b"\xff\x00", "key", {"trace": "7"})
        assert found.timestamp == 5
        await worker.ack(found)


async def test_workers_share_a_partition_and_groups_do_not(
    style: Style, make_topic: MakeTopic
) -> None:
    topic = make_topic()
    await fill(style, topic, 3)
    async with (
        await style.worker(topic) as one,
        await style.worker(topic) as two,
        await style.worker(topic, "others") as other,
    ):
        first, second = await one.receive(2, None), await two.receive(2, None)
        assert [a.text for a in first + second] == ["0:0", "0:1", "0:2"]
        assert [a.text for a in await other.receive(timeout=None)] == ["0:0", "0:1", "0:2"]
        # Any worker of the group may say that it is done.
        assert [result.done for result in await two.ack(*first, *second)] == [True] * 3
        refused = await one.ack(*await other.receive(timeout=0), first[0])
        assert [result.reason for result in refused] == ["settled"]


async def test_what_is_not_acknowledged_comes_again_to_anyone(
    style: Style, make_topic: MakeTopic
) -> None:
    topic = make_topic()
    await fill(style, topic, 2)
    async with await style.worker(topic, visibility_ms=300) as crashed:
        lost = await crashed.receive(2, None)
    async with await style.worker(topic, visibility_ms=30_000) as worker:
        found = await worker.receive(2, timeout=WAIT_S)
        assert [(one.text, one.delivery_count) for one in found] == [("0:0", 2), ("0:1", 2)]
        late = await worker.ack(*lost)
        assert [(one.done, one.reason) for one in late] == [(False, "superseded")] * 2
        assert [one.done for one in await worker.ack(*found)] == [True, True]


async def test_a_late_ack_counts_while_nobody_else_has_the_message(
    style: Style, make_topic: MakeTopic
) -> None:
    topic = make_topic()
    await fill(style, topic, 1)
    async with await style.worker(topic, visibility_ms=100) as worker:
        found = await worker.receive(timeout=None)
        await asyncio.sleep(0.3)
        assert [one.done for one in await worker.ack(*found)] == [True]
        assert await worker.receive(timeout=0.3) == []


async def test_what_was_given_back_comes_after_its_delay(
    style: Style, make_topic: MakeTopic
) -> None:
    topic = make_topic()
    await fill(style, topic, 2)
    async with await style.worker(topic) as worker:
        at_once, later_on = await worker.receive(timeout=None)
        assert [one.done for one in await worker.nack(at_once)] == [True]
        began_s = time.monotonic()
        assert [one.done for one in await worker.nack(later_on, delay=0.7)] == [True]
        (again,) = await worker.receive(1, None)
        assert (again.text, again.delivery_count) == ("0:0", 2)
        (again,) = await worker.receive(timeout=WAIT_S)
        assert (again.text, again.delivery_count) == ("0:1", 2)
        assert 0.6 <= time.monotonic() - began_s < 6


async def test_extend_keeps_a_message_out_of_others_hands(
    style: Style, make_topic: MakeTopic
) -> None:
    topic = make_topic()
    await fill(style, topic, 1)
    async with await style.worker(topic, visibility_ms=400) as worker:
        (found,) = await worker.receive(timeout=None)
        assert [one.done for one in await worker.extend(found, visibility=30)] == [True]
        assert await worker.receive(timeout=0.8) == []
        assert [one.done for one in await worker.extend(found)] == [True]
        (again,) = await worker.receive(timeout=WAIT_S)
        assert again.delivery_count == 2


async def test_a_receive_waits_at_all_partitions_for_new_messages(
    style: Style, make_topic: MakeTopic
) -> None:
    topic, other = make_topic(3), make_topic()
    async with await style.worker([topic, other]) as worker:
        assert await worker.receive(timeout=0.2) == []
        for where, counts in ((topic, (0, 0, 1)), (other, (1,))):
            began_s = time.monotonic()
            done = later(0.3, lambda where=where, counts=counts: fill(style, where, *counts))
            (found,) = await worker.receive(timeout=WAIT_S)
            await done()
            assert found.topic == where
            await worker.ack(found)
            assert time.monotonic() - began_s < 6


async def test_partitions_take_turns(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic(3)
    await fill(style, topic, 9, 9, 1)
    async with await style.worker(topic) as worker:
        found = [(await worker.receive(2, None))[0].partition for _ in range(6)]
        assert sorted(found[:3]) == [0, 1, 2]
        assert found[3:].count(0) in (1, 2)


async def test_iteration_gives_one_at_a_time_and_ends_with_the_worker(
    style: Style, make_topic: MakeTopic
) -> None:
    topic = make_topic()
    await fill(style, topic, 3)
    worker = await style.worker(topic)
    seen = []
    async for delivery in worker:
        seen.append(delivery.text)
        await worker.ack(delivery)
        if len(seen) == 3:
            await worker.close()
    assert seen == ["0:0", "0:1", "0:2"]
    with pytest.raises(ClientClosed):
        await worker.receive(timeout=0)
    await worker.close()
    # Nothing was taken that was not handed out.
    async with await style.worker(topic) as other:
        assert await other.receive(timeout=0) == []


async def test_a_poison_message_ends_once_in_the_dead_letter_topic(
    style: Style, client: Client, make_topic: MakeTopic
) -> None:
    topic = make_topic(2)
    async with await style.producer(topic) as producer:
        poison = Record("poison", "key", {"trace": "7"}, 5)
        await producer.produce_many(topic, [poison, "good"], partition=1)
    async with await style.worker(topic, delivery_limit=3) as worker:
        reasons = []
        for _ in range(4):
            for delivery in await worker.receive(1, timeout=WAIT_S):
                settle = worker.nack if delivery.text == "poison" else worker.ack
                reasons += [(delivery.text, one.reason) for one in await settle(delivery)]
        assert sorted(reasons) == [("good", ""), ("poison", ""), ("poison", ""), ("poison", "dead")]
        assert await worker.receive(timeout=0.3) == []
    (letter,) = await dead_letters(client, style, f"{topic}.dead", 1)
    assert (letter.text, letter.key, letter.timestamp) == ("poison", "key", 5)
    assert letter.headers == {
        "trace": "7",
        "dead-letter-topic": topic,
        "dead-letter-partition": "1",
        "dead-letter-offset": "0",
        "dead-letter-group": "workers",
        "dead-letter-deliveries": "3",
    }


async def test_what_nobody_settles_ends_in_the_dead_letter_topic_that_was_named(
    style: Style, client: Client, make_topic: MakeTopic
) -> None:
    topic = make_topic()
    await fill(style, topic, 2)
    name = f"{topic}-graveyard"
    options = {"visibility_ms": 200, "delivery_limit": 2, "dead_letter_topic": name}
    async with await style.worker(topic, **options) as worker:
        for _ in range(2):
            assert len(await worker.receive(2, timeout=WAIT_S)) == 2
        letters = await dead_letters(client, style, name, 2)
        assert sorted(letter.text for letter in letters) == ["0:0", "0:1"]
        assert await worker.receive(timeout=0.3) == []


async def test_redrive_brings_dead_letters_back_once(
    style: Style, client: Client, make_topic: MakeTopic
) -> None:
    topic = make_topic(2)
    await fill(style, topic, 2, 1)
    async with await style.worker(topic, delivery_limit=1) as worker:
        for _ in range(2):
            await worker.nack(*await worker.receive(timeout=WAIT_S))
        assert len(await dead_letters(client, style, f"{topic}.dead", 3)) == 3
        assert await asyncio.to_thread(client.redrive, topic, max_messages=1) == 1
        assert await asyncio.to_thread(client.redrive, topic) == 2
        assert await asyncio.to_thread(client.redrive, topic) == 0
        back = await worker.receive(timeout=WAIT_S) + await worker.receive(timeout=WAIT_S)
        assert sorted((one.text, one.partition) for one in back) == [
            ("0:0", 0),
            ("0:1", 0),
            ("1:0", 1),
        ]
        await worker.ack(*back)
        assert await worker.receive(timeout=0) == []
    assert all(name == "redriven-from" for one in back for name in one.headers)


async def test_redrive_of_a_topic_without_dead_letters_does_nothing(
    style: Style, client: Client, make_topic: MakeTopic
) -> None:
    assert await asyncio.to_thread(client.redrive, make_topic()) == 0
    with pytest.raises(TopicDoesNotExist):
        await asyncio.to_thread(client.redrive, "no-such-topic")


async def test_a_group_may_start_with_what_comes_after(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic(2)
    await fill(style, topic, 2, 2)
    async with await style.worker(topic, start="latest") as worker:
        await fill(style, topic, 1, 1)
        found = await worker.receive(timeout=WAIT_S) + await worker.receive(timeout=WAIT_S)
        assert sorted(one.offset for one in found) == [2, 2]
        await worker.ack(*found)
        assert await worker.receive(timeout=0) == []


async def test_impossible_values_are_refused(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    for options in (
        {"group": "a b"},
        {"visibility_ms": 0},
        {"delivery_limit": 0},
        {"dead_letter_topic": "a b"},
        {"start": "now"},
    ):
        with pytest.raises(InvalidRequest):
            await style.worker(topic, **options)
    with pytest.raises(TopicDoesNotExist):
        await style.worker("no-such-topic")
    async with await style.worker(topic) as worker:
        for call in (
            lambda: worker.receive(0, None),
            lambda: worker.nack(delay=-1),
            lambda: worker.extend(visibility=50_000),
        ):
            with pytest.raises(InvalidRequest):
                await call()
        foreign = Delivery("other", 0, 0, "value", receipt="1.0.1")
        with pytest.raises(UnsettledDeliveries) as caught:
            await worker.ack(foreign)
        assert isinstance(caught.value.__cause__, UnauthorizedException)
        made_up = Delivery(topic, 0, 0, "value", receipt="99.0.1")
        assert [one.reason for one in await worker.ack(made_up)] == ["unknown"]
        assert await worker.ack() == []


async def test_several_calls_at_once_share_a_worker(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic(2)
    config = ClientConfig(long_poll_ms=500)
    async with await style.worker(topic, config=config) as worker:
        calls = [asyncio.ensure_future(worker.receive(1, timeout=WAIT_S)) for _ in range(4)]
        await asyncio.sleep(0.2)
        await fill(style, topic, 2, 2)
        found = [one for part in await asyncio.gather(*calls) for one in part]
        assert sorted(one.text for one in found) == ["0:0", "0:1", "1:0", "1:1"]
        await worker.ack(*found)


async def test_a_cancelled_receive_takes_nothing(style: Style, make_topic: MakeTopic) -> None:
    if not style.is_async:
        pytest.skip("a blocking call cannot be cancelled")
    topic = make_topic()
    async with await style.worker(topic) as worker:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(worker.receive(timeout=None), 0.3)
        await fill(style, topic, 1)
        (found,) = await worker.receive(timeout=WAIT_S)
        assert found.delivery_count == 1
        await worker.ack(found)


async def test_a_group_has_workers_or_members(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    await fill(style, topic, 2)
    async with await style.worker(topic, f"{topic}-workers") as worker:
        await worker.receive(1, None)
        async with await style.consumer(topic, group=f"{topic}-workers") as member:
            with pytest.raises(InvalidRequest, match="group"):
                await member.poll(timeout=WAIT_S)
    async with await style.consumer(topic, group=f"{topic}-members") as member:
        assert len(await member.poll(timeout=WAIT_S)) == 2
        with pytest.raises(InvalidRequest, match="group"):
            async with await style.worker(topic, f"{topic}-members") as worker:
                await worker.receive(timeout=0)
