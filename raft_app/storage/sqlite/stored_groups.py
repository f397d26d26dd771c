"""The replicas of a directory as they are found in its tables, whatever state those are in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from raft_app import models
from raft_app.core.types import HardState, Membership
from raft_app.storage.protocol import Checkpoint, CorruptEntry, Examined
from raft_app.storage.recovery import GroupHeader, recover
from raft_app.storage.rules import GroupFacts
from raft_app.storage.sqlite.database import suppress_corruption
from raft_app.storage.sqlite.entry_table import EntryTable, reading
from raft_app.storage.sqlite.group_table import is_intact, read_group, read_groups, spec_of
from raft_app.storage.sqlite.transaction_writer import checkpoint_crc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.backends.utils import CursorWrapper

    from raft_app.core.types import Entry
    from raft_app.storage.protocol import StoredGroup
    from raft_app.storage.sqlite.manifest import Manifest

_CHECKPOINT = (
    "SELECT own.group_id AS group_id, applied_index, applied_term, membership, membership_index,"
    " state, crc FROM raft_app_raftgroup AS own LEFT JOIN raft_app_checkpoint AS checkpoint"
    " ON checkpoint.group_id = own.group_id WHERE own.group_id = %s"
)
"""A row of nothing when a group has none."""


def read_stored_groups(cursor: CursorWrapper, alias: str, manifest: Manifest) -> list[StoredGroup]:
    """Return every replica, faulty ones marked, by group id.

    Args:
        cursor: of the directory's database.
        alias: its alias in the ORM.
        manifest: names the replicas whose rows are damaged.

    Raises:
        DatabaseError: the pages that say which replicas there are cannot be read.
    """
    table = EntryTable(cursor)
    rows = read_groups(cursor)
    checkpoints = _read_checkpoints(alias, [row.group_id for row in rows])
    return [
        recover(
            _with_install(table, header_of(row, checkpoints.get(row.group_id), manifest)),
            _GroupLog(table, row.group_id),
        )
        for row in rows
    ]


def examine_group(
    cursor: CursorWrapper, alias: str, group_id: int, manifest: Manifest
) -> Examined | None:
    """Return what there is of a replica, as if it had never been faulty; None without one.

    Raises:
        DatabaseError: the pages that say what it is cannot be read.
    """
    row = read_group(cursor, group_id)
    if row is None:
        return None
    table = EntryTable(cursor)
    header = header_of(row, _read_checkpoints(alias, [group_id]).get(group_id), manifest)
    if is_intact(row):
        header = replace(header, faulty="")
    try:
        _, end_offset = table.last_message(group_id)
    except CorruptEntry as error:
        header, end_offset = replace(header, faulty=str(error)), 0
    stored = recover(_with_install(table, header), _GroupLog(table, group_id))
    return Examined(stored, max(end_offset, header.log_start_offset))


def header_of(
    row: models.RaftGroup, checkpoint: models.Checkpoint | None, manifest: Manifest
) -> GroupHeader:
    """Return what a row says; of a damaged one, what the manifest says of its replica."""
    if not is_intact(row):
        return GroupHeader(
            spec=manifest.replicas[row.group_id],
            hard_state=HardState(),
            first_index=1,
            previous_term=0,
            checkpoint=None,
            faulty=f"the row of group {row.group_id} does not match its checksum",
        )
    return GroupHeader(
        spec=spec_of(row),
        hard_state=HardState(term=row.term, vote=row.vote, commit=row.commit),
        first_index=row.first_index,
        previous_term=row.previous_term,
        checkpoint=None if checkpoint is None else checkpoint_of(checkpoint),
        faulty=row.faulty,
        log_start_offset=row.log_start_offset,
        installing=bool(row.installing),
        acknowledged_end=_acknowledged_end(row),
    )


def _acknowledged_end(row: models.RaftGroup) -> tuple[int, int] | None:
    if row.acknowledged_index is None or row.acknowledged_term is None:
        return None
    return row.acknowledged_index, row.acknowledged_term


def _with_install(table: EntryTable, header: GroupHeader) -> GroupHeader:
    """Return the header with the place where an install goes on."""
    if not header.installing:
        return header
    try:
        _, end_offset = table.last_message(header.spec.group_id)
    except CorruptEntry as error:
        return replace(header, faulty=header.faulty or str(error))
    return replace(header, install_offset=max(end_offset, header.log_start_offset))


def verify_group(cursor: CursorWrapper, alias: str, group_id: int) -> None:
    """Verify what is stored of a group beside its entries.

    Raises:
        CorruptEntry: its row or its checkpoint is damaged.
    """
    with reading(group_id):
        row = read_group(cursor, group_id)
        checkpoints = list(models.Checkpoint.objects.using(alias).raw(_CHECKPOINT, [group_id]))
    if row is not None and not is_intact(row):
        raise CorruptEntry(group_id, f"the row of group {group_id} does not match its checksum")
    if checkpoints and checkpoint_of(checkpoints[0]) is None:
        raise CorruptEntry(group_id, f"the checkpoint of group {group_id} is missing or damaged")


def read_facts(cursor: CursorWrapper, alias: str, group_id: int, manifest: Manifest) -> GroupFacts:
    """Return what the rules need to know of a group, here or not.

    Raises:
        CorruptEntry: its rows cannot be read.
    """
    used = manifest.used(group_id)
    row = read_group(cursor, group_id)
    if row is None:
        return GroupFacts(used_replica_ids=used)
    header = header_of(row, None, manifest)
    checkpoints = models.Checkpoint.objects.using(alias).filter(group_id=group_id)
    applied_index = checkpoints.values_list("applied_index", flat=True).first() or 0
    last_index = EntryTable(cursor).last_index(group_id)
    facts = GroupFacts(
        replica_id=header.spec.replica_id,
        last_index=max(last_index, header.first_index - 1),
        applied_index=applied_index,
        used_replica_ids=used,
    )
    if not header.installing:
        return facts
    return msgspec.structs.replace(
        facts,
        last_index=applied_index,
        installing=True,
        installed_index=last_index,
        install_offset=_with_install(EntryTable(cursor), header).install_offset,
    )


def _read_checkpoints(alias: str, group_ids: Iterable[int]) -> dict[int, models.Checkpoint]:
    """Return the rows by group id; from damaged pages, those that can be read."""
    rows = models.Checkpoint.objects.using(alias)
    with suppress_corruption():
        return {row.group_id: row for row in rows.all()}
    found = {}
    for group_id in group_ids:
        with suppress_corruption():
            found.update({row.group_id: row for row in rows.filter(group_id=group_id)})
    return found


class _GroupLog:
    """`raft_app.storage.recovery.StoredLog` of one group."""

    def __init__(self, table: EntryTable, group_id: int) -> None:
        self._table = table
        self._group_id = group_id

    def last_index(self) -> int:
        return self._table.last_index(self._group_id)

    def term_at(self, index: int) -> int | None:
        return self._table.term_at(self._group_id, index)

    def entries(self, first_index: int, last_index: int) -> Iterable[Entry]:
        return self._table.entries(self._group_id, first_index, last_index)


def checkpoint_of(row: models.Checkpoint) -> Checkpoint | None:
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
