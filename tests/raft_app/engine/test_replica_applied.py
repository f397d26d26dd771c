"""The applied prefix of a log and its checkpoints."""

from __future__ import annotations

from raft_app.core.types import Entry, EntryKind, Membership, RaftMember
from raft_app.engine.replica import Applied, CheckpointMark
from raft_app.storage.protocol import Checkpoint

MINE = Membership(voters=(RaftMember(1, 1), RaftMember(2, 2)), version=1)
OTHERS = Membership(voters=(RaftMember(2, 2),), version=2)


def begun(membership: Membership = MINE, index: int = 10) -> Applied:
    return Applied(Checkpoint(index, 2, membership, 3, b"state"), 5, replica_id=1)


def entry(index: int, data: bytes = b"", kind: EntryKind = EntryKind.COMMAND) -> Entry:
    return Entry(index, 3, kind, data)


def change(index: int, membership: Membership) -> Entry:
    return entry(index, membership.encode(), EntryKind.MEMBERSHIP)


def test_a_checkpoint_holds_what_was_applied_last():
    applied = begun()
    applied.advance(entry(11))
    applied.change_membership(change(12, OTHERS))
    applied.advance(change(12, OTHERS))
    assert applied.checkpoint(b"new", 7) == Checkpoint(12, 3, OTHERS, 12, b"new")
    assert applied.durable == CheckpointMark(10, 5)
    applied.stored(applied.handed_over)
    assert applied.durable == CheckpointMark(12, 7)


def test_an_older_checkpoint_that_becomes_durable_late_is_ignored():
    applied = begun()
    applied.stored(CheckpointMark(9, 4))
    assert applied.durable == CheckpointMark(10, 5)


def test_a_checkpoint_is_due_after_many_entries_or_bytes_or_when_messages_may_go():
    applied = begun()
    assert not applied.checkpoint_due(9, entries=1, min_bytes=1)
    applied.advance(entry(11, b"x" * 100))
    assert not applied.checkpoint_due(5, entries=2, min_bytes=200)
    assert applied.checkpoint_due(5, entries=1, min_bytes=200)
    assert applied.checkpoint_due(5, entries=2, min_bytes=150)
    assert applied.checkpoint_due(6, entries=2, min_bytes=200)
    applied.checkpoint(b"x" * 1_000, 6)
    applied.advance(entry(12, b"x" * 100))
    assert not applied.checkpoint_due(6, entries=2, min_bytes=150), "four times its size"


def test_a_replica_that_was_a_member_knows_that_it_is_removed():
    applied = begun()
    applied.change_membership(change(11, OTHERS))
    assert applied.is_removed
    joining = begun(Membership())
    joining.change_membership(change(11, OTHERS))
    assert not joining.is_removed, "memberships before it was added say nothing"
    joining.change_membership(change(12, MINE))
    joining.change_membership(change(13, OTHERS))
    assert joining.is_removed


def test_a_snapshot_begins_anew():
    applied = begun()
    applied.restore(Checkpoint(40, 5, MINE, 30, b"snapshot"), 20)
    assert (applied.index, applied.term, applied.membership_index) == (40, 5, 30)
    assert applied.durable == applied.handed_over == CheckpointMark(40, 20)
    assert applied.sizes.size_bytes == 0
    assert not applied.is_removed
    applied.restore(Checkpoint(50, 5, OTHERS, 45, b"snapshot"), 20)
    assert applied.is_removed
