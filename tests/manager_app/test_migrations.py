from __future__ import annotations

from importlib import import_module

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType

from manager_app.models import Event

pytestmark = pytest.mark.django_db
events = import_module("manager_app.migrations.0013_events")


def test_whoever_saw_audit_entries_sees_events():
    Permission.objects.filter(content_type__app_label="manager_app").delete()
    before = ContentType.objects.create(app_label="manager_app", model="auditentry")
    seen = Permission.objects.create(
        codename="view_auditentry", name="Can view audit entry", content_type=before
    )
    group, _ = Group.objects.get_or_create(name="lookers")
    group.permissions.add(seen)
    events.rename_permissions(apps, None)
    [now] = group.permissions.all()
    assert (now.codename, now.content_type.model) == ("view_event", "event")
    events.rename_permissions(apps, None)
    assert Permission.objects.filter(codename="view_event").count() == 1


def test_the_groups_of_a_new_database_see_events_and_not_what_they_were_called():
    import_module("manager_app.migrations.0010_access").make_groups(apps)
    names = Group.objects.get(name="viewer").permissions.values_list("codename", flat=True)
    assert "view_event" in names
    assert "view_auditentry" not in names
    assert Event._meta.model_name == "event"
