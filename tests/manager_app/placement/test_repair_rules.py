from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manager_app.placement.repair_rules import (
    AskLeader,
    Discard,
    Flaw,
    Forget,
    MemberRole,
    PartitionCondition,
    PartitionFacts,
    ReplicaCondition,
    ReplicaFacts,
    Retarget,
    next_steps,
    partition_condition,
    replica_condition,
)
from tests.manager_app.healing_model import Model


def replica(number, **fields):
    return ReplicaFacts(**({"replica_id": number, "broker_id": number} | fields))


def lost(number, **fields):
    return replica(number, flaw=Flaw.LOST, **fields)


def left(number, **fields):
    return replica(number, **({"leaving": True, "role": MemberRole.NONE} | fields))


def partition(*replicas, **fields):
    values = {"group_id": 7, "version": 1, "replication_factor": 3, "led": True} | fields
    return PartitionFacts(replicas=replicas, **values)


THREE = {1: 5, 2: 5, 3: 5}
FOUR = {**THREE, 4: 9}
FIVE = {**FOUR, 5: 8}


@pytest.mark.parametrize(
    ("replicas", "loads", "steps"),
    [
        pytest.param([replica(1), replica(2), replica(3)], FOUR, [], id="all is well"),
        pytest.param([replica(1), replica(2), lost(3)], FOUR, [Retarget(3, 4)], id="spare"),
        pytest.param(
            [replica(1), replica(2), lost(3)], FIVE, [Retarget(3, 5)], id="the emptiest spare"
        ),
        pytest.param(
            [replica(1), replica(2), lost(3)], THREE, [Retarget(3, None)], id="no spare: drop first"
        ),
        pytest.param(
            [replica(1), replica(2), lost(3, refillable=False)], THREE, [],
            id="no spare, and its broker takes nothing: keep it",
        ),
        pytest.param(
            [replica(1), lost(2), lost(3)], THREE, [], id="no majority of the others is sound"
        ),
        pytest.param(
            [replica(1), lost(2), lost(3)], FOUR, [Retarget(2, 4)], id="two lost: one at a time"
        ),
        pytest.param(
            [replica(1), replica(2), replica(3, flaw=Flaw.SILENT)], FOUR, [], id="silent: wait"
        ),
        pytest.param(
            [replica(1), replica(2), replica(3, flaw=Flaw.ABANDONED)], FOUR, [Retarget(3, 4)],
            id="silent for too long",
        ),
        pytest.param(
            [replica(1), replica(2), replica(3, flaw=Flaw.ABANDONED)], THREE, [],
            id="silent for too long, and no spare",
        ),
        pytest.param(
            [replica(1), replica(2, flaw=Flaw.DRAINING), replica(3)], {1: 0, 3: 0, 4: 0},
            [Retarget(2, 4)], id="draining",
        ),
        pytest.param(
            [replica(1), replica(2, flaw=Flaw.DRAINING), replica(3)], {1: 0, 3: 0}, [],
            id="draining to nowhere",
        ),
        pytest.param(
            [replica(1, flaw=Flaw.DRAINING), lost(2), replica(3)], FOUR, [Retarget(2, 4)],
            id="the worst first",
        ),
        pytest.param(
            [replica(1), replica(2), lost(3, leaving=True)], THREE, [AskLeader()],
            id="the target is not in force",
        ),
        pytest.param(
            [replica(1), replica(2), replica(4, role=MemberRole.LEARNER)], FOUR, [AskLeader()],
            id="a learner catches up",
        ),
        pytest.param(
            [replica(1), replica(2), lost(4, role=MemberRole.LEARNER), lost(3, leaving=True)], FIVE,
            [Retarget(4, 5)], id="the new one went bad too",
        ),
        pytest.param(
            [replica(1), replica(2), lost(3, role=MemberRole.NONE)], THREE, [Retarget(3, None)],
            id="the new one went bad and no spare",
        ),
        pytest.param(
            [lost(2, role=MemberRole.NONE), replica(1, leaving=True)],
            {},
            [Retarget(2, None, keep=1)],
            id="the new one went bad, and the old one is well",
        ),
        pytest.param(
            [lost(2, role=MemberRole.NONE), lost(1, leaving=True)], {}, [AskLeader()],
            id="a target is never empty",
        ),
        pytest.param(
            [replica(1), replica(2), replica(4, role=MemberRole.LEARNER), left(3, gone=True)], FOUR,
            [Forget(3), AskLeader()], id="what left earlier does not wait",
        ),
        pytest.param(
            [replica(1), replica(2), left(3)], THREE, [Discard(3, 3)],
            id="what left is dropped before its broker is used again",
        ),
        pytest.param(
            [replica(1), replica(2), left(3)], FOUR, [Discard(3, 3), Retarget(None, 4)],
            id="a spare does not wait for that",
        ),
        pytest.param(
            [replica(1), replica(2), left(3, gone=True)], THREE, [Forget(3)], id="it is gone"
        ),
        pytest.param(
            [replica(1), replica(2), left(3, reachable=False)], THREE, [],
            id="its broker is away",
        ),
        pytest.param([replica(1), replica(2)], THREE, [Retarget(None, 3)], id="refill"),
        pytest.param([replica(1), replica(2)], {1: 0, 2: 0}, [], id="nobody to refill"),
    ],
)  # fmt: skip
def test_the_next_step(replicas, loads, steps):
    assert next_steps(partition(*replicas), loads) == steps


def test_nothing_is_done_without_a_leader():
    for replicas in ([lost(1), lost(2), lost(3)], [replica(1), replica(2), left(3)]):
        assert next_steps(partition(*replicas, led=False), FIVE) == []


def test_a_member_that_nobody_knows_is_removed_by_the_leader():
    assert next_steps(partition(replica(1), replica(2), replica(3), strangers=1), FOUR) == [
        AskLeader()
    ]


def test_one_replica_moves_only_with_a_majority_of_the_others_sound():
    pair = [replica(1), lost(2)]
    assert next_steps(partition(*pair, replication_factor=2), {1: 0, 2: 0}) == [Retarget(2, None)]
    assert next_steps(partition(lost(1), replication_factor=1), {1: 0}) == []


@pytest.mark.parametrize(
    ("replicas", "fields", "said"),
    [
        ([replica(1), replica(2), replica(3)], {}, PartitionCondition.HEALTHY),
        ([replica(1), replica(2), lost(3)], {}, PartitionCondition.DEGRADED),
        ([replica(1), replica(2), replica(3, flaw=Flaw.SILENT)], {}, PartitionCondition.DEGRADED),
        ([replica(1), replica(2)], {}, PartitionCondition.UNDER_REPLICATED),
        (
            [replica(1), replica(2), replica(3, role=MemberRole.LEARNER)],
            {},
            PartitionCondition.CHANGING,
        ),
        ([replica(1), replica(2), replica(3)], {"led": False}, PartitionCondition.NO_LEADER),
        ([lost(1), lost(2), lost(3)], {"led": False}, PartitionCondition.NO_HEALTHY_REPLICA),
        (
            [lost(1), replica(2, flaw=Flaw.ABANDONED)],
            {"led": False},
            PartitionCondition.NO_HEALTHY_REPLICA,
        ),
    ],
)
def test_the_condition_of_a_partition(replicas, fields, said):
    assert partition_condition(partition(*replicas, **fields)) == said


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (replica(1, role=MemberRole.NONE), ReplicaCondition.JOINING),
        (replica(1, role=MemberRole.LEARNER), ReplicaCondition.LEARNER),
        (replica(1), ReplicaCondition.VOTER),
        (lost(1, leaving=True), ReplicaCondition.LEAVING),
        (lost(1), ReplicaCondition.FAULTY),
        (lost(1, gone=True), ReplicaCondition.MISSING),
    ],
)
def test_the_state_of_a_replica(one, said):
    assert replica_condition(one) == said


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    brokers=st.integers(3, 6),
    factor=st.sampled_from([1, 2, 3, 5]),
)
def test_whatever_happens_no_replica_with_the_messages_is_dropped_and_all_comes_back(
    seed, brokers, factor
):
    model = Model(random.Random(seed), brokers=max(brokers, factor), factor=factor)
    for _ in range(60):
        model.disturb()
        model.turn()
        model.check()
    model.calm()
    for _ in range(60):
        model.turn()
        model.check()
    model.check_healed()


def test_the_spare_is_in_a_rack_that_has_none_of_what_stays():
    racks = {1: "a", 2: "b", 3: "c", 4: "a", 5: "c"}
    replicas = [replica(1), replica(2), lost(3)]
    assert next_steps(partition(*replicas), {4: 0, 5: 9}, racks) == [Retarget(3, 5)]
    assert next_steps(partition(*replicas), {4: 0, 5: 9}) == [Retarget(3, 4)]
