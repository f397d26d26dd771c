"""The partitions that a member of a group is assigned, from their grant to their end. Pure."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from myqueue.group.assigned_partition import AssignedPartition
from myqueue.transport.complaints import warn
from myqueue.transport.group_calls import by_topic

if TYPE_CHECKING:
    from collections.abc import Collection

    from myqueue.transport.rotation import TopicPartition


class Assignment:
    """What a member has to read. Whoever looks at more than one of its partitions holds the lock.

    Args:
        group: name of the group, for the log.

    Attributes:
        lock: guards the rest, and what the partitions know; never held while a flow waits.
        held: partitions that this member has, those it is asked to give up among them.
        lost: partitions that went to others while the program had messages of them in hand.
    """

    def __init__(self, group: str) -> None:
        self._group = group
        self.lock = threading.Lock()
        self.held: dict[TopicPartition, AssignedPartition] = {}
        self.lost: set[TopicPartition] = set()

    def by_topic(self) -> dict[str, list[int]]:
        """Return the partitions that this member reads now."""
        with self.lock:
            return by_topic(where for where, one in self.held.items() if not one.is_revoked)

    def owned(self) -> dict[str, list[int]]:
        """Return the partitions that nobody else may have yet."""
        with self.lock:
            return by_topic(self.held)

    def is_mine(self, assigned: AssignedPartition) -> bool:
        """Tell whether a partition is still to be read."""
        with self.lock:
            return self.held.get(assigned.where) is assigned and not assigned.is_revoked

    def has_ready(self, wanted: Collection[TopicPartition] | None) -> bool:
        """Tell whether a message can be handed out, of all partitions or of some."""
        with self.lock:
            for one in self.held.values():
                if one.ready and not one.is_revoked and (wanted is None or one.where in wanted):
                    return True
        return False

    def change_to(self, granted: set[TopicPartition], generation: int) -> bool:
        """Take what a manager says that this member may read; return whether that is new.

        Args:
            granted: all that it may read.
            generation: of the group, by now.
        """
        changed = False
        with self.lock:
            for where, assigned in self.held.items():
                if where in granted:
                    assigned.is_revoked = False
                    assigned.abandoned = False
                elif not assigned.is_revoked:
                    assigned.is_revoked = True
                    changed = True
            for where in sorted(granted - self.held.keys()):
                self.held[where] = AssignedPartition(where, generation)
                changed = True
        return changed

    def abandon_revoked(self) -> bool:
        """Let go of what is asked for, whatever of it is not committed; tell if there is any."""
        with self.lock:
            asked_for = [one for one in self.held.values() if one.is_revoked and not one.abandoned]
            for assigned in asked_for:
                assigned.abandoned = True
        return bool(asked_for)

    def give_up(self) -> bool:
        """Drop what is asked for and is done with; tell whether there is any."""
        with self.lock:
            gone = [where for where, one in self.held.items() if one.can_go]
            for where in gone:
                if self.held.pop(where).in_hand:
                    self.lost.add(where)
        return bool(gone)

    def lose(self, assigned: AssignedPartition) -> None:
        """Forget a partition that belongs to somebody else by now."""
        with self.lock:
            if self.held.get(assigned.where) is not assigned:
                return
            del self.held[assigned.where]
            if not assigned.in_hand:
                return
            self.lost.add(assigned.where)
        warn(
            "%s/%d was lost to another member of group %s while its messages were worked on;"
            " they are read again",
            *(*assigned.where, self._group),
        )

    def clear(self) -> None:
        """Forget all of them."""
        with self.lock:
            self.held.clear()
