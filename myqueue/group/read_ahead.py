"""How a member of a group reads ahead of its program: one fetch per broker, all at once. Pure.

A granted partition is fenced first, by a commit without an offset: from then on its leader refuses
commits of earlier owners, and the answer has the committed offset. Only then is it fetched. A fetch
that finds nothing is a long poll, so that reading ahead and waiting are one; at each broker one is
open for all partitions there, and at a manager for those whose leaders are out of reach. A server
that knows no such call gets one for each partition. A failed fetch is
retried like any call (other replicas, the managers, a new token), with a short deadline and growing
pauses, so that a partition without a leader does not delay the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myqueue.contract.backoff import Backoff
from myqueue.contract.errors import (
    IllegalGeneration,
    MethodNotAllowed,
    NotFound,
    OffsetOutOfRange,
    QueueError,
    UnauthorizedException,
)
from myqueue.contract.inputs import MAX_WAIT_MS
from myqueue.group.assigned_partition import OpenFetch
from myqueue.transport.effects import (
    Acquire,
    Await,
    AwaitAny,
    Begin,
    Flow,
    Pause,
    Pending,
    TimeIsOver,
)
from myqueue.transport.fetching import (
    fetch_call,
    gaps,
    read_fetched,
    read_several,
    several_request,
)
from myqueue.transport.metadata import MANAGER
from myqueue.transport.partition_waiting import is_over_for
from myqueue.transport.rotation import NO_PARTITION, Silence, no_answer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from myqueue.contract.http1 import Answer
    from myqueue.group.assigned_partition import AssignedPartition
    from myqueue.group.assignment import Assignment
    from myqueue.group.commits import Commits, GroupSettings
    from myqueue.group.schedule import GroupSchedule
    from myqueue.results import Fetched
    from myqueue.transport.rotation import TopicPartition, Wait
    from myqueue.transport.session import Session
    from myqueue.transport.skipped_messages import SkippedMessages

FETCH_BYTES = 1 << 20
AHEAD_MAX = 64
"""Most partitions of which a fetch is out; the others take turns, and nobody is held for long."""
CROWDED_WAIT_MS = 200
SINGLES_S = 300.0
"""How long a server that takes one partition in a call is not asked for several."""
GLANCE_S = 0.2
"""How often a wait looks at what the heartbeats have brought."""
FAILURE_PAUSE = Backoff(first_s=0.1, longest_s=5.0)
"""Pause after a failure of a partition: the first, and the longest."""


class ReadAhead:
    """Keeps messages of the assigned partitions ready to be handed out.

    Args:
        session: of the client.
        settings: the group and how it is read.
        assignment: the partitions and what was fetched of them.
        commits: fence new partitions.
        schedule: of the heartbeats, which report partitions that are given up.
        corrupt: counts what nobody can decode.
        missed: counts what retention deleted before it was read.

    Attributes:
        lock: one flow at a time fetches, or changes where to.
    """

    def __init__(
        self,
        session: Session,
        settings: GroupSettings,
        *,
        assignment: Assignment,
        commits: Commits,
        schedule: GroupSchedule,
        corrupt: SkippedMessages,
        missed: SkippedMessages,
    ) -> None:
        self._session = session
        self._config = session.config
        self._settings = settings
        self._assignment = assignment
        self._commits = commits
        self._schedule = schedule
        self._corrupt = corrupt
        self._missed = missed
        self.lock = session.make_lock()
        self._open: list[OpenFetch] = []
        """The fetches that are out."""
        self._singles: dict[str, float] = {}
        """Servers of an earlier version, which take one partition in a call, by address; each with
        the monotonic time at which it is forgotten: it may have a later version by then."""

    def gather(
        self, wanted: Collection[TopicPartition] | None, timeout_s: float, wait: Wait
    ) -> Flow[bool]:
        """Return True as soon as something can be handed out, False when the time is over.

        Args:
            wanted: partitions that count; all owned ones when None.
            timeout_s: with a short one, every partition is still asked once.
            wait: the call of the program that this belongs to.

        Raises:
            QueueError: a partition did not answer for `delivery_timeout_ms`.
        """
        deadline_s = self._session.clock.monotonic() + timeout_s
        certain = timeout_s < GLANCE_S
        while True:
            self._session.check_usable()
            remaining_s = max(0.0, deadline_s - self._session.clock.monotonic())
            patience_s = 0.0 if self._assignment.has_ready(wanted) else min(remaining_s, GLANCE_S)
            if (yield Acquire(self.lock, patience_s)):
                try:
                    yield from self._advance(wanted, certain=certain)
                    remaining_s = deadline_s - self._session.clock.monotonic()
                    if remaining_s > 0 and not self._assignment.has_ready(wanted):
                        self._abandon_uncommitted()
                        yield from self._wait_ahead(min(remaining_s, GLANCE_S))
                finally:
                    if self._session.closing:
                        self._cancel_all()
                    self.lock.release()
            if self._assignment.has_ready(wanted):
                return True
            self.is_over(wanted, wait)
            if self._session.clock.monotonic() >= deadline_s:
                self._abandon_uncommitted()
                return False
            certain = False

    def is_over(self, wanted: Collection[TopicPartition] | None, wait: Wait) -> bool:
        """Return whether a wait that found nothing is over; warn of partitions that do not answer.

        Raises:
            QueueError: a partition, or the managers while there is none, did not answer for
                `delivery_timeout_ms`.
        """
        with self._assignment.lock:
            silent = {
                one.where: one.silence
                for one in self._assignment.held.values()
                if one.silence is not None
                and not one.is_revoked
                and (wanted is None or one.where in wanted)
            }
            is_idle = not self._assignment.held
        if is_idle and wait.deadline_s > wait.started_s:
            silent |= self._silent_managers()
        return is_over_for(self._session, wait, silent)

    def _silent_managers(self) -> dict[TopicPartition, Silence]:
        """Return an entry that stands for the managers, when none has answered for long."""
        unheard = self._session.beat_record.unheard
        if unheard is None or unheard.last_s - unheard.since_s < self._patience_s:
            return {}
        since_s = unheard.since_s
        silence = Silence(unheard.error, 0.0, since_s, unheard.last_s, asked_s=since_s)
        return {(f"group {self._settings.group}", NO_PARTITION): silence}

    def _abandon_uncommitted(self) -> None:
        """Abandon revoked partitions when the program asks for more without committing."""
        if not self._settings.auto_commit and self._assignment.abandon_revoked():
            self._schedule.hurry()

    # Every function below needs the lock

    def _advance(self, wanted: Collection[TopicPartition] | None, *, certain: bool) -> Flow[None]:
        """Do what can be done without waiting for messages."""
        for assigned in self._asked():
            if not self._assignment.is_mine(assigned):
                self.cancel(assigned)
        yield from self.start_new()
        yield from self._collect(0.0)
        mine = self._fetchable(wanted)
        for assigned in mine:
            if self._assignment.has_ready(wanted):
                break
            if certain or assigned.failures:
                yield from self._fetch_now(assigned)
        if not certain or self._assignment.has_ready(wanted):
            # With nothing there and no time to wait, the next call asks anew.
            yield from self._begin_ahead()

    def start_new(self) -> Flow[None]:
        """Fence every new partition, and learn its committed offset."""
        for assigned in self._fetchable(None, started=False):
            assigned.asked_s = self._session.clock.monotonic()
            try:
                body = yield from self._commits.fence(assigned)
            except IllegalGeneration:
                # The managers know by whom; the next heartbeat tells.
                self._assignment.lose(assigned)
                continue
            except QueueError as error:
                self._failed(assigned, error)
                continue
            except TimeIsOver:
                self._failed(assigned, no_answer(assigned.where))
                raise
            with self._assignment.lock:
                assigned.start_at(int(body["offset"]))
                assigned.answered()
            self._missed.add(assigned.where, int(body.get("missed") or 0), self._settings.group)

    def _fetchable(
        self, wanted: Collection[TopicPartition] | None, *, started: bool = True
    ) -> list[AssignedPartition]:
        """Return the partitions that may be fetched now: not revoked, and not in a pause."""
        now_s = self._session.clock.monotonic()
        with self._assignment.lock:
            return [
                one
                for one in self._assignment.held.values()
                if one.started is started
                and not one.is_revoked
                and one.retry_s <= now_s
                and (wanted is None or one.where in wanted)
            ]

    def _asked(self) -> list[AssignedPartition]:
        """Return the partitions of which a fetch is out."""
        return [assigned for fetch in self._open for assigned in fetch.asked]

    def _begin_ahead(self) -> Flow[None]:
        """Have every partition that has little ready asked: at each broker all in one call."""
        mine = self._fetchable(None)
        crowded = len(mine) > AHEAD_MAX
        wait_ms = min(self._config.long_poll_ms, CROWDED_WAIT_MS if crowded else MAX_WAIT_MS)
        room = AHEAD_MAX - len(self._asked())
        due = [
            one
            for one in sorted(mine, key=lambda one: one.asked_s)
            if one.ahead is None
            and not one.failures
            and len(one.ready) < self._config.prefetch_messages
        ]
        together: dict[str, list[AssignedPartition]] = {}
        now_s = self._session.clock.monotonic()
        self._singles = {one: until for one, until in self._singles.items() if until > now_s}
        for assigned in due[:room]:
            assigned.refill_due = False
            assigned.asked_s = self._session.clock.monotonic()
            try:
                address = yield from self._session.leader_address(*assigned.where)
                if address == MANAGER:
                    address = self._session.managers.preferred
                if address in self._singles:
                    yield from self._begin_single(assigned, address, wait_ms)
                else:
                    together.setdefault(address, []).append(assigned)
            except QueueError as error:
                self._failed(assigned, error)
        for address, partitions in together.items():
            yield from self._begin_several(address, partitions, wait_ms)

    def _begin_single(self, assigned: AssignedPartition, address: str, wait_ms: int) -> Flow[None]:
        """Send a fetch of one partition."""
        offset = assigned.fetched
        call = fetch_call(*assigned.where, offset, max_bytes=FETCH_BYTES, wait_ms=wait_ms)
        pending = yield from self._session.begin_at_leader(call, self._timeout_s(wait_ms))
        self._open.append(OpenFetch(address, pending, {assigned: offset}, is_list=False))

    def _begin_several(
        self, address: str, partitions: list[AssignedPartition], wait_ms: int
    ) -> Flow[None]:
        """Send one fetch of all partitions at a broker, in place of one that is open there."""
        for fetch in [one for one in self._open if one.is_list and one.address == address]:
            partitions = [*partitions, *fetch.asked]
            self._give_up(fetch)
        asked = {one: one.fetched for one in partitions}
        try:
            tokens = {}
            for topic in {one.where[0] for one in partitions}:
                tokens[topic] = (yield from self._session.registration(topic)).token
            request = several_request(
                {one.where: offset for one, offset in asked.items()},
                tokens,
                max_bytes=FETCH_BYTES,
                wait_ms=wait_ms,
            )
            pending = yield Begin(address, request, self._timeout_s(wait_ms))
        except QueueError as error:
            for assigned in partitions:
                self._failed(assigned, error)
            return
        self._open.append(OpenFetch(address, pending, asked, is_list=True))

    def _timeout_s(self, wait_ms: int) -> float:
        return (wait_ms + self._config.answer_margin_ms) / 1000

    def _wait_ahead(self, timeout_s: float) -> Flow[None]:
        """Wait until a fetch is answered, or the time is over."""
        if self._open:
            yield from self._collect(timeout_s)
        else:
            yield Pause(timeout_s)

    def _collect(self, timeout_s: float) -> Flow[None]:
        """Adopt the answers that have come."""
        if not self._open:
            return
        by_pending = {id(one.pending): one for one in self._open}
        answered: list[Pending] = yield AwaitAny([one.pending for one in self._open], timeout_s)
        for pending in answered:
            fetch = by_pending[id(pending)]
            try:
                answer: Answer | None = yield Await(pending, 0.0)
            except QueueError as error:
                self._open.remove(fetch)
                self._fail_all(fetch.end(), error)
                continue
            if answer is not None:
                self._open.remove(fetch)
                self._take(fetch, answer)

    def _take(self, fetch: OpenFetch, answer: Answer) -> None:
        """Adopt an answer of one partition or several; those that it leaves out have nothing."""
        asked = fetch.end()
        places = {assigned.where: offset for assigned, offset in asked.items()}
        try:
            found = self._read_all(fetch, answer, places)
        except QueueError as error:
            if fetch.is_list and type(error) in (NotFound, MethodNotAllowed):
                self._singles[fetch.address] = self._session.clock.monotonic() + SINGLES_S
            else:
                self._fail_all(asked, error)
            return
        for assigned, offset in asked.items():
            one = found.get(assigned.where)
            if isinstance(one, QueueError):
                self._fail_all([assigned], one)
            elif one is not None:
                self._adopt(assigned, one, offset)
            else:
                with self._assignment.lock:
                    assigned.answered()

    def _read_all(
        self, fetch: OpenFetch, answer: Answer, places: dict[TopicPartition, int]
    ) -> dict[TopicPartition, Fetched | QueueError]:
        if fetch.is_list:
            return read_several(answer, places)
        [(where, offset)] = places.items()
        return {where: read_fetched(answer, topic=where[0], partition=where[1], offset=offset)}

    def _fail_all(self, partitions: Iterable[AssignedPartition], error: QueueError) -> None:
        """Note a failure; they are asked again in the ordinary way, which knows what to do."""
        for assigned in partitions:
            now_s = self._session.clock.monotonic()
            assigned.failed(error, now_s, asked_s=now_s, stale_s=self._patience_s)

    def _fetch_now(self, assigned: AssignedPartition) -> Flow[None]:
        """Fetch what is there, without waiting for more.

        Raises:
            QueueError: one that does not go away by itself.
        """
        offset, assigned.asked_s = assigned.fetched, self._session.clock.monotonic()
        call = fetch_call(*assigned.where, offset, max_bytes=FETCH_BYTES, wait_ms=0)
        try:
            found = yield from self._session.at_leader(
                call,
                self._commits.short_attempts(),
                lambda answer: self._read(assigned, answer, offset),
            )
        except OffsetOutOfRange as error:
            self._out_of_range(assigned, error)
        except QueueError as error:
            self._failed(assigned, error)
        except TimeIsOver:
            self._failed(assigned, no_answer(assigned.where))
            raise
        else:
            self._adopt(assigned, found, offset)

    def _read(self, assigned: AssignedPartition, answer: Answer, offset: int) -> Fetched:
        topic, partition = assigned.where
        return read_fetched(answer, topic=topic, partition=partition, offset=offset)

    def _adopt(self, assigned: AssignedPartition, fetched: Fetched, asked_offset: int) -> None:
        with self._assignment.lock:
            adopted = assigned.adopt(fetched.messages, fetched.next_offset, asked_offset)
            assigned.answered()
            assigned.refill_due = True
        if adopted and fetched.corrupt:
            offsets = (message.offset for message in fetched.messages)
            holes = gaps(offsets, asked_offset, fetched.next_offset)
            places = ", ".join(f"{hole.start} to {hole.stop - 1}" for hole in holes)
            self._corrupt.add(assigned.where, fetched.corrupt, f": offsets {places}")

    def _out_of_range(self, assigned: AssignedPartition, error: OffsetOutOfRange) -> None:
        """Go on at the log start; where the partition has become shorter, ask where to begin."""
        log_start = int(error.details.get("log_start_offset", 0))
        with self._assignment.lock:
            missed = assigned.skip_to(log_start)
            if not missed and not assigned.in_hand and not assigned.ready:
                assigned.started = False
        if missed:
            assigned.answered()
            self._missed.add(assigned.where, missed, self._settings.group)
        else:
            self._failed(assigned, error, raises=False)

    def _failed(
        self, assigned: AssignedPartition, error: QueueError, *, raises: bool = True
    ) -> None:
        """Pause a partition after a failure.

        Raises:
            QueueError: the error, when a retry does not help.
        """
        now_s = self._session.clock.monotonic()
        assigned.retry_s = now_s + FAILURE_PAUSE.pause_s(assigned.failures)
        assigned.failures += 1
        assigned.failed(error, now_s, asked_s=assigned.asked_s, stale_s=self._patience_s)
        if raises and not error.retriable and not isinstance(error, UnauthorizedException):
            raise error

    @property
    def _patience_s(self) -> float:
        return self._config.delivery_timeout_ms / 1000

    def cancel(self, assigned: AssignedPartition) -> None:
        """Adopt nothing of a partition that is out."""
        fetch = assigned.ahead
        if fetch is not None:
            fetch.leave(assigned)
            if not fetch.asked:
                self._open.remove(fetch)

    def _give_up(self, fetch: OpenFetch) -> None:
        fetch.pending.cancel()
        fetch.end()
        self._open.remove(fetch)

    def _cancel_all(self) -> None:
        for fetch in list(self._open):
            self._give_up(fetch)

    def close(self) -> None:
        """Cancel the fetches in flight; a flow that waits does it at its end."""
        if not self.lock.locked():
            self._cancel_all()
