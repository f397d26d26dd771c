from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from manager_app.models import ClientState, Consumer, Producer, Topic
from manager_app.selectors import ClientKey
from manager_app.services import client as service
from myqueue.errors import TopicDoesNotExist, UnauthorizedException

pytestmark = pytest.mark.django_db


@pytest.fixture
def topic():
    return Topic.objects.create(name="logs", partitions_at_creation=1, replication_factor=1)


def test_registering_needs_the_topic():
    for create in (service.producer_create, lambda name: service.consumer_create(name, "latest")):
        with pytest.raises(TopicDoesNotExist):
            create("nowhere")


def test_heartbeats_are_stored_for_the_living_of_the_right_kind_alone(topic):
    producer = service.producer_create("logs")
    consumer = service.consumer_create("logs", "earliest")
    expired = service.producer_create("logs")
    Producer.objects.filter(pk=expired.client_id).update(state=ClientState.EXPIRED)
    later = timezone.now() + timedelta(minutes=5)
    service.heartbeats_record(dict.fromkeys((producer, expired, ClientKey("consumer", 99)), later))
    assert Producer.objects.get(pk=producer.client_id).last_heartbeat == later
    assert Producer.objects.get(pk=expired.client_id).last_heartbeat < later
    assert Consumer.objects.get(pk=consumer.client_id).last_heartbeat < later


def test_many_heartbeats_are_stored_in_portions(topic, monkeypatch):
    monkeypatch.setattr(service, "ROWS_PER_UPDATE", 2)
    keys = [service.producer_create("logs") for _ in range(5)]
    later = timezone.now() + timedelta(minutes=5)
    service.heartbeats_record(dict.fromkeys(keys, later))
    assert Producer.objects.filter(last_heartbeat=later).count() == 5


def test_expiry_and_return(topic):
    key = service.consumer_create("logs", "earliest")
    service.clients_expire([key, ClientKey("producer", key.client_id)])
    assert Consumer.objects.get().state == ClientState.EXPIRED
    service.client_reattach(key, "logs")
    assert Consumer.objects.get().state == ClientState.ALIVE


def test_a_revoked_client_does_not_return_and_is_forgotten_in_the_end(topic):
    key = service.producer_create("logs")
    service.client_revoke(key)
    with pytest.raises(UnauthorizedException):
        service.client_reattach(key, "logs")
    service.revoked_purge(timezone.now() + service.TOKEN_LIFE - timedelta(hours=1))
    assert Producer.objects.count() == 1
    service.revoked_purge(timezone.now() + service.TOKEN_LIFE + timedelta(hours=1))
    assert Producer.objects.count() == 0


def test_a_client_returns_only_to_its_own_topic(topic):
    key = service.producer_create("logs")
    for other in ("other", "a\0b"):
        with pytest.raises(UnauthorizedException):
            service.client_reattach(key, other)
