"""Ranks and successors; hints and transfers themselves are tested through the engine."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from myqueue.contract.errors import CommitTimeout
from raft_app.engine.failover import Failover, best_successor, hint_rank, turn_of


def replica(replica_id: int, *, group_id: int = 0, voters=(1, 2, 3), progress=()):
    return SimpleNamespace(
        group_id=group_id,
        spec=SimpleNamespace(replica_id=replica_id),
        node=SimpleNamespace(membership=SimpleNamespace(voter_ids=frozenset(voters))),
        progress=lambda: [
            SimpleNamespace(replica_id=peer, broker_id=10 * peer, match_index=match)
            for peer, match in progress
        ],
    )


def test_survivors_have_different_ranks_from_zero():
    ranks = {hint_rank(replica(one), lost=2) for one in (1, 3)}
    assert ranks == {0, 1}


def test_groups_share_the_work_of_campaigning():
    first = [
        one
        for group_id in (0, 1)
        for one in (1, 3)
        if hint_rank(replica(one, group_id=group_id), lost=2) == 0
    ]
    assert sorted(first) == [1, 3]


def test_turns_of_many_groups_are_spread_evenly_and_alike_everywhere():
    turns = sorted(turn_of(group_id, 1_000) for group_id in range(1, 1_001))
    assert turns[0] >= 0
    assert turns[-1] < 1_000
    assert all(abs(turn - place) < 50 for place, turn in enumerate(turns))


def test_a_single_group_does_not_wait_for_others():
    assert {turn_of(group_id, 1) for group_id in range(1, 100)} == {0}


def test_replica_that_is_no_voter_comes_last():
    assert hint_rank(replica(9), lost=1) == 2


def test_successor_is_the_voter_with_the_longest_log():
    assert best_successor(replica(1, progress=[(2, 5), (3, 9)])) == 30


def test_learner_is_no_successor():
    assert best_successor(replica(1, progress=[(2, 5), (9, 100)])) == 20


def test_alone_there_is_no_successor():
    assert best_successor(replica(1, voters=(1,))) == 0


async def test_a_transfer_that_timed_out_leaves_nothing_behind():
    def transfer_leadership(_: int) -> None:
        pass

    led = replica(1)
    led.replica_on = lambda _: 2
    led.is_leader, led.label = True, "partition 0"
    led.node.transfer_leadership = transfer_leadership
    failover = Failover(
        {0: led}, mark=lambda _: None, randomizer=lambda low, _: low, hears=lambda _: True
    )
    for _ in range(3):
        with pytest.raises(CommitTimeout):
            await failover.transfer(led, 20, timeout_ms=1)
    assert failover._transfers == {}


def follower(group_id: int, *, broker_id: int = 3, voters=((1, 1), (2, 2), (3, 3))):
    """Return a replica that sleeps, led by broker 1, and notes its hints."""
    made = replica(broker_id, group_id=group_id)
    made.hints = 0

    def campaign_hint() -> None:
        made.hints += 1

    members = tuple(SimpleNamespace(replica_id=one, broker_id=on) for one, on in voters)
    made.node.membership.voters = members
    made.node.leader, made.node.is_leader, made.node.should_wake = 1, False, False
    made.node.report_connection_lost = lambda _, *, wakes: None
    made.node.campaign_hint = campaign_hint
    made.replica_on = lambda broker: broker
    made.faulty, made.is_leader, made.hears_leader, made.is_asleep = "", False, False, True
    made.leader_broker_id = 0
    return made


async def test_what_is_due_at_once_does_not_wait_behind_what_is_due_later():
    later, soon = follower(2), follower(3)
    replicas = {2: later}
    failover = Failover(
        replicas, mark=lambda _: None, randomizer=lambda low, _: low, hears=lambda _: True
    )
    failover.begin()
    assert hint_rank(later, lost=1) == 1
    assert hint_rank(soon, lost=1) == 0
    failover.connection_lost(1)
    replicas[3] = soon
    later.replica_on = lambda _: 0
    failover.connection_lost(1)
    assert (list(failover._hints), list(failover._turns)) == ([3], [2])
    async with asyncio.timeout(5):
        while not later.hints:
            await asyncio.sleep(0.01)
    assert soon.hints
    await failover.stop()
