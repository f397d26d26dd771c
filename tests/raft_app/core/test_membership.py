"""Tests of which membership is in force."""

from __future__ import annotations

from raft_app.core.bootstrap import joining_state
from raft_app.core.membership import MembershipHistory
from raft_app.core.types import Entry, EntryKind, Membership
from tests.raft_app.core.group import entries_of, members

ONE, TWO, THREE = (Membership(members(count)) for count in (1, 2, 3))


def entry(index: int, membership: Membership) -> Entry:
    """Return the entry that sets a membership."""
    return Entry(index, 1, EntryKind.MEMBERSHIP, membership.encode())


def history(*entries: Entry) -> MembershipHistory:
    """Return the history of a log that starts empty."""
    memberships = MembershipHistory(joining_state(1))
    memberships.extend(entries, commit_index=0)
    return memberships


def test_the_last_entry_is_in_force_at_once():
    memberships = history(entry(3, TWO), entry(5, THREE))

    assert (memberships.current, memberships.index) == (THREE, 5)
    assert memberships.voters == {1, 2, 3}


def test_other_entries_change_nothing():
    memberships = history(entry(3, TWO))

    assert not memberships.extend(entries_of([1, 1], first_index=4), commit_index=0)

    assert memberships.index == 3


def test_overwriting_takes_back_what_lies_at_or_above_the_cut():
    memberships = history(entry(3, ONE), entry(5, TWO), entry(7, THREE))

    assert not memberships.revert(8)
    assert memberships.revert(7)
    assert (memberships.current, memberships.index) == (TWO, 5)
    assert memberships.revert(2)

    assert (memberships.current, memberships.index) == (Membership(), 0)


def test_memberships_that_a_committed_one_replaced_are_forgotten():
    memberships = history(entry(3, ONE), entry(5, TWO))

    memberships.extend([entry(7, THREE)], commit_index=5)

    assert memberships.revert(7)
    assert memberships.current == TWO


def test_the_membership_of_a_snapshot_replaces_all():
    memberships = history(entry(3, ONE), entry(5, TWO))

    memberships.replace(THREE, 4)

    assert (memberships.current, memberships.index, memberships.voters) == (THREE, 4, {1, 2, 3})
    assert not memberships.revert(5)
    memberships.extend([entry(9, ONE)], commit_index=0)
    assert memberships.revert(9)
    assert memberships.current == THREE
