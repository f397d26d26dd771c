"""Fixtures of the manager's tests."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest
from asgiref.sync import SyncToAsync
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.management import create_contenttypes
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.db.models.signals import post_migrate

from manager_app.brokers import orders
from manager_app.fence import write_under
from tests.manager_app.site import THREADS, Site


def _keep_sqlite_in_a_file() -> None:
    """Let the threads of a manager have connections of their own, as in a real process.

    An SQLite database in memory is shared by table locks that no timeout waits for.
    """
    settings = connections["default"].settings_dict
    if settings["ENGINE"].endswith("sqlite3") and not settings["TEST"]["NAME"]:
        directory = tempfile.mkdtemp(prefix="queue-manager-tests-")
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        settings["TEST"]["NAME"] = str(Path(directory) / "manager.sqlite3")
        settings["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"


_keep_sqlite_in_a_file()


def _make_no_permissions() -> None:
    """Spare permissions and content types, which are made anew each time a test left data behind.

    That takes longer than most tests. The only people here are superusers, and a content type is
    made when it is asked for.
    """
    uid = "django.contrib.auth.management.create_permissions"
    assert post_migrate.disconnect(dispatch_uid=uid)
    assert post_migrate.disconnect(create_contenttypes)


_make_no_permissions()


ON_POSTGRESQL = connections["default"].vendor == "postgresql"


def _reset_postgresql_in_few_statements() -> None:
    """Clear tables after a test by rows, of which there are few, and look up sequences once.

    TRUNCATE makes new files for each table and index: 54 ms of a core for 25 tables, not 1.
    """
    operations = type(connections["default"].ops)
    introspection = type(connections["default"].introspection)

    def sql_flush(self, style, tables, *, reset_sequences=False, allow_cascade=False):
        assert not reset_sequences
        return [f"DELETE FROM {self.quote_name(table)}" for table in tables]  # noqa: S608 - names

    operations.sql_flush = sql_flush
    introspection.sequence_list = cache(introspection.sequence_list)


if ON_POSTGRESQL:
    _reset_postgresql_in_few_statements()


DATABASE_FIXTURES = {"db", "transactional_db", "django_db_reset_sequences"}


def _asks_postgresql_something(item):
    """Tell whether a test uses the database."""
    return item.get_closest_marker("django_db") or DATABASE_FIXTURES & set(item.fixturenames)


def pytest_collection_modifyitems(config, items):
    """Run on PostgreSQL what uses the database; the rest would only run a second time.

    Nor does it matter there whether `HotPaths` stands before Django: the same threads ask.
    """
    if not ON_POSTGRESQL:
        return
    kept = [
        item
        for item in items
        if _asks_postgresql_something(item) and "[django alone" not in item.name
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Begin with what every later test finds: the first one that leaves data behind clears these.

    PostgreSQL gives numbers anew while rows are there: the next row would have one of theirs.
    """
    with django_db_blocker.unblock():
        for model in (Group.permissions.through, Group, Permission, ContentType):
            model.objects.all()._raw_delete("default")  # no signal: nobody is told of it


@pytest.fixture(autouse=True)
def settings_of_a_manager(settings):
    """A password takes a quarter of a second with as many rounds as usual; no test is of them."""
    settings.ROOT_URLCONF = "queuesite.urls_manager"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def no_manager_of_another_test():
    """Let what a test calls write under no lease, unless it starts a manager."""
    yield
    write_under(None)


@pytest.fixture(autouse=True)
def content_types_of_this_test():
    """Forget those that an earlier test made: their rows are gone."""
    ContentType.objects.clear_cache()


@pytest.fixture(scope="session")
def request_threads(django_db_setup):
    """End the threads of all sites, and with them their connections, before their database.

    Views that are coroutines ask it in the one thread that all of them share.
    """
    yield
    THREADS.close()
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture(autouse=True)
def patient_reports(monkeypatch):
    """Brokers that are there report in time on a busy machine, too."""
    monkeypatch.setattr(orders, "REPORT_TIMEOUT_S", 2.0)


@pytest.fixture
async def site(django_db_reset_sequences, request_threads):
    """A manager and three brokers."""
    site = Site()
    await site.start()
    yield site
    await site.stop()


@pytest.fixture
async def empty_site(django_db_reset_sequences, request_threads):
    """A manager without brokers."""
    site = Site()
    await site.start(brokers=0)
    yield site
    await site.stop()


@pytest.fixture(params=["hot paths", "django alone"])
async def any_site(request, django_db_reset_sequences, request_threads):
    """A manager and three brokers, called through `HotPaths` and through Django alone."""
    site = Site()
    await site.start()
    if request.param == "django alone":
        site.app = site.django
    yield site
    await site.stop()
