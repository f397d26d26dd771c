from __future__ import annotations

import pytest

from manager_app.models import Broker, BrokerState, Event
from manager_app.services.broker import (
    address_clean,
    broker_beat,
    broker_create,
    broker_delete,
    brokers_mark_dead,
    brokers_remove_drained,
)
from manager_app.services.cluster import cluster_ensure
from myqueue.contract.errors import BrokerAlreadyPresent, BrokerNotFound


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("http://h:1", "http://h:1"),
        ("https://h.example:8443/", "https://h.example:8443"),
        (" 10.0.0.1:80 ", "http://10.0.0.1:80"),
        ("[::1]:80", "http://[::1]:80"),
    ],
)
def test_an_address_is_stored_in_one_form(text, clean):
    assert address_clean(text) == clean


@pytest.mark.django_db
def test_a_replaced_broker_does_not_hold_its_address():
    cluster_ensure()
    old = Broker.objects.create(
        incarnation="0" * 32, address="http://h:1", state=BrokerState.REPLACED
    )
    new = broker_create("http://h:1")
    assert new.broker_id > old.broker_id
    with pytest.raises(BrokerAlreadyPresent):
        broker_create("h:1")


@pytest.mark.django_db
def test_only_the_living_are_buried_and_a_heartbeat_revives():
    version = cluster_ensure().metadata_version
    broker = Broker.objects.create(
        incarnation="0" * 32, address="http://h:1", state=BrokerState.ALIVE
    )
    announced = broker_create("http://h:2")
    assert brokers_mark_dead([broker.pk, announced.pk, 99])
    assert not brokers_mark_dead([broker.pk])
    assert cluster_ensure().metadata_version == version + 2
    broker.refresh_from_db()
    assert broker.state == BrokerState.DEAD
    assert broker_beat(broker)
    broker.refresh_from_db()
    assert (broker.state, broker_beat(broker)) == (BrokerState.ALIVE, False)
    announced.refresh_from_db()
    assert announced.state == BrokerState.NEW


@pytest.mark.django_db
def test_a_removed_broker_is_gone():
    broker = broker_create("http://h:1")
    assert broker_delete(broker.broker_id) == 0
    with pytest.raises(BrokerNotFound):
        broker_delete(broker.broker_id)


@pytest.mark.django_db
def test_brokers_that_die_come_back_and_are_removed_are_told():
    cluster_ensure()
    row = Broker.objects.create(incarnation="1" * 32, address="http://h:1", state=BrokerState.ALIVE)
    assert brokers_mark_dead([row.pk])
    assert not brokers_mark_dead([row.pk])
    row.refresh_from_db()
    assert broker_beat(row)
    Broker.objects.update(draining=True)
    assert brokers_remove_drained() == [row.pk]
    events = Event.objects.order_by("id")
    assert [event.action for event in events] == ["broker dead", "broker alive", "broker removed"]
    assert {event.about for event in events} == {f"\nbroker:{row.pk}\n"}
