from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.utils import timezone

from manager_app.groups.offsets import Unsaid
from manager_app.models import (
    AuditEntry,
    Broker,
    BrokerState,
    Consumer,
    ConsumerGroup,
    DeletedGroup,
    GroupMember,
    LossAccepted,
    Partition,
    Producer,
    Replica,
    Topic,
)
from manager_app.services.cluster import cluster_ensure

MODELS = list(apps.get_app_config("manager_app").get_models())

pytestmark = pytest.mark.django_db


@pytest.fixture
def person(client):
    client.force_login(get_user_model().objects.create_superuser("admin", "", "secret"))
    return client


@pytest.fixture
def rows():
    cluster_ensure()
    topic = Topic.objects.create(name="logs", partitions_at_creation=1, replication_factor=1)
    broker = Broker.objects.create(
        incarnation="0" * 32, address="http://h:1", state=BrokerState.ALIVE
    )
    partition = Partition.objects.create(topic=topic, index=0, leader=broker)
    Replica.objects.create(partition=partition, broker=broker, position=0, bootstrap=True)
    Producer.objects.create(topic=topic, last_heartbeat=timezone.now())
    Consumer.objects.create(topic=topic, last_heartbeat=timezone.now())
    AuditEntry.objects.create(at=timezone.now(), action="group offsets", subject="logs-readers")
    DeletedGroup.objects.create(group_id=77, topic_name="gone", index=0)
    LossAccepted.objects.create(
        group_id=1,
        topic_name="logs",
        index=0,
        accepted_by="ada",
        broker_id=1,
        old_replica_id=1,
        new_replica_id=2,
        above_term=3,
        end_offset=4,
        known_offset=5,
        next_offset=6,
        version=2,
    )
    group = ConsumerGroup.objects.create(name="logs-readers", topics={"logs": [1, 1]})
    GroupMember.objects.create(
        group=group,
        member_id="0" * 32,
        topics=["logs"],
        granted={"logs": [0]},
        session_timeout_ms=1_000,
        last_heartbeat=timezone.now(),
    )


def page(model, *parts):
    return "/".join(["/admin/manager_app", model._meta.model_name, *map(str, parts), ""])


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_person_can_look_at_every_model_but_add_and_delete_nothing(person, rows, model):
    row = model.objects.get()
    assert person.get(page(model)).status_code == 200
    assert person.get(page(model), {"q": "logs"}).status_code == 200
    assert person.get(page(model, row.pk, "change")).status_code == 200
    assert person.get(page(model, "add")).status_code == 403
    assert person.get(page(model, row.pk, "delete")).status_code == 403


@pytest.mark.parametrize(
    "model", [model for model in MODELS if model is not Topic], ids=lambda model: model.__name__
)
def test_what_only_the_manager_writes_cannot_be_changed(person, rows, model):
    row = model.objects.get()
    assert person.post(page(model, row.pk, "change"), {}).status_code == 403


def test_the_retention_of_a_topic_can_be_edited_and_nothing_else_of_it(person, rows):
    topic = Topic.objects.get()
    answer = person.post(
        page(Topic, topic.pk, "change"),
        {"retention_ms": "5", "retention_bytes": "", "name": "other", "replication_factor": "9"},
    )
    assert answer.status_code == 302
    topic = Topic.objects.get()
    assert (topic.retention_ms, topic.retention_bytes) == (5, None)
    assert (topic.name, topic.replication_factor) == ("logs", 1)


@pytest.mark.parametrize("value", ["0", "-5"])
def test_a_retention_that_cannot_be_is_refused_with_the_form(person, rows, value):
    topic = Topic.objects.get()
    answer = person.post(page(Topic, topic.pk, "change"), {"retention_ms": value})
    assert answer.status_code == 200
    assert b"errorlist" in answer.content
    assert Topic.objects.get().retention_ms is None


def test_a_group_shows_its_members_topics_and_lag(person, rows, monkeypatch):
    def run(asking, timeout_s):
        assert asking == ("logs-readers", ["logs"])
        return {
            ("logs", 0): SimpleNamespace(lag=17),
            ("logs", 1): Unsaid.NOT_THERE,
            ("logs", 2): Unsaid.NO_ANSWER,
        }

    offsets = SimpleNamespace(ask=lambda *asked: asked)
    manager = SimpleNamespace(group_offsets=offsets, run=run, is_primary=True, suspects=frozenset)
    group = ConsumerGroup.objects.get()
    assert b"lag" in person.get(page(ConsumerGroup, group.pk, "change")).content
    monkeypatch.setattr("manager_app.runtime.installed", lambda: manager)
    shown = person.get(page(ConsumerGroup, group.pk, "change")).content
    assert b"logs/0: 17, logs/1: -, logs/2: ?" in shown
    assert b"logs/0" in person.get(page(GroupMember)).content


def test_every_model_is_registered():
    assert all(admin.site.is_registered(model) for model in MODELS)
