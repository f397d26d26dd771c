"""The core of a consumer with its own cursors: polls, iteration, seek, size and lag. Pure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from myqueue.consumer.pop_calls import look_request, reset_call, size_call
from myqueue.consumer.pop_requests import Pops
from myqueue.consumer.prefetcher import Prefetcher
from myqueue.contract.errors import QueueEmpty, QueueError
from myqueue.results import Lag, Message
from myqueue.transport.blocking import read_body
from myqueue.transport.client_core import ClientCore
from myqueue.transport.effects import Flow, Pause, TimeIsOver, within
from myqueue.transport.fetching import Fetcher, timestamp_ms
from myqueue.transport.partition_waiting import PartitionWaiting
from myqueue.transport.rotation import (
    NO_PARTITION,
    ONE_TRY_S,
    RETRY_AT_LEAST_S,
    TopicPartition,
    Wait,
    may_pass,
)
from myqueue.transport.skipped_messages import CORRUPT, MISSED_ALONE, SkippedMessages
from myqueue.transport.topic_names import no_count, topic_names

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from myqueue.contract.partitioner import Key
    from myqueue.transport.session import Session

LAG_LOOKS_MAX = 3


class ConsumerCore(ClientCore):
    """The core of `Consumer` and `AsyncConsumer` without a group.

    Args:
        session: of a consumer.

    Attributes:
        fetcher: reads from an offset.
        corrupt: counts what was stepped over because nobody can decode it.
        missed: counts what retention deleted before this consumer read it.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.fetcher = Fetcher(session)
        self._make_parts()

    def _make_parts(self) -> None:
        session = self.session
        self.corrupt = SkippedMessages(CORRUPT)
        self._pops = Pops()
        self.missed = SkippedMessages(MISSED_ALONE)
        self._prefetcher = Prefetcher(session, self._pops, corrupt=self.corrupt, missed=self.missed)
        look = partial(look_request, wait_ms=session.config.long_poll_ms)
        self._waiting = PartitionWaiting(session, look)

    def restart_after_fork(self) -> None:
        """Start anew in the child: popped messages and pops in flight are the parent's."""
        super().restart_after_fork()
        self._make_parts()

    # Messages

    def dequeue(self, topics: Sequence[str], key: Key | None) -> Flow[list[Message]]:
        """Return the next message of each topic.

        Raises:
            QueueEmpty: nothing is left in one of them; what was taken is kept, as after any error.
        """
        taken: list[Message] = []
        try:
            for topic in topics:
                partition = None
                if key is not None:
                    partition = yield from self.session.partition_of(topic, key)
                found = yield from self.poll(1, 0.0, topics=[topic], partition=partition)
                if not found:
                    raise QueueEmpty(
                        f"QEmpty: nothing is left in topic {topic!r} for this consumer"
                    )
                taken += found
        except BaseException:
            self._pops.put_back(taken)
            raise
        return taken

    def poll(
        self,
        max_messages: int,
        timeout: float | None,
        *,
        topics: str | Sequence[str] | None = None,
        partition: int | None = None,
        more: bool = False,
    ) -> Flow[list[Message]]:
        """Return up to `max_messages` of one partition; empty when none came in time.

        Raises:
            QueueError: a partition did not answer for `delivery_timeout_ms`, and the others had
                nothing; or it refused.
        """
        if type(max_messages) is not int or max_messages < 1:
            raise no_count(max_messages)
        names = list(self.session.registrations) if topics is None else topic_names(topics)
        wait = self.session.begin_wait(timeout)
        flow = self._poll(names, partition, max_messages, wait, more=more)
        if not wait.is_bounded:
            return (yield from flow)
        try:
            return (yield from within(flow, self.session.clock, wait.limit_s))
        except TimeIsOver:
            self._waiting.out_of_time(names[0], wait)
            return []

    def _poll(
        self,
        names: list[str],
        partition: int | None,
        max_messages: int,
        wait: Wait,
        *,
        more: bool,
    ) -> Flow[list[Message]]:
        quiet: set[TopicPartition] = set()
        while True:
            self.session.check_usable()
            ready = self._pops.take(names, max_messages, partition)
            if ready:
                return ready
            managers = (names[0], NO_PARTITION) if names else None
            wait.ask(managers, self.session.clock.monotonic())
            partitions = yield from self.session.partitions(names, partition)
            wait.asking = None
            if self._waiting.rotation.has_silent:
                self._waiting.managers_answered(names)
            if len(partitions) == 1:
                found = yield from self._pop_only(partitions[0], max_messages, wait, more=more)
            else:
                pop = partial(
                    self._prefetcher.pop, max_messages=max_messages, patience_s=ONE_TRY_S, more=more
                )
                found = yield from self._waiting.ask_in_turn(partitions, pop, quiet, wait)
            if found or self._waiting.is_over(partitions, wait):
                return found
            if len(partitions) > 1:
                quiet = yield from self._waiting.wait(partitions, wait.deadline_s)
                quiet -= self._pops.open_partitions()
            else:
                now_s = self.session.clock.monotonic()
                if self._waiting.rotation.silent(partitions) or not wait.hold_ms(now_s):
                    yield Pause(max(RETRY_AT_LEAST_S, min(ONE_TRY_S, wait.deadline_s - now_s)))

    def _pop_only(
        self, where: TopicPartition, max_messages: int, wait: Wait, *, more: bool
    ) -> Flow[list[Message]]:
        """Pop from the only partition, with a long poll."""
        now_s = self.session.clock.monotonic()
        wait_ms = min(wait.hold_ms(now_s), self.session.config.long_poll_ms)
        patience_s = max(ONE_TRY_S, wait.deadline_s - now_s) if wait.is_bounded else None
        wait.ask(where, now_s)
        try:
            found = yield from self._prefetcher.pop(
                where, max_messages, wait_ms=wait_ms, patience_s=patience_s, more=more
            )
        except QueueError as error:
            if not wait.is_bounded or not may_pass(error):
                raise
            self._waiting.failed(where, error, wait)
            found = []
        else:
            self._waiting.rotation.answered(where, served=bool(found))
        wait.asking = None
        return found

    def fill(self) -> Flow[list[Message]]:
        """Pop for an iteration, without limit, until `hand_out` has a message.

        Returns:
            Nothing; or the popped messages, when the consumer was closed meanwhile.
        """
        found = yield from self.poll(self.session.config.prefetch_messages, None, more=True)
        return [] if self._pops.offer(found) else found

    def hand_out(self) -> Message | None:
        """Return the next prefetched message; None when the consumer closes."""
        return self._pops.take_one()

    # Cursors

    def seek(
        self,
        topic: str,
        partition: int | None,
        *,
        offset: int | None = None,
        timestamp: float | datetime | None = None,
    ) -> Flow[dict[int, int]]:
        """Move the cursor of one partition, or of all; return the new offsets by partition.

        Raises:
            QueueError: one could not be moved; what was popped of it is still handed out.
        """
        if timestamp is not None:
            timestamp = timestamp_ms(timestamp)
        moved: dict[int, int] = {}
        for where in (yield from self.session.partitions([topic], partition)):
            # A pop that is open could move the cursor after this.
            yield from self._prefetcher.settle(where)
            dropped = self._pops.drop(where)
            call = reset_call(
                where,
                offset=offset,
                timestamp=timestamp,
                timeout_ms=self.session.config.request_timeout_ms,
            )
            try:
                body = yield from self.session.at_leader(call, self.session.attempts(), read_body)
            except BaseException:
                self._pops.put_back(dropped)
                raise
            moved[where[1]] = int(body["offset"])
        return moved

    def size(self, topic: str) -> Flow[int]:
        """Return the number of messages left in all partitions, prefetched ones included."""
        total = 0
        for where in (yield from self.session.partitions([topic], None)):
            yield from self._prefetcher.settle(where)
            total += yield from self._partition_size(where)
        return total + self._pops.waiting(topic)

    def lag(self, topics: str | Sequence[str] | None) -> Flow[list[Lag]]:
        """Return how far the consumer is behind in each partition."""
        names = list(self.session.registrations) if topics is None else topic_names(topics)
        lags: list[Lag] = []
        for where in (yield from self.session.partitions(names, None)):
            yield from self._prefetcher.settle(where)
            size = yield from self._partition_size(where)
            waiting, oldest = self._pops.waiting(*where), self._pops.oldest(where)
            if oldest is None and size:
                size, oldest = yield from self._oldest_unread(where, size)
            age_ms = self.session.clock.wall_ms() - oldest.timestamp if oldest is not None else 0
            lags.append(Lag(*where, size + waiting, max(0, age_ms) / 1000))
        return lags

    def _oldest_unread(self, where: TopicPartition, size: int) -> Flow[tuple[int, Message | None]]:
        """Return the size again, and the message at the cursor.

        The cursor is the high watermark less the size. Both move, so they are asked until they fit
        together; if they never do, the message found may be a little older.
        """
        end = yield from self.fetcher.high_watermark(where)
        for _ in range(LAG_LOOKS_MAX):
            size = yield from self._partition_size(where)
            again = yield from self.fetcher.high_watermark(where)
            if again == end:
                break
            end = again
        if not size:
            return 0, None
        return size, (yield from self.fetcher.first_message(where, max(0, end - size)))

    def _partition_size(self, where: TopicPartition) -> Flow[int]:
        call = size_call(where)
        body = yield from self.session.at_leader(call, self.session.attempts(), read_body)
        return int(body["size"])

    # The end

    def refuse_calls(self) -> None:
        """Hand out nothing more: the consumer closes."""
        self.session.closing = True
        self._pops.close()

    def give_back(self) -> Flow[None]:
        """Move the cursors back over prefetched messages that were not handed out.

        Raises:
            UnreadMessages: some could not be given back; `messages` has them.
        """
        return self._prefetcher.give_back()

    def drop_popped(self) -> None:
        """Drop prefetched messages: the cluster has dropped the cursors."""
        self._prefetcher.drop_popped()

    def stop_waiting(self) -> None:
        """Cancel what is held at servers; a flow that waits does it at its end."""
        self._waiting.close()
