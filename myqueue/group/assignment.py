"""The partitions that a member of a group is assigned, from their grant to their end. Pure."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from myqueue.contract.group_inputs import by_topic
from myqueue.group.assigned_partition import AssignedPartition
from myqueue.transport.complaints import warn

if TYPE_CHECKING:
    from collections.abc import Collection

    from myqueue.transport.rotation import TopicPartition


class Assignment:
    """The partitions of a member. Callers that read more than one of them hold the lock.

    Args:
        group: name of the group, for the log.

    Attributes:
        lock: guards the rest, and the partitions' state; never held while a flow waits.
        held: partitions that this member owns, revoked ones included.
        lost: partitions that went to other members while the program worked on their messages.
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
        """Return the partitions that this member owns, as heartbeats list them."""
        with self.lock:
            return by_topic(self.held)

    def is_mine(self, assigned: AssignedPartition) -> bool:
        """Tell whether a partition is owned and not revoked."""
        with self.lock:
            return self.held.get(assigned.where) is assigned and not assigned.is_revoked

    def has_ready(self, wanted: Collection[TopicPartition] | None) -> bool:
        """Tell whether a message of some partitions, or of any, can be handed out."""
        with self.lock:
            for one in self.held.values():
                if one.ready and not one.is_revoked and (wanted is None or one.where in wanted):
                    return True
        return False

    def change_to(self, granted: set[TopicPartition], generation: int) -> bool:
        """Adopt the assignment of a manager's answer; return whether it changed.

        Args:
            granted: all partitions that the member may read.
            generation: of the group.
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
        """Mark revoked partitions as abandoned, committed or not; tell whether there is any."""
        with self.lock:
            revoked = [one for one in self.held.values() if one.is_revoked and not one.abandoned]
            for assigned in revoked:
                assigned.abandoned = True
        return bool(revoked)

    def give_up(self) -> bool:
        """Drop the revoked partitions that can be given up; tell whether there is any."""
        with self.lock:
            gone = [where for where, one in self.held.items() if one.can_go]
            for where in gone:
                if self.held.pop(where).in_hand:
                    self.lost.add(where)
        return bool(gone)

    def lose(self, assigned: AssignedPartition) -> None:
        """Drop a partition that belongs to another member now."""
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
        """Drop all partitions."""
        with self.lock:
            self.held.clear()
