"""People of each role who look at the console."""

from __future__ import annotations

from importlib import import_module
from urllib.parse import urlencode

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from manager_app.models import Topic

CSRF = "c" * 32


def make_person(role, *, messages=False, name=""):
    """Store somebody of a role: `viewer`, `operator`, `administrator`, `superuser`, "" for none.

    With `messages` they may read and publish messages too. They are called by their role, unless a
    name is given.
    """
    import_module("manager_app.migrations.0010_access").make_groups(apps)
    name = name or role or "nobody"
    if role == "superuser":
        return User.objects.create_superuser(name)
    someone = User.objects.create_user(name, is_staff=True)
    someone.groups.set(Group.objects.filter(name=role))
    if messages:
        kind = ContentType.objects.get_for_model(Topic)
        for codename in ("produce_messages", "consume_messages"):
            given = {"defaults": {"name": codename}}
            permission, _ = Permission.objects.get_or_create(
                codename=codename, content_type=kind, **given
            )
            someone.user_permissions.add(permission)
    return someone


def logged_in(person):
    browser = Client()
    browser.force_login(person)
    return browser


@pytest.fixture
def log_in(db):
    """Return what gives the browser of somebody: `log_in("viewer")`; see `make_person`."""
    return lambda role, **kinds: logged_in(make_person(role, **kinds))


class SiteBrowser:
    """Somebody's browser at a site: a whole manager, whose brokers are in memory."""

    def __init__(self, site, session):
        self._site = site
        self._cookie = f"{settings.SESSION_COOKIE_NAME}={session}; csrftoken={CSRF}"

    async def get(self, path):
        return await self._site.send("GET", path, headers={"cookie": self._cookie})

    async def post(self, path, **fields):
        headers = {
            "cookie": self._cookie,
            "x-csrftoken": CSRF,
            "content-type": "application/x-www-form-urlencoded",
        }
        return await self._site.send("POST", path, body=urlencode(fields).encode(), headers=headers)


@pytest.fixture
def log_in_at(site):
    """Return a coroutine that gives the browser of somebody at `site`; see `make_person`."""

    async def as_one_of(role, **kinds):
        def make():
            browser = logged_in(make_person(role, **kinds))
            return browser.cookies[settings.SESSION_COOKIE_NAME].value

        return SiteBrowser(site, await site.in_database(make))

    return as_one_of
