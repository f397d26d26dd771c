"""Puts a snapshot into place on the SQLite file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raft_app.failpoints import reach
from raft_app.storage.protocol import CorruptEntry
from raft_app.storage.rules import check_end
from raft_app.storage.sqlite.entry_table import EntryTable, row_of
from raft_app.storage.sqlite.group_table import change_group, intact_group

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

    from raft_app.models import RaftGroup
    from raft_app.storage.protocol import FinishInstall, InstallRows
    from raft_app.storage.rules import PlannedOperation


class InstallWriter:
    """Inside a transaction of the caller, who has stored everything before."""

    def __init__(self, cursor: CursorWrapper, alias: str) -> None:
        """Write through `cursor` and, with the ORM, through the connection of `alias`."""
        self._table = EntryTable(cursor)
        self._cursor = cursor
        self._alias = alias

    def install_rows(self, install: InstallRows, step: PlannedOperation) -> None:
        """Store messages; with the first of an install, the log above the checkpoint goes.

        Raises:
            StorageError: they do not go on where the stored messages end.
        """
        group_id = install.group_id
        row = intact_group(self._cursor, group_id)
        log_start_offset = max(row.log_start_offset, install.log_start_offset)
        columns: dict[str, Any] = {"installing": True, "log_start_offset": log_start_offset}
        if step.replaces:
            end = self._acknowledged_end(row)
            columns["acknowledged_index"], columns["acknowledged_term"] = end or (None, None)
            self._cut(group_id, step.applied_index)
            reach("install.log-cut")
            end_offset = self._end_offset(group_id, log_start_offset)
            check_end(group_id, end_offset, install.rows[0].base_offset)
        self._table.insert([row_of(group_id, entry) for entry in install.rows])
        reach("install.rows")
        if not row.installing or row.log_start_offset != log_start_offset:
            change_group(row, self._alias, **columns)

    def finish(self, finish: FinishInstall, step: PlannedOperation) -> None:
        """Let the log begin above the snapshot; all but the messages below it goes.

        Raises:
            StorageError: the stored messages do not reach the snapshot's end.
        """
        group_id = finish.group_id
        row = intact_group(self._cursor, group_id)
        log_start_offset = max(row.log_start_offset, finish.log_start_offset)
        if step.replaces:
            self._cut(group_id, step.applied_index)
            end_offset = self._end_offset(group_id, log_start_offset)
            check_end(group_id, end_offset, finish.next_offset)
        if row.first_index <= step.applied_index:
            self._table.delete_others(group_id, row.first_index, step.applied_index)
            reach("finish.others-deleted")
        change_group(
            row,
            self._alias,
            first_index=finish.checkpoint.applied_index + 1,
            previous_term=finish.checkpoint.applied_term,
            log_start_offset=log_start_offset,
            installing=False,
            acknowledged_index=None,
            acknowledged_term=None,
        )

    def _acknowledged_end(self, row: RaftGroup) -> tuple[int, int] | None:
        """Return the last index and term of the log; `None` when its last row is damaged."""
        try:
            last_index = self._table.last_index(row.group_id)
            if last_index < row.first_index:
                return row.first_index - 1, row.previous_term
            [last] = self._table.entries(row.group_id, last_index, last_index)
        except CorruptEntry:
            return None
        return last.index, last.term

    def _cut(self, group_id: int, applied_index: int) -> None:
        self._table.delete_from(group_id, applied_index + 1)

    def _end_offset(self, group_id: int, log_start_offset: int) -> int:
        _, end_offset = self._table.last_message(group_id)
        return max(end_offset, log_start_offset)
