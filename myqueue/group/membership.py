"""One process as a member of a consumer group: joins, is assigned partitions, gives them up. Pure.

The managers answer heartbeats with the member's assignment. The rebalance is cooperative: a member
lists a revoked partition as owned until the program has finished the messages that it was handed,
commits, and leaves it out of the next heartbeat; only then is it granted to another member. All of
this happens in the flow `beat`, which the process's heartbeat thread drives. So a program that
works long on a message delays the partition of this message alone, and the member stays alive.

While no manager answers, a member keeps its assignment. If a partition was granted to another
member meanwhile, its leader refuses commits by their generation. When a manager answers something
that cannot be read, the member drops its assignment once its session is over: that manager is at
work, and may have granted the partitions to others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myqueue.contract.errors import (
    IllegalGeneration,
    Internal,
    QueueError,
    UnknownMember,
)
from myqueue.contract.group_inputs import HEARTBEATS_PER_SESSION
from myqueue.transport.complaints import warn
from myqueue.transport.effects import Acquire, Flow
from myqueue.transport.group_calls import group_request, partitions_of, read_assignment
from myqueue.transport.session import HEARTBEAT_TIMEOUT_S

if TYPE_CHECKING:
    from myqueue.contract.answers import MemberAssignment
    from myqueue.group.assignment import Assignment
    from myqueue.group.commits import Commits, GroupSettings
    from myqueue.group.schedule import GroupSchedule
    from myqueue.transport.session import Session

EAGER_BEATS = 5
"""After the group has changed, so many heartbeats follow each other quickly: partitions move."""
EAGER_BEAT_S = 0.5
ROUNDS_PER_BEAT_MAX = 4
"""A heartbeat that gave something up is followed by another one that says so."""


class GroupMembership:
    """This process as a member of its group: its joins and heartbeats, and the answers.

    Args:
        session: of the client.
        settings: the group and how it is read.
        assignment: follows the managers' answers.
        commits: before a partition is given up.
        schedule: of heartbeats and commits.

    Attributes:
        member_id: as a manager gave it; None before the first join.
        is_joined: True while the group has this member, as far as is known here.
    """

    def __init__(
        self,
        session: Session,
        settings: GroupSettings,
        *,
        assignment: Assignment,
        commits: Commits,
        schedule: GroupSchedule,
    ) -> None:
        self._session = session
        self._settings = settings
        self._assignment = assignment
        self._commits = commits
        self._schedule = schedule
        self._lock = session.make_lock()
        """One call about the membership at a time."""
        self.member_id: str | None = None
        self.is_joined = False
        self._generation = 0
        self._left = False
        self._interval_s = settings.session_timeout_ms / 1000 / HEARTBEATS_PER_SESSION
        self._eager_beats = 0
        self._assigned_s = 0.0
        """Monotonic time when the last heartbeat, or join, that was answered well was sent."""

    # Joining and leaving

    def topics_changed(self) -> Flow[None]:
        """Tell the group the topics of this member."""
        yield Acquire(self._lock)
        try:
            if self.is_joined:
                yield from self._join()
        finally:
            self._lock.release()

    def ensure_joined(self) -> Flow[None]:
        """Join unless that was done or the heartbeats do it."""
        if self.member_id is not None:
            return
        yield Acquire(self._lock)
        try:
            if self.member_id is None and not self._left:
                yield from self._join()
        finally:
            self._lock.release()

    def _join(self) -> Flow[None]:
        """Join; under the same id when the group knows it."""
        fields = {
            "topics": sorted(self._session.registrations),
            "member_id": self.member_id,
            "session_timeout_ms": self._settings.session_timeout_ms,
        }
        asked_s = self._session.clock.monotonic()
        request = group_request(self._settings.group, "join", fields)
        try:
            body = yield from self._session.managers.call_patiently(request)
        except UnknownMember:
            fields["member_id"] = None
            request = group_request(self._settings.group, "join", fields)
            body = yield from self._session.managers.call_patiently(request)
        assignment = read_assignment(body)
        self.member_id = assignment.member_id
        self.is_joined = True
        if assignment.heartbeat_interval_ms > 0:
            self._interval_s = min(self._interval_s, assignment.heartbeat_interval_ms / 1000)
        self._take(assignment, asked_s)
        self._schedule.plan_commit(self._session.config.auto_commit_interval_ms / 1000)
        self._plan_beat()

    def leave(self) -> Flow[None]:
        """Leave the group, so that others get the partitions at once, not after the session."""
        yield Acquire(self._lock)
        try:
            self._left = True
            joined, self.is_joined = self.is_joined, False
            self._assignment.clear()
            if not joined:
                return
            request = group_request(self._settings.group, "leave", {"member_id": self.member_id})
            try:
                yield from self._session.managers.call(request)
            except QueueError as error:
                warn(
                    "leaving group %s failed, its session ends by itself: %s",
                    self._settings.group,
                    error,
                )
        finally:
            self._lock.release()

    # Heartbeats

    def beat(self, now_s: float) -> Flow[None]:
        """Send the heartbeat that is due, commit, and give revoked partitions up.

        Args:
            now_s: monotonic time; what is due by then is done.
        """
        if self.member_id is None or self._left:
            return
        yield Acquire(self._lock)
        try:
            if self._left or self._session.closed:
                return
            due = self._schedule.is_beat_due(now_s)
            self._plan_beat()
            if due:
                yield from self._tell()
            yield from self._commit_when_due()
            for _ in range(ROUNDS_PER_BEAT_MAX):
                if not (yield from self._give_up()):
                    break
                yield from self._tell()
        finally:
            self._lock.release()

    def _plan_beat(self) -> None:
        interval_s = self._interval_s
        if self._eager_beats:
            self._eager_beats -= 1
            interval_s = min(interval_s, EAGER_BEAT_S)
        self._schedule.plan_beat(interval_s)

    def _tell(self) -> Flow[None]:
        """Send one heartbeat and adopt its answer; join again when the group lost the member."""
        began_s = self._session.clock.monotonic()
        try:
            if not self.is_joined:
                yield from self._join()
                self._session.beat_record.answered()
                return
            fields = {
                "member_id": self.member_id,
                "generation": self._generation,
                "owned": self._assignment.owned(),
            }
            request = group_request(self._settings.group, "heartbeat", fields)
            asked_s = self._session.clock.monotonic()
            body = yield from self._session.managers.call(request, timeout_s=HEARTBEAT_TIMEOUT_S)
            self._take(read_assignment(body), asked_s)
            self._session.beat_record.answered()
        except (UnknownMember, IllegalGeneration) as error:
            warn("group %s: %s; joining again", self._settings.group, error)
            yield from self._join_again()
        except Internal as error:
            self._session.beat_record.failed(error, began_s)
            warn("a heartbeat to group %s failed: %s", self._settings.group, error)
            session_s = self._settings.session_timeout_ms / 1000
            if self.is_joined and self._session.clock.monotonic() - self._assigned_s >= session_s:
                warn("group %s: the session is over; joining again", self._settings.group)
                yield from self._join_again()
        except QueueError as error:
            # The next one comes; until then the member goes on with what it has.
            self._session.beat_record.failed(error, began_s)

    def _join_again(self) -> Flow[None]:
        """Commit where that is allowed, drop the assignment, and join anew."""
        self.is_joined = False
        with self._assignment.lock:
            held = list(self._assignment.held.values())
        yield from self._commits.commit_quietly([one for one in held if one.to_commit])
        for assigned in held:
            self._assignment.lose(assigned)
        began_s = self._session.clock.monotonic()
        try:
            yield from self._join()
        except QueueError as error:
            self._schedule.plan_beat(min(self._interval_s, EAGER_BEAT_S))
            self._session.beat_record.failed(error, began_s)

    def _take(self, told: MemberAssignment, asked_s: float) -> None:
        """Adopt an assignment that was asked for at a monotonic time."""
        self._assigned_s = asked_s
        changed = self._assignment.change_to(partitions_of(told), told.generation)
        if changed or told.generation != self._generation:
            self._eager_beats = EAGER_BEATS
        self._generation = told.generation

    # Committing

    def _commit_when_due(self) -> Flow[None]:
        """Commit what is finished: once per interval, and at once in revoked partitions."""
        due = self._schedule.is_commit_due(self._session.clock.monotonic())
        if due:
            self._schedule.plan_commit(self._session.config.auto_commit_interval_ms / 1000)
        with self._assignment.lock:
            wanted = [
                one
                for one in self._assignment.held.values()
                if one.to_commit and (due or (one.is_revoked and not one.in_hand) or one.abandoned)
            ]
        yield from self._commits.commit_quietly(wanted)

    def _give_up(self) -> Flow[bool]:
        """Commit and give up the revoked partitions that are finished; tell whether any was."""
        with self._assignment.lock:
            wanted = [
                one
                for one in self._assignment.held.values()
                if one.is_revoked and one.to_commit and (one.abandoned or not one.in_hand)
            ]
        yield from self._commits.commit_quietly(wanted)
        return self._assignment.give_up()
