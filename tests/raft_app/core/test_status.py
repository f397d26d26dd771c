"""Tests of a node's state as a value."""

from __future__ import annotations

from raft_app.core.progress import ProgressState
from raft_app.core.status import PeerStatus
from tests.raft_app.core.group import HEARTBEAT, Group, data


def test_a_leader_shows_each_peer():
    group = Group(3, learners=1)
    group.elect(1)
    group.tick(HEARTBEAT)
    group[1].propose([data("x")])
    group.collect()

    status = group[1].status()

    peer = PeerStatus(
        match=2,
        next=4,
        state=ProgressState.REPLICATE,
        is_heard=True,
        inflight_appends=1,
        inflight_bytes=65,
    )
    assert status.progress == {2: peer, 3: peer, 4: peer}
    assert (status.last_index, status.durable_index, status.commit_index) == (3, 3, 2)


def test_a_follower_shows_no_peers():
    group = Group(3)
    group.elect(1)

    assert group[2].status().progress == {}
    assert group[2].status().leader == 1
