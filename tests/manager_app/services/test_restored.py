from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from manager_app import selectors
from manager_app.models import (
    GROUP_ID_MAX,
    Broker,
    Cluster,
    ConsumerGroup,
    Partition,
    Producer,
    Replica,
    Topic,
)
from manager_app.services import restored
from manager_app.services.client import consumer_create, producer_create
from manager_app.services.cluster import lease_renew
from manager_app.services.topic import topic_create
from myqueue.contract.errors import Overloaded
from tests.manager_app.take_over import take_over

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stored(django_db_reset_sequences):
    """A database with one of each, some of them deleted again."""
    Broker.objects.create(
        address="http://b:1", incarnation="f" * 32, state="alive", last_heartbeat=timezone.now()
    )
    topic_create(name="logs", number_of_partitions=2, replication_factor=1)
    for _ in range(3):
        producer_create("logs")
    Producer.objects.filter(pk=3).delete()
    ConsumerGroup.objects.create(name="g", generation=7, revision=9)
    return take_over("http://m:1")


def last():
    """Return what was given out last of each kind."""
    cluster, group = Cluster.objects.get(), ConsumerGroup.objects.get()
    return {
        "topic": Topic.objects.order_by("-pk")[0].pk,
        "partition": Partition.objects.order_by("-pk")[0].pk,
        "replica": Replica.objects.order_by("-pk")[0].pk,
        "epoch": cluster.epoch,
        "version": cluster.metadata_version,
        "placement": min(Partition.objects.values_list("placement_version", flat=True)),
        "generation": group.generation,
        "revision": group.revision,
    }


def test_nothing_is_given_out_twice_after_a_restore(stored):
    before = last()
    following = restored.sequences_raise()
    assert not lease_renew("http://m:1", epoch=stored), "whoever is at work is the primary no more"
    assert selectors.cluster_find().primary_address == ""
    old = set(Partition.objects.values_list("pk", flat=True))
    topic_create(name="more", number_of_partitions=1, replication_factor=1)
    after = last()
    assert after["topic"] == following["manager_app_topic"] == before["topic"] + restored.IDS + 1
    assert after["partition"] == before["partition"] + restored.GROUP_IDS + 1
    assert after["replica"] == before["replica"] + restored.IDS + 1
    assert after["epoch"] == before["epoch"] + restored.EPOCHS
    assert after["version"] > before["version"] + restored.VERSIONS
    assert after["generation"] == before["generation"] + restored.VERSIONS
    assert after["revision"] == before["revision"] + restored.VERSIONS
    versions = Partition.objects.filter(pk__in=old).values_list("placement_version", flat=True)
    assert set(versions) == {1 + restored.VERSIONS}
    # One was deleted, and others may have been made since the backup: its id is skipped, too.
    assert producer_create("logs").client_id == 3 + restored.IDS + 1
    assert consumer_create("logs", "earliest").client_id == restored.IDS + 1
    assert Broker.objects.create(address="http://b:2").pk == 1 + restored.IDS + 1


def test_every_table_that_gives_out_ids_is_among_them(stored):
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
        giving = {
            name
            for name in names
            if name.startswith("manager_app_")
            and any(one["column"] for one in connection.introspection.get_sequences(cursor, name))
        }
    if connection.vendor == "postgresql":
        assert giving == set(restored.sequences_raise())
    else:
        assert giving >= set(restored.sequences_raise())


def test_each_run_skips_them_again(stored):
    first, second = restored.sequences_raise(), restored.sequences_raise()
    assert {second[name] - first[name] for name in first} == {restored.IDS, restored.GROUP_IDS}


def test_too_few_ids_are_an_error_that_changes_nothing(stored, monkeypatch):
    monkeypatch.setattr(restored, "GROUP_IDS", GROUP_ID_MAX)
    before = last()
    with pytest.raises(Overloaded, match="ids of partitions"):
        restored.sequences_raise()
    assert last() == before
    assert producer_create("logs").client_id == 4


def test_the_command_needs_the_role_of_a_manager():
    with pytest.raises(CommandError, match="not manager"):
        call_command("restored")
