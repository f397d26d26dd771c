from __future__ import annotations


async def test_messages_without_a_partition_are_spread_evenly(site):
    await site.create_topic(partitions=4)
    producer = await site.producer()
    for number in range(100):
        await site.produce(producer, f"message {number}")
    assert [len(site.twins.group("logs", index).records) for index in range(4)] == [25] * 4
