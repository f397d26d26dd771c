from __future__ import annotations

import pytest

from manager_app.browsing.lanes import Gap
from manager_app.browsing.publishing import NewMessage, headers_of, publish, read_one
from myqueue.contract.errors import InvalidRequest, MessageTooLarge, NoLeader, PartitionNotFound
from myqueue.contract.records import placeholder_batch
from tests.manager_app.broker_twin import counts


async def topic_of(site, partitions=3):
    await site.create_topic("logs", partitions)
    return await site.runtime.find_topic("logs")


async def test_a_message_is_published_with_key_and_headers_and_read_again(site):
    topic = await topic_of(site)
    message = NewMessage(
        value=b"\x00\xff", request_id="r1", key="k", headers={"a": "b"}, partition=1
    )
    appended = await publish(site.runtime, topic, message)
    assert (appended.partition, appended.base_offset) == (1, 0)
    found = await read_one(site.runtime, topic, partition=1, offset=0)
    assert found.record[:3] == (b"\x00\xff", "k", {"a": "b"})


async def test_a_form_that_is_sent_twice_publishes_once(site):
    topic = await topic_of(site)
    message = NewMessage(value="v", request_id="r1")
    first = await publish(site.runtime, topic, message)
    assert await publish(site.runtime, topic, message) == first
    assert sum(counts(site)) == 1


async def test_the_same_key_goes_to_the_same_partition(site):
    topic = await topic_of(site)
    partitions = {
        (
            await publish(
                site.runtime, topic, NewMessage(value="v", request_id=f"r{number}", key="k")
            )
        ).partition
        for number in range(4)
    }
    assert len(partitions) == 1


async def test_what_cannot_be_published_is_refused_by_the_name_of_its_field(site):
    topic = await topic_of(site)
    with pytest.raises(MessageTooLarge):
        await publish(site.runtime, topic, NewMessage(value="x" * (2 << 20), request_id="r"))
    with pytest.raises(PartitionNotFound):
        await publish(site.runtime, topic, NewMessage(value="x", request_id="r", partition=9))
    assert counts(site) == [0, 0, 0]


async def test_there_is_nothing_at_an_offset_beyond_the_end(site):
    topic = await topic_of(site)
    assert await read_one(site.runtime, topic, partition=0, offset=0) is None
    await publish(site.runtime, topic, NewMessage(value="x", request_id="r", partition=0))
    assert (await read_one(site.runtime, topic, partition=0, offset=0)).record.value == "x"
    assert await read_one(site.runtime, topic, partition=0, offset=1) is None


async def test_a_message_that_nobody_can_decode_is_a_gap(site, monkeypatch):
    topic = await topic_of(site)
    await publish(site.runtime, topic, NewMessage(value="x", request_id="r", partition=0))
    monkeypatch.setattr(
        "tests.manager_app.passing_twin.encode_batch", lambda _: placeholder_batch(1, 1_000)
    )
    assert isinstance(await read_one(site.runtime, topic, partition=0, offset=0), Gap)


async def test_a_partition_that_does_not_answer_is_an_error_and_not_an_absent_message(site):
    topic = await topic_of(site)
    for twin in site.twins.brokers:
        await twin.stop()
    with pytest.raises(NoLeader):
        await read_one(site.runtime, topic, partition=0, offset=0)


def test_headers_are_written_one_in_a_line():
    assert headers_of("trace: a:b\n\n  kind :x \n") == {"trace": "a:b", "kind": "x"}
    for wrong in ("no colon", ": no name", "a: 1\na: 2"):
        with pytest.raises(InvalidRequest) as refused:
            headers_of(wrong)
        assert refused.value.details["field"] == "headers"
