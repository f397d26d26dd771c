"""How a member of a group reads ahead of its program: one fetch per partition, all at once. Pure.

A partition that was granted is fenced first, by a commit without an offset: from then on commits of
its earlier owners are refused, and the answer says where to begin. Only then is it fetched. A fetch
that finds nothing is held by the broker, so that reading ahead and waiting are one. What fails is
asked again through the ordinary way of a call (other replicas, the managers, another token), with
little patience and growing pauses, so that a partition without a leader does not hold up the
others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from myqueue.contract.backoff import Backoff
from myqueue.contract.errors import (
    IllegalGeneration,
    OffsetOutOfRange,
    QueueError,
    UnauthorizedException,
)
from myqueue.contract.inputs import MAX_WAIT_MS
from myqueue.group.membership import Member
from myqueue.results import Fetched
from myqueue.transport.blocking import read_body
from myqueue.transport.effects import Acquire, Await, AwaitAny, Flow, Pause, Pending, TimeIsOver
from myqueue.transport.fetching import fetch_call, gaps, read_fetched
from myqueue.transport.group_calls import commit_call
from myqueue.transport.rotation import NO_PARTITION, Silence, is_over, no_answer

if TYPE_CHECKING:
    from collections.abc import Collection

    from myqueue.group.assigned_partition import Holding
    from myqueue.transport.http1 import Answer
    from myqueue.transport.rotation import TopicPartition, Wait

FETCH_BYTES = 1 << 20
AHEAD_MAX = 64
"""Most partitions of which a fetch is out; the others take turns, and nobody is held for long."""
CROWDED_WAIT_MS = 200
GLANCE_S = 0.2
"""How often a wait looks at what the heartbeats have brought."""
REST = Backoff(first_s=0.1, longest_s=5.0)
"""Pause after a failure of a partition: the first, and the longest."""


class GroupFetching(Member):
    """Base of `GroupReading`: keeps messages ready to be handed out.

    Args: those of `Member`.
    """

    def make_locks(self) -> None:
        """Make new locks; in the child of a fork, what was fetched is the parent's."""
        super().make_locks()
        self._reading_lock = self.make_lock()
        """One flow at a time fetches."""
        self._out: set[Holding] = set()
        """Those of which a fetch is out."""

    def gather(
        self, wanted: Collection[TopicPartition] | None, timeout_s: float, wait: Wait
    ) -> Flow[bool]:
        """Return True as soon as something can be handed out, False when the time is over.

        Args:
            wanted: partitions to look at; all that are held when None.
            timeout_s: when it is short, every partition is certainly asked once.
            wait: the call of the program that this belongs to.

        Raises:
            QueueError: a partition did not answer for `delivery_timeout_ms`.
        """
        yield from self.ensure_joined()
        deadline_s = self.clock.monotonic() + timeout_s
        certain = timeout_s < GLANCE_S
        while True:
            self.check_usable()
            remaining_s = max(0.0, deadline_s - self.clock.monotonic())
            patience_s = 0.0 if self._has_ready(wanted) else min(remaining_s, GLANCE_S)
            if (yield Acquire(self._reading_lock, patience_s)):
                try:
                    yield from self._advance(wanted, certain=certain)
                    remaining_s = deadline_s - self.clock.monotonic()
                    if remaining_s > 0 and not self._has_ready(wanted):
                        self._abandon_uncommitted()
                        yield from self._wait_ahead(min(remaining_s, GLANCE_S))
                finally:
                    if self.closing:
                        self._cancel_all()
                    self._reading_lock.release()
            if self._has_ready(wanted):
                return True
            self.is_over(wanted, wait)
            if self.clock.monotonic() >= deadline_s:
                self._abandon_uncommitted()
                return False
            certain = False

    def is_over(self, wanted: Collection[TopicPartition] | None, wait: Wait) -> bool:
        """Return whether a wait that found nothing is over; warn of who does not answer.

        Raises:
            QueueError: a partition, or the managers while there is none, did not answer for
                `delivery_timeout_ms`.
        """
        with self._state_lock:
            silent = {
                one.where: one.silence
                for one in self._held.values()
                if one.silence is not None
                and not one.is_revoked
                and (wanted is None or one.where in wanted)
            }
            is_idle = not self._held
        now_s = self.clock.monotonic()
        if is_idle and wait.deadline_s > wait.started_s:
            silent |= self._silent_managers()
        over = is_over(silent, wait, now_s)
        self.tell_silent(silent, is_over=over)
        return over

    def _silent_managers(self) -> dict[TopicPartition, Silence]:
        """Return what stands for managers of which none has told for long what to read."""
        unheard = self.beat_record.unheard
        if unheard is None or unheard.last_s - unheard.since_s < self._patience_s:
            return {}
        silence = Silence(unheard.error, 0.0, unheard.since_s, unheard.last_s)
        return {(f"group {self.settings.group}", NO_PARTITION): silence}

    def _has_ready(self, wanted: Collection[TopicPartition] | None) -> bool:
        with self._state_lock:
            return any(
                one.ready and not one.is_revoked and (wanted is None or one.where in wanted)
                for one in self._held.values()
            )

    def _abandon_uncommitted(self) -> None:
        """Let go of what is asked for, when the program wants more and has not committed it."""
        if self.settings.auto_commit:
            return
        with self._state_lock:
            asked_for = [one for one in self._held.values() if one.is_revoked and not one.abandoned]
            for holding in asked_for:
                holding.abandoned = True
        if asked_for:
            self.hurry_beat()

    # Every function below needs the reading lock

    def _advance(self, wanted: Collection[TopicPartition] | None, *, certain: bool) -> Flow[None]:
        """Do what can be done without waiting for messages."""
        for holding in [one for one in self._out if not self._is_mine(one)]:
            self._cancel(holding)
        yield from self.start_holdings()
        yield from self._collect(0.0)
        mine = self._mine(wanted)
        for holding in mine:
            if self._has_ready(wanted):
                break
            if certain or holding.failures:
                yield from self._fetch_now(holding)
        if not certain or self._has_ready(wanted):
            # With nothing there and no time to wait, the next call asks anew.
            yield from self._begin_ahead()

    def start_holdings(self) -> Flow[None]:
        """Fence every partition that is new, and learn where to begin."""
        for holding in self._mine(None, started=False):
            call = commit_call(
                holding.where,
                self.settings.group,
                holding.generation,
                start=self.settings.start,
                timeout_ms=self.config.request_timeout_ms,
            )
            try:
                body = yield from self.at_leader(call, self.short_attempts(), read_body)
            except IllegalGeneration:
                # The managers know by whom; the next heartbeat tells.
                self.lose(holding)
                continue
            except QueueError as error:
                self._failed(holding, error)
                continue
            except TimeIsOver:
                self._failed(holding, no_answer(holding.where))
                raise
            with self._state_lock:
                holding.start_at(int(body["offset"]))
                holding.answered()
            self._note_missed(holding.where, int(body.get("missed") or 0))

    def _mine(
        self, wanted: Collection[TopicPartition] | None, *, started: bool = True
    ) -> list[Holding]:
        """Return what may be asked now: not asked for by others, and not failing."""
        now_s = self.clock.monotonic()
        with self._state_lock:
            return [
                one
                for one in self._held.values()
                if one.started is started
                and not one.is_revoked
                and one.retry_s <= now_s
                and (wanted is None or one.where in wanted)
            ]

    def _is_mine(self, holding: Holding) -> bool:
        with self._state_lock:
            return self._held.get(holding.where) is holding and not holding.is_revoked

    def _begin_ahead(self) -> Flow[None]:
        """Send fetches for the partitions of which little is ready."""
        mine = self._mine(None)
        crowded = len(mine) > AHEAD_MAX
        wait_ms = min(self.config.long_poll_ms, CROWDED_WAIT_MS if crowded else MAX_WAIT_MS)
        timeout_s = (wait_ms + self.config.answer_margin_ms) / 1000
        for holding in sorted(mine, key=lambda one: one.asked_s):
            if len(self._out) >= AHEAD_MAX:
                return
            if holding.ahead is not None or holding.failures:
                continue
            if len(holding.ready) >= self.config.prefetch_messages:
                continue
            holding.refill_due = False
            holding.asked_s = self.clock.monotonic()
            holding.asked_offset = holding.fetched
            call = fetch_call(
                *holding.where, holding.fetched, max_bytes=FETCH_BYTES, wait_ms=wait_ms
            )
            try:
                pending = yield from self.begin_at_leader(call, timeout_s)
            except QueueError as error:
                self._failed(holding, error)
                continue
            holding.ahead = pending
            self._out.add(holding)

    def _wait_ahead(self, timeout_s: float) -> Flow[None]:
        """Return when a fetch is answered, at the latest after the time."""
        if self._out:
            yield from self._collect(timeout_s)
        else:
            yield Pause(timeout_s)

    def _collect(self, timeout_s: float) -> Flow[None]:
        """Take the answers that are there."""
        if not self._out:
            return
        by_pending = {id(one.ahead): one for one in self._out}
        pendings = [one.ahead for one in self._out if one.ahead is not None]
        answered: list[Pending] = yield AwaitAny(pendings, timeout_s)
        for pending in answered:
            holding = by_pending[id(pending)]
            try:
                answer: Answer | None = yield Await(pending, 0.0)
                if answer is None:
                    continue
                holding.ahead = None
                self._out.discard(holding)
                found = self._read(holding, answer, holding.asked_offset)
                self._adopt(holding, found, holding.asked_offset)
            except QueueError as error:
                # It is asked again in the ordinary way, which knows what to do about failures.
                holding.ahead = None
                self._out.discard(holding)
                holding.failed(error, self.clock.monotonic(), stale_s=self._patience_s)

    def _fetch_now(self, holding: Holding) -> Flow[None]:
        """Fetch what is there, without waiting for more.

        Raises:
            QueueError: one that does not go away by itself.
        """
        offset = holding.fetched
        call = fetch_call(*holding.where, offset, max_bytes=FETCH_BYTES, wait_ms=0)
        try:
            found = yield from self.at_leader(
                call, self.short_attempts(), lambda answer: self._read(holding, answer, offset)
            )
        except OffsetOutOfRange as error:
            self._out_of_range(holding, error)
        except QueueError as error:
            self._failed(holding, error)
        except TimeIsOver:
            self._failed(holding, no_answer(holding.where))
            raise
        else:
            self._adopt(holding, found, offset)

    def _read(self, holding: Holding, answer: Answer, offset: int) -> Fetched:
        topic, partition = holding.where
        return read_fetched(answer, topic=topic, partition=partition, offset=offset)

    def _adopt(self, holding: Holding, fetched: Fetched, asked_offset: int) -> None:
        with self._state_lock:
            adopted = holding.adopt(fetched.messages, fetched.next_offset, asked_offset)
            holding.answered()
            holding.refill_due = True
        if adopted and fetched.corrupt:
            offsets = (message.offset for message in fetched.messages)
            holes = gaps(offsets, asked_offset, fetched.next_offset)
            places = ", ".join(f"{hole.start} to {hole.stop - 1}" for hole in holes)
            self._note_corrupt(holding.where, fetched.corrupt, f": offsets {places}")

    def _out_of_range(self, holding: Holding, error: OffsetOutOfRange) -> None:
        """Go on at the log start; where the partition has become shorter, ask where to begin."""
        log_start = int(error.details.get("log_start_offset", 0))
        with self._state_lock:
            missed = holding.skip_to(log_start)
            if not missed and not holding.in_hand and not holding.ready:
                holding.started = False
        if missed:
            holding.answered()
            self._note_missed(holding.where, missed)
        else:
            self._failed(holding, error, raises=False)

    def _failed(self, holding: Holding, error: QueueError, *, raises: bool = True) -> None:
        """Leave a partition alone for a while.

        Raises:
            QueueError: the error, when waiting does not help.
        """
        holding.retry_s = self.clock.monotonic() + REST.pause_s(holding.failures)
        holding.failures += 1
        holding.failed(error, self.clock.monotonic(), stale_s=self._patience_s)
        if raises and not error.retriable and not isinstance(error, UnauthorizedException):
            raise error

    @property
    def _patience_s(self) -> float:
        return self.config.delivery_timeout_ms / 1000

    def _cancel(self, holding: Holding) -> None:
        if holding.ahead is not None:
            holding.ahead.cancel()
            holding.ahead = None
        self._out.discard(holding)

    def _cancel_all(self) -> None:
        for holding in list(self._out):
            self._cancel(holding)

    def close_watches(self) -> None:
        """Give up the fetches that are out; a flow that waits does it at its end."""
        if not self._reading_lock.locked():
            self._cancel_all()
