from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction

from manager_app.fence import write_under
from manager_app.models import Cluster, Event, Topic
from manager_app.row_updates import rows_update
from manager_app.services.cluster import (
    cluster_ensure,
    fenced,
    lease_give_back,
    lease_renew,
    lease_take,
    metadata_bump,
)
from myqueue.contract.errors import ReadOnlyManager
from tests.manager_app.take_over import take_over

pytestmark = pytest.mark.django_db

ADDRESS, OTHER = "http://m:1", "http://m:2"


def test_the_cluster_is_made_once_also_by_a_change_that_comes_first():
    metadata_bump()
    made = cluster_ensure()
    assert (len(made.cluster_id), made.metadata_version) == (32, 2)
    assert cluster_ensure() == made


def test_each_take_over_raises_the_epoch_and_the_version():
    assert [take_over(address) for address in (ADDRESS, OTHER, OTHER)] == [2, 3, 4]
    cluster = Cluster.objects.get()
    assert (cluster.primary_address, cluster.metadata_version) == (OTHER, 4)


def test_a_lease_is_renewed_by_its_holder_under_its_epoch_alone():
    epoch = take_over(ADDRESS)
    assert lease_renew(ADDRESS, epoch=epoch)
    assert not lease_renew(ADDRESS, epoch=epoch - 1)
    assert not lease_renew(OTHER, epoch=epoch)
    cluster = Cluster.objects.get()
    assert (cluster.primary_renewals, cluster.metadata_version) == (1, 2)


def test_a_lease_is_taken_once_by_those_who_saw_the_same():
    take_over(ADDRESS)
    seen = Cluster.objects.get()
    assert lease_take(OTHER, seen=seen) == 3
    assert lease_take("http://m:3", seen=seen) is None
    assert not lease_renew(ADDRESS, epoch=2)
    cluster = Cluster.objects.get()
    assert (cluster.primary_address, cluster.epoch, cluster.metadata_version) == (OTHER, 3, 3)


def test_a_lease_that_was_renewed_meanwhile_is_not_taken():
    epoch = take_over(ADDRESS)
    seen = Cluster.objects.get()
    lease_renew(ADDRESS, epoch=epoch)
    assert lease_take(OTHER, seen=seen) is None
    assert Cluster.objects.get().epoch == epoch


@pytest.fixture
def primary():
    """The epoch of a lease under which this process writes."""
    epoch = take_over(ADDRESS)
    write_under(lambda: epoch)
    yield epoch
    write_under(None)


def write_topic(name="logs"):
    with fenced():
        Topic.objects.create(name=name, partitions_at_creation=1, replication_factor=1)


def bump_and_write(name):
    with transaction.atomic():
        metadata_bump()
        Topic.objects.create(name=name, partitions_at_creation=1, replication_factor=1)


@pytest.mark.parametrize("write", [write_topic, bump_and_write])
def test_a_write_under_the_lease_is_stored_and_one_after_a_take_over_is_not(primary, write):
    write("before")
    assert Topic.objects.count() == 1
    take_over(OTHER)
    with pytest.raises(ReadOnlyManager) as raised:
        write("after")
    assert raised.value.details["primary"] == OTHER
    assert Topic.objects.count() == 1


def test_a_lease_that_is_given_back_is_free_for_anybody(primary):
    assert lease_give_back(ADDRESS, epoch=primary)
    assert not lease_give_back(ADDRESS, epoch=primary)
    assert Cluster.objects.get().primary_address == ""
    assert take_over(OTHER) == primary + 1


@pytest.mark.django_db(transaction=True)
def test_metadata_written_outside_a_fence_is_a_bug_that_shows(primary):
    write_topic()
    for write in (
        lambda: Topic.objects.update(retention_ms=5),
        lambda: Topic.objects.all().delete(),
        lambda: Topic.objects.create(name="x", partitions_at_creation=1, replication_factor=1),
        lambda: rows_update([Topic.objects.get()], ["retention_ms"]),
    ):
        with pytest.raises(RuntimeError, match=r"manager_app_\w+ is written outside"):
            write()
    Cluster.objects.update(primary_renewals=5)
    get_user_model().objects.create_superuser("admin", "", "secret")
    with fenced():
        Topic.objects.update(retention_ms=5)
    with transaction.atomic(), pytest.raises(RuntimeError):
        Topic.objects.update(retention_ms=6)
    assert Topic.objects.get().retention_ms == 5


def test_each_primary_is_an_event():
    seen = cluster_ensure()
    assert lease_take("http://a", seen=seen) == 2
    assert lease_take("http://b", seen=cluster_ensure()) == 3
    assert not lease_give_back("http://a", epoch=2)
    assert lease_give_back("http://b", epoch=3)
    assert [event.text for event in Event.objects.order_by("id")] == [
        "http://a is the primary manager",
        "http://b is the primary manager after http://a",
        "http://b stops as the primary",
    ]
