"""What every snapshot connection promises, over TCP and in memory, on both event loops."""

from __future__ import annotations

import asyncio

import pytest

from raft_app.core.types import Entry, EntryKind, Membership, RaftMember, SnapshotMeta, TimeoutNow
from raft_app.transport.snapshot_stream import (
    SnapshotAnswer,
    SnapshotEnd,
    SnapshotInstalled,
    SnapshotLost,
    SnapshotOffer,
    SnapshotRows,
    SnapshotState,
)
from tests.raft_app.transport.transport_harness import RUNNERS, MemoryNetwork, TcpNetwork

OFFER = SnapshotOffer(
    group_id=7,
    to=2,
    sender=1,
    term=3,
    meta=SnapshotMeta(40, 2, Membership(voters=(RaftMember(1, 1),), version=4), 9),
    log_start_offset=5,
    next_offset=30,
    state_bytes=3,
)


def rows(first: int, size: int = 10) -> SnapshotRows:
    entries = [
        Entry(index, 1, EntryKind.DATA, bytes(size), index, 1, 17)
        for index in range(first, first + 3)
    ]
    return SnapshotRows(tuple(entries))


@pytest.fixture(params=RUNNERS.values(), ids=RUNNERS)
def run(request):
    return request.param


@pytest.fixture(params=[TcpNetwork, MemoryNetwork])
def make_network(request):
    return request.param


async def opened(network):
    """Return both ends of a connection from broker 1 to broker 2."""
    one, two = await network.start_all(2)
    here = await one.transport.open_snapshot(2)
    await two.handler.until(lambda handler: handler.streams)
    return here, two.handler.streams[0]


def test_every_part_arrives_in_both_directions_and_in_order(run, make_network):
    async def scenario():
        network = make_network()
        here, there = await opened(network)
        assert (here.broker_id, there.broker_id) == (2, 1)
        sent = [OFFER, rows(1), rows(9, 200_000), SnapshotState(b"abc"), SnapshotEnd()]
        for part in sent:
            await here.send(part)
            assert await there.receive() == part
        for answer in (SnapshotAnswer(True, 12), SnapshotAnswer(False, has_it=True)):
            await there.send(answer)
            assert await here.receive() == answer
        await there.send(SnapshotInstalled())
        assert await here.receive() == SnapshotInstalled()
        here.close()
        await network.stop()

    run(scenario())


def test_a_receiver_that_takes_nothing_makes_the_sender_wait(run, make_network):
    async def scenario():
        network = make_network()
        here, there = await opened(network)
        sent = 0

        async def send_on():
            nonlocal sent
            while sent < 200:
                await here.send(rows(1, 300_000))
                sent += 1

        sending = asyncio.ensure_future(send_on())
        while True:
            before = sent
            await asyncio.sleep(0.05)
            if sent == before:
                break
        assert 0 < sent < 60
        for _ in range(200):
            await there.receive()
        await sending
        here.close()
        await network.stop()

    run(scenario())


def test_what_was_sent_before_the_end_still_arrives(run, make_network):
    async def scenario():
        network = make_network()
        here, there = await opened(network)
        await there.send(SnapshotAnswer(False, has_it=True))
        there.close()
        there.close()
        assert await here.receive() == SnapshotAnswer(False, has_it=True)
        with pytest.raises(SnapshotLost):
            await here.receive()

        async def send_on():
            while True:
                await here.send(SnapshotEnd())

        with pytest.raises(SnapshotLost):
            await send_on()
        await network.stop()

    run(scenario())


def test_a_snapshot_connection_is_not_the_one_for_rpcs(run, make_network):
    async def scenario():
        network = make_network()
        here, there = await opened(network)
        there.close()
        with pytest.raises(SnapshotLost):
            await here.receive()
        one, two = network.brokers.values()
        one.transport.send(2, [(7, TimeoutNow(2, 1, 3))])
        await two.handler.until_rpcs(1)
        assert two.handler.events == [("connected", 1)]
        assert one.handler.events == [("connected", 2)]
        await network.stop()

    run(scenario())


def test_the_stop_of_a_broker_ends_its_snapshots(run, make_network):
    async def scenario():
        network = make_network()
        here, _ = await opened(network)
        receiving = asyncio.ensure_future(here.receive())
        await network.brokers[2].transport.stop()
        with pytest.raises(SnapshotLost):
            await receiving
        await network.stop()

    run(scenario())


def test_a_broker_that_is_not_there_cannot_be_reached(run, make_network):
    async def scenario():
        network = make_network()
        one, two = await network.start_all(2)
        with pytest.raises(SnapshotLost):
            await one.transport.open_snapshot(3)
        await two.transport.stop()
        with pytest.raises(SnapshotLost):
            await one.transport.open_snapshot(2)
        await one.transport.stop()
        with pytest.raises(SnapshotLost):
            await one.transport.open_snapshot(2)

    run(scenario())
