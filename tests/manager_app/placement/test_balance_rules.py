from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from manager_app.placement.balance_rules import (
    Balance,
    HeldPartition,
    HeldReplica,
    is_level,
    plan_moves,
)


@st.composite
def placements(draw, racks=("",)):
    """Brokers with racks, and partitions anywhere on some of them."""
    ids = draw(st.lists(st.integers(1, 40), min_size=3, max_size=8, unique=True))
    rack_of = {broker: draw(st.sampled_from(racks)) for broker in ids}
    partitions = []
    for group_id in range(1, draw(st.integers(1, 40)) + 1):
        brokers = draw(st.permutations(ids))[: draw(st.integers(1, 3))]
        replicas = tuple(HeldReplica(group_id * 10 + n, broker) for n, broker in enumerate(brokers))
        size_bytes = draw(st.integers(0, 9))
        partitions.append(HeldPartition(group_id, 1, brokers[0], size_bytes, replicas))
    return ids, rack_of, partitions


def balance_of(ids, racks, partitions, *, targets=None):
    held = Counter(replica.broker_id for one in partitions for replica in one.replicas)
    return Balance(ids, ids if targets is None else targets, racks, held)


def moved(partitions, moves):
    """Return group id -> brokers after the moves."""
    after = {one.group_id: [replica.broker_id for replica in one.replicas] for one in partitions}
    for move in moves:
        after[move.group_id].remove(move.source)
        after[move.group_id].append(move.target)
    return after


def in_full(ids, racks, partitions):
    """Plan and move until nothing is left to plan; return how many rounds that took."""
    for number in range(20):
        moves = plan_moves(partitions, balance_of(ids, racks, partitions))
        if not moves:
            return number, partitions
        after = moved(partitions, moves)
        partitions = [
            HeldPartition(
                one.group_id,
                2,
                one.leader,
                one.size_bytes,
                tuple(HeldReplica(n, broker) for n, broker in enumerate(after[one.group_id])),
            )
            for one in partitions
        ]
    raise AssertionError("it never rests")


@given(placements())
def test_a_partition_moves_once_and_never_to_a_broker_that_has_it(placement):
    ids, racks, partitions = placement
    moves = plan_moves(partitions, balance_of(ids, racks, partitions))
    assert len({move.group_id for move in moves}) == len(moves)
    for brokers in moved(partitions, moves).values():
        assert len(set(brokers)) == len(brokers)


@given(placements())
def test_in_the_end_no_broker_holds_two_more_that_it_could_give(placement):
    _, partitions = in_full(*placement)
    ids = placement[0]
    count = Counter(dict.fromkeys(ids, 0))
    count.update(replica.broker_id for one in partitions for replica in one.replicas)
    for source in ids:
        for target in ids:
            could = [
                one
                for one in partitions
                if source in (held := {replica.broker_id for replica in one.replicas})
                and target not in held
            ]
            assert not could or count[source] - count[target] < 2


@given(placements(racks=("", "a", "b", "c")))
def test_no_partition_is_in_fewer_racks_after_its_move_and_the_plan_comes_to_rest(placement):
    ids, racks, partitions = placement

    def spread(brokers):
        return len({racks[broker] or broker for broker in brokers})

    moves = plan_moves(partitions, balance_of(ids, racks, partitions))
    before, after = moved(partitions, []), moved(partitions, moves)
    assert all(spread(after[group]) >= spread(before[group]) for group in before)
    _, partitions = in_full(ids, racks, partitions)
    there = {racks[broker] or broker for broker in ids}
    for brokers in moved(partitions, []).values():
        assert spread(brokers) == min(len(brokers), len(there))


def held_by(*brokers, group_id=1, size_bytes=0, leader=None):
    replicas = tuple(HeldReplica(group_id * 10 + broker, broker) for broker in brokers)
    return HeldPartition(group_id, 7, leader or brokers[0], size_bytes, replicas)


def test_a_new_broker_gets_its_share_of_the_small_ones_that_others_lead():
    partitions = [
        held_by(1, 2, 3, group_id=group, size_bytes=100 - group, leader=1 + group % 3)
        for group in range(1, 13)
    ]
    moves = plan_moves(partitions, balance_of([1, 2, 3, 4], {}, partitions))
    assert [move.target for move in moves] == [4] * 9
    assert Counter(move.source for move in moves) == {1: 3, 2: 3, 3: 3}
    leaders = {one.group_id: one.leader for one in partitions}
    assert all(leaders[move.group_id] != move.source for move in moves)
    assert (moves[0].group_id, moves[0].replica_id, moves[0].version) == (11, 111, 7)


def test_a_broker_that_may_be_given_nothing_still_gives():
    partitions = [held_by(1, group_id=1), held_by(1, group_id=2), held_by(1, group_id=3)]
    to_two = plan_moves(partitions, balance_of([1, 2], {}, partitions, targets=[2]))
    assert [(move.source, move.target) for move in to_two] == [(1, 2)]
    assert plan_moves(partitions, balance_of([1, 2], {}, partitions, targets=[1])) == []


def test_what_is_on_its_way_to_a_broker_counts():
    partitions = [held_by(1, group_id=1), held_by(1, group_id=2), held_by(1, group_id=3)]
    balance = Balance([1, 2], [1, 2], {}, {1: 3, 2: 2})
    assert plan_moves(partitions, balance) == []


def test_a_second_replica_in_a_rack_moves_to_a_rack_that_has_none_but_not_the_leader():
    partition = held_by(1, 2, 3)
    racks = {1: "a", 2: "a", 3: "b", 4: "c", 5: "b"}
    (move,) = plan_moves([partition], balance_of([1, 2, 3, 4, 5], racks, [partition]))
    assert (move.source, move.target) == (2, 4)


@given(placements(racks=("", "a", "b")))
def test_where_all_is_level_there_is_no_plan(placed):
    ids, racks, partitions = placed
    balance = balance_of(ids, racks, partitions)
    if is_level(balance):
        assert plan_moves(partitions, balance) == []


def test_level_are_brokers_with_racks_of_their_own_and_a_replica_more_at_most():
    racks = {1: "a", 2: "b", 3: ""}
    held = {1: 7, 2: 8, 3: 7}
    assert is_level(Balance(racks, racks, racks, held))
    assert not is_level(Balance(racks, racks, racks, {**held, 3: 6}))
    assert is_level(Balance(racks, {1, 2}, racks, {**held, 3: 6}))
    assert not is_level(Balance(racks, racks, {**racks, 2: "a"}, held))
    assert not is_level(Balance({4: "", **racks}, {4: "", **racks}, racks, held))
    assert is_level(Balance({1}, set(), {}, {1: 7}))
