from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from manager_app import selectors
from manager_app.models import ConsumerGroup, GroupMember
from manager_app.selectors import StoredConsumerGroup
from manager_app.services.group import GroupChange, group_change, group_delete
from myqueue.contract.errors import GroupNotFound, InvalidRequest, ReadOnlyManager, UnknownMember
from myqueue.contract.rules import group_membership
from myqueue.contract.rules.group_membership import Subscription, TopicShape
from tests.manager_app.take_over import take_over

pytestmark = pytest.mark.django_db

ADDRESS = "http://m:1"
EPOCH = 2
NOW = datetime(2030, 1, 1, tzinfo=UTC)
SHAPES = {"logs": TopicShape(4, 1)}


@pytest.fixture(autouse=True)
def announced():
    assert take_over(ADDRESS) == EPOCH


def joins(member, *topics):
    subscription = Subscription(frozenset(topics or ("logs",)), 30_000)
    return lambda state: group_membership.join(state, member, subscription, SHAPES)


def changed(apply, **fields):
    values = {"name": "billing", "epoch": EPOCH, "now": NOW, **fields}
    return group_change(GroupChange(apply=apply, **values))


def joined(member, **fields):
    return changed(joins(member), creates=True, topics=frozenset({"logs"}), **fields)


def stored():
    return selectors.group_stored(selectors.group_get("billing"))


def test_what_is_stored_is_what_is_read_back():
    for member in "abc":
        made = joined(member)
        again = stored()
        assert (again.revision, again.state) == (made.revision, made.state)
        assert again.topics_used == made.topics_used == {"logs"}
    assert made.state.generation == 3
    assert selectors.groups_stored().keys() == {"billing"}
    assert selectors.groups_stored()["billing"].state == made.state
    made = changed(lambda state: group_membership.leave(state, ["a"]))
    assert stored().state == made.state
    assert made.state.members.keys() == {"b", "c"}
    assert made.topics_used == {"logs"}


def test_a_change_is_applied_to_the_database_when_memory_is_out_of_date():
    old = joined("a")
    joined("b")
    made = joined("c", known=old)
    assert made.state.members.keys() == {"a", "b", "c"}
    assert stored().state == made.state


def test_a_change_with_up_to_date_memory_reads_no_members():
    known = joined("a")
    with CaptureQueriesContext(connection) as queries:
        joined("b", known=known)
    reads = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert sum("groupmember" in sql for sql in reads) == 1  # the row that loses its share


def test_a_refused_change_stores_nothing():
    before = joined("a")
    with pytest.raises(UnknownMember):
        changed(lambda state: group_membership.heartbeat(state, "x", generation=1, owned=()))
    assert stored().revision == before.revision


def test_another_primary_stops_every_change():
    joined("a")
    take_over("http://m:2")
    with pytest.raises(ReadOnlyManager) as raised:
        joined("b")
    assert raised.value.details["primary"] == "http://m:2"
    with pytest.raises(ReadOnlyManager):
        group_delete("billing", epoch=EPOCH)
    assert stored().state.members.keys() == {"a"}


def test_a_group_that_is_missing_is_made_by_a_join_alone():
    with pytest.raises(GroupNotFound):
        changed(lambda state: state)
    assert not ConsumerGroup.objects.exists()


def test_heartbeats_are_stored_with_a_change_and_not_invented():
    joined("a")
    later = NOW + timedelta(seconds=5)
    joined("b", now=later, heartbeats={})
    assert GroupMember.objects.get(member_id="a").last_heartbeat == NOW
    changed(joins("a", "logs", "more"), now=later, heartbeats={"a": later})
    assert GroupMember.objects.get(member_id="a").last_heartbeat == later
    assert stored().last_heartbeats["a"] == later


def test_a_group_with_members_is_not_deleted():
    joined("a")
    with pytest.raises(InvalidRequest):
        group_delete("billing", epoch=EPOCH)
    changed(lambda state: group_membership.leave(state, ["a"]))
    group_delete("billing", epoch=EPOCH)
    with pytest.raises(GroupNotFound):
        group_delete("billing", epoch=EPOCH)
    assert joined("a", known=StoredConsumerGroup(revision=2)).state.generation == 1


def test_a_thousand_members_are_stored_in_portions():
    def fill(state):
        for number in range(600):
            state = group_membership.join(
                state, f"{number:032x}", Subscription(frozenset("x"), 1_000), {}
            )
        return joins("z")(state)

    made = changed(fill, creates=True)
    assert stored().state == made.state
    made = changed(lambda state: group_membership.leave(state, sorted(state.members)[:-1]))
    assert GroupMember.objects.get().member_id == "z"
