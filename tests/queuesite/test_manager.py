from __future__ import annotations

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.db import connection

from queuesite.manager import ensure_superuser, migrate

pytestmark = pytest.mark.django_db


def test_first_start_makes_a_superuser_with_a_random_password():
    made = ensure_superuser({})
    user = authenticate(username=made["username"], password=made["password"])
    assert user is not None
    assert user.is_superuser
    assert made["password"] not in user.password


def test_later_starts_make_nobody():
    ensure_superuser({})
    assert ensure_superuser({}) == {}
    assert User.objects.count() == 1


def test_environment_names_the_superuser_and_nothing_is_shown():
    environ = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_PASSWORD": "given"}
    assert ensure_superuser(environ) == {}
    assert authenticate(username="ada", password="given")


def test_existing_user_keeps_the_password():
    User.objects.create_superuser("ada", "", "old")
    environ = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_PASSWORD": "new"}
    assert ensure_superuser(environ) == {}
    assert authenticate(username="ada", password="old")


def test_migrating_again_changes_nothing():
    before = set(connection.introspection.table_names())
    migrate()
    assert set(connection.introspection.table_names()) == before
