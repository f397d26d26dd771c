"""One group driven by hand: no engine, no threads, no network."""

from __future__ import annotations

import asyncio

import pytest

from http_base.memory_budget import MemoryBudget
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
    Membership,
    PreVote,
    PreVoteReply,
    RaftMember,
    RequestVote,
    RequestVoteReply,
    Role,
)
from raft_app.engine.replica import STRANGERS_MAX, Effects, Replica
from raft_app.engine.windows import UNCOUNTED_BYTES, PeerWindows
from raft_app.statemachine import CommandAnswer, InconsistentEntry
from raft_app.storage.protocol import Checkpoint, GroupSpec, SaveCheckpoint, SetFaulty
from tests.raft_app.engine.engine_harness import ListMachine

THREE = Membership(voters=(RaftMember(1, 10), RaftMember(2, 20), RaftMember(3, 30)), version=1)
ALONE = Membership(voters=(RaftMember(1, 10),), version=1)


def make(
    membership: Membership = ALONE, *, windows: PeerWindows | None = None, **limits
) -> Replica:
    spec = GroupSpec(7, 1, "logs", 0)
    initial = bootstrap_state(1, membership)
    node = RawNode(RaftConfig(**limits), initial, randomizer=lambda low, high: low)
    checkpoint = Checkpoint(0, 0, membership, 0, b"")
    machine = ListMachine(spec, b"")
    budget = MemoryBudget()
    return Replica(spec, node, machine, checkpoint, memory=budget, windows=windows)


def turn_of(replica: Replica, *, durable: bool = True) -> Effects:
    """Drain the group; make its writes durable at once when asked to."""
    effects = Effects()
    for _ in range(10):
        replica.drain(effects)
        replica.is_ticked = not replica.is_asleep
        pending = [write for _, _, write in effects.writes if write is not None]
        effects.writes = [one for one in effects.writes if one[2] is None]
        committed, effects.committed = effects.committed, []
        for _, entries in committed:
            replica.apply(entries, effects)
        if not pending:
            break
        if not durable:
            effects.writes.extend((replica, None, write) for write in pending)
            break
        for write in pending:
            replica.persisted(write, effects)
    return effects


def lead(replica: Replica) -> Effects:
    replica.node.campaign()
    return turn_of(replica)


def propose(replica: Replica, text: str, kind: str = "append"):
    """Return the answer, or what is told it."""
    waiting = asyncio.get_running_loop().create_future()
    return replica.propose((kind, text), waiting, now_ms=1, clock_ms=1) or waiting


async def test_single_voter_leads_and_serves_once_its_vote_and_no_op_are_durable():
    replica = make()
    replica.node.campaign()
    effects = turn_of(replica, durable=False)
    assert not replica.serves
    for _, _, write in effects.writes:
        replica.persisted(write, effects)
    turn_of(replica)
    assert replica.serves
    assert replica.leader_broker_id == 10


async def test_request_is_answered_with_what_the_state_machine_made_of_it():
    replica = make()
    lead(replica)
    first, second = propose(replica, "a"), propose(replica, "b", "add")
    assert not first.done()
    turn_of(replica)
    assert (first.result(), second.result()) == (0, 1)
    assert isinstance(propose(replica, "a"), CommandAnswer)


async def test_nothing_is_taken_before_it_serves():
    replica = make(THREE)
    with pytest.raises(NoLeader):
        propose(replica, "a")
    with pytest.raises(NoLeader):
        replica.ask_read()


async def test_follower_names_the_leaders_broker():
    replica = make(THREE)
    assert replica.step(20, Heartbeat(to=1, sender=2, term=5, commit=0))
    turn_of(replica)
    with pytest.raises(NotLeader) as caught:
        propose(replica, "a")
    assert caught.value.details["leader"] == {"broker_id": 20}
    assert replica.hears_leader


async def test_vote_leaves_only_once_it_is_durable():
    replica = make(THREE)
    request = RequestVote(to=1, sender=2, term=5, last_index=9, last_term=4)
    assert replica.step(20, request)
    effects = turn_of(replica, durable=False)
    assert effects.rpcs == {}
    [(_, _, write)] = effects.writes
    replica.persisted(write, effects)
    [(_, reply)] = effects.rpcs[20]
    assert reply == RequestVoteReply(to=2, sender=1, term=5, granted=True)


async def test_rpc_for_another_replica_or_from_another_broker_is_refused():
    replica = make(THREE)
    assert not replica.step(20, Heartbeat(to=9, sender=2, term=5, commit=0))
    assert not replica.step(30, Heartbeat(to=1, sender=2, term=5, commit=0))
    assert replica.node.term == 1


async def test_stranger_is_answered_on_the_connection_that_it_came_from():
    replica = make(THREE)
    assert replica.step(90, PreVote(to=1, sender=9, term=2, last_index=0, last_term=0))
    effects = turn_of(replica)
    [(_, reply)] = effects.rpcs[90]
    assert isinstance(reply, PreVoteReply)


async def test_too_much_uncommitted_is_overloaded_and_appends_nothing():
    replica = make(max_uncommitted_entries=2)
    lead(replica)
    propose(replica, "a")
    propose(replica, "b")
    last_index = replica.node.last_index
    with pytest.raises(Overloaded):
        propose(replica, "c")
    assert replica.node.last_index == last_index


async def test_replaced_entry_answers_its_waiter_with_not_leader():
    replica = make(THREE)
    replica.node.campaign()
    turn_of(replica)
    replica.step(20, PreVoteReply(to=1, sender=2, term=2, granted=True))
    turn_of(replica)
    replica.step(20, RequestVoteReply(to=1, sender=2, term=2, granted=True))
    turn_of(replica)
    replica.step(
        20, AppendEntriesReply(to=1, sender=2, term=2, success=True, index=2, last_index=2)
    )
    turn_of(replica)
    assert replica.serves
    waiting = propose(replica, "lost")
    turn_of(replica)
    noop = Entry(3, 5, EntryKind.NOOP)
    replica.step(20, AppendEntries(1, 2, 5, 2, 2, (noop,), 3))
    turn_of(replica)
    with pytest.raises(NotLeader):
        waiting.result()


async def test_an_acknowledgement_that_settles_nothing_needs_no_turn_and_is_counted():
    windows = PeerWindows(peer_bytes_max=1 << 30, total_bytes_max=1 << 30, group_bytes_max=1 << 20)
    replica = make(THREE, windows=windows)
    replica.node.campaign()
    turn_of(replica)
    for answer in (PreVoteReply, RequestVoteReply):
        replica.step(20, answer(to=1, sender=2, term=2, granted=True))
        turn_of(replica)

    def acknowledge(replica_id: int, index: int) -> bool:
        reply = AppendEntriesReply(1, replica_id, 2, success=True, index=index, last_index=index)
        assert replica.step(10 * replica_id, reply)
        return replica.has_news()

    for replica_id in (2, 3):
        acknowledge(replica_id, 2)
        turn_of(replica)
    waiting = propose(replica, "a" * UNCOUNTED_BYTES)
    assert replica.has_news()
    turn_of(replica)
    assert not replica.has_news()
    assert windows.used_bytes(20) == windows.used_bytes(30) > UNCOUNTED_BYTES
    assert acknowledge(2, 3)
    turn_of(replica)
    assert waiting.done()
    assert (windows.used_bytes(20), windows.used_bytes(30) > 0) == (0, True)
    assert not acknowledge(3, 3)
    assert windows.used_bytes(30) == 0
    propose(replica, "b")
    turn_of(replica)
    assert windows.used_bytes(20) == windows.used_bytes(30) == 0


async def test_an_acknowledgement_needs_a_turn_while_groups_wait_for_room():
    windows = PeerWindows(peer_bytes_max=100, total_bytes_max=100, group_bytes_max=100)
    replica = make(THREE, windows=windows)
    turn_of(replica)
    assert not replica.has_news()
    windows.count(8, [(20, 10, False)])
    assert windows.is_tight
    assert replica.has_news()


async def test_confirmed_read_of_a_single_voter_needs_no_round():
    replica = make()
    lead(replica)
    read = replica.ask_read()
    turn_of(replica)
    assert read.done()


async def test_checkpoint_is_due_after_entries_or_bytes():
    replica = make()
    lead(replica)
    turn_of(replica)
    assert replica.checkpoint_due(entries=2, min_bytes=1 << 30)
    operation = replica.checkpoint()
    assert isinstance(operation, SaveCheckpoint)
    assert operation.checkpoint.applied_index == replica.applied.index
    assert operation.checkpoint.membership == ALONE
    assert not replica.checkpoint_due(entries=1, min_bytes=1)
    propose(replica, "x" * 500)
    turn_of(replica)
    assert replica.checkpoint_due(entries=1_000, min_bytes=400)


async def test_inconsistent_entry_ends_the_group_and_its_waiters():
    replica = make()
    lead(replica)
    waiting = propose(replica, "a")

    def refuse(entry):
        raise InconsistentEntry("it does not fit")

    replica.state_machine.apply = refuse
    turn_of(replica)
    assert replica.fault() == SetFaulty(7, "entry 3: it does not fit")
    with pytest.raises(CommitTimeout):
        waiting.result()
    assert not replica.step(20, Heartbeat(to=1, sender=2, term=9, commit=0))
    assert not replica.hears_leader
    assert (replica.is_leader, replica.role, replica.leader_broker_id) == (False, Role.FOLLOWER, 0)


async def test_leader_reports_the_progress_of_its_followers():
    replica = make(THREE)
    assert replica.progress() == []
    replica.node.campaign()
    turn_of(replica)
    replica.step(20, PreVoteReply(to=1, sender=2, term=2, granted=True))
    turn_of(replica)
    replica.step(20, RequestVoteReply(to=1, sender=2, term=2, granted=True))
    turn_of(replica)
    followers = {one.broker_id: one.lag_entries for one in replica.progress()}
    assert followers.keys() == {20, 30}


async def test_acknowledgement_does_not_leave_once_a_snapshot_replaces_the_log():
    replica = make(THREE)
    entry = Entry(2, 2, EntryKind.NOOP, b"", 0, 0, 0)
    replica.step(20, AppendEntries(1, 2, 2, 1, 1, (entry,), 1))
    effects = turn_of(replica, durable=False)
    [(_, _, write)] = effects.writes
    replica.install_offset = 0
    replica.persisted(write, effects)
    assert effects.rpcs.get(20, []) == []

    replica = make(THREE)
    replica.step(20, AppendEntries(1, 2, 2, 1, 1, (entry,), 1))
    [(_, reply)] = turn_of(replica).rpcs[20]
    assert isinstance(reply, AppendEntriesReply)
    assert (reply.success, reply.index) == (True, 2)


async def test_new_senders_are_heard_however_many_there_have_been():
    replica = make(THREE)
    senders = range(100, 100 + STRANGERS_MAX + 1)
    assert all(replica.admits(99, 1, sender) for sender in senders)
    assert replica.broker_of(senders[-1]) == 99
    assert replica.broker_of(senders[0]) == 0
