from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from http_base.throttle import Throttle
from manager_app.models import ApiToken, Event, Topic
from manager_app.services.cluster import cluster_ensure

pytestmark = pytest.mark.django_db
TOKENS = "/admin/manager_app/apitoken/"


@pytest.fixture
def person(client):
    cluster_ensure()
    client.force_login(User.objects.create_superuser("ada", "", "secret"))
    Event.objects.all().delete()
    return client


def told():
    return [
        (event.action, event.text, event.person, event.things)
        for event in Event.objects.order_by("id")
    ]


def test_tokens_that_are_made_changed_revoked_and_deleted_are_events(person):
    owner = User.objects.get().pk
    fields = {"name": "ci", "owner": owner, "role": 0}
    fields |= {f"rights-{name}": 0 for name in ("TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS")}
    assert b"it is not shown again" in person.post(f"{TOKENS}add/", fields).content
    token = ApiToken.objects.get()
    assert person.post(f"{TOKENS}{token.pk}/change/", fields | {"name": "cd"}).status_code == 302
    chosen = {"action": "revoke", "_selected_action": token.pk}
    assert person.post(TOKENS, chosen).status_code == 302
    assert person.post(TOKENS, chosen).status_code == 302, "again is no event"
    assert person.post(f"{TOKENS}{token.pk}/delete/", {"post": "yes"}).status_code == 302
    assert told() == [
        ("API token added", "API token added: ci", "user 'ada'", [("token", "ci")]),
        ("API token changed", "API token changed: cd (Name)", "user 'ada'", [("token", "cd")]),
        ("API token revoked", "API token revoked: cd", "user 'ada'", [("token", "cd")]),
        ("API token deleted", "API token deleted: cd", "user 'ada'", [("token", "cd")]),
    ]
    assert {event.kind for event in Event.objects.all()} == {"access"}


def test_a_topic_whose_retention_is_changed_is_one_of_configuration(person):
    topic = Topic.objects.create(name="logs", partitions_at_creation=1, replication_factor=1)
    url = f"/admin/manager_app/topic/{topic.pk}/change/"
    assert person.post(url, {"retention_ms": "5", "retention_bytes": ""}).status_code == 302
    (event,) = Event.objects.all()
    assert (event.kind, event.things) == ("configuration", [("topic", "logs")])


def test_log_ins_are_told_and_no_name_that_nobody_has(person, client, monkeypatch):
    monkeypatch.setattr("queuesite.login.THROTTLE", Throttle())
    client.logout()
    User.objects.create_user("bob", password="right", is_staff=True)
    for number, fields in enumerate((("bob", "right"), ("bob", "wrong"), ("my-password", "wrong"))):
        typed = dict(zip(("username", "password"), fields, strict=True))
        client.post("/admin/login/", typed, REMOTE_ADDR=f"127.0.0.{number}")
    logins = Event.objects.filter(kind="login").order_by("id")
    assert [(event.action, event.person, event.outcome) for event in logins] == [
        ("logged out", "user 'ada'", "done"),
        ("logged in", "user 'bob'", "done"),
        ("log-in failed", "user 'bob'", "refused"),
        ("log-in failed", "", "refused"),
    ]
    assert not Event.objects.filter(text__contains="my-password").exists()
    assert logins[2].text == "User 'bob' failed to log in from 127.0.0.1"
