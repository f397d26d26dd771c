"""Carries out the steps of one transaction on the SQLite file."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from raft_app import models
from raft_app.failpoints import reach
from raft_app.storage.protocol import (
    AdoptGroup,
    BrokerIdentity,
    Checkpoint,
    Compact,
    CreateGroup,
    DeleteGroup,
    FinishInstall,
    GroupWrite,
    InstallRows,
    PeerAddress,
    ReleaseSpace,
    SaveCheckpoint,
    SaveIdentity,
    SavePeers,
    SetFaulty,
    StorageError,
)
from raft_app.storage.sqlite.entry_table import EntryTable
from raft_app.storage.sqlite.group_table import (
    change_group,
    intact_group,
    is_intact,
    read_group,
    seal,
)
from raft_app.storage.sqlite.group_writes import DJANGO, PAGE_BYTES, PAGES_PER_LOG, GroupWrites
from raft_app.storage.sqlite.install_writer import InstallWriter
from raft_app.storage.sqlite.log_compactor import LogCompactor
from raft_app.storage.sqlite.space_releaser import SpaceReleaser

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.backends.utils import CursorWrapper

    from raft_app.storage.rules import PlannedOperation

_CHECKED = struct.Struct("<4q")


def checkpoint_crc(group_id: int, checkpoint: Checkpoint, membership: bytes) -> int:
    """Return the CRC-32 over all other columns of a checkpoint; `membership` is encoded."""
    numbers = _CHECKED.pack(
        group_id,
        checkpoint.applied_index,
        checkpoint.applied_term,
        checkpoint.membership_index,
    )
    return zlib.crc32(checkpoint.state, zlib.crc32(membership, zlib.crc32(numbers)))


class TransactionWriter:
    """Inside a transaction of the caller: `carry_out` each step, then `flush`.

    Entries and hard states wait for each other, so that those of all groups go in one statement
    each; whatever else comes goes after what came before it.
    """

    def __init__(self, cursor: CursorWrapper, alias: str) -> None:
        """Write through `cursor` and, with the ORM, through the connection of `alias`."""
        self._cursor = cursor
        self._alias = alias
        self._writes = GroupWrites()
        self._pages = 1
        self.compacts_left: dict[int, bool] = {}
        """By group id, of the groups that were compacted: whether there is more to do."""
        self.release: SpaceReleaser | None = None
        """The last step that gave space back."""

    @property
    def wal_bytes(self) -> int:
        """About how much the transaction adds to the WAL."""
        return (self._pages + self._writes.pages) * PAGE_BYTES

    def carry_out(self, step: PlannedOperation) -> None:
        """Do one step, or keep it for `flush`."""
        match step.operation:
            case GroupWrite() as write:
                self._write_group(write, replaces=step.replaces)
                return
            case _:
                self.flush()
        match step.operation:
            case InstallRows() | FinishInstall():
                self._install(step)
            case Compact() as compact:
                self._compact(compact)
            case ReleaseSpace(max_bytes=max_bytes):
                self._release_space(max_bytes)
            case _:
                self._carry_out_rare(step)

    def _carry_out_rare(self, step: PlannedOperation) -> None:
        match step.operation:
            case CreateGroup() as create:
                self._create_group(create)
            case AdoptGroup() as adopt:
                self._adopt_group(adopt)
            case DeleteGroup(group_id=group_id):
                self._delete_group(group_id)
            case SaveCheckpoint(group_id=group_id, checkpoint=checkpoint):
                self._save_checkpoint(group_id, checkpoint)
            case SetFaulty(group_id=group_id, reason=reason):
                self._set_faulty(group_id, reason)
            case SaveIdentity(identity=identity):
                self._save_identity(identity)
            case SavePeers(peers=peers):
                self._save_peers(peers)

    def flush(self) -> None:
        """Store the entries and hard states that wait."""
        self._writes.store(self._cursor, DJANGO)

    def _write_group(self, write: GroupWrite, *, replaces: bool) -> None:
        if replaces:
            self.flush()
            EntryTable(self._cursor).delete_from(write.group_id, write.entries[0].index)
        self._writes.add(write)

    def _create_group(self, create: CreateGroup) -> None:
        spec, state, checkpoint = create.spec, create.hard_state, create.checkpoint
        row = models.RaftGroup(
            group_id=spec.group_id,
            replica_id=spec.replica_id,
            topic=spec.topic,
            partition=spec.partition,
            term=state.term,
            vote=state.vote,
            commit=state.commit,
            first_index=checkpoint.applied_index + 1,
            previous_term=checkpoint.applied_term,
        )
        seal(row).save(using=self._alias, force_insert=True)
        reach("create.row")
        models.UsedReplicaId.objects.using(self._alias).create(
            group_id=spec.group_id, replica_id=spec.replica_id
        )
        EntryTable(self._cursor).delete_from(spec.group_id, 0)  # What a dropped replica left.
        self._save_checkpoint(spec.group_id, checkpoint)
        self._writes.add_entries(spec.group_id, create.entries)
        self._pages += 3

    def _adopt_group(self, adopt: AdoptGroup) -> None:
        spec = adopt.spec
        row = intact_group(self._cursor, spec.group_id)
        change_group(row, self._alias, replica_id=spec.replica_id, faulty="")
        models.UsedReplicaId.objects.using(self._alias).create(
            group_id=spec.group_id, replica_id=spec.replica_id
        )
        reach("adopt.row")
        self._writes.add(GroupWrite(spec.group_id, adopt.hard_state, adopt.entries))
        self._pages += 2

    def _delete_group(self, group_id: int) -> None:
        releaser = SpaceReleaser(self._cursor)
        releaser.delete_rows(group_id, ReleaseSpace().max_bytes)
        reach("delete.rows")
        models.Checkpoint.objects.using(self._alias).filter(group_id=group_id).delete()
        models.RaftGroup.objects.using(self._alias).filter(group_id=group_id).delete()
        self._pages += 2 + releaser.written_pages

    def _install(self, step: PlannedOperation) -> None:
        writer = InstallWriter(self._cursor, self._alias)
        match step.operation:
            case InstallRows() as install:
                writer.install_rows(install, step)
                size_bytes = sum(entry.size_bytes for entry in install.rows)
                self._pages += PAGES_PER_LOG + size_bytes // PAGE_BYTES
            case FinishInstall() as finish:
                writer.finish(finish, step)
                reach("finish.log-begun")
                self._save_checkpoint(finish.group_id, finish.checkpoint)
                if finish.hard_state is not None:
                    self._write_group(
                        GroupWrite(finish.group_id, finish.hard_state), replaces=False
                    )
                self._pages += PAGES_PER_LOG

    def _compact(self, compact: Compact) -> None:
        compactor = LogCompactor(self._cursor, self._alias, compact)
        compactor.run()
        self.compacts_left[compact.group_id] = compactor.left
        budget = compactor.budget
        self._pages += 1 + budget.deleted_rows + budget.deleted_bytes // PAGE_BYTES

    def _release_space(self, max_bytes: int) -> None:
        self.release = SpaceReleaser(self._cursor)
        self.release.run(max_bytes)
        self._pages += self.release.written_pages

    def _set_faulty(self, group_id: int, reason: str) -> None:
        """Keep the first reason; a row that is damaged says so itself and stays as it was found."""
        row = read_group(self._cursor, group_id)
        if row is not None and is_intact(row) and not row.faulty:
            change_group(row, self._alias, faulty=reason)
            self._pages += 1

    def _save_checkpoint(self, group_id: int, checkpoint: Checkpoint) -> None:
        membership = checkpoint.membership.encode()
        models.Checkpoint.objects.using(self._alias).bulk_create(
            [
                models.Checkpoint(
                    group_id=group_id,
                    applied_index=checkpoint.applied_index,
                    applied_term=checkpoint.applied_term,
                    membership=membership,
                    membership_index=checkpoint.membership_index,
                    state=checkpoint.state,
                    crc=checkpoint_crc(group_id, checkpoint, membership),
                )
            ],
            update_conflicts=True,
            unique_fields=["group_id"],
            update_fields=[
                "applied_index",
                "applied_term",
                "membership",
                "membership_index",
                "state",
                "crc",
            ],
        )
        reach("checkpoint.stored")
        self._pages += 1 + len(checkpoint.state) // PAGE_BYTES

    def _save_identity(self, identity: BrokerIdentity) -> None:
        changed = models.BrokerIdentity.objects.using(self._alias).update(
            broker_id=identity.broker_id, cluster_id=identity.cluster_id, epoch=identity.epoch
        )
        if changed != 1:
            raise StorageError(f"{changed} rows hold the identity of this directory, not one")

    def _save_peers(self, peers: Iterable[PeerAddress]) -> None:
        models.PeerAddress.objects.using(self._alias).bulk_create(
            [
                models.PeerAddress(
                    broker_id=peer.broker_id,
                    http_address=peer.http_address,
                    raft_address=peer.raft_address,
                )
                for peer in peers
            ],
            update_conflicts=True,
            unique_fields=["broker_id"],
            update_fields=["http_address", "raft_address"],
        )
