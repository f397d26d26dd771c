"""Which partitions on this broker have dead messages to copy to dead-letter topics."""

from __future__ import annotations

import asyncio


class GroupsWithDead:
    """Partitions with dead messages, or with messages out for the last time."""

    def __init__(self) -> None:
        self._group_ids: dict[int, None] = {}
        self.news = asyncio.Event()
        """Set when a partition came in, or one that is in changed."""

    def note(self, group_id: int, *, may_have_dead: bool) -> None:
        """Take in whether a partition belongs here; called at every change of its state."""
        if may_have_dead:
            self._group_ids.setdefault(group_id)
            self.news.set()
        elif self._group_ids:
            self._group_ids.pop(group_id, None)

    def group_ids(self) -> list[int]:
        """Return the partitions in the order in which they came."""
        return list(self._group_ids)
