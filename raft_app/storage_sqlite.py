"""The storage of a broker in one SQLite file, through the Django connection `broker`."""

from __future__ import annotations

import secrets
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from django.core.management import call_command
from django.db import DatabaseError, transaction

from raft_app import models
from raft_app.core.types import HardState, Membership
from raft_app.database import BrokerDatabase, suppress_corruption
from raft_app.directory import DirectoryLock, sync_directory
from raft_app.entry_ranges import batches_within, entries_within, rows_within
from raft_app.entry_table import EntryTable, reading
from raft_app.recovery import GroupHeader, recover
from raft_app.scrub import Scrub
from raft_app.storage import (
    BrokerIdentity,
    Checkpoint,
    CorruptEntry,
    GroupSpec,
    Operation,
    PeerAddress,
    Scrubbed,
    StorageError,
    StorageRefusal,
    StoredBatch,
    StoredGroup,
)
from raft_app.storage_rules import FORMAT_VERSION, GroupFacts, Plan, plan_transaction
from raft_app.transaction_writer import TransactionWriter, checkpoint_crc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from raft_app.core.types import Entry

WAL_LIMIT_BYTES = 32 << 20
_WAL_RETRY_BYTES = 4 << 20
"""How much is written before a checkpoint that a reader prevented is tried again."""
_CHECKPOINT = (
    "SELECT own.group_id AS group_id, applied_index, applied_term, membership, membership_index,"
    " state, crc FROM raft_app_raftgroup AS own LEFT JOIN raft_app_checkpoint AS checkpoint"
    " ON checkpoint.group_id = own.group_id WHERE own.group_id = %s"
)
"""A row of nothing when a group has none."""


class SqliteStorage:
    """`raft_app.storage.Storage` in the file `broker.sqlite3` of a directory.

    `write` belongs to one thread, the reading methods to any. Each thread has its own connection
    and closes it with `close_thread_connection` before it ends.

    Attributes:
        transactions: committed since the start.
        write_ms: milliseconds spent in `write` since the start.
        last_write_ms: those of the last call.
        wal_checkpoints: how often the WAL was written back.
        last_wal_checkpoint_ms: how long that held up the storage thread the last time.
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
        self.write_ms = 0.0
        self.last_write_ms = 0.0
        self.wal_checkpoints = 0
        self.last_wal_checkpoint_ms = 0.0
        self._lock = DirectoryLock(directory)
        self._database = BrokerDatabase(directory, alias)
        self._database.close()  # Until `open` has the lock.
        self._identity = BrokerIdentity(incarnation="")
        self._facts: dict[int, GroupFacts] = {}
        self._failed = False
        self._wal_limit_bytes = wal_limit_bytes
        self._wal_bytes = 0
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
            self._database = BrokerDatabase(self.directory, self.alias)
            self._facts = {}
            self._failed = False
            try:
                with self._database.connection():
                    self._database.verify_durability()
                    self._identity = self._read_identity() or self._make_identity()
                self._wal_bytes = self._database.wal_size_bytes()
                self._limit_wal()
            except DatabaseError as error:
                raise StorageRefusal(f"{self._database.path} cannot be used: {error}") from error
            undo.pop_all()
        return self._identity

    def close_thread_connection(self) -> None:
        """Close the calling thread's connection; a later call opens a new one."""
        self._database.close_thread_connection()

    def close(self) -> None:
        """Close all connections and let another process have the directory.

        The threads that used the storage must have ended their calls.
        """
        self._database.close()
        self._lock.release()

    # --- start ------------------------------------------------------------------------------

    def _read_identity(self) -> BrokerIdentity | None:
        """Return the identity of a complete database; `None` when it is still to be made."""
        if not self._has_tables():
            return None
        row = models.BrokerIdentity.objects.using(self.alias).first()
        if row is None:
            if models.RaftGroup.objects.using(self.alias).exists():
                raise StorageRefusal(f"{self._database.path} holds replicas but no identity")
            return None
        if row.format_version != FORMAT_VERSION:
            raise StorageRefusal(
                f"{self._database.path} has format version {row.format_version}; this program"
                f" knows {FORMAT_VERSION}"
            )
        return BrokerIdentity(
            incarnation=row.incarnation,
            broker_id=row.broker_id,
            cluster_id=row.cluster_id,
            format_version=row.format_version,
        )

    def _make_identity(self) -> BrokerIdentity:
        """Make the tables, as far as they are missing, and the identity."""
        call_command("migrate", database=self.alias, verbosity=0, interactive=False)
        if not self._has_tables():
            raise StorageRefusal(f"the database router keeps raft_app out of '{self.alias}'")
        row = models.BrokerIdentity.objects.using(self.alias).create(
            incarnation=secrets.token_hex(16), format_version=FORMAT_VERSION
        )
        try:
            sync_directory(self.directory)
        except OSError as error:
            raise StorageRefusal(f"{self.directory} cannot be used: {error.strerror}") from error
        return BrokerIdentity(incarnation=row.incarnation, format_version=FORMAT_VERSION)

    def _has_tables(self) -> bool:
        with self._database.connection() as connection:
            return models.BrokerIdentity._meta.db_table in connection.introspection.table_names()

    def load_groups(self) -> list[StoredGroup]:
        """Return every replica, faulty ones marked; see `raft_app.recovery`."""
        with self._database.cursor() as cursor:
            table = EntryTable(cursor)
            checkpoints = self._read_checkpoints()
            used_ids: dict[int, set[int]] = {}
            for row in models.UsedReplicaId.objects.using(self.alias).all():
                used_ids.setdefault(row.group_id, set()).add(row.replica_id)
            groups = [
                recover(
                    _with_install(table, _header_of(group, checkpoints.get(group.group_id))),
                    _GroupLog(table, group.group_id),
                )
                for group in models.RaftGroup.objects.using(self.alias).order_by("group_id")
            ]
        for found in groups:
            if not found.faulty and not found.installing:
                group_id = found.spec.group_id
                facts = GroupFacts(
                    replica_id=found.spec.replica_id,
                    last_index=found.initial.last_index,
                    applied_index=found.initial.applied_index,
                    used_replica_ids=frozenset(used_ids[group_id]),
                )
                self._facts.setdefault(group_id, facts)  # Those of a write since are newer.
        return groups

    def _read_checkpoints(self) -> dict[int, models.Checkpoint]:
        """Return the rows by group id; from damaged pages, those that can be read."""
        rows = models.Checkpoint.objects.using(self.alias)
        with suppress_corruption():
            return {row.group_id: row for row in rows.all()}
        found = {}
        for group_id in models.RaftGroup.objects.using(self.alias).values_list(
            "group_id", flat=True
        ):
            with suppress_corruption():
                found.update({row.group_id: row for row in rows.filter(group_id=group_id)})
        return found

    def load_peers(self) -> list[PeerAddress]:
        """Return the known addresses of other brokers, by broker id."""
        with self._database.connection():
            rows = models.PeerAddress.objects.using(self.alias).order_by("broker_id")
            return [PeerAddress(row.broker_id, row.http_address, row.raft_address) for row in rows]

    def used_replica_ids(self, group_id: int) -> frozenset[int]:
        """Return the ids that replicas of this group ever had in this directory."""
        with self._database.connection():
            used = models.UsedReplicaId.objects.using(self.alias).filter(group_id=group_id)
            return frozenset(used.values_list("replica_id", flat=True))

    # --- writing ----------------------------------------------------------------------------

    def write(self, operations: Sequence[Operation]) -> None:
        """Store all operations, in order, in one transaction; durable when it returns.

        Then, when the WAL has reached its limit, write it back: no other thread can do that
        under load.

        Raises:
            StorageError: an operation contradicts what is stored, which nothing has changed; or
                an earlier call failed: what it left is unknown, so nothing is written any more.
            django.db.Error: the disk or SQLite failed.
        """
        started = time.perf_counter()
        with self._database.connection():
            if self._failed:
                raise StorageError(f"an earlier write to {self._database.path} failed")
            plan = plan_transaction(operations, self._facts_of, self._identity)
            if plan.steps:
                with self._failing_for_good():
                    self._commit(plan)
                    self._limit_wal()
        self.last_write_ms = (time.perf_counter() - started) * 1000
        self.write_ms += self.last_write_ms

    def _commit(self, plan: Plan) -> None:
        with self._database.cursor() as cursor:
            writer = TransactionWriter(cursor, self.alias)
            with transaction.atomic(using=self.alias, durable=True):
                for step in plan.steps:
                    writer.carry_out(step)
                writer.flush()
        self.transactions += 1
        self._wal_bytes += writer.wal_bytes
        self._facts.update(plan.facts)
        self._compacts_left.update(writer.compacts_left)
        if writer.release is not None:
            self._release_left = writer.release.left
            if writer.release.pages and not writer.release.left:
                self._wal_bytes = self._wal_limit_bytes  # Written back, the file is cut off.
        if plan.identity is not None:
            self._identity = plan.identity

    @contextmanager
    def _failing_for_good(self) -> Iterator[None]:
        """Whatever leaves through here makes every later write fail: an fsync is not retried."""
        failed = True
        try:
            yield
            failed = False
        finally:
            self._failed = failed

    def _limit_wal(self) -> None:
        if self._wal_bytes < self._wal_limit_bytes:
            return
        started = time.perf_counter()
        if self._database.checkpoint_wal():
            self._wal_bytes = 0
            self.wal_checkpoints += 1
        else:
            self._wal_bytes = max(0, self._wal_limit_bytes - _WAL_RETRY_BYTES)
        self.last_wal_checkpoint_ms = (time.perf_counter() - started) * 1000

    def _facts_of(self, group_id: int) -> GroupFacts:
        facts = self._facts.get(group_id)
        if facts is None:
            facts = self._facts[group_id] = self._read_facts(group_id)
        return facts

    def _read_facts(self, group_id: int) -> GroupFacts:
        used = self.used_replica_ids(group_id)
        group = models.RaftGroup.objects.using(self.alias).filter(group_id=group_id).first()
        if group is None:
            return GroupFacts(used_replica_ids=used)
        checkpoints = models.Checkpoint.objects.using(self.alias).filter(group_id=group_id)
        applied_index = checkpoints.values_list("applied_index", flat=True).first() or 0
        with self._database.cursor() as cursor:
            last_index = EntryTable(cursor).last_index(group_id)
            end_offset = EntryTable(cursor).last_message(group_id)[1] if group.installing else 0
        return GroupFacts(
            replica_id=group.replica_id,
            last_index=applied_index
            if group.installing
            else max(last_index, group.first_index - 1),
            applied_index=applied_index,
            used_replica_ids=used,
            installing=group.installing,
            installed_index=last_index if group.installing else 0,
            install_offset=max(end_offset, group.log_start_offset) if group.installing else 0,
        )

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

    def scrub(self, group_id: int, after_index: int, max_bytes: int) -> Scrubbed:
        """Verify the rows above `after_index`; at the beginning, the checkpoint too.

        Raises:
            CorruptEntry: a row does not match its checksum, or one is missing.
        """
        with self._database.cursor() as cursor:
            table = EntryTable(cursor)
            if after_index == 0:
                self._scrub_checkpoint(group_id)
            found = table.bounded_entries(group_id, after_index)
            return Scrub(group_id, after_index, max_bytes).run(found)

    def _scrub_checkpoint(self, group_id: int) -> None:
        with reading(group_id):
            rows = list(models.Checkpoint.objects.using(self.alias).raw(_CHECKPOINT, [group_id]))
        if rows and _checkpoint_of(rows[0]) is None:
            raise CorruptEntry(
                group_id, f"the checkpoint of group {group_id} is missing or damaged"
            )


def _with_install(table: EntryTable, header: GroupHeader) -> GroupHeader:
    """Return the header with the place where an install goes on."""
    if not header.installing:
        return header
    try:
        _, end_offset = table.last_message(header.spec.group_id)
    except CorruptEntry as error:
        return replace(header, faulty=header.faulty or str(error))
    return replace(header, install_offset=max(end_offset, header.log_start_offset))


class _GroupLog:
    """`raft_app.recovery.StoredLog` of one group."""

    def __init__(self, table: EntryTable, group_id: int) -> None:
        self._table = table
        self._group_id = group_id

    def last_index(self) -> int:
        return self._table.last_index(self._group_id)

    def term_at(self, index: int) -> int | None:
        return self._table.term_at(self._group_id, index)

    def entries(self, first_index: int, last_index: int) -> Iterable[Entry]:
        return self._table.entries(self._group_id, first_index, last_index)


def _header_of(group: models.RaftGroup, checkpoint: models.Checkpoint | None) -> GroupHeader:
    return GroupHeader(
        spec=GroupSpec(group.group_id, group.replica_id, group.topic, group.partition),
        hard_state=HardState(term=group.term, vote=group.vote, commit=group.commit),
        first_index=group.first_index,
        previous_term=group.previous_term,
        checkpoint=None if checkpoint is None else _checkpoint_of(checkpoint),
        faulty=group.faulty,
        log_start_offset=group.log_start_offset,
        installing=group.installing,
    )


def _checkpoint_of(row: models.Checkpoint) -> Checkpoint | None:
    """Return what the row holds; `None` when it does not match its checksum."""
    try:
        membership = bytes(row.membership)
        checkpoint = Checkpoint(
            applied_index=row.applied_index,
            applied_term=row.applied_term,
            membership=Membership.decode(membership),
            membership_index=row.membership_index,
            state=bytes(row.state),
        )
        intact = row.crc == checkpoint_crc(row.group_id, checkpoint, membership)
    except (ValueError, TypeError):
        return None
    return checkpoint if intact else None
