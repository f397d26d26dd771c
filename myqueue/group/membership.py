"""One process as a member of a consumer group: joins, is told its partitions, gives them up. Pure.

The managers say which partitions a member may read, in the answers to its heartbeats. Nobody
stops for that: a member that is told to give a partition up keeps it in the list of what it owns
until the program is done with the messages of it that it was handed, commits, and leaves it out of
the next heartbeat; only then is somebody else told to read it. All of this happens in the flow
`beat`, which the process's heartbeat thread drives, so a program that takes long over a message
delays the partition of this message alone, and is not taken for dead.

While no manager answers, a member goes on with what it has. Should it have been given to somebody
else meanwhile, the partitions' leaders refuse its commits by their generation. Where one answers,
but not in a way that can be read, the member lets go of everything when its session is over: that
manager is at work, and may have given the partitions to others.
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
from myqueue.group.assigned_partition import Holding
from myqueue.group.commits import Committing, GroupSettings
from myqueue.transport.effects import Acquire, Flow
from myqueue.transport.group_calls import (
    Seat,
    by_topic,
    group_request,
    read_seat,
)
from myqueue.transport.registration import warn
from myqueue.transport.session import HEARTBEAT_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from myqueue.config import ClientConfig
    from myqueue.results import Registration
    from myqueue.transport.clock import Clock
    from myqueue.transport.effects import Lock

EAGER_BEATS = 5
"""After the group has changed, so many heartbeats follow each other quickly: partitions move."""
EAGER_BEAT_S = 0.5
ROUNDS_PER_BEAT_MAX = 4
"""A heartbeat that gave something up is followed by another one that says so."""


class Member(Committing):
    """Base of `GroupReading`: the membership, and the commits that go with it.

    Args:
        address: a manager's address, or several.
        settings: the group and how it is read.
        config: settings of the client.
        clock: time and chance.
        make_lock: makes a lock of the driver's kind.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        settings: GroupSettings,
        *,
        config: ClientConfig,
        clock: Clock,
        make_lock: Callable[[], Lock],
    ) -> None:
        self._interval_s = settings.session_timeout_ms / 1000 / HEARTBEATS_PER_SESSION
        super().__init__(address, settings, config=config, clock=clock, make_lock=make_lock)

    def make_locks(self) -> None:
        """Make new locks; the child of a fork is another member, which joins at its first call."""
        super().make_locks()
        self._member_lock = self.make_lock()
        """One call about the membership at a time."""
        self._member_id: str | None = None
        self._generation = 0
        self._joined = False
        self._left = False
        self._eager_beats = 0
        self._seated_s = 0.0
        """Monotonic time when the last heartbeat, or join, that was answered well was sent."""
        self._commit_s = float("inf")

    # Joining and leaving

    def open(
        self, topics: Iterable[str], attach: dict[str, Registration] | None = None
    ) -> Flow[None]:
        """Register for the topics, then join the group."""
        yield from super().open(topics, attach)
        yield from self.ensure_joined()

    def register(self, topic: str) -> Flow[Registration]:
        """Register for a further topic and read it as the group's member."""
        registration = yield from super().register(topic)
        yield Acquire(self._member_lock)
        try:
            if self._joined:
                yield from self._join()
        finally:
            self._member_lock.release()
        return registration

    def ensure_joined(self) -> Flow[None]:
        """Join unless that was done or the heartbeats do it."""
        if self._member_id is not None:
            return
        yield Acquire(self._member_lock)
        try:
            if self._member_id is None and not self._left:
                yield from self._join()
        finally:
            self._member_lock.release()

    def _join(self) -> Flow[None]:
        """Join; under the same id when the group knows it."""
        fields = {
            "topics": sorted(self.registrations),
            "member_id": self._member_id,
            "session_timeout_ms": self.settings.session_timeout_ms,
        }
        asked_s = self.clock.monotonic()
        request = group_request(self.settings.group, "join", fields)
        try:
            body = yield from self.managers.call_patiently(request)
        except UnknownMember:
            fields["member_id"] = None
            request = group_request(self.settings.group, "join", fields)
            body = yield from self.managers.call_patiently(request)
        seat = read_seat(body)
        if not seat.member_id:
            raise Internal("a manager answered a join without a member id")
        self._member_id = seat.member_id
        self._joined = True
        interval_ms = seat.heartbeat_interval_ms or 0
        if interval_ms > 0:
            self._interval_s = min(self._interval_s, interval_ms / 1000)
        self._take_seat(seat, asked_s)
        now_s = self.clock.monotonic()
        self._commit_s = now_s + self.config.auto_commit_interval_ms / 1000
        self._plan_group_beat()

    def leave(self) -> Flow[None]:
        """Say goodbye, so that others get the partitions at once; the session ends anyway."""
        yield Acquire(self._member_lock)
        try:
            self._left = True
            joined, self._joined = self._joined, False
            with self._state_lock:
                self._held.clear()
            if not joined:
                return
            request = group_request(self.settings.group, "leave", {"member_id": self._member_id})
            try:
                yield from self.managers.call(request)
            except QueueError as error:
                warn(
                    "leaving group %s failed, its session ends by itself: %s",
                    self.settings.group,
                    error,
                )
        finally:
            self._member_lock.release()

    # Heartbeats

    def _set_next_beat(self) -> None:
        self.core_due_s = min(self._group_beat_s, self._commit_s)

    def _plan_group_beat(self) -> None:
        interval_s = self._interval_s
        if self._eager_beats:
            self._eager_beats -= 1
            interval_s = min(interval_s, EAGER_BEAT_S)
        self._group_beat_s = self.clock.monotonic() + interval_s
        self._set_next_beat()

    def beat(self) -> Flow[None]:
        """Send the heartbeats that are due; commit what is done; give up what is asked for."""
        now_s = self.clock.monotonic()
        yield from self._beat_group(now_s)
        # Last, for the group's are more often due, and somebody waits for what they give up.
        if now_s >= self.beat_due_s:
            yield from super().beat()

    def _beat_group(self, now_s: float) -> Flow[None]:
        if self._member_id is None or self._left:
            return
        yield Acquire(self._member_lock)
        try:
            if self._left or self.closed:
                return
            due = now_s >= self._group_beat_s
            self._plan_group_beat()
            if due:
                yield from self._tell()
            yield from self._commit_when_due()
            for _ in range(ROUNDS_PER_BEAT_MAX):
                if not (yield from self._give_up()):
                    break
                yield from self._tell()
        finally:
            self._set_next_beat()
            self._member_lock.release()

    def _tell(self) -> Flow[None]:
        """Send one heartbeat and take its answer; join again where it is not known any more."""
        began_s = self.clock.monotonic()
        try:
            if not self._joined:
                yield from self._join()
                self.beat_record.answered()
                return
            with self._state_lock:
                owned = by_topic(self._held)
            fields = {
                "member_id": self._member_id,
                "generation": self._generation,
                "owned": owned,
            }
            request = group_request(self.settings.group, "heartbeat", fields)
            asked_s = self.clock.monotonic()
            body = yield from self.managers.call(request, timeout_s=HEARTBEAT_TIMEOUT_S)
            self._take_seat(read_seat(body), asked_s)
            self.beat_record.answered()
        except (UnknownMember, IllegalGeneration) as error:
            warn("group %s: %s; joining again", self.settings.group, error)
            yield from self._join_again()
        except Internal as error:
            self.beat_record.failed(error, began_s)
            warn("a heartbeat to group %s failed: %s", self.settings.group, error)
            session_s = self.settings.session_timeout_ms / 1000
            if self._joined and self.clock.monotonic() - self._seated_s >= session_s:
                warn("group %s: the session is over; joining again", self.settings.group)
                yield from self._join_again()
        except QueueError as error:
            # The next one comes; until then the member goes on with what it has.
            self.beat_record.failed(error, began_s)

    def _join_again(self) -> Flow[None]:
        """Let go of everything and begin anew; what is done is committed where that is allowed."""
        self._joined = False
        with self._state_lock:
            held = list(self._held.values())
        yield from self.commit_quietly([one for one in held if one.to_commit])
        for holding in held:
            self.lose(holding)
        began_s = self.clock.monotonic()
        try:
            yield from self._join()
        except QueueError as error:
            self._group_beat_s = self.clock.monotonic() + min(self._interval_s, EAGER_BEAT_S)
            self.beat_record.failed(error, began_s)

    def _take_seat(self, seat: Seat, asked_s: float) -> None:
        """Note what a manager says that this member may read, as it was asked for at a time."""
        told, generation = seat.partitions, seat.generation
        now_s = self.clock.monotonic()
        self._seated_s = asked_s
        with self._state_lock:
            changed = generation != self._generation
            self._generation = generation
            for where, holding in list(self._held.items()):
                if where in told:
                    holding.revoked_s = None
                    holding.abandoned = False
                elif not holding.is_revoked:
                    holding.revoked_s = now_s
                    changed = True
            for where in sorted(told - self._held.keys()):
                self._held[where] = Holding(where, generation)
                changed = True
        if changed:
            self._eager_beats = EAGER_BEATS

    # Committing

    def _commit_when_due(self) -> Flow[None]:
        """Commit what the program is done with: now and then, and of what is asked for at once."""
        now_s = self.clock.monotonic()
        due = now_s >= self._commit_s
        if due:
            self._commit_s = now_s + self.config.auto_commit_interval_ms / 1000
        with self._state_lock:
            wanted = [
                one
                for one in self._held.values()
                if one.to_commit and (due or (one.is_revoked and not one.in_hand) or one.abandoned)
            ]
        yield from self.commit_quietly(wanted)

    def _give_up(self) -> Flow[bool]:
        """Let go of what was asked for and is done with; return whether there was any."""
        with self._state_lock:
            wanted = [
                one
                for one in self._held.values()
                if one.is_revoked and one.to_commit and (one.abandoned or not one.in_hand)
            ]
        yield from self.commit_quietly(wanted)
        with self._state_lock:
            gone = [where for where, one in self._held.items() if one.can_go or _never_read(one)]
            for where in gone:
                if self._held.pop(where).in_hand:
                    self._lost.add(where)
        return bool(gone)


def _never_read(holding: Holding) -> bool:
    return holding.is_revoked and not holding.started
