"""What comes before a manager's start: its database, the secret, its superuser."""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import contextmanager
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import PBKDF2PasswordHasher, make_password
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.migrations.recorder import MigrationRecorder

import queuesite
from manager_app import migrations, selectors
from manager_app.services.cluster import secret_record
from queuesite.conf import SECRET_FILE
from queuesite.private_files import close_to_others
from raft_app.storage.protocol import StorageRefusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from queuesite.conf import QueueConfig

PREPARATION_LOCK = 0x51554555
"""PostgreSQL's advisory lock that lets one manager at a time prepare the database."""
DEFAULT_USERNAME = "admin"
_APP_LABEL = "manager_app"
PASSWORD_BYTES = 12
"""Randomness of a password that is made here."""


class _RandomPasswordHasher(PBKDF2PasswordHasher):
    """Hashes what nobody can guess: rounds, which slow guesses down, would only slow the start.

    At the first login Django hashes the password anew, with as many rounds as any other.
    """

    iterations = 1_000


class NewerDatabase(Exception):
    """A later version migrated the database; one clear line says what to do. Exit status 2."""


class WrongSecret(Exception):
    """Not the secret of the cluster in the database; one clear line says what to do. Status 2."""


def prepare_database(config: QueueConfig) -> dict[str, str]:
    """Migrate, check the secret, make the first superuser; one manager at a time does.

    Returns:
        What `ensure_superuser` returns.

    Raises:
        NewerDatabase: a later version of this program migrated it.
        WrongSecret: the cluster in the database has another.
        django.db.Error: the database cannot be used.
    """
    with _preparation_lock():
        require_known_database()
        call_command("migrate", interactive=False, verbosity=0)
        secret_record(config.cluster_secret, change=config.change_secret)
        require_secret(config)
        return ensure_superuser()


def require_known_database() -> None:
    """Refuse a database that a later version of this program has migrated.

    Raises:
        NewerDatabase: it has a migration that is not in this program.
        django.db.Error: the database cannot be used.
    """
    known = {module.name for module in iter_modules(migrations.__path__)}
    applied = MigrationRecorder(connection).applied_migrations()
    unknown = sorted(name for app, name in applied if app == _APP_LABEL and name not in known)
    if unknown:
        raise NewerDatabase(
            f"the database was migrated by a later version ({unknown[0]}) than this one,"
            f" {queuesite.__version__}: start that version, or restore a backup from before it"
        )


def require_secret(config: QueueConfig) -> None:
    """Refuse to be a manager of a cluster with another secret.

    Raises:
        WrongSecret: the cluster in the database has another.
        django.db.Error: the database cannot be used.
    """
    if not selectors.secret_fits(config.cluster_secret):
        raise WrongSecret(
            "the cluster's secret is another one than QUEUE_CLUSTER_SECRET, or the file"
            f" {SECRET_FILE}, says: give this manager the secret of the others"
        )


@contextmanager
def _preparation_lock() -> Iterator[None]:
    """Wait for others that prepare the same PostgreSQL; on SQLite there is no other."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        # To wait for another manager, and to migrate, may take its time.
        cursor.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT pg_advisory_lock(%s)", [PREPARATION_LOCK])
    try:
        yield
    finally:
        connection.close()  # and with it the lock; the next connection has its limits again


@contextmanager
def sole_writer() -> Iterator[None]:
    """Keep every other manager that writes off this one's SQLite file, whatever path leads there.

    The lock is on the file itself, not on a name. SQLite takes locks of another kind, which closing
    any descriptor of the file would drop: so this one is held until all connections are closed.

    Raises:
        StorageRefusal: another manager has it, or the file cannot be used.
    """
    name = str(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite" or name == ":memory:":
        yield
        return
    path = Path(name)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageRefusal(f"the database {path} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StorageRefusal(
            f"the database {path} is in use by another manager: only one may write to an SQLite"
            " file; start this one with -r, or use PostgreSQL for both"
        ) from error
    try:
        for suffix in ("", "-wal", "-shm"):
            if (file := path.with_name(path.name + suffix)).exists():
                close_to_others(file)
        yield
    finally:
        connections.close_all()
        os.close(descriptor)


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
    if given:
        users.create_superuser(username, "", given)
        return {}
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    with transaction.atomic():  # there is no superuser without a password
        user = users.create_superuser(username, "", None)
        user.password = make_password(password, hasher=_RandomPasswordHasher())
        user.save(update_fields=["password"])
    return {"username": username, "password": password}
