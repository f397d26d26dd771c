"""What a directory holds, in the database and in the manifest beside it, kept in agreement."""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django.core.management import call_command
from django.db import transaction

from raft_app import models
from raft_app.failpoints import reach
from raft_app.storage.protocol import (
    FORMAT_VERSION,
    AdoptGroup,
    BrokerIdentity,
    CreateGroup,
    DeleteGroup,
    SaveIdentity,
    StorageRefusal,
)
from raft_app.storage.sqlite.group_table import is_intact, read_groups, seal, spec_of
from raft_app.storage.sqlite.manifest import (
    DamagedManifest,
    Manifest,
    ManifestChange,
    ManifestFile,
)

if TYPE_CHECKING:
    from pathlib import Path

    from raft_app.storage.protocol import GroupSpec
    from raft_app.storage.rules import Plan
    from raft_app.storage.sqlite.database import BrokerDatabase

logger = logging.getLogger(__name__)

APP_LABEL = "raft_app"
"""The only app with tables in this database; working out those of others takes far longer."""


class Inventory:
    """The identity and the replicas of one directory.

    Attributes:
        manifest: what the file says; complete once `agree` or `start_over` has returned.
    """

    def __init__(self, directory: Path, alias: str) -> None:
        """Remember where things are; nothing is touched yet."""
        self._alias = alias
        self._file = ManifestFile(directory)
        self.manifest = Manifest(BrokerIdentity(incarnation=""))

    @property
    def identity(self) -> BrokerIdentity:
        """Whose the directory is."""
        return self.manifest.identity

    def written(self) -> Manifest | None:
        """Return the manifest as it is on the disk; `None` when there is none to believe.

        Raises:
            StorageRefusal: it was written by a newer program, or cannot be read at all.
        """
        try:
            found = self._file.read()
        except DamagedManifest as error:
            logger.error("%s", error)
            return None
        except OSError as error:
            raise StorageRefusal(f"{self._file.path} cannot be read: {error.strerror}") from error
        if found is not None:
            _require_known_format(self._file.path, found.identity.format_version)
        return found

    # --- the start --------------------------------------------------------------------------

    def agree(self, database: BrokerDatabase) -> str:
        """Read a database that is not in doubt, or make it, and bring the manifest up to date.

        Returns:
            What the database has lost; empty when it has everything.

        Raises:
            StorageRefusal: it must not be used as it is.
        """
        on_disk = written = self.written()
        identity = self._read_identity(database)
        if identity is None:
            if written is not None:
                return f"{database.path} no longer says whose it is"
            identity = BrokerIdentity(incarnation=secrets.token_hex(16))
            self._create(database, Manifest(identity), "")
        written = written or Manifest(identity)
        _require_same_owner(database.path, written.identity, identity)
        try:
            found = self._read(database, identity, written)
        except LookupError as lost:
            return str(lost)
        if found == on_disk and not self._file.has_changes:
            self.manifest = found
        else:
            self._store(found)
        return ""

    def start_over(self, database: BrokerDatabase, manifest: Manifest, reason: str) -> None:
        """Fill a new database with the identity and with replicas that are all faulty."""
        identity = replace(manifest.identity, format_version=FORMAT_VERSION)
        manifest = replace(manifest, identity=identity)
        self._create(database, manifest, reason)
        self._store(manifest)
        reach("doubt.started-over")

    def _read_identity(self, database: BrokerDatabase) -> BrokerIdentity | None:
        """Return the identity of a complete database; `None` when it is still to be made.

        Tables of an older program are brought up to date.
        """
        if not self._has_tables(database):
            return None
        row = models.BrokerIdentity.objects.using(self._alias).first()
        if row is None:
            if models.RaftGroup.objects.using(self._alias).exists():
                raise StorageRefusal(f"{database.path} holds replicas but no identity")
            return None
        _require_known_format(database.path, row.format_version)
        if row.format_version < FORMAT_VERSION:
            self._upgrade(row)
        return BrokerIdentity(
            incarnation=row.incarnation,
            broker_id=row.broker_id,
            cluster_id=row.cluster_id,
            epoch=row.epoch,
        )

    def _upgrade(self, row: models.BrokerIdentity) -> None:
        """Bring the tables of an older program up to date; cut off, the next start goes on."""
        logger.info("upgrading the directory from format version %d", row.format_version)
        self._migrate()
        reach("upgrade.tables-changed")
        row.format_version = FORMAT_VERSION
        row.save(using=self._alias, update_fields=["format_version"])

    def _migrate(self) -> None:
        call_command("migrate", APP_LABEL, database=self._alias, verbosity=0, interactive=False)

    def _create(self, database: BrokerDatabase, manifest: Manifest, faulty: str) -> None:
        """Make the tables, as far as they are missing, and what the manifest names."""
        self._migrate()
        if not self._has_tables(database):
            raise StorageRefusal(f"the database router keeps raft_app out of '{self._alias}'")
        reach("identity.tables-made")
        identity = manifest.identity
        groups = [_faulty_row(spec, faulty) for spec in manifest.replicas.values()]
        used = [
            models.UsedReplicaId(group_id=group_id, replica_id=replica_id)
            for group_id, replica_ids in manifest.used_replica_ids.items()
            for replica_id in replica_ids
        ]
        with transaction.atomic(using=self._alias, durable=True):
            models.BrokerIdentity.objects.using(self._alias).create(
                incarnation=identity.incarnation,
                broker_id=identity.broker_id,
                cluster_id=identity.cluster_id,
                format_version=identity.format_version,
                epoch=identity.epoch,
            )
            models.RaftGroup.objects.using(self._alias).bulk_create(groups)
            models.UsedReplicaId.objects.using(self._alias).bulk_create(used)
        reach("identity.stored")

    def _has_tables(self, database: BrokerDatabase) -> bool:
        with database.connection() as connection:
            return models.BrokerIdentity._meta.db_table in connection.introspection.table_names()

    def _read(
        self, database: BrokerDatabase, identity: BrokerIdentity, written: Manifest
    ) -> Manifest:
        """Return what the tables say, with what was written where they are damaged.

        Raises:
            LookupError: a replica that was written down is not there.
        """
        specs = []
        with database.cursor() as cursor:
            rows = read_groups(cursor)
        for row in rows:
            spec = spec_of(row) if is_intact(row) else written.replicas.get(row.group_id)
            if spec is None:
                raise LookupError(f"{database.path} has a damaged row of an unknown group")
            specs.append(spec)
        missing = written.replicas.keys() - {spec.group_id for spec in specs}
        if missing:
            raise LookupError(f"{database.path} has lost the replica of group {min(missing)}")
        used = dict(written.used_replica_ids)
        for one in models.UsedReplicaId.objects.using(self._alias).all():
            used[one.group_id] = used.get(one.group_id, frozenset()) | {one.replica_id}
        found = Manifest(identity, {}, used)
        found.follow(ManifestChange(listed=tuple(specs)))
        return found

    # --- transactions -----------------------------------------------------------------------

    def before(self, plan: Plan) -> None:
        """Write down, before a transaction, which replicas it drops.

        Raises:
            OSError: the disk refused.
        """
        dropped = [
            step.operation.group_id
            for step in plan.steps
            if isinstance(step.operation, DeleteGroup)
        ]
        if dropped:
            self._follow([ManifestChange(dropped=tuple(dropped))])
            reach("drop.unlisted")

    def after(self, plan: Plan) -> None:
        """Write down, after a transaction, which replicas and which identity it stored.

        Raises:
            OSError: the disk refused.
        """
        changes = []
        for kind, steps in groupby(plan.steps, key=lambda step: type(step.operation)):
            operations: list[Any] = [step.operation for step in steps]
            if kind in (CreateGroup, AdoptGroup):
                changes.append(ManifestChange(listed=tuple(one.spec for one in operations)))
            elif kind is DeleteGroup and changes:  # else `before` did
                changes.append(ManifestChange(dropped=tuple(one.group_id for one in operations)))
            elif kind is SaveIdentity and operations[-1].identity != self.identity:
                changes.append(ManifestChange(identity=operations[-1].identity))
        if changes:
            self._follow(changes)
            reach("write.listed")

    def close(self) -> None:
        """Write the file anew if changes were appended: then programs before 0.4 read it, too.

        A disk that refuses leaves it as it is, which says the same.
        """
        with suppress(OSError):
            if self._file.has_changes:
                self._file.write(self.manifest)
        self._file.close()

    def _follow(self, changes: list[ManifestChange]) -> None:
        """Write changes down, each after what is written already."""
        if self._file.is_due:
            self._store(self.manifest)
        self._file.append(changes)
        for change in changes:
            self.manifest.follow(change)

    def _store(self, manifest: Manifest) -> None:
        self._file.write(manifest)
        self.manifest = manifest


def _faulty_row(spec: GroupSpec, reason: str) -> models.RaftGroup:
    row = models.RaftGroup(
        group_id=spec.group_id,
        replica_id=spec.replica_id,
        topic=spec.topic,
        partition=spec.partition,
        term=0,
        vote=0,
        commit=0,
        first_index=1,
        previous_term=0,
        faulty=reason,
    )
    return seal(row)


def _require_known_format(path: Path, version: int) -> None:
    if not 1 <= version <= FORMAT_VERSION:
        raise StorageRefusal(
            f"{path} has format version {version}; this program knows {FORMAT_VERSION}"
        )


def _require_same_owner(path: Path, written: BrokerIdentity, stored: BrokerIdentity) -> None:
    """Refuse files of two owners; numbers that were given since the manifest was written may do."""
    for name in ("incarnation", "broker_id", "cluster_id"):
        before, now = getattr(written, name), getattr(stored, name)
        if before and before != now:
            raise StorageRefusal(f"{path} has {name} {now!r}, the manifest beside it {before!r}")
