from __future__ import annotations

import pytest

from manager_app.models import Cluster
from manager_app.services.cluster import (
    cluster_ensure,
    lease_renew,
    lease_take,
    metadata_bump,
    primary_announce,
)

pytestmark = pytest.mark.django_db

ADDRESS, OTHER = "http://m:1", "http://m:2"


def test_the_cluster_is_made_once_also_by_a_change_that_comes_first():
    metadata_bump()
    made = cluster_ensure()
    assert (len(made.cluster_id), made.metadata_version) == (32, 2)
    assert cluster_ensure() == made


def test_each_announcement_raises_the_epoch_and_the_version():
    assert [primary_announce(address) for address in (ADDRESS, OTHER, OTHER)] == [2, 3, 4]
    cluster = Cluster.objects.get()
    assert (cluster.primary_address, cluster.metadata_version) == (OTHER, 4)


def test_a_lease_is_renewed_by_its_holder_under_its_epoch_alone():
    epoch = primary_announce(ADDRESS)
    assert lease_renew(ADDRESS, epoch=epoch)
    assert not lease_renew(ADDRESS, epoch=epoch - 1)
    assert not lease_renew(OTHER, epoch=epoch)
    cluster = Cluster.objects.get()
    assert (cluster.primary_renewals, cluster.metadata_version) == (1, 2)


def test_a_lease_is_taken_once_by_those_who_saw_the_same():
    primary_announce(ADDRESS)
    seen = Cluster.objects.get()
    assert lease_take(OTHER, seen=seen) == 3
    assert lease_take("http://m:3", seen=seen) is None
    assert not lease_renew(ADDRESS, epoch=2)
    cluster = Cluster.objects.get()
    assert (cluster.primary_address, cluster.epoch, cluster.metadata_version) == (OTHER, 3, 3)


def test_a_lease_that_was_renewed_meanwhile_is_not_taken():
    epoch = primary_announce(ADDRESS)
    seen = Cluster.objects.get()
    lease_renew(ADDRESS, epoch=epoch)
    assert lease_take(OTHER, seen=seen) is None
    assert Cluster.objects.get().epoch == epoch
