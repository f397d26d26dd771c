"""The rules that both storages share."""

from __future__ import annotations

import pytest

from raft_app.core.types import HardState
from raft_app.storage.protocol import (
    BrokerIdentity,
    DeleteGroup,
    SaveIdentity,
    SavePeers,
    SetFaulty,
    StorageError,
)
from raft_app.storage.rules import GroupFacts, Plan, plan_transaction
from tests.raft_app.storage.storage_harness import append, create, data_entry, noop

IDENTITY = BrokerIdentity(incarnation="0" * 32)
STORED = GroupFacts(
    replica_id=3,
    last_index=9,
    applied_index=6,
    used_replica_ids=frozenset({1, 3}),
)


def planned(*operations: object) -> Plan:
    facts = {1: STORED}
    return plan_transaction(operations, lambda group: facts.get(group, GroupFacts()), IDENTITY)


def test_append_at_the_end_replaces_nothing() -> None:
    plan = planned(append(data_entry(10), data_entry(11)))
    assert [step.replaces for step in plan.steps] == [False]
    assert plan.facts[1].last_index == 11


def test_append_below_the_end_replaces_the_rest() -> None:
    plan = planned(append(data_entry(7)), append(data_entry(8)))
    assert [step.replaces for step in plan.steps] == [True, False]
    assert plan.facts[1].last_index == 8


def test_deleted_group_keeps_its_used_ids_only() -> None:
    plan = planned(DeleteGroup(1), create(1, replica_id=4))
    assert plan.facts[1] == GroupFacts(replica_id=4, used_replica_ids=frozenset({1, 3, 4}))
    with pytest.raises(StorageError, match="never reused"):
        planned(DeleteGroup(1), create(1, replica_id=1))
    with pytest.raises(StorageError, match="no replica"):
        planned(DeleteGroup(1), append(hard_state=HardState(1)))


def test_operations_without_effect_are_left_out() -> None:
    plan = planned(create(1, replica_id=3), DeleteGroup(2))
    assert plan.steps == []


def test_index_has_a_limit() -> None:
    facts = GroupFacts(replica_id=1, last_index=(1 << 40) - 2)
    last = noop((1 << 40) - 1)
    plan_transaction([append(last)], lambda _: facts, IDENTITY)
    with pytest.raises(StorageError, match="is full"):
        plan_transaction([append(last, noop(1 << 40))], lambda _: facts, IDENTITY)


def test_faulty_needs_a_reason() -> None:
    with pytest.raises(StorageError, match="no reason"):
        planned(SetFaulty(1, ""))


def test_identity_changes_are_checked_against_those_before_in_the_transaction() -> None:
    first = BrokerIdentity(IDENTITY.incarnation, broker_id=1)
    second = BrokerIdentity(IDENTITY.incarnation, broker_id=2)
    assert planned(SavePeers(()), SaveIdentity(first)).identity == first
    with pytest.raises(StorageError, match="broker_id"):
        planned(SaveIdentity(first), SaveIdentity(second))
