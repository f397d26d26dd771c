"""A manager's part of its process: its database, its superuser, its runtime."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection

from manager_app.process import ManagerProcess

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator, Mapping

    from queuesite.conf import QueueConfig

MIGRATION_LOCK = 0x51554555
"""PostgreSQL's advisory lock that lets one manager at a time migrate."""
DEFAULT_USERNAME = "admin"


def migrate() -> None:
    """Bring the database up to date; managers that start together wait for each other.

    Raises:
        django.db.Error: the database cannot be used.
    """
    with _migration_lock():
        call_command("migrate", interactive=False, verbosity=0)


@contextmanager
def _migration_lock() -> Iterator[None]:
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        # To wait for another manager's migration, and to migrate, may take its time.
        cursor.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
    try:
        yield
    finally:
        connection.close()  # and with it the lock; the next connection has its limits again


def ensure_superuser(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Make the superuser that the environment names, or a first one with a random password.

    Args:
        environ: DJANGO_SUPERUSER_USERNAME and DJANGO_SUPERUSER_PASSWORD.

    Returns:
        `username` and `password` of a user that was made with a random password, to be shown
        once; empty otherwise. Nothing keeps the password in clear text.
    """
    users = get_user_model().objects
    username = environ.get("DJANGO_SUPERUSER_USERNAME") or DEFAULT_USERNAME
    given = environ.get("DJANGO_SUPERUSER_PASSWORD")
    if users.filter(username=username).exists():
        return {}
    if not given and users.filter(is_superuser=True).exists():
        return {}
    password = given or secrets.token_urlsafe(12)
    users.create_superuser(username, "", password)
    return {} if given else {"username": username, "password": password}


class ManagerPart:
    """A manager as `ServerProcess` wants it."""

    def __init__(self, config: QueueConfig) -> None:
        """Make the manager; nothing is opened before `start`."""
        self._config = config
        self._process = ManagerProcess(config)

    async def start(self) -> None:
        """Load the metadata and open the client for brokers."""
        await self._process.start()

    def failure(self) -> asyncio.Future[None] | None:
        """A manager survives what fails in it."""
        return None

    async def announce_stop(self) -> None:
        """Nobody has to be prepared."""

    async def stop(self) -> None:
        """Close what `start` opened."""
        await self._process.stop()

    def describe(self) -> str:
        """Return the line that says ready."""
        kind = "read-only manager" if self._config.read_only else "manager"
        return f"{kind} ready on {self._config.address}"
