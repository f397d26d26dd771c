"""Tests of the state that replicas start from."""

from __future__ import annotations

import pytest

from raft_app.core.bootstrap import bootstrap_state, joining_state
from raft_app.core.config import RaftConfig
from raft_app.core.rawnode import RawNode
from raft_app.core.types import EntryKind, Membership, Role
from tests.raft_app.core.group import fixed_randomizer, members

LIST = Membership(members(2), members(1, first=3))


def test_every_replica_of_the_first_list_starts_from_the_same_log():
    states = [bootstrap_state(replica_id, LIST) for replica_id in (1, 2, 3)]

    assert states[0].entries == states[1].entries == states[2].entries
    assert [(entry.index, entry.kind) for entry in states[0].entries] == [(1, EntryKind.MEMBERSHIP)]
    assert Membership.decode(states[0].entries[0].data) == LIST


def test_the_first_entry_counts_as_committed_and_is_handed_out():
    node = RawNode(RaftConfig(), bootstrap_state(1, LIST), randomizer=fixed_randomizer(1))

    assert (node.commit_index, node.applied_index, node.membership_index) == (1, 0, 1)
    assert [entry.index for entry in node.ready().committed] == [1]


def test_a_list_without_the_replica_or_without_voters_is_refused():
    with pytest.raises(ValueError, match="replica 9 is not in"):
        bootstrap_state(9, LIST)
    with pytest.raises(ValueError, match="needs a voter"):
        bootstrap_state(3, Membership(learners=members(1, first=3)))


def test_a_joining_replica_never_campaigns():
    node = RawNode(RaftConfig(), joining_state(9), randomizer=fixed_randomizer(9))

    for _ in range(1000):
        node.tick()
    node.campaign()

    assert not node.campaign_hint()
    assert (node.role, node.term, node.has_ready()) == (Role.LEARNER, 0, False)
