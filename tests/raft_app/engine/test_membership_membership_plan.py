"""From the members that a group has to those that it should have, step by step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_app.core.membership_change import changed_membership
from raft_app.core.types import AddLearner, Membership, Promote, RaftMember, Remove
from raft_app.engine.membership import HandOver, next_steps

ONE, TWO, THREE, FOUR, FIVE = (RaftMember(10 + broker, broker) for broker in range(1, 6))


def members(*voters: RaftMember, learners: tuple[RaftMember, ...] = ()) -> Membership:
    return Membership(voters=voters, learners=learners)


def run(membership: Membership, target: tuple[RaftMember, ...], leader: int) -> list[object]:
    """Do every first step at once; whoever leads after a hand-over is the first that may."""
    done: list[object] = []
    while steps := next_steps(membership, target, leader=leader):
        step = steps[0]
        done.append(step)
        assert len(done) < 40, done
        if isinstance(step, HandOver):
            leader = step.to[0]
        else:
            assert step != Remove(leader), "a leader never removes itself"
            membership = changed_membership(membership, step)
    assert set(membership.members) == set(membership.voters) == set(target)
    return done


def test_a_new_replica_comes_before_an_old_one_goes():
    steps = run(members(ONE, TWO, THREE), (ONE, TWO, FOUR), leader=11)
    assert steps == [AddLearner(FOUR), Promote(14), Remove(13)]


def test_a_leader_that_is_to_go_hands_over_when_all_else_is_done():
    steps = run(members(ONE, TWO, THREE), (TWO, THREE, FOUR), leader=11)
    assert steps == [AddLearner(FOUR), Promote(14), HandOver((12, 13, 14)), Remove(11)]


def test_voters_come_and_go_one_at_a_time():
    steps = run(members(ONE, TWO, THREE), (ONE, FOUR, FIVE), leader=11)
    assert steps == [
        AddLearner(FOUR),
        AddLearner(FIVE),
        Promote(14),
        Remove(12),
        Promote(15),
        Remove(13),
    ]


def test_on_one_broker_the_old_replica_goes_first():
    new = RaftMember(23, 3)
    steps = run(members(ONE, TWO, THREE), (ONE, TWO, new), leader=11)
    assert steps == [Remove(13), AddLearner(new), Promote(23)]


def test_a_leader_whose_broker_gets_another_replica_hands_over_at_once():
    new = RaftMember(21, 1)
    steps = run(members(ONE, TWO, THREE), (new, TWO, THREE), leader=11)
    assert steps == [HandOver((12, 13)), Remove(11), AddLearner(new), Promote(21)]


def test_learners_of_an_earlier_plan_go_first():
    before = members(ONE, TWO, THREE, learners=(FOUR,))
    assert next_steps(before, (ONE, TWO, THREE), leader=11) == [Remove(14)]


def test_groups_grow_and_shrink():
    assert run(members(ONE), (ONE, TWO, THREE), leader=11) == [
        AddLearner(TWO),
        AddLearner(THREE),
        Promote(12),
        Promote(13),
    ]
    assert run(members(ONE, TWO, THREE), (ONE,), leader=12) == [
        Remove(13),
        HandOver((11,)),
        Remove(12),
    ]


def test_who_does_not_answer_goes_before_who_does():
    before = members(ONE, TWO, THREE, FOUR, FIVE)
    steps = next_steps(before, (ONE, TWO), leader=11, heard={12, 13, 15})
    assert steps == [Remove(14), Remove(13), Remove(15)]


def test_nothing_is_left_when_the_members_are_those_wanted():
    assert next_steps(members(ONE, TWO), (TWO, ONE), leader=11) == []


@pytest.mark.parametrize("handed_over_to", [0, -1])
@given(st.data())
def test_every_target_is_reached_and_the_group_never_shrinks_below_it(handed_over_to, data):
    brokers = st.lists(st.integers(1, 6), min_size=1, max_size=5, unique=True)
    membership = members(*(RaftMember(10 + one, one) for one in data.draw(brokers)))
    target = tuple(
        RaftMember(data.draw(st.sampled_from([10, 20])) + one, one) for one in data.draw(brokers)
    )
    leader = data.draw(st.sampled_from([member.replica_id for member in membership.voters]))
    # A replica that makes room for another one on its broker was one too few already.
    replaced = {
        old.replica_id
        for old in membership.voters
        for new in target
        if old.broker_id == new.broker_id and old != new
    }
    least = min(len(membership.voters), len(target)) - len(replaced)
    count = 0
    while steps := next_steps(membership, target, leader=leader):
        step = data.draw(st.sampled_from(steps))
        count += 1
        assert count < 60
        if isinstance(step, HandOver):
            if not step.to:
                # The last replica cannot be replaced on its own broker by another one.
                assert [one.broker_id for one in target] == [leader % 10]
                return
            leader = step.to[handed_over_to]
            continue
        assert step != Remove(leader)
        membership = changed_membership(membership, step)
        assert len(membership.voters) >= max(1, least)
    assert set(membership.members) == set(membership.voters) == set(target)
