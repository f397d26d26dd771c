"""Up to where a replica has applied its log, and how much of that its checkpoints hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raft_app.core.types import Membership
from raft_app.size_marks import SizeMarks
from raft_app.storage.storage import Checkpoint

if TYPE_CHECKING:
    from raft_app.core.types import Entry


@dataclass(frozen=True, slots=True)
class CheckpointMark:
    """What a checkpoint holds, as far as it matters for what may be deleted."""

    index: int
    """Its applied index."""
    log_start_offset: int
    """Messages below it are gone in its state."""


class Applied:
    """The applied prefix of one replica's log."""

    def __init__(self, checkpoint: Checkpoint, log_start_offset: int, replica_id: int) -> None:
        """Begin at a stored checkpoint.

        Args:
            checkpoint: as stored.
            log_start_offset: of its state.
            replica_id: whose log it is.
        """
        self._replica_id = replica_id
        self.is_removed = False
        """A membership without this replica was applied after one that names it."""
        self._begin(checkpoint, log_start_offset)

    def _begin(self, checkpoint: Checkpoint, log_start_offset: int) -> None:
        self.index = checkpoint.applied_index
        self.term = checkpoint.applied_term
        self.membership = checkpoint.membership
        self.membership_index = checkpoint.membership_index
        self.handed_over = CheckpointMark(self.index, log_start_offset)
        """The newest checkpoint that storage was given."""
        self.durable = self.handed_over
        """The newest one that is durable."""
        self.sizes = SizeMarks(self.index)
        """Bytes of the entries behind some indexes."""
        self._checkpoint_bytes = len(checkpoint.state)
        self._bytes_since_checkpoint = 0

    def advance(self, entry: Entry) -> None:
        """Note that the next entry was applied."""
        self.index = entry.index
        self.term = entry.term
        self._bytes_since_checkpoint += entry.size_bytes
        self.sizes.add(entry.index, entry.size_bytes)

    def change_membership(self, entry: Entry) -> None:
        """Apply a MEMBERSHIP entry."""
        membership = Membership.decode(entry.data)
        if self._names_me(self.membership) and not self._names_me(membership):
            self.is_removed = True
        self.membership = membership
        self.membership_index = entry.index

    def checkpoint_due(self, log_start_offset: int, *, entries: int, min_bytes: int) -> bool:
        """Tell whether a new checkpoint is worth it: much was applied, or messages may go."""
        applied = self.index - self.handed_over.index
        if applied <= 0:
            return False
        return (
            applied >= entries
            or self._bytes_since_checkpoint >= max(min_bytes, 4 * self._checkpoint_bytes)
            or log_start_offset > self.handed_over.log_start_offset
        )

    def checkpoint(self, state: bytes, log_start_offset: int) -> Checkpoint:
        """Return the checkpoint of now, which the caller hands to storage.

        Args:
            state: encoded, at `index`.
            log_start_offset: of that state.
        """
        self.handed_over = CheckpointMark(self.index, log_start_offset)
        self._checkpoint_bytes = len(state)
        self._bytes_since_checkpoint = 0
        return Checkpoint(
            applied_index=self.index,
            applied_term=self.term,
            membership=self.membership,
            membership_index=self.membership_index,
            state=state,
        )

    def stored(self, mark: CheckpointMark) -> None:
        """Note that a checkpoint is durable."""
        if mark.index >= self.durable.index:
            self.durable = mark

    def restore(self, checkpoint: Checkpoint, log_start_offset: int) -> None:
        """Begin again at the checkpoint of a snapshot that is durable."""
        named = self._names_me(self.membership)
        self._begin(checkpoint, log_start_offset)
        self.is_removed = self.is_removed or (named and not self._names_me(self.membership))

    def _names_me(self, membership: Membership) -> bool:
        return any(member.replica_id == self._replica_id for member in membership.members)
