"""Carries out one step of a compaction on the SQLite file."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from raft_app.failpoints import reach
from raft_app.storage.compaction import (
    Budget,
    check_previous_term,
    is_dead,
    log_begins_at,
    messages_end_at,
)
from raft_app.storage.protocol import CorruptEntry
from raft_app.storage.sqlite.entry_table import EntryTable
from raft_app.storage.sqlite.group_table import change_group, intact_group

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

    from raft_app import models
    from raft_app.storage.protocol import Compact

logger = logging.getLogger(__name__)


class LogCompactor:
    """Inside a transaction of the caller, who has stored everything before.

    Attributes:
        budget: what the step has used.
        left: whether another step would find something to do.
    """

    def __init__(self, cursor: CursorWrapper, alias: str, compact: Compact) -> None:
        """Work through `cursor` and, with the ORM, through the connection of `alias`."""
        self.budget = Budget(max_rows=compact.max_rows, max_bytes=compact.max_bytes)
        self.left = False
        self._table = EntryTable(cursor)
        self._alias = alias
        self._compact = compact
        self._row = intact_group(cursor, compact.group_id)

    def run(self) -> None:
        """Move the log's beginning up, then delete messages from the front.

        Raises:
            StorageError: the caller is wrong about the term before the log.
        """
        row, compact = self._row, self._compact
        before = (row.first_index, row.log_start_offset)
        reached, previous_term = self._move_log(row)
        log_start_offset = max(row.log_start_offset, compact.log_start_offset)
        if before != (reached, log_start_offset):
            change_group(
                row,
                self._alias,
                first_index=reached,
                previous_term=previous_term,
                log_start_offset=log_start_offset,
            )
            reach("compact.log-moved")
        self._delete_messages(reached, log_start_offset)

    def _move_log(self, row: models.RaftGroup) -> tuple[int, int]:
        """Delete rows of the log's beginning; return where it begins and the term before."""
        group_id, present = row.group_id, row.first_index
        wanted = self._compact.first_index
        if wanted <= present:
            return present, row.previous_term
        rows = self._table.row_facts(group_id, present, wanted - 1, max_rows=self._compact.max_rows)
        reached = log_begins_at(present, rows, self.budget)
        if reached == present:
            logger.error("the log of group %d cannot be read at entry %d", group_id, present)
            return present, row.previous_term
        try:
            [entry] = self._table.entries(group_id, reached - 1, reached - 1)
        except CorruptEntry as error:
            # Whoever reads it makes the replica faulty; a faulty one keeps what it has.
            logger.error("the log of group %d stays as it is: %s", group_id, error)
            return present, row.previous_term
        check_previous_term(self._compact, reached, entry.term)
        self._table.delete_others(group_id, present, reached - 1)
        reach("compact.others-deleted")
        self.left = reached < wanted
        return reached, entry.term

    def _delete_messages(self, first_index: int, log_start_offset: int) -> None:
        group_id = self._compact.group_id
        rows = self._table.row_facts(group_id, 0, first_index - 1, max_rows=self.budget.rows + 1)
        last_index = messages_end_at(log_start_offset, rows, self.budget)
        if last_index:
            self._table.delete_range(group_id, 0, last_index)
            reach("truncate.messages-deleted")
        self.left |= any(is_dead(row, log_start_offset) for row in rows if row.index > last_index)
