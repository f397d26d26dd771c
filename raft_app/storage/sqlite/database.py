"""The SQLite file of one data directory, reached through Django connections.

Django keeps one connection per thread and alias. A `BrokerDatabase` has connections of its own,
one per thread, and puts the calling thread's in the place of `connections[alias]` for the time
of a call: ORM and raw SQL then reach this directory's file, several directories can be open in
one process, and whatever else uses the alias in that thread is left alone.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import DatabaseError, connections

from raft_app.failpoints import reach
from raft_app.storage.protocol import StorageError, StorageRefusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.utils import CursorWrapper

FILE_NAME = "broker.sqlite3"
WAL_NAME = f"{FILE_NAME}-wal"
INDEX_NAME = f"{FILE_NAME}-shm"
INIT_COMMAND = "; ".join(
    (
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
        "PRAGMA secure_delete=OFF",
        "PRAGMA wal_autocheckpoint=0",
    )
)
"""Run by each new connection."""
NEW_FILE_COMMAND = "PRAGMA auto_vacuum=INCREMENTAL; "
"""Run before it in an empty file: heeded only there, elsewhere it would be a write for nothing."""
BUSY_TIMEOUT_SECONDS = 5.0
CHECKPOINT_BUSY_TIMEOUT_MS = 100
"""How long a checkpoint of the WAL waits for readers of an older state."""
_UNREADABLE = frozenset(
    {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}
)
_EXPECTED_PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0}


class BrokerDatabase:
    """Connections to `directory/broker.sqlite3`, durable at every commit.

    Every commit is fsynced (WAL, synchronous FULL), transactions are IMMEDIATE, and the WAL is
    written back only by `checkpoint_wal`.
    """

    def __init__(self, directory: Path, alias: str) -> None:
        """Remember where the file is.

        Args:
            directory: the broker's data directory; must exist when the first connection is made.
            alias: the key in `DATABASES` whose engine and options are used.
        """
        self.path = directory / FILE_NAME
        self.alias = alias
        self._local = threading.local()
        self._lock = threading.Lock()
        self._opened: set[BaseDatabaseWrapper] = set()
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[BaseDatabaseWrapper]:
        """Make this thread's connection to the file the one of the alias, meanwhile.

        Raises:
            StorageError: the database is closed.
        """
        own = self._own_connection()
        usual = connections[self.alias]
        if usual is own:
            yield own
            return
        connections[self.alias] = own
        try:
            own.ensure_connection()
            yield own
        finally:
            connections[self.alias] = usual

    @contextmanager
    def cursor(self) -> Iterator[CursorWrapper]:
        """Give a cursor for hot statements on this thread's connection.

        It is never Django's debug cursor, which would keep each parameter, that is each record
        batch, in memory. Leaving the context ends the statement's read transaction.
        """
        with (
            self.connection() as connection,
            connection.make_cursor(connection.create_cursor()) as cursor,
        ):
            yield cursor

    def connected(self) -> BaseDatabaseWrapper:
        """Return this thread's connection, for the hottest statements on the one below Django's.

        That is its `connection`; `wrap_database_errors` raises what SQLite raised as Django does.

        Raises:
            StorageError: the database is closed.
        """
        own: BaseDatabaseWrapper | None = getattr(self._local, "connection", None)
        if own is None or own.connection is None or self._closed:
            own = self._own_connection()
            own.ensure_connection()
        return own

    def verify_durability(self) -> None:
        """Check that SQLite took the settings; it says nothing when it cannot.

        Raises:
            StorageRefusal: one of them is weaker, for instance on a file system without WAL.
        """
        with self.cursor() as cursor:
            for name, expected in _EXPECTED_PRAGMAS.items():
                cursor.execute(f"PRAGMA {name}")
                found = cursor.fetchone()[0]
                if found != expected:
                    raise StorageRefusal(
                        f"{self.path}: SQLite uses {name}={found} where {expected} is needed"
                    )

    def wal_size_bytes(self) -> int:
        """Return the size of the WAL file; part of it may be free for reuse."""
        try:
            return self.path.with_name(WAL_NAME).stat().st_size
        except FileNotFoundError:
            return 0

    def checkpoint_wal(self) -> bool:
        """Write the WAL back into the file, so that the next commit starts it anew.

        The WAL keeps its length: overwriting it costs about half of what growing it costs. To be
        called by the only writing thread, between two transactions.

        Returns:
            Whether the WAL starts anew; if not, a reader was in the way for longer than
            `CHECKPOINT_BUSY_TIMEOUT_MS`.
        """
        starts_anew = self._checkpoint("RESTART", CHECKPOINT_BUSY_TIMEOUT_MS)
        reach("wal.written-back")
        return starts_anew

    def empty_wal(self) -> None:
        """Sync the WAL, write it back into the file, sync that, make the WAL a file of no bytes.

        At the start of a broker this makes durable what SQLite recovered, which the process
        before may not have synced, and removes the remains of a torn transaction.

        Raises:
            StorageRefusal: a reader outside this process was in the way all the time.
        """
        if not self._checkpoint("TRUNCATE", int(BUSY_TIMEOUT_SECONDS * 1000)):
            raise StorageRefusal(f"{self.path} is being read by another program")
        reach("wal.emptied")

    def _checkpoint(self, mode: str, busy_timeout_ms: int) -> bool:
        with self.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout={busy_timeout_ms}")
            try:
                cursor.execute(f"PRAGMA wal_checkpoint({mode})")
                busy: int = cursor.fetchone()[0]
            finally:
                cursor.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_SECONDS * 1000)}")
        return busy == 0

    def close_thread_connection(self) -> None:
        """Close the calling thread's connection, if it has one."""
        own: BaseDatabaseWrapper | None = self._local.__dict__.pop("connection", None)
        if own is not None:
            with self._lock:
                self._opened.discard(own)
            own.close()

    def close(self) -> None:
        """Close the connections of all threads, none of which may be in a call. For good."""
        with self._lock:
            self._closed = True
            opened, self._opened = self._opened, set()
        for connection in opened:
            connection.inc_thread_sharing()
            connection.close()

    def require_open(self) -> None:
        """Check that the database is not closed.

        Raises:
            StorageError: it is.
        """
        if self._closed:
            raise StorageError(f"{self.path} is closed")

    def _own_connection(self) -> BaseDatabaseWrapper:
        self.require_open()
        own: BaseDatabaseWrapper | None = getattr(self._local, "connection", None)
        if own is None:
            own = self._new_connection()
            with self._lock:
                self._opened.add(own)
            self._local.connection = own
        return own

    def _new_connection(self) -> BaseDatabaseWrapper:
        connection = connections.create_connection(self.alias)
        if connection.vendor != "sqlite":
            raise StorageRefusal(f"the database '{self.alias}' must be SQLite")
        usual = connection.settings_dict
        is_new = not self.path.exists() or self.path.stat().st_size == 0
        connection.settings_dict = {
            **usual,
            "NAME": str(self.path),
            "OPTIONS": {
                **usual.get("OPTIONS", {}),
                "init_command": NEW_FILE_COMMAND + INIT_COMMAND if is_new else INIT_COMMAND,
                "transaction_mode": "IMMEDIATE",
                "timeout": BUSY_TIMEOUT_SECONDS,
            },
        }
        return connection


def error_code(error: Exception) -> int:
    """Return SQLite's extended code of an error; 0 when it came from elsewhere."""
    code: int = getattr(error.__cause__, "sqlite_errorcode", 0)
    return code


def is_corruption(error: Exception) -> bool:
    """Whether SQLite says that the file itself is damaged, or a part of it cannot be read."""
    code = error_code(error)
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or code in _UNREADABLE


@contextmanager
def suppress_corruption() -> Iterator[None]:
    """Go on after the block when SQLite says that the file is damaged.

    Raises:
        DatabaseError: any other error of the database.
    """
    try:
        yield
    except DatabaseError as error:
        if not is_corruption(error):
            raise
