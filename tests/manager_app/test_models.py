from __future__ import annotations

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from manager_app.models import (
    GROUP_ID_MAX,
    Broker,
    BrokerState,
    Cluster,
    Consumer,
    Partition,
    Producer,
    Replica,
    Topic,
)

pytestmark = pytest.mark.django_db


def topic(**fields):
    values = {"name": "logs", "partitions_at_creation": 3, "replication_factor": 3, **fields}
    return Topic.objects.create(**values)


def broker(number=1, **fields):
    values = {
        "incarnation": f"{number:032x}",
        "address": f"http://h:{number}",
        "state": BrokerState.ALIVE,
        **fields,
    }
    return Broker.objects.create(**values)


def test_the_suite_runs_on_the_database_that_the_environment_names():
    wanted = "postgresql" if settings.QUEUE.database_url.startswith("postgres") else "sqlite"
    assert connection.vendor == wanted


@pytest.mark.parametrize(
    "make",
    [
        lambda: topic(name=""),
        lambda: topic(partitions_at_creation=0),
        lambda: topic(partitions_at_creation=1_025),
        lambda: topic(replication_factor=0),
        lambda: topic(retention_ms=0),
        lambda: topic(retention_bytes=-1),
        lambda: (topic(), topic()),
        lambda: Partition.objects.create(topic=topic(), index=1_024),
        lambda: Partition.objects.create(topic=topic(), index=0, term=-1),
        lambda: Partition.objects.create(topic=topic(), index=0, group_id=GROUP_ID_MAX + 1),
        lambda: Partition.objects.bulk_create(
            [Partition(topic=topic(), index=0), Partition(topic=Topic.objects.get(), index=0)]
        ),
        lambda: Cluster.objects.create(id=2, cluster_id="x"),
        lambda: Cluster.objects.create(cluster_id="x", epoch=0),
        lambda: (broker(1), broker(2, incarnation=f"{1:032x}")),
        lambda: broker(address=""),
        lambda: broker(incarnation=None),
        lambda: broker(state=BrokerState.NEW),
        lambda: [broker(incarnation=None, state=BrokerState.NEW) for _ in range(2)],
        lambda: Producer.objects.create(last_heartbeat=timezone.now()),
        lambda: Consumer.objects.create(last_heartbeat=timezone.now()),
        lambda: Consumer.objects.create(
            topic=topic(), last_heartbeat=timezone.now(), start="middle"
        ),
    ],
)
def test_the_database_refuses_what_cannot_be(make):
    with pytest.raises(IntegrityError), transaction.atomic():
        make()


def test_a_broker_has_at_most_one_replica_of_a_partition():
    partition = Partition.objects.create(topic=topic(), index=0)
    first = {"partition": partition, "bootstrap": True}
    holder, other = broker(1), broker(2)
    Replica.objects.create(broker=holder, position=0, **first)
    for wrong in ({"broker": holder, "position": 1}, {"broker": other, "position": 0}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Replica.objects.create(**wrong, **first)


def test_group_ids_go_up_to_their_limit():
    made = Partition.objects.create(topic=topic(), index=0, group_id=GROUP_ID_MAX)
    assert str(made) == f"group {GROUP_ID_MAX}"


def test_ids_are_never_reused():
    ids = []
    for name in "abc":
        made = topic(name=name)
        partition = Partition.objects.create(topic=made, index=0)
        client = Producer.objects.create(topic=made, last_heartbeat=timezone.now())
        ids.append((made.pk, partition.pk, client.pk))
        client.delete()
        made.delete()
    assert ids == sorted(set(ids))
    assert all(len(set(column)) == 3 for column in zip(*ids, strict=True))
