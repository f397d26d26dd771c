"""Which followers seem to have lost what they once acknowledged.

A refusal that names an end of the log below what its sender had acknowledged to this leader cannot
come from a healthy replica, unless it is an old one that was overtaken on the way. So it takes
several in a row, without an acknowledgement in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raft_app.core.rpcs import AppendEntriesReply

REFUSALS_MIN = 3
"""In a row, before a follower is suspected."""


class Suspicion:
    """What one leader thinks of its followers, during its term."""

    def __init__(self) -> None:
        """Suspect nobody."""
        self._refusals: dict[int, int] = {}
        self.suspects: dict[int, str] = {}
        """By replica id: why. Never taken back while this replica leads."""

    def refused(self, reply: AppendEntriesReply, match: int) -> None:
        """Take in a refusal of this leader's term; `match` is what its sender had acknowledged."""
        if reply.wants_snapshot or reply.last_index >= match:
            return
        count = self._refusals[reply.sender] = self._refusals.get(reply.sender, 0) + 1
        if count >= REFUSALS_MIN and reply.sender not in self.suspects:
            self.suspects[reply.sender] = (
                f"its log ends at {reply.last_index}, it had acknowledged {match}"
            )

    def acknowledged(self, replica_id: int) -> None:
        """Take in an acknowledgement."""
        if self._refusals:
            self._refusals.pop(replica_id, None)

    def clear(self) -> None:
        """Forget everything: leadership has changed."""
        self._refusals.clear()
        self.suspects.clear()
