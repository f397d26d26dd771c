from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from manager_app import selectors
from manager_app.models import ClientState, Consumer, Producer, Topic
from manager_app.selectors import ClientKey
from manager_app.services import client as service
from myqueue.contract.errors import TopicDoesNotExist, UnauthorizedException

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
    revoked = service.producer_create("logs")
    service.client_revoke(revoked)
    later = timezone.now() + timedelta(minutes=5)
    service.heartbeats_record(dict.fromkeys((producer, revoked, ClientKey("consumer", 99)), later))
    assert Producer.objects.get(pk=producer.client_id).last_heartbeat == later
    assert Producer.objects.get(pk=revoked.client_id).last_heartbeat < later
    assert Consumer.objects.get(pk=consumer.client_id).last_heartbeat < later


def test_a_client_that_another_process_let_expire_is_alive_when_it_is_heard(topic):
    key = service.consumer_create("logs", "earliest")
    service.clients_expire([key])
    later = timezone.now() + timedelta(days=5)
    service.heartbeats_record({key: later})
    assert service.consumers_retire(later, forget_after_s=60, count_max=9) == 0
    assert Consumer.objects.get().state == ClientState.ALIVE


def test_many_heartbeats_are_stored_in_portions(topic, monkeypatch):
    monkeypatch.setattr("manager_app.row_updates.ROWS_PER_STATEMENT", 2)
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
    overdue = timezone.now() + service.TOKEN_LIFE + timedelta(hours=1)
    service.revoked_purge(overdue)
    assert Producer.objects.count() == 1, "a partition may still know it"
    service.revoked_forgotten([key])
    service.revoked_purge(timezone.now() + service.TOKEN_LIFE - timedelta(hours=1))
    assert Producer.objects.count() == 1
    service.revoked_purge(overdue)
    assert Producer.objects.count() == 0


@pytest.mark.parametrize("kind", ["producer", "consumer"])
def test_one_that_a_restored_database_lacks_is_stored_again(topic, kind):
    create = {
        "producer": service.producer_create,
        "consumer": lambda name: service.consumer_create(name, "latest"),
    }[kind]
    first, lost = create("logs"), create("logs")
    rows = selectors.CLIENT_MODELS[kind].objects
    rows.filter(pk=lost.client_id).delete()  # as a database that is older than it
    for other in (lost._replace(client_id=lost.client_id + 1), first._replace(client_id=2**63)):
        with pytest.raises(UnauthorizedException):
            service.client_reattach(other, "logs")
    with pytest.raises(UnauthorizedException):
        service.client_reattach(lost, "other")
    service.client_reattach(lost, "logs")
    assert rows.get(pk=lost.client_id).topic == topic
    assert create("logs").client_id == lost.client_id + 1
    service.client_revoke(lost)
    with pytest.raises(UnauthorizedException):
        service.client_reattach(lost, "logs")


def test_consumers_alone_retire_those_that_are_silent_for_longest_first(topic):
    keys = [service.consumer_create("logs", "earliest") for _ in range(4)]
    producer = service.producer_create("logs")
    now = timezone.now()
    for days, key in zip((3, 5, 4, 9), keys, strict=True):
        Consumer.objects.filter(pk=key.client_id).update(last_heartbeat=now - timedelta(days=days))
    Producer.objects.update(last_heartbeat=now - timedelta(days=9))
    service.clients_expire([producer, *keys[:3]])
    limits = {"forget_after_s": timedelta(days=3.5).total_seconds(), "count_max": 1}
    revoked = Consumer.objects.filter(state=ClientState.REVOKED).order_by("id")
    for ids in ([keys[1].client_id], [keys[1].client_id, keys[2].client_id]):
        assert service.consumers_retire(now, **limits) == 1
        assert list(revoked.values_list("id", flat=True)) == ids
    assert service.consumers_retire(now, **limits) == 0
    assert Producer.objects.get().state == ClientState.EXPIRED


def test_revoked_clients_take_turns_until_they_are_forgotten(topic):
    keys = [service.consumer_create("logs", "earliest") for _ in range(3)]
    for key in keys:
        assert service.client_revoke(key) == "logs"
    later = timezone.now() + timedelta(minutes=1)
    assert service.revoked_take(later, count_max=2) == [(key, "logs") for key in keys[:2]]
    assert service.revoked_take(later, count_max=2)[0] == (keys[2], "logs")
    service.revoked_forgotten(keys)
    assert service.revoked_take(later, count_max=2) == []
    assert service.client_revoke(keys[0]) is None
    assert service.client_revoke(ClientKey("consumer", 2**63)) is None


def test_a_client_returns_only_to_its_own_topic(topic):
    key = service.producer_create("logs")
    for other in ("other", "a\0b"):
        with pytest.raises(UnauthorizedException):
            service.client_reattach(key, other)
