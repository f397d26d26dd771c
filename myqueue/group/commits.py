"""Commits of a consumer group's offsets at the partitions' leaders. Pure.

A commit carries the generation under which the partition was granted. A leader refuses it once the
partition belongs to another member; then it is dropped here, and that member reads its messages
again.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from myqueue.contract.errors import IllegalGeneration, QueueError
from myqueue.contract.group_inputs import (
    DEFAULT_SESSION_TIMEOUT_MS,
    SessionTimeoutMs,
    check_group_name,
)
from myqueue.contract.inputs import Start, check_fields
from myqueue.transport.blocking import read_body
from myqueue.transport.effects import Acquire, Flow
from myqueue.transport.group_calls import commit_call
from myqueue.transport.retry import Attempts
from myqueue.transport.rotation import WARN_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from myqueue.group.assigned_partition import AssignedPartition
    from myqueue.group.assignment import Assignment
    from myqueue.group.schedule import GroupSchedule
    from myqueue.transport.leader_call import LeaderCall
    from myqueue.transport.session import Session

QUIET_SHARE = 6
"""Part of a session after which a round of commits in the background leaves the rest for later."""


@dataclass(frozen=True)
class GroupSettings:
    """What a program says about its group.

    Raises:
        InvalidRequest: a value is impossible; the field is named.
    """

    group: str
    auto_commit: bool = True
    session_timeout_ms: SessionTimeoutMs = DEFAULT_SESSION_TIMEOUT_MS
    start: Start = "earliest"

    def __post_init__(self) -> None:
        check_fields(self)
        check_group_name(self.group)


class Commits:
    """Commits offsets of a group at the partitions' leaders.

    Args:
        session: of the client.
        settings: the group and how it is read.
        assignment: of this member; a partition that belongs to another member is dropped from it.
        schedule: of the heartbeats; the next one reports dropped partitions.
    """

    def __init__(
        self,
        session: Session,
        settings: GroupSettings,
        assignment: Assignment,
        schedule: GroupSchedule,
    ) -> None:
        self._session = session
        self._settings = settings
        self._assignment = assignment
        self._schedule = schedule
        self._lock = session.make_lock()
        """One commit at a time, so that an older one never comes after a newer one."""

    def commit_quietly(self, wanted: Iterable[AssignedPartition]) -> Flow[None]:
        """Commit some partitions within a short time; a failed commit is tried again later."""
        clock = self._session.clock
        until_s = clock.monotonic() + self._settings.session_timeout_ms / 1000 / QUIET_SHARE
        for assigned in wanted:
            if clock.monotonic() > until_s:
                return
            with suppress(QueueError):
                yield from self.commit(assigned, self.short_attempts())

    def commit(self, assigned: AssignedPartition, attempts: Attempts) -> Flow[None]:
        """Commit what is finished in one partition.

        Raises:
            IllegalGeneration: the partition belongs to another member; it is dropped.
            QueueError: the commit failed; repeating it is harmless.
        """
        yield Acquire(self._lock)
        try:
            offset = assigned.finished
            if not assigned.to_commit:
                return
            call = self._call(assigned, offset=offset)
            try:
                yield from self._session.at_leader(call, attempts, read_body)
            except IllegalGeneration:
                self._assignment.lose(assigned)
                self._schedule.hurry()
                raise
            except QueueError as error:
                self._commit_failed(assigned, error)
                raise
            assigned.uncommitted_since_s = None
            assigned.committed = offset
        finally:
            self._lock.release()

    def fence(self, assigned: AssignedPartition) -> Flow[dict[str, Any]]:
        """Fence older generations; return the committed offset, and how many messages were missed.

        Raises:
            IllegalGeneration: the partition belongs to another member.
            QueueError: it failed for now.
        """
        call = self._call(assigned, start=self._settings.start)
        return self._session.at_leader(call, self.short_attempts(), read_body)

    def move(self, assigned: AssignedPartition, offset: int) -> Flow[None]:
        """Commit another offset of a partition, forward or back, and go on there.

        Raises:
            QueueError: it failed.
        """
        yield Acquire(self._lock)
        try:
            call = self._call(assigned, offset=offset)
            body = yield from self._session.at_leader(call, self._session.attempts(), read_body)
            with self._assignment.lock:
                assigned.start_at(int(body["offset"]))
        finally:
            self._lock.release()

    def _call(
        self, assigned: AssignedPartition, *, offset: int | None = None, start: Start = "earliest"
    ) -> LeaderCall:
        return commit_call(
            assigned.where,
            self._settings.group,
            assigned.generation,
            offset=offset,
            start=start,
            timeout_ms=self._session.config.request_timeout_ms,
        )

    def _commit_failed(self, assigned: AssignedPartition, error: QueueError) -> None:
        """Warn when commits of a partition have failed for longer than an election takes."""
        now_s = self._session.clock.monotonic()
        if assigned.uncommitted_since_s is None:
            assigned.uncommitted_since_s = now_s
        silent_s = now_s - assigned.uncommitted_since_s
        if silent_s >= WARN_AFTER_S:
            self._session.complaints.warn(
                "commits",
                "commits of group %s in %s/%d fail for %.1f s: %s: %s",
                *(self._settings.group, *assigned.where, silent_s, error.code, error.message),
            )

    def short_attempts(self) -> Attempts:
        """Return attempts with a short deadline: other partitions wait, and it is tried again."""
        session = self._session
        deadline_s = session.clock.monotonic() + session.config.leader_patience_ms / 1000
        return Attempts(session.config, deadline_s=deadline_s)
