from __future__ import annotations

import re
from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from http_base.access import hash_of
from manager_app import runtime
from manager_app.groups.offsets import Unsaid
from manager_app.models import (
    ApiToken,
    Broker,
    BrokerState,
    Consumer,
    ConsumerGroup,
    DeletedGroup,
    Event,
    GroupMember,
    LossAccepted,
    Partition,
    Producer,
    Replica,
    TokenRight,
    Topic,
)
from manager_app.services.cluster import cluster_ensure
from tests.manager_app.many_partitions import make_cluster

ACCESS = (ApiToken, TokenRight)
"""What people write here, as nothing else of the manager's."""
MODELS = [one for one in apps.get_app_config("manager_app").get_models() if one not in ACCESS]
make_groups = import_module("manager_app.migrations.0010_access").make_groups

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
    Event.objects.all().delete()
    Event.objects.create(at=timezone.now(), action="group offsets", text="logs")
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
    assert b"retention_ms_positive" in answer.content
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
    assert b"Lag, in messages" in person.get(page(ConsumerGroup, group.pk, "change")).content
    monkeypatch.setattr("manager_app.runtime.installed", lambda: manager)
    shown = person.get(page(ConsumerGroup, group.pk, "change")).content
    assert b"logs/0: 17, logs/1: -, logs/2: ?" in shown
    assert b"logs/0" in person.get(page(GroupMember)).content


@pytest.mark.parametrize("model", [Topic, Partition, Replica, Broker, Producer, Consumer])
def test_a_list_takes_as_many_queries_however_many_rows_it_shows(person, model):
    def queries():
        with CaptureQueriesContext(connection) as asked:
            assert person.get(page(model)).status_code == 200
        return len(asked)

    def add_clients():
        for topic in Topic.objects.exclude(producers__isnull=False):
            for kind in (Producer, Consumer):
                kind.objects.create(topic=topic, last_heartbeat=timezone.now())

    make_cluster(1)
    add_clients()
    few = queries()
    for number in range(4):
        topic = Topic.objects.create(
            name=f"more-{number}", partitions_at_creation=1, replication_factor=1
        )
        partition = Partition.objects.create(topic=topic, index=0, leader=Broker.objects.first())
        for position, broker in enumerate(Broker.objects.all()[:3]):
            Replica.objects.create(
                partition=partition, broker=broker, position=position, bootstrap=True
            )
    add_clients()
    assert queries() == few


def test_every_model_is_registered():
    assert all(admin.site.is_registered(model) for model in MODELS)


def fields_of_rights(*rows):
    """Return a form's fields for the rights of a token: (pattern, right) each."""
    fields = {
        "rights-TOTAL_FORMS": len(rows),
        "rights-INITIAL_FORMS": 0,
        "rights-MIN_NUM_FORMS": 0,
        "rights-MAX_NUM_FORMS": 100,
    }
    for number, (pattern, right) in enumerate(rows):
        fields |= {f"rights-{number}-pattern": pattern, f"rights-{number}-{right}": "on"}
    return fields


def add_token(person, **fields):
    owner = User.objects.get(username="admin").pk
    given = {"name": "ci", "owner": owner, "role": 0, **fields_of_rights(("orders.*", "produce"))}
    return person.post(page(ApiToken, "add"), given | fields)


def test_a_new_token_is_shown_once_and_stored_nowhere(person):
    answer = add_token(person)
    [text] = re.findall(r"<code>(qs_[^<]+)</code>", answer.content.decode())
    row = ApiToken.objects.get()
    assert row.hash == hash_of(text)
    assert "no-store" in answer["Cache-Control"]
    assert text not in str(answer.cookies)
    [right] = TokenRight.objects.values_list("pattern", "produce", "consume", "manage")
    assert right == ("orders.*", True, False, False)
    for path in (page(ApiToken), page(ApiToken, row.pk, "change")):
        shown = person.get(path)
        assert shown.status_code == 200
        assert text not in shown.content.decode()
        assert row.hash not in shown.content.decode()


def test_a_pattern_that_cannot_be_is_refused_with_the_form(person):
    answer = add_token(person, **fields_of_rights(("or*ders", "consume")))
    assert b"beginning of one before a *" in answer.content
    assert not ApiToken.objects.exists()


def test_a_role_above_that_of_the_owner_is_refused_with_the_form(person):
    bob = User.objects.create_user("bob").pk
    answer = add_token(person, owner=bob, role=1)
    assert b"no API token of theirs has the role viewer" in answer.content
    assert not ApiToken.objects.exists()
    assert b"<code>qs_" in add_token(person, role=3).content


def test_a_token_is_revoked_and_deleted_here(person):
    add_token(person)
    row = ApiToken.objects.get()
    chosen = {"_selected_action": [row.pk], "index": 0}
    assert person.post(page(ApiToken), {"action": "revoke", **chosen}).status_code == 302
    row.refresh_from_db()
    assert row.revoked_at is not None
    assert b"revoked" in person.get(page(ApiToken)).content
    everything = {"action": "delete_selected", "post": "yes", **chosen}
    assert person.post(page(ApiToken), everything).status_code == 302
    add_token(person)
    [row] = ApiToken.objects.all()
    assert person.post(page(ApiToken, row.pk, "delete"), {"post": "yes"}).status_code == 302
    assert not ApiToken.objects.exists()


@pytest.fixture
def log_in(client):
    make_groups(apps)

    def as_one_of(*groups, **fields):
        someone = User.objects.create_user("bob", is_staff=True, **fields)
        someone.groups.set(Group.objects.filter(name__in=groups))
        client.force_login(someone)
        return client

    return as_one_of


@pytest.mark.parametrize(
    ("groups", "sees", "retention", "tokens"),
    [
        ([], 403, 403, 403),
        (["viewer"], 200, 403, 403),
        (["operator"], 200, 403, 403),
        (["administrator"], 200, 302, 200),
    ],
)
def test_roles_decide_what_is_shown_and_may_be_changed(
    log_in, rows, groups, sees, retention, tokens
):
    client = log_in(*groups)
    for model in MODELS:
        assert client.get(page(model)).status_code == sees, model
        assert client.get(page(model, "add")).status_code == 403, model
    changing = page(Topic, Topic.objects.get().pk, "change")
    assert client.post(changing, {"retention_ms": "5"}).status_code == retention
    assert client.get(page(ApiToken)).status_code == tokens
    assert client.get(page(ApiToken, "add")).status_code == tokens
    assert client.get("/admin/auth/user/add/").status_code == tokens
    assert client.get("/admin/auth/group/add/").status_code == 403


def test_only_a_superuser_touches_superusers(log_in):
    client = log_in("administrator")
    root = User.objects.create_superuser("root")
    path = f"/admin/auth/user/{root.pk}"
    assert client.get(f"{path}/change/").status_code == 302  # as if there were none
    assert client.post(f"{path}/password/", {"password1": "x", "password2": "x"}).status_code != 200
    assert client.post(f"{path}/delete/", {"post": "yes"}).status_code == 302
    assert User.objects.filter(pk=root.pk).exists()
    bob = User.objects.get(username="bob")
    shown = client.get(f"/admin/auth/user/{bob.pk}/change/").content.decode()
    assert 'name="is_active"' in shown
    assert 'name="is_superuser"' not in shown


def test_who_may_what_is_changed_on_the_primary_alone(person, monkeypatch):
    add_token(person)
    row = ApiToken.objects.get()
    standby = SimpleNamespace(is_primary=False, suspects=frozenset, require_writable=lambda: None)
    monkeypatch.setattr(runtime, "installed", lambda: standby)
    assert person.get(page(ApiToken)).status_code == 200
    assert person.get(page(ApiToken, "add")).status_code == 403
    assert person.post(page(ApiToken, row.pk, "delete"), {"post": "yes"}).status_code == 403
    assert person.post("/admin/auth/user/add/", {}).status_code == 403
    assert ApiToken.objects.exists()
