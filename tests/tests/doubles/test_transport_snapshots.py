"""What links between twins do to snapshot connections."""

from __future__ import annotations

import asyncio

import pytest

from raft_app.transport.snapshot_stream import SnapshotEnd, SnapshotLost
from tests.raft_app.transport.test_snapshot_stream import opened
from tests.raft_app.transport.transport_harness import MemoryNetwork, run_asyncio


def test_a_cut_link_ends_the_snapshot_and_a_silent_one_holds_it_up():
    async def scenario():
        network = MemoryNetwork()
        here, there = await opened(network)
        network.hub.cut(1, 2, silently=True)
        sending = asyncio.ensure_future(here.send(SnapshotEnd()))
        await asyncio.sleep(0.01)
        assert not sending.done()
        network.hub.heal()
        await sending
        assert await there.receive() == SnapshotEnd()
        network.hub.cut(1, 2)
        with pytest.raises(SnapshotLost):
            await there.receive()
        await network.stop()

    run_asyncio(scenario())
