from __future__ import annotations

import pytest

from manager_app.models import Broker, BrokerState, Partition, Replica
from manager_app.placement.repair_rules import MemberRole
from manager_app.services.cluster import cluster_ensure
from manager_app.services.membership import ToldMembership, memberships_take
from manager_app.services.topic import topic_create

pytestmark = pytest.mark.django_db


@pytest.fixture
def group():
    cluster_ensure()
    for number in (1, 2, 3):
        Broker.objects.create(
            incarnation=f"{number:032x}", address=f"http://h:{number}", state=BrokerState.ALIVE
        )
    topic_create(name="logs", number_of_partitions=1, replication_factor=3)
    partition = Partition.objects.get()
    partition.leader, partition.term = Broker.objects.order_by("pk").first(), 4
    partition.save()
    return partition


def ids():
    return list(Replica.objects.order_by("position").values_list("replica_id", flat=True))


def told(group, voters, **fields):
    values = {
        "group_id": group.group_id,
        "leader": group.leader_id,
        "term": 4,
        "voters": frozenset(voters),
        **fields,
    }
    return ToldMembership(**values)


def memberships():
    return list(Replica.objects.order_by("position").values_list("membership", flat=True))


def test_what_the_leader_tells_is_stored_and_a_repetition_changes_nothing(group):
    one, two, three = ids()
    said = told(group, [one, two], learners=frozenset([three]))
    assert memberships_take([said]) == 1
    assert memberships() == [MemberRole.VOTER, MemberRole.VOTER, MemberRole.LEARNER]
    assert memberships_take([said]) == 0
    assert memberships_take([told(group, [one, two])]) == 1
    assert memberships()[2] == MemberRole.NONE
    group.refresh_from_db()
    assert (group.membership_term, group.strangers) == (4, 0)


@pytest.mark.parametrize("fields", [{"term": 3}, {"term": 5}, {"leader": 9_999}])
def test_only_the_known_leader_in_the_known_term_is_heard(group, fields):
    assert memberships_take([told(group, [], **fields)]) == 0
    assert memberships() == [MemberRole.VOTER] * 3
    group.refresh_from_db()
    assert group.membership_term == 0


def test_members_without_a_row_are_counted(group):
    memberships_take([told(group, [*ids(), 8_888], learners=frozenset([9_999]))])
    group.refresh_from_db()
    assert group.strangers == 2


def test_a_suspicion_stays(group):
    one, two, three = ids()
    memberships_take([told(group, [one, two, three], suspects=frozenset([two]))])
    memberships_take([told(group, [one, two, three])])
    said = list(Replica.objects.order_by("position").values_list("suspicion", flat=True))
    assert said[0] == said[2] == ""
    assert "lost what it had acknowledged" in said[1]


def test_groups_that_are_not_known_are_left_out(group):
    assert memberships_take([]) == 0
    assert memberships_take([told(group, [], group_id=4_000_000)]) == 0
