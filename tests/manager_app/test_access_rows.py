from __future__ import annotations

from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone
from msgspec.structs import replace

from http_base.access import CONSUME, MANAGE, PRODUCE, Role, TopicRight, hash_of
from manager_app.access_rows import access_load, holder_of_person
from manager_app.models import Topic
from manager_app.selectors import metadata_load
from manager_app.services.access import token_create, token_revoke

make_groups = import_module("manager_app.migrations.0010_access").make_groups
pytestmark = pytest.mark.django_db


@pytest.fixture
def ada():
    return User.objects.create_user("ada")


@pytest.fixture
def groups():
    make_groups(apps)


def names():
    return [holder.name for holder in access_load().holders]


def test_what_a_token_may_is_in_the_table_with_its_hash(ada, groups):
    ada.groups.add(Group.objects.get(name="operator"))
    ends = timezone.now() + timedelta(days=1)
    rights = [TopicRight("*", (CONSUME,)), TopicRight("orders", (PRODUCE, MANAGE))]
    token, text = token_create("ci", "ada", role=Role.OPERATOR, rights=rights, expires_at=ends)
    [holder] = access_load().holders
    assert (holder.origin, holder.hash) == (f"token-{token.pk}", hash_of(text))
    assert (holder.role, holder.expires_ms) == (Role.OPERATOR, int(ends.timestamp() * 1000))
    assert list(holder.rights) == rights


def test_the_role_of_a_token_is_never_above_that_of_its_owner(ada, groups):
    ada.groups.add(Group.objects.get(name="administrator"))
    token_create("ci", "ada", role=Role.ADMINISTRATOR)
    token_create("grafana", "ada", role=Role.VIEWER)

    def roles():
        found = sorted(access_load().holders, key=lambda holder: holder.name)
        return [holder.role for holder in found]

    assert roles() == [Role.ADMINISTRATOR, Role.VIEWER]
    ada.groups.set([Group.objects.get(name="operator")])
    assert roles() == [Role.OPERATOR, Role.VIEWER]
    ada.groups.clear()
    assert roles() == [Role.NONE, Role.NONE]


def test_dead_tokens_are_not_in_the_table(ada):
    token_create("good", "ada")
    token_create("over", "ada", expires_at=timezone.now() - timedelta(seconds=1))
    token_create("gone", "ada")
    token_revoke("gone")
    assert names() == ["the API token 'good'"]
    User.objects.filter(username="ada").update(is_active=False)
    assert names() == []


def test_people_that_may_use_messages_are_in_the_table(ada, groups):
    User.objects.create_user("idle", is_active=False, is_superuser=True)
    User.objects.create_superuser("root")
    bob = User.objects.create_user("bob")
    reading = Group.objects.create(name="readers")
    reading.permissions.add(
        Permission.objects.get_or_create(
            codename="consume_messages",
            content_type=ContentType.objects.get_for_model(Topic),
        )[0]
    )
    bob.groups.add(reading)
    ada.groups.add(Group.objects.get(name="administrator"))
    found = {holder.name: holder for holder in access_load().holders}
    assert found.keys() == {"the user 'root'", "the user 'bob'"}
    bob_may, root_may = found["the user 'bob'"], found["the user 'root'"]
    assert (bob_may.may(CONSUME, "x"), bob_may.may(PRODUCE, "x")) == (True, False)
    assert (root_may.may(CONSUME, "x"), root_may.may(PRODUCE, "x")) == (True, True)
    assert {bob_may.hash, bob_may.role} == {"", Role.NONE}


@pytest.mark.parametrize("name", ["viewer", "operator", "administrator"])
def test_a_group_gives_its_role_and_no_message(ada, groups, name):
    ada.groups.add(Group.objects.get(name=name))
    holder = holder_of_person(User.objects.get(username="ada"))
    assert (holder.role, holder.rights) == (Role[name.upper()], ())
    assert holder.origin == f"user-{ada.pk}"


def test_who_is_in_no_group_has_no_role(ada):
    assert holder_of_person(ada).role is Role.NONE
    assert holder_of_person(User.objects.create_superuser("root")).role is Role.ADMINISTRATOR


def test_groups_are_made_once(groups):
    make_groups(apps)
    assert Group.objects.count() == 3


def test_the_metadata_have_the_table_where_it_counts(ada, settings):
    token_create("ci", "ada")
    assert metadata_load().access.table.holders == []
    settings.QUEUE = replace(settings.QUEUE, auth="required")
    assert metadata_load().access.table == access_load()
    assert names() == ["the API token 'ci'"]
