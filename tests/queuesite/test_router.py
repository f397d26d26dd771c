from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured

from queuesite.conf import BROKER, MANAGER, TEST
from queuesite.router import RoleRouter
from raft_app.models import RaftGroup


@pytest.mark.parametrize("role", [MANAGER, TEST])
def test_people_are_in_the_default_database(role):
    router = RoleRouter(role)
    assert router.db_for_read(User) == router.db_for_write(User) == "default"


@pytest.mark.parametrize("role", [BROKER, TEST])
def test_raft_is_in_the_database_of_the_broker(role):
    router = RoleRouter(role)
    assert router.db_for_read(RaftGroup) == router.db_for_write(RaftGroup) == "broker"


@pytest.mark.parametrize(("role", "model"), [(MANAGER, RaftGroup), (BROKER, User)])
def test_table_that_a_role_does_not_have_is_an_error(role, model):
    router = RoleRouter(role)
    with pytest.raises(ImproperlyConfigured, match=role):
        router.db_for_read(model)
    with pytest.raises(ImproperlyConfigured, match=role):
        router.db_for_write(model)


@pytest.mark.parametrize(
    ("role", "alias", "app", "allowed"),
    [
        (MANAGER, "default", "manager_app", True),
        (MANAGER, "default", "raft_app", False),
        (MANAGER, "broker", "raft_app", False),
        (BROKER, "broker", "raft_app", True),
        (BROKER, "broker", "auth", False),
        (BROKER, "default", "auth", False),
        (TEST, "default", "auth", True),
        (TEST, "broker", "broker_app", True),
        (TEST, "broker", "manager_app", False),
    ],
)
def test_tables_are_made_in_their_own_database_alone(role, alias, app, allowed):
    assert RoleRouter(role).allow_migrate(alias, app) is allowed


def test_relations_stay_inside_one_database():
    router = RoleRouter(TEST)
    assert router.allow_relation(User(), User())
    assert not router.allow_relation(User(), RaftGroup())


def test_role_of_the_process_is_the_default():
    assert RoleRouter().role == TEST
