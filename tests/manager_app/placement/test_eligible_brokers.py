from __future__ import annotations

import pytest
from django.conf import settings
from msgspec.structs import replace

from manager_app.models import Broker, BrokerState
from manager_app.placement.eligible_brokers import (
    ROOM_RESERVES,
    brokers_for_leaderships,
    brokers_for_replicas,
    brokers_that_stay,
)

pytestmark = pytest.mark.django_db

RESERVE_BYTES = settings.QUEUE.disk_reserve_bytes
ENOUGH_BYTES = ROOM_RESERVES * RESERVE_BYTES


@pytest.mark.parametrize(
    ("facts", "stays", "for_replicas", "for_leaderships"),
    [
        ({}, True, True, True),
        ({"disk_free_bytes": 1}, True, False, False),
        ({"disk_free_bytes": RESERVE_BYTES - 1}, True, False, False),
        ({"disk_free_bytes": RESERVE_BYTES}, True, False, True),
        ({"disk_free_bytes": ENOUGH_BYTES - 1}, True, False, True),
        ({"disk_free_bytes": ENOUGH_BYTES}, True, True, True),
        ({"disk_slow": True}, True, True, False),
        ({"draining": True}, False, False, False),
        ({"state": BrokerState.STOPPING}, False, False, False),
        ({"state": BrokerState.DEAD}, False, False, False),
    ],
)
def test_a_broker_is_given_what_it_has_room_and_time_for(
    facts, stays, for_replicas, for_leaderships
):
    values = {"incarnation": "0" * 32, "address": "http://h:1", "state": BrokerState.ALIVE}
    Broker.objects.create(**values | facts)
    assert brokers_that_stay().exists() == stays
    assert brokers_for_replicas().exists() == for_replicas
    assert brokers_for_leaderships().exists() == for_leaderships


def test_without_a_reserve_every_disk_has_room(settings):
    settings.QUEUE = replace(settings.QUEUE, disk_reserve_bytes=0)
    Broker.objects.create(
        incarnation="0" * 32, address="http://h:1", state=BrokerState.ALIVE, disk_free_bytes=1
    )
    assert brokers_for_replicas().exists()
    assert brokers_for_leaderships().exists()
