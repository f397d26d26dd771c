from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from myqueue import Client, ClientConfig, InvalidRequest, OffsetOutOfRange, QueueEmpty
from myqueue.contract.errors import GroupActive, GroupNotFound, PartitionNotFound, Rebalancing
from tests.myqueue.conformance.styles import Style
from tests.myqueue.conformance.test_consuming import fill

MakeTopic = Callable[..., str]
SESSION = {"session_timeout_ms": 1_500}
PATIENCE_S = 15.0
_numbers = itertools.count(1)


@pytest.fixture
def group() -> str:
    """Give a name of its own."""
    return f"group-{time.time_ns()}-{next(_numbers)}"


async def until(holds: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Return the first true answer."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        value = await holds()
        if value:
            return value
        await asyncio.sleep(0.02)
    raise AssertionError(f"not in time: {what}")


async def assigned(consumer: Any) -> dict[str, list[int]]:
    """Return the assignment, in both styles."""
    found = consumer.assignment()
    return dict(await found if asyncio.iscoroutine(found) else found)


async def holds(consumer: Any, topic: str, count: int) -> None:
    async def enough() -> bool:
        return len((await assigned(consumer)).get(topic, ())) == count

    await until(enough, f"{count} partitions")


def committed(style: Style, group: str) -> dict[int, int | None]:
    with Client(style.address) as client:
        rows = client.describe_group(group)["partitions"]
    return {row["partition"]: row["offset"] for row in rows}


async def read_all(consumer: Any, count: int) -> list[Any]:
    found: list[Any] = []
    end_s = time.monotonic() + PATIENCE_S
    while len(found) < count and time.monotonic() < end_s:
        found += await consumer.poll(50, timeout=0.5)
    return found


async def test_a_member_alone_reads_everything(
    style: Style, make_topic: MakeTopic, group: str
) -> None:
    topic = make_topic(3)
    await fill(style, topic, 5, 0, 7)
    async with await style.consumer(topic, group=group) as consumer:
        assert await assigned(consumer) == {topic: [0, 1, 2]}
        found = await read_all(consumer, 12)
        assert sorted((one.partition, one.offset) for one in found) == [
            *((0, n) for n in range(5)),
            *((2, n) for n in range(7)),
        ]
        assert await consumer.poll(timeout=0.1) == []
        with pytest.raises(QueueEmpty):
            await consumer.dequeue(topic)
        await fill(style, topic, 0, 1)
        assert await consumer.dequeue(topic) == "1:0"


async def test_what_was_committed_is_not_read_again(
    style: Style, make_topic: MakeTopic, group: str
) -> None:
    topic = make_topic()
    await fill(style, topic, 30)
    async with await style.consumer(topic, group=group) as consumer:
        assert len(await consumer.poll(10)) == 10
        await consumer.commit()
        assert committed(style, group) == {0: 10}
        assert len(await consumer.poll(5)) == 5
        assert len(await consumer.poll(5)) == 5
    # What was in hand when the consumer was closed comes again; what it came back for does not.
    assert committed(style, group) == {0: 15}
    async with await style.consumer(topic, group=group) as consumer:
        assert [one.offset for one in await consumer.poll(100)] == list(range(15, 30))


async def test_iteration_commits_all_but_what_is_in_hand(
    style: Style, make_topic: MakeTopic, group: str
) -> None:
    topic = make_topic(2)
    await fill(style, topic, 20, 20)
    found: list[tuple[int, int]] = []
    while len(found) < 40:
        async with await style.consumer(topic, group=group) as consumer:
            async for message in consumer:
                found.append((message.partition, message.offset))
                if len(found) % 9 == 0 or len(found) == 40:
                    await consumer.commit()
                    break
    assert sorted(found) == [(p, n) for p in range(2) for n in range(20)]


async def test_an_error_of_the_program_loses_nothing(
    style: Style, make_topic: MakeTopic, group: str
) -> None:
    topic = make_topic()
    await fill(style, topic, 5)

    async def fail() -> None:
        async with await style.consumer(topic, group=group) as consumer:
            async for message in consumer:
                if message.offset == 3:
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with await style.consumer(topic, group=group) as consumer:
        assert [one.offset for one in await consumer.poll()] == [3, 4]


async def test_without_auto_commit_the_program_says_what_is_done(
    style: Style, make_topic: MakeTopic, group: str
) -> None:
    topic = make_topic()
    await fill(style, topic, 10)
    options: dict[str, Any] = {"group": group, "auto_commit": False}
    async with await style.consumer(topic, **options) as consumer:
        assert len(await consumer.poll(4)) == 4
        assert len(await consumer.poll(4)) == 4
        with pytest.raises(InvalidRequest) as caught:
            await consumer.commit({(topic, 0): 9})
        assert caught.value.details["field"] == "offset"
    async with await style.consumer(topic, **options) as consumer:
        assert [one.offset for one in await consumer.poll(6)] == [0, 1, 2, 3, 4, 5]
        await consumer.commit({(topic, 0): 3})
    async with await style.consumer(topic, **options) as consumer:
        assert [one.offset for one in await consumer.poll()] == list(range(3, 10))
        await consumer.commit()
    assert committed(style, group) == {0: 10}


async def test_what_is_done_is_committed_now_and_then(
    style: Style, make_topic: MakeTopic, group: str
) -> None:
    topic = make_topic()
    await fill(style, topic, 6)
    config = ClientConfig(auto_commit_interval_ms=50)
    async with await style.consumer(topic, group=group, config=config) as consumer:
        assert len(await consumer.poll(4)) == 4
        assert len(await consumer.poll(1)) == 1

        async def there() -> bool:
            return committed(style, group) == {0: 4}

        await until(there, "the commit in the background")


async def test_partitions_are_shared_and_taken_over(
    style: Style, make_topic: MakeTopic, group: str
) -> None:
    topic = make_topic(4)
    await fill(style, topic, 10, 10, 10, 10)
    first = await style.consumer(topic, group=group, **SESSION)
    found = [(one.partition, one.offset) for one in await first.poll(4)]
    async with await style.consumer(topic, group=group, **SESSION) as second:
        # Coming back frees what is in hand.
        found += [(one.partition, one.offset) for one in await first.poll(4)]
        found += [(one.partition, one.offset) for one in await first.poll(1)]
        await first.commit()
        await holds(first, topic, 2)
        await holds(second, topic, 2)
        mine, others = (await assigned(first))[topic], (await assigned(second))[topic]
        assert sorted(mine + others) == [0, 1, 2, 3]
        await first.close()
        await holds(second, topic, 4)
        found += [(one.partition, one.offset) for one in await read_all(second, 40 - len(found))]
        assert await second.poll(timeout=0.2) == []
    assert sorted(found) == [(p, n) for p in range(4) for n in range(10)]


async def test_a_partition_waits_for_the_message_in_hand(
    style: Style, make_topic: MakeTopic, group: str
) -> None:
    topics = [make_topic(), make_topic()]
    for topic in topics:
        await fill(style, topic, 3)
    async with await style.consumer(topics, group=group, **SESSION) as slow:
        assert await slow.dequeue(topics) == ["0:0", "0:0"]
        async with await style.consumer(topics, group=group, **SESSION) as other:
            # Longer than a session: heartbeats go on, and what is in hand stays.
            assert await other.poll(timeout=SESSION["session_timeout_ms"] / 1000 * 1.5) == []
            assert await assigned(other) == {}
            (message,) = await slow.poll(1, timeout=PATIENCE_S)
            assert message.offset == 1
            told = await read_all(other, 2)
            assert [one.offset for one in told] == [1, 2]
            assert {one.topic for one in told} == set(topics) - {message.topic}


async def test_many_members_lose_and_repeat_nothing_when_they_commit(
    style: Style, make_topic: MakeTopic, group: str
) -> None:
    topic = make_topic(3)
    await fill(style, topic, 40, 40, 40)
    found: dict[int, list[int]] = defaultdict(list)

    async def member(rounds: int) -> None:
        for _ in range(rounds):
            async with await style.consumer(topic, group=group, **SESSION) as consumer:
                for _ in range(6):
                    is_left = sum(map(len, found.values())) < 120
                    for one in await consumer.poll(5, timeout=0.3 if is_left else 0.0):
                        found[one.partition].append(one.offset)
                    await consumer.commit()

    await asyncio.gather(*(member(3) for _ in range(3)))
    async with await style.consumer(topic, group=group, **SESSION) as consumer:
        await holds(consumer, topic, 3)
        rest = await read_all(consumer, 120 - sum(map(len, found.values())))
        for one in rest:
            found[one.partition].append(one.offset)
    assert {p: sorted(offsets) for p, offsets in found.items()} == {
        p: list(range(40)) for p in range(3)
    }
    assert all(offsets == sorted(offsets) for offsets in found.values())


async def test_latest_is_where_a_new_group_begins(
    style: Style, make_topic: MakeTopic, group: str
) -> None:
    topic = make_topic()
    await fill(style, topic, 3)
    async with await style.consumer(topic, group=group, start="latest") as consumer:
        assert await consumer.poll() == []
        await fill(style, topic, 2)
        assert [one.offset for one in await consumer.poll(timeout=5.0)] == [3, 4]
    async with await style.consumer(topic, group=group, start="latest") as consumer:
        assert [one.offset for one in await consumer.poll()] == [3, 4]


async def test_seek_moves_the_group(style: Style, make_topic: MakeTopic, group: str) -> None:
    topic = make_topic(2)
    await fill(style, topic, 6, 2)
    await asyncio.sleep(0.05)
    between = datetime.now(UTC)
    await asyncio.sleep(0.05)
    await fill(style, topic, 2)
    async with await style.consumer(topic, group=group) as consumer:
        assert await consumer.seek(topic, 0, 4) == 4
        assert [one.offset for one in await consumer.poll(2, partition=0)] == [4, 5]
        assert await consumer.seek(topic, 0, 1) == 1
        assert [one.offset for one in await consumer.poll(1, partition=0)] == [1]
        assert await consumer.seek_to_time(topic, between) == {0: 6, 1: 2}
        with pytest.raises(OffsetOutOfRange):
            await consumer.seek(topic, 0, 9)
        async with await style.consumer(topic, group=group) as other:
            refused = 0
            for partition, offset in ((0, 6), (1, 2)):
                try:
                    await other.seek(topic, partition, offset)
                except Rebalancing:
                    refused += 1
            assert refused, "the other member has all partitions"
    assert committed(style, group) == {0: 6, 1: 2}


async def test_lag_is_that_of_the_member(style: Style, make_topic: MakeTopic, group: str) -> None:
    topic = make_topic(2)
    await fill(style, topic, 3)
    async with await style.consumer(topic, group=group) as consumer:
        first, second = await consumer.lag()
        assert first[:3] == (topic, 0, 3)
        assert second == (topic, 1, 0, 0.0)
        assert len(await consumer.poll(2)) == 2
        assert (await consumer.lag(topic))[0].messages == 1
        assert await consumer.get_size(topic) == 1
        assert await consumer.can_dequeue(topic)


async def test_groups_are_listed_described_and_deleted(
    style: Style, make_topic: MakeTopic, group: str, client: Client
) -> None:
    topic = make_topic(2)
    await fill(style, topic, 4)
    async with await style.consumer(topic, group=group) as consumer:
        await consumer.poll(3)
        await consumer.commit()
        described = client.describe_group(group)
        assert described["generation"] == 1
        (member,) = described["members"]
        assert member["assignment"] == {topic: [0, 1]}
        row = described["partitions"][0]
        assert (row["topic"], row["partition"], row["offset"], row["lag"]) == (topic, 0, 3, 1)
        assert row["member_id"] == member["member_id"]
        with pytest.raises(InvalidRequest):
            client.delete_group(group)
    assert group in client.list_groups()
    client.delete_group(group)
    assert group not in client.list_groups()
    with pytest.raises(GroupNotFound):
        client.describe_group(group)


async def test_a_consumer_without_a_group_says_what_to_do(
    style: Style, make_topic: MakeTopic
) -> None:
    async with await style.consumer(make_topic()) as consumer:
        with pytest.raises(InvalidRequest, match='group="'):
            await consumer.commit()
        with pytest.raises(InvalidRequest, match='group="'):
            await assigned(consumer)


async def test_a_wrong_option_is_refused(style: Style, make_topic: MakeTopic) -> None:
    topic = make_topic()
    for options in (
        {"group": "a b"},
        {"group": "g", "session_timeout_ms": 1},
        {"group": "g", "start": "middle"},
        {"auto_commit": False},
    ):
        with pytest.raises(InvalidRequest):
            await style.consumer(topic, **options)
    with pytest.raises(TypeError):
        await style.consumer(topic, group="g", autocommit=True)


async def test_a_further_topic_is_read_too(style: Style, make_topic: MakeTopic, group: str) -> None:
    one, two = make_topic(), make_topic()
    await fill(style, two, 2)
    async with await style.consumer(one, group=group) as consumer:
        await consumer.register(two)
        assert await assigned(consumer) == {one: [0], two: [0]}
        assert len(await consumer.poll(timeout=5.0, topics=two)) == 2


async def test_a_group_is_moved_while_nobody_reads(
    style: Style, make_topic: MakeTopic, group: str, client: Client
) -> None:
    topic = make_topic(2)
    await fill(style, topic, 4, 2)
    async with await style.consumer(topic, group=group) as consumer:
        await read_all(consumer, 6)
        await consumer.commit()
        with pytest.raises(GroupActive):
            client.reset_group(group, topic, to="earliest")
    planned = client.reset_group(group, topic, shift=-3, dry_run=True)
    assert [(one["before"], one["after"]) for one in planned["partitions"]] == [(4, 1), (2, 0)]
    assert committed(style, group) == {0: 4, 1: 2}
    moved = client.reset_group(group, topic, shift=-3)
    assert [one["moved"] for one in moved["partitions"]] == [True, True]
    assert committed(style, group) == {0: 1, 1: 0}
    async with await style.consumer(topic, group=group) as consumer:
        found = await read_all(consumer, 5)
        assert sorted((one.partition, one.offset) for one in found) == [
            *((0, offset) for offset in (1, 2, 3)),
            *((1, offset) for offset in (0, 1)),
        ]
    client.reset_group(group, topic, to=datetime.now(UTC), partitions=[0])
    client.reset_group(group, topic, to=1, partitions=[1])
    assert committed(style, group) == {0: 4, 1: 1}
    for to in ("latest", "earliest"):
        with pytest.raises(GroupNotFound):
            client.reset_group(f"{group}-other", topic, to=to)
        with pytest.raises(PartitionNotFound):
            client.reset_group(group, topic, to=to, partitions=[2])


async def test_a_member_that_is_sent_away_goes_on_where_its_group_is_then(
    style: Style, make_topic: MakeTopic, group: str, client: Client
) -> None:
    topic = make_topic(1)
    await fill(style, topic, 5)
    async with await style.consumer(topic, group=group, session_timeout_ms=6_000) as consumer:
        assert {one.offset for one in await read_all(consumer, 5)} == {0, 1, 2, 3, 4}
        assert client.reset_group(group, topic, to=3, force=True)["members"] == 1
        again: set[int] = set()

        async def read_again() -> bool:
            again.update(one.offset for one in await consumer.poll(50, timeout=0.2))
            return len(again) >= 2

        await until(read_again, "what the group was moved back to")
        assert again == {3, 4}


async def test_workers_are_moved_too(
    style: Style, make_topic: MakeTopic, group: str, client: Client
) -> None:
    topic = make_topic(1)
    await fill(style, topic, 3)
    async with await style.worker(topic, group=group) as worker:
        (first,) = await worker.receive(1, timeout=PATIENCE_S)
        with pytest.raises(GroupActive):
            client.reset_group(group, topic, to="latest", force=True)
        await worker.ack(first)
        client.reset_group(group, topic, to=2)
        (last,) = await worker.receive(5, timeout=PATIENCE_S)
        assert last.offset == 2
        await worker.ack(last)
