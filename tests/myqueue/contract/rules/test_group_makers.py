from __future__ import annotations

import pytest

from myqueue.contract.errors import TooManyGroups
from myqueue.contract.rules.group_makers import GroupMakers, GroupRoom

MALLORY, ALICE = 66, 5


def test_a_group_goes_with_its_maker_while_nobody_needs_it() -> None:
    makers = GroupMakers()
    for name, lasts in (("a", False), ("b", True), ("c", False), ("d", False)):
        makers.used(name, MALLORY, makes=True, lasts=lasts)
    makers.used("c", ALICE, makes=False, lasts=False)
    makers.keep("d")
    assert makers.disposable(MALLORY) == ["a"]
    assert (makers.count(MALLORY), makers.count(ALICE)) == (4, 0)
    makers.forget("a")
    assert (makers.count(MALLORY), makers.disposable(MALLORY)) == (3, [])


def test_makers_are_stored_and_found_again() -> None:
    makers, other = GroupMakers(), GroupMakers()
    makers.used("a", MALLORY, makes=True, lasts=False)
    makers.used("of the cluster", 0, makes=True, lasts=True)
    other.load(makers.rows())
    assert other.rows() == [("a", MALLORY, True)]
    assert (other.count(MALLORY), other.count(0)) == (1, 0)


def test_room_is_limited_for_all_and_for_each_client() -> None:
    room = GroupRoom(groups_max=3, groups_per_client_max=2)
    room.check("g", MALLORY, known=2, own=1)
    with pytest.raises(TooManyGroups, match="consumer 66 made 2") as caught:
        room.check("g", MALLORY, known=2, own=2)
    assert caught.value.details["consumer_id"] == MALLORY
    room.check("g", 0, known=2, own=2)
    with pytest.raises(TooManyGroups, match=r"knows 3 .* of the cluster"):
        room.check("g", 0, known=3, own=0)
