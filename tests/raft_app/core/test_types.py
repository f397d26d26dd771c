"""Tests of the core's values."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import TYPE_CHECKING

import pytest

from raft_app.core import types
from raft_app.core.types import Entry, EntryKind, Membership, RaftMember, SnapshotMeta
from tests.raft_app.core.group import members


def test_a_membership_survives_its_encoding():
    membership = Membership(members(3), members(2, first=4), version=7)

    assert Membership.decode(membership.encode()) == membership


def test_equal_memberships_have_equal_bytes():
    assert Membership(members(3)).encode() == Membership(members(3)).encode()


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"[2,0,[],[]]", b"[1,0,[]]", b"\xff"])
def test_other_bytes_are_no_membership(payload: bytes):
    with pytest.raises(ValueError, match=r"."):
        Membership.decode(payload)


@pytest.mark.parametrize(("replica_id", "broker_id"), [(0, 1), (1, 0), (-1, 1)])
def test_the_ids_of_a_member_are_positive(replica_id: int, broker_id: int):
    with pytest.raises(ValueError, match="positive"):
        RaftMember(replica_id, broker_id)


def test_a_replica_is_named_once():
    with pytest.raises(ValueError, match="named twice"):
        Membership(members(2), members(1))


def test_members_are_voters_then_learners():
    membership = Membership(members(2), members(1, first=3))

    assert [member.replica_id for member in membership.members] == [1, 2, 3]
    assert membership.voter_ids == {1, 2}


def test_the_size_of_an_entry_counts_data_and_a_fixed_overhead():
    assert Entry(1, 1, EntryKind.DATA, b"x" * 100).size_bytes == 164


def test_the_numbers_of_the_entry_kinds_never_change():
    assert {kind.name: kind.value for kind in EntryKind} == {
        "NOOP": 0,
        "DATA": 1,
        "COMMAND": 2,
        "MEMBERSHIP": 3,
    }


def test_values_do_not_change():
    values = [value for value in vars(types).values() if is_dataclass(value)]
    params = [value.__dataclass_params__ for value in values]

    assert params
    # Of those made by `value` it is the type checker that refuses.
    assert all(one.frozen or one.unsafe_hash for one in params)


def test_the_type_checker_refuses_to_change_a_value():
    if TYPE_CHECKING:
        # Without an error there, mypy tells that nothing is to be ignored.
        Entry(1, 1, EntryKind.NOOP).index = 2  # type: ignore[misc]


def test_values_are_equal_and_hash_by_their_fields():
    one, same, other = (Entry(1, term, EntryKind.NOOP) for term in (1, 1, 2))

    assert one == same
    assert len({one, same, other}) == 2


@pytest.mark.parametrize(("last_index", "membership_index"), [(0, 0), (3, 4), (3, -1)])
def test_a_snapshot_covers_something_and_the_entry_of_its_membership(
    last_index: int, membership_index: int
):
    with pytest.raises(ValueError, match="snapshot"):
        SnapshotMeta(last_index, 1, Membership(), membership_index)
