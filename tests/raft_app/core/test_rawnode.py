"""Tests of the contract between a node and its caller."""

from __future__ import annotations

import pytest

from raft_app.core.config import RaftConfig
from raft_app.core.raft import COMMIT_HINT_ENTRIES
from raft_app.core.rawnode import RawNode
from raft_app.core.types import (
    HardState,
    Heartbeat,
    Membership,
    RaftMember,
    Ready,
    RequestVote,
    Role,
    SoftState,
)
from tests.raft_app.core.group import (
    HEARTBEAT,
    Group,
    append,
    data,
    entries_of,
    fixed_randomizer,
    stored,
)


def test_an_idle_node_has_nothing_ready():
    group = Group(3)
    group.elect(1)
    group.tick(3 * HEARTBEAT)

    assert not any(group[replica_id].has_ready() for replica_id in (1, 2, 3))
    assert group[2].ready() == Ready(after_write_id=group.replicas[2].durable_write_id)


def test_ready_says_everything_once():
    group = Group(3)
    group.collect()
    group[1].step(append(1, 2, term=2, prev=(1, 1), entries=entries_of([2], first_index=2)))

    first, second = group[1].ready(), group[1].ready()

    assert first.write is not None
    assert first.send_after_durable
    assert second == Ready(after_write_id=first.after_write_id)


def test_writes_are_numbered_one_by_one():
    group = Group(3)
    group.collect()
    numbers = []
    for index in (2, 3, 4):
        entries = entries_of([2], first_index=index)
        group[1].step(
            append(1, 2, term=2, prev=(index - 1, 1 if index == 2 else 2), entries=entries)
        )
        write = group[1].ready().write
        assert write is not None
        numbers.append(write.write_id)

    assert numbers == [1, 2, 3]


def test_a_reply_that_stores_nothing_still_waits_for_the_writes_under_way():
    group = Group(3)
    group.collect()
    group[1].step(append(1, 2, term=2, prev=(1, 1), entries=entries_of([2], first_index=2)))
    group[1].ready()

    group[1].step(append(1, 2, term=2, prev=(2, 2)))
    ready = group[1].ready()

    assert ready.write is None
    assert (len(ready.send_after_durable), ready.after_write_id) == (1, 1)


def test_a_vote_is_in_the_write_that_its_reply_waits_for():
    group = Group(3)
    group.collect()
    group[1].step(RequestVote(1, 2, 5, 1, 1))

    ready = group[1].ready()

    assert ready.write is not None
    assert ready.write.hard_state == HardState(term=5, vote=2, commit=1)
    assert ready.send_now == ()
    assert ready.after_write_id == ready.write.write_id


def test_the_commit_index_alone_is_not_worth_a_write():
    group = Group(3, logs={1: [1, 1], 2: [1, 1], 3: [1, 1]})
    group[1].step(Heartbeat(1, 2, 1, 0))
    group.collect()

    group[1].step(Heartbeat(1, 2, 1, 2))
    ready = group[1].ready()

    assert ready.write is None
    assert [entry.index for entry in ready.committed] == [1, 2]


def test_the_commit_index_goes_along_with_entries_only_when_it_moved_far():
    group = Group(3)
    group.collect()
    hints = []
    for index in range(2, 4 + 2 * COMMIT_HINT_ENTRIES):
        entries = entries_of([1], first_index=index)
        group[1].step(append(1, 2, term=1, prev=(index - 1, 1), entries=entries, commit=index - 1))
        write = group[1].ready().write
        assert write is not None
        assert write.entries == entries
        if write.hard_state is not None:
            hints.append(write.hard_state)

    assert [state.commit for state in hints] == [
        1 + COMMIT_HINT_ENTRIES,
        1 + 2 * COMMIT_HINT_ENTRIES,
    ]
    assert {(state.term, state.vote) for state in hints} == {(1, 0)}


def test_a_changed_soft_state_is_told_once():
    group = Group(3)
    group.collect()

    group[1].step(Heartbeat(1, 2, 4, 0))

    assert group[1].ready().soft_state == SoftState(Role.FOLLOWER, leader=2, term=4)
    group[1].step(Heartbeat(1, 2, 4, 0))
    assert group[1].ready().soft_state is None


def test_a_restart_hands_out_what_was_known_to_be_committed():
    membership = Membership((RaftMember(1, 10), RaftMember(2, 20)))
    initial = stored(1, membership, [1, 1, 2])
    node = RawNode(
        RaftConfig(),
        type(initial)(
            replica_id=1,
            hard_state=HardState(term=3, vote=2, commit=2),
            membership=membership,
            membership_index=0,
            applied_index=1,
            term_starts=initial.term_starts,
            last_index=3,
            entries=initial.entries[1:],
        ),
        randomizer=fixed_randomizer(1),
    )

    ready = node.ready()

    assert [entry.index for entry in ready.committed] == [2]
    assert ready.write is None
    assert (node.term, node.applied_index, node.last_index) == (3, 1, 3)


def test_a_leader_serves_only_after_its_no_op_is_applied():
    group = Group(1)
    node = group[1]
    node.campaign()
    seen = []
    while node.has_ready():
        ready = node.ready()
        if ready.write is not None:
            node.persisted(ready.write.write_id)
        seen.append((node.is_leader, node.serves))
        if ready.committed:
            node.applied(ready.committed[-1].index)

    assert (True, False) in seen
    assert node.serves


def test_entries_are_not_handed_out_before_they_are_durable_here():
    group = Group(3)
    group.elect(1)
    group.tick(HEARTBEAT)
    group.slow_disks = {1}

    group.propose(1, "x")
    assert group[1].commit_index == 3
    assert group.applied_data(1) == []
    group.replicas[1].persist()
    group.settle()

    assert group.applied_data(1) == ["x"]


def test_reads_are_confirmed_at_the_commit_index_of_their_call():
    group = Group(3)
    group.elect(1)

    group[1].read_index(5)
    group[1].propose([data("x")])
    group.settle()

    assert group.replicas[1].reads == [(5, 2)]


def test_the_same_inputs_give_the_same_outputs():
    def run() -> list[object]:
        group = Group(3)
        group.elect(1)
        group.propose(1, "a", "b")
        group.isolate(1)
        group.tick(60)
        group.heal()
        group.tick(60)
        return [*group.sent, *(replica.node.status() for replica in group.replicas.values())]

    assert run() == run()


@pytest.mark.parametrize("voters", [1, 2, 3, 4, 5, 7])
def test_groups_of_every_size_replicate(voters: int):
    group = Group(voters)
    group.elect(1)
    group.propose(1, *"abc")
    group.tick(HEARTBEAT)

    assert all(group.applied_data(replica_id) == list("abc") for replica_id in group.replicas)
