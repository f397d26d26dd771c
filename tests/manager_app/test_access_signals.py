from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType

from manager_app import selectors
from manager_app.models import ApiToken
from manager_app.services.access import token_create
from manager_app.services.cluster import cluster_ensure

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada():
    cluster_ensure()
    return User.objects.create_user("ada")


@pytest.fixture
def permission():
    return Permission.objects.create(
        codename="x", content_type=ContentType.objects.get_for_model(User)
    )


def changes(change) -> bool:
    before = selectors.metadata_version()
    change()
    return selectors.metadata_version() > before


def test_every_change_of_what_a_person_may_do_is_told(ada, permission):
    group = Group.objects.create(name="g")
    ada.is_active = False
    assert changes(ada.save)
    assert changes(lambda: ada.groups.add(group))
    assert changes(lambda: ada.user_permissions.add(permission))
    assert changes(lambda: group.permissions.add(permission))
    assert changes(lambda: group.permissions.clear())
    assert changes(lambda: ada.groups.remove(group))
    assert changes(group.delete)
    assert changes(ada.delete)


def test_a_log_in_is_no_change(ada):
    assert not changes(lambda: ada.save(update_fields=["last_login"]))
    assert not changes(lambda: ada.save(update_fields=["password"]))


async def test_tokens_go_with_their_owner_under_the_fence_of_a_manager(empty_site):
    def make_and_delete() -> int:
        User.objects.create_user("bob")
        token_create("ci", "bob")
        User.objects.get(username="bob").delete()
        return ApiToken.objects.count()

    assert await empty_site.in_database(make_and_delete) == 0


test_tokens_go_with_their_owner_under_the_fence_of_a_manager = pytest.mark.django_db(
    transaction=True
)(test_tokens_go_with_their_owner_under_the_fence_of_a_manager)
