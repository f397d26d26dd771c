"""What is on its way to a peer: bounded for all groups together, and in turns."""

from __future__ import annotations

from collections import Counter
from random import Random

from raft_app.engine.windows import PeerWindows

PEER = 2
APPEND = 10


def windows(*, group_bytes_max: int = 40) -> PeerWindows:
    return PeerWindows(peer_bytes_max=100, total_bytes_max=1_000, group_bytes_max=group_bytes_max)


class Groups:
    """Leaders with endless entries for one peer, which send whatever they may."""

    def __init__(self, shared: PeerWindows) -> None:
        self.windows = shared
        self.under_way: Counter[int] = Counter()
        self.sent: Counter[int] = Counter()
        self.peak = 0

    def drain(self, group_id: int) -> None:
        """Let one group send, as a turn of the engine does."""
        limit = 40
        if self.windows.is_tight:
            peers = {1: (PEER, self.under_way[group_id])}
            limit = min(limit, self.windows.limits(group_id, peers)[1])
        while self.under_way[group_id] < limit:
            self.under_way[group_id] += APPEND
            self.sent[group_id] += 1
        self.count(group_id, waits=limit < 40)

    def count(self, group_id: int, *, waits: bool) -> None:
        self.windows.count(group_id, [(PEER, self.under_way[group_id], waits)])
        self.peak = max(self.peak, self.windows.used_bytes(PEER))
        assert self.windows.used_bytes(PEER) == sum(self.under_way.values())

    def acknowledge(self, group_id: int) -> None:
        """The peer has the oldest one of a group; it may want to send on at once."""
        self.under_way[group_id] -= APPEND
        self.drain(group_id)
        for turn in self.windows.turns():
            self.drain(turn)


def test_one_group_alone_is_not_bounded_by_more_than_its_configuration() -> None:
    groups = Groups(windows())
    groups.drain(1)
    assert groups.under_way[1] == 40
    assert not groups.windows.is_tight


def test_two_hundred_groups_never_have_more_than_one_append_above_the_bound_on_their_way() -> None:
    groups = Groups(windows())
    random = Random(5)
    for group_id in range(200):
        groups.drain(group_id)
    assert groups.peak <= 100 + APPEND
    for _ in range(20_000):
        groups.acknowledge(random.choice(list(groups.under_way.elements())))
    assert groups.peak <= 100 + APPEND
    assert len(groups.sent) == 200
    assert min(groups.sent.values()) >= 0.8 * max(groups.sent.values())


def test_whoever_waits_longest_is_next_and_sends_one_append() -> None:
    shared = windows(group_bytes_max=100)
    shared.count(1, [(PEER, 100, True)])
    shared.count(2, [(PEER, 0, True)])
    shared.count(3, [(PEER, 0, True)])
    assert shared.turns() == []
    assert shared.limits(4, {40: (PEER, 0)}) == {40: 0}  # nobody overtakes the row
    shared.count(1, [(PEER, 90, True)])
    assert shared.turns() == [1]
    assert shared.limits(1, {10: (PEER, 90)}) == {10: 91}
    assert shared.turns() == []
    shared.count(1, [(PEER, 100, True)])
    shared.count(1, [(PEER, 80, True)])
    assert shared.turns() == [2]
    shared.count(2, [(PEER, 10, False)])
    assert shared.turns() == [3]


def test_a_group_that_is_gone_leaves_its_room_and_its_place_in_the_row() -> None:
    shared = windows()
    shared.count(1, [(PEER, 100, False)])
    shared.count(2, [(PEER, 0, True)])
    shared.count(1, ())
    assert shared.turns() == [2]
    shared.count(2, ())
    assert shared.used_bytes(PEER) == 0
    assert shared.turns() == []
    assert not shared.is_tight


def test_each_peer_has_its_own_bound_and_all_share_one() -> None:
    shared = PeerWindows(peer_bytes_max=100, total_bytes_max=150, group_bytes_max=10)
    shared.count(1, [(2, 100, True)])
    assert shared.peer_bytes == 100
    assert shared.limits(1, {10: (2, 100), 11: (3, 0)}) == {10: 100, 11: 75}
    shared.count(1, [(2, 100, True), (3, 40, False)])
    assert shared.used_bytes(3) == 40
