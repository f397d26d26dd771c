from __future__ import annotations

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from msgspec.structs import replace

from http_base.tokens import secret_fingerprint
from manager_app.models import Cluster
from manager_app.services.cluster import cluster_ensure
from queuesite.conf import QueueConfig
from queuesite.manager import (
    NewerDatabase,
    WrongSecret,
    ensure_superuser,
    prepare_database,
    require_known_database,
    require_secret,
)

pytestmark = pytest.mark.django_db


def test_database_that_a_later_version_migrated_is_refused_in_one_line():
    require_known_database()
    MigrationRecorder(connection).record_applied("auth", "9999_of_others")
    require_known_database()
    MigrationRecorder(connection).record_applied("manager_app", "9999_later")
    with pytest.raises(
        NewerDatabase, match=r"later version \(9999_later\) than this one"
    ) as raised:
        prepare_database(QueueConfig(cluster_secret="a secret of this length"))
    assert "\n" not in str(raised.value)


def test_first_start_makes_a_superuser_with_a_random_password():
    made = ensure_superuser({})
    user = authenticate(username=made["username"], password=made["password"])
    assert user is not None
    assert user.is_superuser
    assert made["password"] not in user.password


def test_random_password_is_hashed_with_as_many_rounds_as_others_at_the_first_login():
    made = ensure_superuser({})
    at_first = User.objects.get().password
    assert authenticate(username=made["username"], password="wrong") is None
    assert User.objects.get().password == at_first
    assert authenticate(username=made["username"], password=made["password"])
    rounds = int(User.objects.get().password.split("$")[1])
    assert rounds == PBKDF2PasswordHasher.iterations
    assert authenticate(username=made["username"], password=made["password"])


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


CONFIG = QueueConfig(cluster_secret="the secret of a cluster")
OTHER = replace(CONFIG, cluster_secret="the secret of another one")


def test_preparing_again_changes_nothing():
    before = set(connection.introspection.table_names())
    made = prepare_database(CONFIG)
    assert made["password"]
    assert prepare_database(CONFIG) == {}
    assert set(connection.introspection.table_names()) == before


def test_first_manager_records_its_secret_and_others_must_have_it():
    require_secret(OTHER)
    prepare_database(CONFIG)
    require_secret(CONFIG)
    for refused in (prepare_database, require_secret):
        with pytest.raises(WrongSecret, match="QUEUE_CLUSTER_SECRET"):
            refused(OTHER)
    assert CONFIG.cluster_secret not in Cluster.objects.get().secret_fingerprint


def test_cluster_of_an_earlier_version_gets_the_secret_of_the_first_start():
    cluster = cluster_ensure()
    assert cluster.secret_fingerprint == ""
    prepare_database(CONFIG)
    again = Cluster.objects.get()
    assert again.cluster_id == cluster.cluster_id
    assert again.secret_fingerprint == secret_fingerprint(CONFIG.cluster_secret, again.cluster_id)


def test_secret_is_changed_on_purpose():
    prepare_database(CONFIG)
    prepare_database(replace(OTHER, change_secret=True))
    require_secret(OTHER)
    with pytest.raises(WrongSecret):
        prepare_database(CONFIG)


def test_manager_with_another_secret_makes_nobody():
    prepare_database(CONFIG)
    User.objects.all().delete()
    with pytest.raises(WrongSecret):
        prepare_database(OTHER)
    assert not User.objects.exists()
