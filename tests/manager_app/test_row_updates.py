from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from manager_app.models import Broker, BrokerState, ClientState, Producer, Topic
from manager_app.row_updates import ROWS_PER_STATEMENT, rows_update

pytestmark = pytest.mark.django_db


def store_brokers(count):
    return Broker.objects.bulk_create(
        Broker(incarnation=f"{n:032x}", address=f"http://h:{n}", state=BrokerState.ALIVE)
        for n in range(1, count + 1)
    )


def test_each_row_gets_its_own_values_of_every_kind_and_keeps_the_rest(
    django_assert_num_queries,
):
    count = ROWS_PER_STATEMENT + 1
    now = timezone.now()
    rows = store_brokers(count)
    for n, row in enumerate(rows):
        row.address = f"http://it's-100%-{n}"
        row.last_heartbeat = None if n == 0 else now - timedelta(seconds=n)
        row.draining = n % 2 == 0
        row.disk_free_bytes = n << 40
        row.raft_address = "not stored"
    fields = ["address", "last_heartbeat", "draining", "disk_free_bytes"]
    with django_assert_num_queries(4):  # two, and the marks of a transaction within the test's
        rows_update(rows, fields)
    stored = list(Broker.objects.order_by("pk"))
    for name in fields:
        assert [getattr(row, name) for row in stored] == [getattr(row, name) for row in rows]
    assert {row.raft_address for row in stored} == {""}


def test_a_row_that_is_gone_stays_gone():
    kept, gone = store_brokers(2)
    Broker.objects.filter(pk=gone.pk).delete()
    kept.state = gone.state = BrokerState.DEAD
    rows_update([kept, gone], ["state"])
    assert list(Broker.objects.values_list("pk", "state")) == [(kept.pk, BrokerState.DEAD)]


def test_rows_with_the_given_value_stay_as_they_are():
    now = timezone.now()
    topic = Topic.objects.create(name="logs", partitions_at_creation=1, replication_factor=1)
    alive, revoked = (
        Producer.objects.create(topic=topic, state=state, last_heartbeat=now)
        for state in (ClientState.EXPIRED, ClientState.REVOKED)
    )
    later = now + timedelta(seconds=1)
    rows = [Producer(pk=one.pk, state="alive", last_heartbeat=later) for one in (alive, revoked)]
    rows_update(rows, ["state", "last_heartbeat"], unless=("state", ClientState.REVOKED))
    assert list(Producer.objects.order_by("pk").values_list("state", "last_heartbeat")) == [
        (ClientState.ALIVE, later),
        (ClientState.REVOKED, now),
    ]


def test_no_rows_are_no_statement(django_assert_num_queries):
    with django_assert_num_queries(0):
        rows_update([], ["state"])
