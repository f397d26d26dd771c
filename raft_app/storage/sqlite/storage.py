"""The storage of a broker in one SQLite file, through the Django connection `broker`."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from django.db import DatabaseError, transaction

from http_base.histogram import Histogram
from raft_app import models
from raft_app.failpoints import reach
from raft_app.storage.entry_ranges import batches_within, entries_within, rows_within
from raft_app.storage.protocol import (
    BrokerIdentity,
    Examined,
    Operation,
    PeerAddress,
    Scrubbed,
    ScrubMark,
    StorageError,
    StorageRefusal,
    StoredBatch,
    StoredGroup,
)
from raft_app.storage.rules import GroupFacts, Plan, plan_transaction
from raft_app.storage.scrub import Scrub
from raft_app.storage.sqlite.database import BrokerDatabase, is_corruption
from raft_app.storage.sqlite.directory import DirectoryLock
from raft_app.storage.sqlite.entry_table import EntryTable
from raft_app.storage.sqlite.group_writes import added_by, commit_directly
from raft_app.storage.sqlite.inventory import Inventory
from raft_app.storage.sqlite.set_aside import set_aside
from raft_app.storage.sqlite.stored_groups import (
    examine_group,
    read_facts,
    read_stored_groups,
    verify_group,
)
from raft_app.storage.sqlite.transaction_writer import TransactionWriter
from raft_app.storage.wal.disk_errors import casts_doubt
from raft_app.storage.wal.doubt import doubt_about
from raft_app.storage.wal.fault_marker import FaultMarker
from raft_app.storage.wal.receipt import WalReceipts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from raft_app.core.types import Entry
    from raft_app.storage.sqlite.space_releaser import SpaceReleaser

logger = logging.getLogger(__name__)

WAL_LIMIT_BYTES = 8 << 20
"""Writing it back takes as long as it is; writing over it costs half of what growing it costs, and
a new broker begins with that when it has written so much."""
WAL_STEP_BYTES = 2 << 20
"""By so much the WAL is made longer at once, before it needs that: a sync of what makes a file
longer writes to several places, where one of what overwrites zeros writes to one."""
WAL_STEPS_BEGIN_BYTES = 64 << 10
"""A WAL that has less grows by itself: many a broker never writes more."""
_WAL_RETRY_BYTES = 1 << 20
"""How much is written before a checkpoint that a reader prevented is tried again."""


class SqliteStorage:
    """`raft_app.storage.protocol.Storage` in the file `broker.sqlite3` of a directory.

    `write` belongs to one thread, the reading methods to any. Each thread has its own connection
    and closes it with `close_thread_connection` before it ends.

    A database that is in doubt at the start - the WAL is corrupt, a write or sync failed before,
    something that was stored is gone - is put into a subdirectory as it was found, and a new one
    takes its place. In it all replicas are faulty; the broker's peers refill them under new ids.

    Attributes:
        transactions: committed since the start.
        commits: seconds that the commits of what adds to logs took.
        wal_checkpoints: how often the WAL was written back.
    """

    def __init__(
        self, directory: Path, alias: str = "broker", *, wal_limit_bytes: int = WAL_LIMIT_BYTES
    ) -> None:
        """Remember the directory; nothing is touched before `open`.

        Args:
            directory: the broker's data directory; made when it is missing.
            alias: the key in `DATABASES` whose engine and options are used.
            wal_limit_bytes: the WAL is written back when it has about that many.
        """
        self.directory = directory
        self.alias = alias
        self.transactions = 0
        self.commits = Histogram()
        self.wal_checkpoints = 0
        self._lock = DirectoryLock(directory)
        self._marker = FaultMarker(directory)
        self._inventory = Inventory(directory, alias)
        self._receipts = WalReceipts(directory)
        self._database = BrokerDatabase(directory, alias)
        self._database.close()  # Until `open` has the lock.
        self._facts: dict[int, GroupFacts] = {}
        self._opened = False
        self._failed = False
        self._wal_limit_bytes = wal_limit_bytes
        self._wal_bytes = 0
        self._wal_lengthens_at_bytes = WAL_STEPS_BEGIN_BYTES
        self._compacts_left: dict[int, bool] = {}
        self._release_left = False

    def open(self) -> BrokerIdentity:
        """Lock the directory, check or make the database, return the identity.

        Raises:
            StorageRefusal: one line says why the directory must not be used as it is.
        """
        self._lock.acquire()
        with ExitStack() as undo:
            undo.callback(self.close)
            self._facts = {}
            self._failed = False
            with self._refusing():
                self._open_database()
            self._opened = True
            undo.pop_all()
        return self._inventory.identity

    def close_thread_connection(self) -> None:
        """Close the calling thread's connection; a later call opens a new one."""
        self._database.close_thread_connection()

    def close(self) -> None:
        """Close all connections and let another process have the directory.

        The threads that used the storage must have ended their calls. SQLite writes the WAL back
        and deletes it, so that the next start has nothing to scan.
        """
        self._database.close()
        reach("close.connections-closed")
        if self._opened:
            self._inventory.close()
            if not self._database.wal_size_bytes():
                self._receipts.clear()
        self._opened = False
        self._receipts.close()
        self._marker.close()
        self._lock.release()

    # --- start ------------------------------------------------------------------------------

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Turn an error into a refusal: what is damaged waits for a person, as it was found."""
        try:
            yield
        except (DatabaseError, OSError) as error:
            if not is_corruption(error):
                self._note_fault(error)
            raise StorageRefusal(f"{self._database.path} cannot be used: {error}") from error

    def _open_database(self) -> None:
        doubt = self._marker.open() or doubt_about(
            self.directory, self._inventory.written(), self._receipts.read()
        )
        if not doubt:
            with self._connected():
                doubt = self._inventory.agree(self._database)
                if not doubt:
                    self._empty_wal()
        if doubt:
            self._start_over(doubt)

    @contextmanager
    def _connected(self) -> Iterator[None]:
        self._database = BrokerDatabase(self.directory, self.alias)
        with self._database.connection():
            self._database.verify_durability()
            yield

    def _start_over(self, doubt: str) -> None:
        """Put the database aside; in a new one all replicas are faulty.

        The marker stands until that is done: cut off in between, the next start does it again.
        """
        self._database.close()
        manifest = self._inventory.written()
        if manifest is None:
            raise StorageRefusal(
                f"{doubt}, and no manifest says which replicas {self.directory} had; empty it to"
                " start a new broker"
            )
        logger.critical("%s: all replicas of this broker are faulty", doubt)
        self._marker.mark(doubt)
        place = set_aside(self.directory, doubt)
        if place is not None:
            logger.critical("the database is kept in %s", place)
        with self._connected():
            self._inventory.start_over(self._database, manifest, doubt)
            self._empty_wal()
        self._marker.clear()

    def _empty_wal(self) -> None:
        if self._database.wal_size_bytes():
            self._database.empty_wal()
            self.wal_checkpoints += 1
        self._receipts.clear()
        self._wal_bytes = 0
        self._wal_lengthens_at_bytes = WAL_STEPS_BEGIN_BYTES

    def load_groups(self) -> list[StoredGroup]:
        """Return every replica, faulty ones marked; see `raft_app.storage.recovery`.

        Raises:
            StorageRefusal: the pages that say which replicas there are cannot be read.
        """
        with self._refusing(), self._database.cursor() as cursor:
            groups = read_stored_groups(cursor, self.alias, self._inventory.manifest)
        for found in groups:
            if not found.faulty and not found.installing:
                spec, initial = found.spec, found.initial
                used = self.used_replica_ids(spec.group_id)
                facts = GroupFacts(spec.replica_id, initial.last_index, initial.applied_index, used)
                self._facts.setdefault(spec.group_id, facts)  # Those of a write since are newer.
        return groups

    def examine(self, group_id: int) -> Examined | None:
        """Return what is stored of a replica, as if it had never been faulty; None without one."""
        with self._refusing(), self._database.cursor() as cursor:
            return examine_group(cursor, self.alias, group_id, self._inventory.manifest)

    def load_peers(self) -> list[PeerAddress]:
        """Return the known addresses of other brokers, by broker id.

        Raises:
            StorageRefusal: the pages that hold them cannot be read.
        """
        with self._refusing(), self._database.connection():
            rows = models.PeerAddress.objects.using(self.alias).order_by("broker_id")
            return [PeerAddress(row.broker_id, row.http_address, row.raft_address) for row in rows]

    def used_replica_ids(self, group_id: int) -> frozenset[int]:
        """Return the ids that replicas of this group ever had in this directory."""
        self._database.require_open()
        return self._inventory.manifest.used(group_id)

    # --- writing ----------------------------------------------------------------------------

    def write(self, operations: Sequence[Operation]) -> None:
        """Store all operations, in order, in one transaction; durable when it returns.

        Then, when the WAL has reached its limit, write it back: no other thread can do that
        under load. Until it first does, it is made longer in steps.

        Raises:
            StorageError: an operation contradicts what is stored, which nothing has changed; or
                an earlier call failed: what it left is unknown, so nothing is written any more.
            django.db.Error | OSError: the disk or SQLite failed. When that leaves in doubt what
                was stored before, a marker is left, and the next `open` makes all replicas faulty.
        """
        self._database.require_open()
        if self._failed:
            raise StorageError(f"an earlier write to {self._database.path} failed")
        plan = plan_transaction(operations, self._facts_of, self._inventory.identity)
        if not plan.steps:
            return
        self._failed = True  # Whatever ends this early makes it so: an fsync is not retried.
        try:
            self._commit(plan)
            if self._wal_bytes >= self._wal_limit_bytes:
                self._limit_wal()
            elif self._wal_bytes >= self._wal_lengthens_at_bytes:
                self._lengthen_wal()
        except (DatabaseError, OSError) as error:
            self._note_fault(error)
            raise
        self._failed = False

    def _commit(self, plan: Plan) -> None:
        writes = added_by(plan)
        if writes is not None:  # All that a broker under load writes; no replica comes or goes.
            own = self._database.connected()
            try:
                self._wal_bytes += commit_directly(own.connection, writes, self.commits)
            except sqlite3.Error:
                with own.wrap_database_errors:
                    raise
            self._receipts.note(own.connection)
        else:
            with self._database.connection() as own:
                self._inventory.before(plan)
                self._commit_steps(plan)
                self._receipts.note(own.connection)
                self._inventory.after(plan)
        self.transactions += 1
        self._facts.update(plan.facts)

    def _commit_steps(self, plan: Plan) -> None:
        with self._database.cursor() as cursor:
            writer = TransactionWriter(cursor, self.alias)
            with transaction.atomic(using=self.alias, durable=True):
                for step in plan.steps:
                    writer.carry_out(step)
                writer.flush()
                self._require_dropped(writer.release)
                reach("write.carried-out")
        self._wal_bytes += writer.wal_bytes
        self._compacts_left.update(writer.compacts_left)
        if writer.release is not None:
            self._release_left = writer.release.left
            if writer.release.pages and not writer.release.left:
                self._wal_bytes = self._wal_limit_bytes  # Written back, the file is cut off.

    def _require_dropped(self, release: SpaceReleaser | None) -> None:
        """Check that rows which seemed to belong to nobody do not: else their owner was lost."""
        if release is not None and release.dropped in self._inventory.manifest.replicas:
            raise StorageError(f"{self._database.path} has lost the replica of {release.dropped}")

    def _note_fault(self, error: DatabaseError | OSError) -> None:
        """Leave a marker when an error casts doubt on what was stored before it."""
        if not casts_doubt(error, self.directory):
            return
        reason = f"{self._database.path} failed: {error}"
        logger.critical("%s", reason)
        try:
            self._marker.mark(reason)
        except OSError as refused:
            logger.critical("no marker could be left in %s: %s", self.directory, refused)

    def _limit_wal(self) -> None:
        if self._database.checkpoint_wal():
            self._wal_bytes = 0
            self.wal_checkpoints += 1
        else:
            self._wal_bytes = max(0, self._wal_limit_bytes - _WAL_RETRY_BYTES)

    def _lengthen_wal(self) -> None:
        """Let the next transactions overwrite zeros; once it is as long as it gets, never again."""
        self._wal_lengthens_at_bytes = self._wal_bytes + WAL_STEP_BYTES
        self._receipts.lengthen_wal(min(self._wal_lengthens_at_bytes, self._wal_limit_bytes))

    def _facts_of(self, group_id: int) -> GroupFacts:
        facts = self._facts.get(group_id)
        if facts is None:
            with self._database.cursor() as cursor:
                facts = read_facts(cursor, self.alias, group_id, self._inventory.manifest)
            self._facts[group_id] = facts
        return facts

    def compact_left(self, group_id: int) -> bool:
        """Tell whether the group's last `Compact` left something."""
        return self._compacts_left.get(group_id, False)

    def release_left(self) -> bool:
        """Tell whether the last `ReleaseSpace` left something."""
        return self._release_left

    # --- reading ----------------------------------------------------------------------------

    def read_entries(
        self, group_id: int, first_index: int, last_index: int, max_bytes: int
    ) -> list[Entry]:
        """Return a prefix of the inclusive range: whole entries up to `max_bytes`, at least one.

        Raises:
            CorruptEntry: a row does not match its checksum, or one is missing in between.
        """
        with self._database.cursor() as cursor:
            found = EntryTable(cursor).log_entries(group_id, first_index, last_index)
            return entries_within(group_id, first_index, max_bytes, found)

    def read_batches(
        self, group_id: int, offset: int, high_watermark: int, max_bytes: int
    ) -> list[StoredBatch]:
        """Return the batches from the one that contains `offset`, below `high_watermark`.

        Raises:
            CorruptEntry: a row does not match its checksum, or one is missing in between.
        """
        with self._database.cursor() as cursor:
            found = EntryTable(cursor).data_entries(group_id, offset, high_watermark)
            return batches_within(group_id, offset, max_bytes, found)

    def read_rows(
        self, group_id: int, offset: int, high_watermark: int, max_bytes: int
    ) -> list[Entry]:
        """Return what `read_batches` would, as the DATA entries that a snapshot sends.

        Raises:
            CorruptEntry: a row does not match its checksum, or one is missing in between.
        """
        with self._database.cursor() as cursor:
            found = EntryTable(cursor).data_entries(group_id, offset, high_watermark)
            return rows_within(group_id, offset, max_bytes, found)

    def scrub(self, group_id: int, after: ScrubMark, max_bytes: int) -> Scrubbed:
        """Verify the rows above a mark; at the beginning, what is stored beside them too.

        Raises:
            CorruptEntry: something does not match its checksum, or a row is missing.
        """
        with self._database.cursor() as cursor:
            if after.index == 0:
                verify_group(cursor, self.alias, group_id)
            found = EntryTable(cursor).bounded_entries(group_id, after.index)
            return Scrub(group_id, after, max_bytes).run(found)
