"""Tests of what one `Ready` carries away."""

from __future__ import annotations

from raft_app.core.outbox import Outbox, drain
from raft_app.core.types import (
    AppendEntriesReply,
    EntriesWanted,
    HeartbeatReply,
    RequestVoteReply,
    SnapshotWanted,
)


def success(index: int, *, to: int = 2, term: int = 1) -> AppendEntriesReply:
    """Return an acknowledgement up to `index`."""
    return AppendEntriesReply(to, 1, term, success=True, index=index, last_index=index)


def test_everything_is_taken_once():
    outbox = Outbox()
    heartbeat, vote = HeartbeatReply(2, 1, 1), RequestVoteReply(2, 1, 1, granted=True)
    wanted = EntriesWanted(2, 1, 5, 100)
    outbox.now.append(heartbeat)
    outbox.after_durable.append(vote)
    outbox.wanted.append(wanted)
    snapshot = SnapshotWanted(3)
    outbox.snapshots_wanted.append(snapshot)

    taken = (drain(outbox.now), drain(outbox.after_durable), drain(outbox.wanted))

    assert taken == ((heartbeat,), (vote,), (wanted,))
    assert drain(outbox.snapshots_wanted) == (snapshot,)
    assert not (outbox.now)
    assert not (outbox.after_durable)
    assert not (outbox.wanted)
    assert not (outbox.snapshots_wanted)


def test_an_acknowledgement_replaces_a_lesser_one_right_before_it():
    outbox = Outbox()
    for index in (3, 5, 5, 9):
        outbox.acknowledge(success(index))

    assert drain(outbox.after_durable) == (success(9),)


def test_it_replaces_nothing_else():
    outbox = Outbox()
    refusal = AppendEntriesReply(2, 1, 1, success=False, index=1)
    given = [success(5), success(4), success(6, to=3), success(7, term=2, to=3)]
    for reply in given:
        outbox.acknowledge(reply)
    outbox.after_durable.append(refusal)
    outbox.acknowledge(success(8))

    assert drain(outbox.after_durable) == (*given, refusal, success(8))


def test_only_acknowledgements_are_taken_back():
    outbox = Outbox()
    vote = RequestVoteReply(2, 1, 1, granted=True)
    refusal = AppendEntriesReply(2, 1, 1, success=False, index=1)
    outbox.after_durable += [success(5), vote, refusal, success(6)]

    outbox.drop_acknowledgements()

    assert drain(outbox.after_durable) == (vote, refusal)
