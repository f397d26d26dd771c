"""Which replicas have to say what they have kept: those that have more than they said last.

Managers remember that of each replica, and so notice a folder that is older than it should be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from http_base.kept import Kept
    from raft_app.engine.replica import Replica


class KeptTold:
    """What replicas were last reported to have kept; lives in the engine's loop."""

    def __init__(self, replicas: Mapping[int, Replica], changed: dict[int, Replica]) -> None:
        """Know of nothing that was told.

        Args:
            replicas: of the broker, by group id.
            changed: gets every replica that something happened to, the one that waits longest
                first; they are taken out here.
        """
        self._replicas = replicas
        self._changed = changed
        self._told: dict[int, Kept] = {}
        """By group id."""

    def next(self, count_max: int) -> list[int]:
        """Return the groups whose replicas have something to say, and take it for told.

        Args:
            count_max: so many at most; the others have their turn at the next call.
        """
        moved: list[int] = []
        for group_id in list(self._changed):
            if len(moved) == count_max:
                break
            if self._tell(group_id):
                moved.append(group_id)
        return moved

    def tell_all(self) -> None:
        """Take for told what all replicas have kept."""
        for group_id in list(self._changed):
            self._tell(group_id)

    def _tell(self, group_id: int) -> bool:
        """Take a replica for told; return whether that says anything new."""
        self._changed.pop(group_id)
        replica = self._replicas.get(group_id)
        if replica is None:
            self._told.pop(group_id, None)
            return False
        before, now = self._told.get(group_id), replica.kept
        self._told[group_id] = now
        return before != now
