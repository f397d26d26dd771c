from __future__ import annotations

import asyncio

import pytest

from manager_app.browsing import reading
from manager_app.browsing.filters import MessageFilter
from manager_app.browsing.reading import ScanLimits, positions_of, scan
from myqueue.contract.errors import InvalidRequest, Overloaded
from myqueue.contract.records import Record

ALL = MessageFilter()


async def filled(site, *, partitions=2, count=10, topic="logs"):
    """Make a topic whose messages come to the partitions in turn; return its metadata."""
    await site.create_topic(topic, partitions)
    for number in range(count):
        group = site.twins.group(topic, number % partitions)
        group.append([Record(f'{{"n": {number}}}', f"k{number}", None, 1_000 + number)])
    return await site.runtime.find_topic(topic)


def numbers(look):
    return [int(one.record.key[1:]) for one in look.found]


async def test_the_newest_come_first_across_partitions(site):
    topic = await filled(site)
    look = await scan(
        site.runtime, topic, {0: 5, 1: 5}, wanted=ALL, backwards=True, limits=ScanLimits(found=4)
    )
    assert numbers(look) == [9, 8, 7, 6]
    assert look.positions == {0: 3, 1: 3}
    assert (look.left, look.total, look.is_at_end) == (6, 10, False)
    rest = await scan(site.runtime, topic, look.positions, wanted=ALL, backwards=True)
    assert numbers(rest) == [5, 4, 3, 2, 1, 0]
    assert rest.is_at_end


async def test_a_look_goes_on_where_the_last_one_ended(site):
    topic = await filled(site)
    positions, seen = {0: 0, 1: 0}, []
    while True:
        look = await scan(site.runtime, topic, positions, wanted=ALL, limits=ScanLimits(found=3))
        seen += numbers(look)
        positions = look.positions
        if look.is_at_end:
            break
    assert seen == [*range(10)]


async def test_only_what_passes_is_found_and_what_was_looked_at_is_counted(site):
    topic = await filled(site, count=30)
    wanted = MessageFilter.read(path="$.n = 21")
    for backwards in (False, True):
        at = 15 if backwards else 0
        look = await scan(site.runtime, topic, {0: at, 1: at}, wanted=wanted, backwards=backwards)
        assert numbers(look) == [21]
        assert (look.scanned.messages, look.is_at_end, look.left) == (30, True, 0)


async def test_a_limit_ends_a_look_and_another_goes_on(site, monkeypatch):
    monkeypatch.setattr(reading, "SIFTED_WINDOW", 4)
    topic = await filled(site, partitions=1, count=40)
    wanted = MessageFilter.read(key="k0")
    looks, positions, found = 0, {0: 40}, []
    while not found:
        look = await scan(
            site.runtime,
            topic,
            positions,
            wanted=wanted,
            backwards=True,
            limits=ScanLimits(messages=4),
        )
        assert look.positions[0] < positions[0]
        positions, found = look.positions, numbers(look)
        looks += 1
    assert found == [0]
    assert looks > 3


async def test_a_look_whose_time_is_over_still_says_where_to_go_on(site):
    topic = await filled(site)
    look = await scan(site.runtime, topic, {0: 2, 1: 0}, wanted=ALL, limits=ScanLimits(seconds=0.0))
    assert (look.found, look.positions, look.is_at_end) == ([], {0: 2, 1: 0}, False)


async def test_a_broker_that_is_silent_leaves_its_partitions_unknown_and_the_others_shown(
    site, monkeypatch
):
    monkeypatch.setattr(reading, "BROKER_LIMIT_S", 0.2)
    topic = await filled(site, partitions=3, count=9)
    silent = site.twins.by_id(site.twins.group("logs", 1).leader)
    silent.offsets.silent.add("/fetch")
    look = await scan(site.runtime, topic, dict.fromkeys(range(3), 0), wanted=ALL)
    silent.offsets.silent.clear()
    assert 1 in look.silent
    assert look.positions[1] == 0
    # Of the others those are shown that answered in so short a time here.
    assert numbers(look) == [one for one in range(9) if one % 3 not in look.silent]


async def test_a_partition_whose_brokers_are_all_down_is_unknown(site, monkeypatch):
    monkeypatch.setattr(reading, "BROKER_LIMIT_S", 0.2)
    topic = await filled(site)
    for twin in site.twins.brokers:
        await twin.stop()
    look = await scan(site.runtime, topic, {0: 1, 1: 0}, wanted=ALL)
    assert set(look.silent) == {0, 1}
    assert (look.found, look.positions) == ([], {0: 1, 1: 0})


async def test_what_one_partition_refuses_is_said_of_that_one(site):
    topic = await filled(site)
    refusing = site.twins.by_id(site.twins.group("logs", 0).leader)
    refusing.refuses["/fetch"] = Overloaded("busy", retry_after_ms=100)
    look = await scan(site.runtime, topic, {0: 0}, wanted=ALL)
    assert set(look.silent) == {0}


async def test_a_partition_that_is_not_there_is_refused(site):
    topic = await filled(site)
    with pytest.raises(InvalidRequest, match="no partition 7"):
        await scan(site.runtime, topic, {7: 0}, wanted=ALL)


async def test_where_a_look_begins(site):
    topic = await filled(site)
    ranges, silent = await reading.offset_ranges(site.runtime, topic, {0, 1})
    assert not silent
    for start, number, expected in [
        ("oldest", 0, 0),
        ("newest", 0, 5),
        ("offset", 3, 3),
        ("offset", 99, 5),
        ("time", 104, 4),
    ]:
        positions, silent = await positions_of(
            site.runtime, topic, ranges, start=start, number=number
        )
        assert positions == {0: expected, 1: expected}, start
        assert not silent


async def test_large_batches_are_decoded_beside_the_loop(site, monkeypatch):
    topic = await filled(site, partitions=1, count=0)
    site.twins.group("logs", 0).append([Record("x" * (1 << 20), timestamp=at) for at in range(8)])
    threads = []
    decode = reading.decode_batches

    def noted(*args, **kwargs):
        threads.append(asyncio._get_running_loop())
        return decode(*args, **kwargs)

    monkeypatch.setattr(reading, "decode_batches", noted)
    look = await scan(site.runtime, topic, {0: 0}, wanted=ALL)
    assert len(look.found) == 8
    assert threads
    assert set(threads) == {None}


async def test_a_silent_broker_is_not_asked_and_its_partitions_are_named(site):
    topic = await filled(site, partitions=3, count=9)
    leaders = {index: site.twins.group("logs", index).leader for index in range(3)}
    hung = site.twins.by_id(leaders[0])
    site.silence(hung)
    before = len(hung.calls)
    look = await scan(site.runtime, topic, {0: 0, 1: 0, 2: 0}, wanted=ALL)
    assert set(look.silent) == {index for index, one in leaders.items() if one == hung.broker_id}
    assert len(numbers(look)) == 3 * (3 - len(look.silent))
    ranges = {index: look.ranges[index] for index in look.ranges}
    positions, silent = await positions_of(site.runtime, topic, ranges, start="time", number=0)
    assert set(silent) == set(look.silent)
    assert set(positions) == set(ranges) - set(silent)
    assert len(hung.calls) == before
