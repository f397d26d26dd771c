"""One group driven by hand: no engine, no threads, no network."""

from __future__ import annotations

import pytest

from myqueue.contract.errors import CommitTimeout, NoLeader, NotLeader, Overloaded
from raft_app.core.bootstrap import bootstrap_state
from raft_app.core.config import RaftConfig
from raft_app.core.rawnode import RawNode
from raft_app.core.types import (
    AppendEntries,
    AppendEntriesReply,
    Entry,
    EntryKind,
    Heartbeat,
    Member,
    Membership,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    Role,
)
from raft_app.engine.replica import STRANGERS_MAX, Group, Turn
from raft_app.statemachine import Answer, InconsistentEntry
from raft_app.storage.protocol import Checkpoint, GroupSpec, SaveCheckpoint, SetFaulty
from tests.raft_app.engine.engine_harness import ListMachine

THREE = Membership(voters=(Member(1, 10), Member(2, 20), Member(3, 30)), version=1)
ALONE = Membership(voters=(Member(1, 10),), version=1)


def make(membership: Membership = ALONE, **limits) -> Group:
    spec = GroupSpec(7, 1, "logs", 0)
    initial = bootstrap_state(1, membership)
    node = RawNode(RaftConfig(**limits), initial, randomizer=lambda low, high: low)
    return Group(spec, node, ListMachine(spec, b""), Checkpoint(0, 0, membership, 0, b""))


def turn_of(group: Group, *, durable: bool = True) -> Turn:
    """Drain the group; make its writes durable at once when asked to."""
    turn = Turn()
    for _ in range(10):
        group.drain(turn)
        pending = [write for _, _, write in turn.writes if write is not None]
        turn.writes = [one for one in turn.writes if one[2] is None]
        if not pending:
            break
        if not durable:
            turn.writes.extend((group, None, write) for write in pending)
            break
        for write in pending:
            group.persisted(write, turn)
    return turn


def lead(group: Group) -> Turn:
    group.node.campaign()
    return turn_of(group)


def propose(group: Group, text: str, kind: str = "append"):
    return group.propose((kind, text), now_ms=1, clock_ms=1)


async def test_single_voter_leads_and_serves_once_its_vote_and_no_op_are_durable():
    group = make()
    group.node.campaign()
    turn = turn_of(group, durable=False)
    assert not group.serves
    for _, _, write in turn.writes:
        group.persisted(write, turn)
    turn_of(group)
    assert group.serves
    assert group.leader_broker_id == 10


async def test_request_is_answered_with_what_the_state_machine_made_of_it():
    group = make()
    lead(group)
    first, second = propose(group, "a"), propose(group, "b", "add")
    assert not first.done()
    turn_of(group)
    assert (first.result(), second.result()) == (0, 1)
    assert isinstance(propose(group, "a"), Answer)


async def test_nothing_is_taken_before_it_serves():
    group = make(THREE)
    with pytest.raises(NoLeader):
        propose(group, "a")
    with pytest.raises(NoLeader):
        group.ask_read()


async def test_follower_names_the_leaders_broker():
    group = make(THREE)
    assert group.step(20, Heartbeat(to=1, sender=2, term=5, commit=0))
    turn_of(group)
    with pytest.raises(NotLeader) as caught:
        propose(group, "a")
    assert caught.value.details["leader"] == {"broker_id": 20}
    assert group.hears_leader


async def test_vote_leaves_only_once_it_is_durable():
    group = make(THREE)
    request = RequestVote(to=1, sender=2, term=5, last_index=9, last_term=4)
    assert group.step(20, request)
    turn = turn_of(group, durable=False)
    assert turn.rpcs == {}
    [(_, _, write)] = turn.writes
    group.persisted(write, turn)
    [(_, reply)] = turn.rpcs[20]
    assert reply == RequestVoteReply(to=2, sender=1, term=5, granted=True)


async def test_rpc_for_another_replica_or_from_another_broker_is_refused():
    group = make(THREE)
    assert not group.step(20, Heartbeat(to=9, sender=2, term=5, commit=0))
    assert not group.step(30, Heartbeat(to=1, sender=2, term=5, commit=0))
    assert group.term == 1


async def test_stranger_is_answered_on_the_connection_that_it_came_from():
    group = make(THREE)
    assert group.step(90, PreVote(to=1, sender=9, term=2, last_index=0, last_term=0))
    turn = turn_of(group)
    [(_, reply)] = turn.rpcs[90]
    assert isinstance(reply, PreVoteReply)


async def test_too_much_uncommitted_is_overloaded_and_appends_nothing():
    group = make(max_uncommitted_entries=2)
    lead(group)
    propose(group, "a")
    propose(group, "b")
    last_index = group.last_index
    with pytest.raises(Overloaded):
        propose(group, "c")
    assert group.last_index == last_index


async def test_replaced_entry_answers_its_waiter_with_not_leader():
    group = make(THREE)
    group.node.campaign()
    turn_of(group)
    group.step(20, PreVoteReply(to=1, sender=2, term=2, granted=True))
    turn_of(group)
    group.step(20, RequestVoteReply(to=1, sender=2, term=2, granted=True))
    turn_of(group)
    group.step(20, AppendEntriesReply(to=1, sender=2, term=2, success=True, index=2, last_index=2))
    turn_of(group)
    assert group.serves
    waiting = propose(group, "lost")
    turn_of(group)
    noop = Entry(3, 5, EntryKind.NOOP)
    group.step(20, AppendEntries(1, 2, 5, 2, 2, (noop,), 3))
    turn_of(group)
    with pytest.raises(NotLeader):
        waiting.result()


async def test_confirmed_read_of_a_single_voter_needs_no_round():
    group = make()
    lead(group)
    read = group.ask_read()
    turn_of(group)
    assert read.done()


async def test_checkpoint_is_due_after_entries_or_bytes():
    group = make()
    lead(group)
    turn_of(group)
    assert group.checkpoint_due(entries=2, min_bytes=1 << 30)
    operation = group.checkpoint()
    assert isinstance(operation, SaveCheckpoint)
    assert operation.checkpoint.applied_index == group.applied_index
    assert operation.checkpoint.membership == ALONE
    assert not group.checkpoint_due(entries=1, min_bytes=1)
    propose(group, "x" * 500)
    turn_of(group)
    assert group.checkpoint_due(entries=1_000, min_bytes=400)


async def test_inconsistent_entry_ends_the_group_and_its_waiters():
    group = make()
    lead(group)
    waiting = propose(group, "a")

    def refuse(entry):
        raise InconsistentEntry("it does not fit")

    group.state_machine.apply = refuse
    turn = turn_of(group)
    assert [operation for _, operation, _ in turn.writes] == [
        SetFaulty(7, "entry 3: it does not fit")
    ]
    with pytest.raises(CommitTimeout):
        waiting.result()
    assert not group.step(20, Heartbeat(to=1, sender=2, term=9, commit=0))
    assert not group.hears_leader
    assert (group.is_leader, group.role, group.leader_broker_id) == (False, Role.FOLLOWER, 0)


async def test_leader_reports_the_progress_of_its_followers():
    group = make(THREE)
    assert group.progress() == []
    group.node.campaign()
    turn_of(group)
    group.step(20, PreVoteReply(to=1, sender=2, term=2, granted=True))
    turn_of(group)
    group.step(20, RequestVoteReply(to=1, sender=2, term=2, granted=True))
    turn_of(group)
    followers = {one["broker_id"]: one["lag_entries"] for one in group.progress()}
    assert followers.keys() == {20, 30}


async def test_acknowledgement_does_not_leave_once_a_snapshot_replaces_the_log():
    group = make(THREE)
    entry = Entry(2, 2, EntryKind.NOOP, b"", 0, 0, 0)
    group.step(20, AppendEntries(1, 2, 2, 1, 1, (entry,), 1))
    turn = turn_of(group, durable=False)
    [(_, _, write)] = turn.writes
    group.install_offset = 0
    group.persisted(write, turn)
    assert turn.rpcs.get(20, []) == []

    group = make(THREE)
    group.step(20, AppendEntries(1, 2, 2, 1, 1, (entry,), 1))
    [(_, reply)] = turn_of(group).rpcs[20]
    assert isinstance(reply, AppendEntriesReply)
    assert (reply.success, reply.index) == (True, 2)


async def test_new_senders_are_heard_however_many_there_have_been():
    group = make(THREE)
    senders = range(100, 100 + STRANGERS_MAX + 1)
    assert all(group.admits(99, 1, sender) for sender in senders)
    assert group.broker_of(senders[-1]) == 99
    assert group.broker_of(senders[0]) == 0
