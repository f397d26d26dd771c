"""One snapshot being put in place of what a replica has stored."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from raft_app.core.types import HardState
from raft_app.failpoints import reach
from raft_app.statemachine import InconsistentEntry
from raft_app.storage.storage import Checkpoint, FinishInstall, InstallRows
from raft_app.transport.snapshot_stream import SnapshotLost

if TYPE_CHECKING:
    from raft_app.core.types import Entry
    from raft_app.engine.context import EngineContext
    from raft_app.engine.group import Group
    from raft_app.transport.snapshot_stream import SnapshotOffer

logger = logging.getLogger(__name__)

STATE_BYTES_MAX = 256 << 20
"""A larger state is refused."""


class SnapshotInstall:
    """Rows and state of one offer; each row goes to storage before the next ones are taken."""

    def __init__(self, context: EngineContext, group: Group, offer: SnapshotOffer) -> None:
        """Begin where the messages of the replica end, or of an install that broke off."""
        self._context = context
        self._group = group
        self._offer = offer
        self._state = bytearray()
        self._is_done = False
        has = group.install_offset
        self.next_offset = max(
            group.state_machine.next_offset if has is None else has, offer.log_start_offset
        )
        """Of the next message that is to come."""
        self._last_index = 0

    @property
    def fits(self) -> bool:
        """True when the snapshot reaches as far as what is in place already."""
        return (
            self.next_offset <= self._offer.next_offset
            and self._offer.meta.last_index > self._group.applied.index
            and self._offer.state_bytes <= STATE_BYTES_MAX
        )

    async def put_rows(self, entries: tuple[Entry, ...]) -> None:
        """Put the next rows in place; durable when this returns.

        Raises:
            SnapshotLost: they are not the next ones, or the replica is gone.
        """
        self._check_rows(entries)
        self._require_present()
        group_id = self._group.group_id
        self._submit_checkpoint()
        self._group.install_offset = self.next_offset
        operation = InstallRows(group_id, entries, self._offer.log_start_offset)
        await self._context.replicas.store(group_id, operation)
        reach("snapshot.rows-stored")

    def put_state(self, piece: bytes) -> None:
        """Take in the next piece of the state.

        Raises:
            SnapshotLost: there is more of it than was offered.
        """
        self._state += piece
        if len(self._state) > self._offer.state_bytes:
            raise SnapshotLost("more state than was offered")

    async def finish(self) -> None:
        """Make the snapshot the whole state of the replica; durable and in force when it returns.

        Raises:
            SnapshotLost: something is missing, or the replica is gone.
        """
        group, offer = self._group, self._offer
        state = bytes(self._state)
        self._check_whole(state)
        self._require_present()
        meta = offer.meta
        checkpoint = Checkpoint(
            applied_index=meta.last_index,
            applied_term=meta.last_term,
            membership=meta.membership,
            membership_index=meta.membership_index,
            state=state,
        )
        self._submit_checkpoint()
        group.install_offset = self.next_offset
        status = group.node.status()
        operation = FinishInstall(
            group.group_id,
            checkpoint,
            offer.log_start_offset,
            offer.next_offset,
            # The term of the offer may not be stored yet; the snapshot must not be ahead of it.
            HardState(status.term, status.vote, meta.last_index),
        )
        await self._context.replicas.store(group.group_id, operation)
        reach("snapshot.stored")
        self._require_present()
        self._is_done = True
        self._context.tails.forget(group.group_id)
        group.snapshot_installed(checkpoint, meta)
        self._context.turns.note_applied(group)
        logger.info("%s: took a snapshot up to index %d", group.label, meta.last_index)

    def leave(self) -> None:
        """End it: with nothing in place yet, the replica goes on with the log that it has."""
        group = self._group
        if not self._is_done and group.install_offset is None and group.is_installing:
            group.node.abort_install()

    def _submit_checkpoint(self) -> None:
        """Before the first row, store what is applied: the log above it is given up."""
        if self._group.install_offset is None:
            self._context.replicas.submit_checkpoint(self._group)

    def _require_present(self) -> None:
        if not self._context.is_present(self._group):
            raise SnapshotLost("the replica is gone or faulty")

    def _check_rows(self, entries: tuple[Entry, ...]) -> None:
        index = max(self._last_index, self._group.applied.index)
        for entry in entries:
            is_next = entry.base_offset == self.next_offset and entry.record_count > 0
            if not is_next or not index < entry.index <= self._offer.meta.last_index:
                raise SnapshotLost(f"row {entry.index} is not the next one")
            index = entry.index
            self.next_offset += entry.record_count
        if not entries or self.next_offset > self._offer.next_offset:
            raise SnapshotLost("not as many rows as were offered")
        self._last_index = index

    def _check_whole(self, state: bytes) -> None:
        """See that everything came and can be read, before anything is replaced."""
        offer = self._offer
        if self.next_offset != offer.next_offset or len(state) != offer.state_bytes:
            raise SnapshotLost("rows or state are missing")
        try:
            machine = self._context.factory(self._group.spec, state)
        except InconsistentEntry as error:
            raise SnapshotLost(f"the state cannot be read: {error}") from error
        if (machine.log_start_offset, machine.next_offset) != (
            offer.log_start_offset,
            offer.next_offset,
        ):
            raise SnapshotLost("the state is not that of the offer")
