"""The consumer's core, first part: popping, one request ahead, and giving back at the end. Pure.

What was popped counts as read, so what is popped in advance must be given back when the consumer
is closed. It is: `give_back` first learns the fate of every pop that is open (repeated under its
request id it moves nothing twice), then moves each cursor back over exactly the messages that
nobody was handed, on the condition that it stands where they end. The partition's state machine
checks that condition, so whatever else moved the cursor, no message is read twice. What cannot be
given back is told, with the messages.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from myqueue.consumer.pop_calls import pop_call, popped_message, reset_call
from myqueue.consumer.pop_requests import Pop, Pops, returnable
from myqueue.contract.errors import ClientError, CursorMoved, QueueError, UnreadMessages
from myqueue.transport.blocking import read_body
from myqueue.transport.effects import Await, Flow, Lock, Pending
from myqueue.transport.fetching import Fetching
from myqueue.transport.retry import Attempts
from myqueue.transport.rotation import TopicPartition

if TYPE_CHECKING:
    from myqueue.config import ClientConfig
    from myqueue.results import Message
    from myqueue.transport.clock import Clock
    from myqueue.transport.http1 import Answer

PREFETCHED_PARTITIONS_MAX = 16
"""Most partitions of which a request ahead is out."""


class Ahead(NamedTuple):
    """A pop whose answer is not needed yet."""

    pop: Pop
    pending: Pending


class Prefetch(Fetching):
    """Pops, and what is between the cluster and the program.

    Args: those of `Fetching`, for a consumer.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        *,
        start: str,
        config: ClientConfig,
        clock: Clock,
        make_lock: Callable[[], Lock],
    ) -> None:
        super().__init__(
            "consumer",
            address,
            config=config,
            clock=clock,
            make_lock=make_lock,
            register_fields={"start": start},
        )

    def make_locks(self) -> None:
        """Make new locks; in the child of a fork, what was popped is the parent's."""
        super().make_locks()
        self._pops_lock = threading.Lock()
        """Guards the two below; never held while a flow waits."""
        self._pops = Pops()
        self._ahead: dict[TopicPartition, Ahead] = {}

    def hand_out(self) -> Message | None:
        """Return the next message that was popped in advance; None when the consumer closes."""
        with self._pops_lock:
            return None if self.closing else self._pops.take_one()

    def refuse_calls(self) -> None:
        """Hand out nothing more: the consumer closes."""
        with self._pops_lock:
            self.closing = True

    # Popping

    def pop(
        self,
        where: TopicPartition,
        max_messages: int,
        *,
        wait_ms: int = 0,
        patience_s: float | None = None,
        more: bool = False,
    ) -> Flow[list[Message]]:
        """Pop from one partition, after whatever was left unsettled there.

        Args:
            where: topic and partition.
            max_messages: most messages to return; of earlier pops the rest is kept.
            wait_ms: how long the broker holds the request while there is nothing.
            patience_s: how long to try; `delivery_timeout_ms` on top of `wait_ms` when left out.
            more: True to begin the next pop already when there is probably more.

        Raises:
            QueueError: the pop is kept to be repeated, when it may have happened.
        """
        messages = yield from self._finish_ahead(where)
        if not messages:
            if patience_s is None:
                attempts = self.attempts(wait_ms=wait_ms)
            else:
                deadline_s = self.clock.monotonic() + patience_s
                attempts = Attempts(self.config, deadline_s=deadline_s)
            messages = yield from self._pop_now(where, max_messages, wait_ms, attempts)
        if len(messages) > max_messages:
            with self._pops_lock:
                self._pops.keep(messages[max_messages:])
        elif more and len(messages) == max_messages:
            try:
                yield from self._begin_ahead(where, max_messages)
            except BaseException:
                with self._pops_lock:
                    self._pops.put_back(messages)
                raise
        return messages[:max_messages]

    def _pop_now(
        self, where: TopicPartition, max_messages: int, wait_ms: int, attempts: Attempts
    ) -> Flow[list[Message]]:
        with self._pops_lock:
            pop = self._pops.begin(where, max_messages)
        call = pop_call(where, pop, wait_ms=wait_ms, timeout_ms=self.config.request_timeout_ms)
        try:
            body = yield from self.at_leader(call, attempts, read_body)
        except QueueError as error:
            if pop.uncertain or attempts.outcome_unknown or isinstance(error, ClientError):
                self._leave_unsettled(where, pop)
            raise attempts.verdict(error) from error
        except BaseException:
            # Interrupted in the middle: the pop may have happened.
            self._leave_unsettled(where, pop)
            raise
        return self._popped(where, body)

    def _popped(self, where: TopicPartition, body: dict[str, Any]) -> list[Message]:
        self._note_corrupt(where, int(body.get("corrupt") or 0))
        return [popped_message(item, where) for item in body["messages"]]

    def _leave_unsettled(self, where: TopicPartition, pop: Pop) -> None:
        with self._pops_lock:
            self._pops.unsettled(where, pop)

    # One request ahead

    def is_pending(self, where: TopicPartition) -> bool:
        """Return True while the fate of a pop of this partition is open."""
        with self._pops_lock:
            return where in self._ahead or self._pops.has_unsettled(where)

    def _begin_ahead(self, where: TopicPartition, max_messages: int) -> Flow[None]:
        """Send a pop whose answer the next one takes; where that is not possible, do nothing."""
        if len(self._ahead) >= PREFETCHED_PARTITIONS_MAX or self.is_pending(where) or self.closing:
            return
        with self._pops_lock:
            pop = self._pops.begin(where, max_messages)
        call = pop_call(where, pop, wait_ms=0, timeout_ms=self.config.request_timeout_ms)
        timeout_s = (self.config.request_timeout_ms + self.config.answer_margin_ms) / 1000
        try:
            pending = yield from self.begin_at_leader(call, timeout_s)
        except BaseException as error:
            if pop.uncertain or not isinstance(error, QueueError) or not error.outcome_known:
                self._leave_unsettled(where, pop)
            if not isinstance(error, QueueError):
                raise
            return
        with self._pops_lock:
            self._ahead[where] = Ahead(pop, pending)

    def _finish_ahead(self, where: TopicPartition) -> Flow[list[Message]]:
        """Return what the pop ahead gave; when its answer does not come, it is unsettled."""
        with self._pops_lock:
            ahead = self._ahead.pop(where, None)
        if ahead is None:
            return []
        try:
            answer: Answer | None = yield Await(
                ahead.pending, self.config.leader_patience_ms / 1000
            )
            if answer is None:
                ahead.pending.cancel()
                self._leave_unsettled(where, ahead.pop)
                return []
            body = read_body(answer)
        except QueueError:
            # The repetition under the same id deals with the failure.
            self._leave_unsettled(where, ahead.pop)
            return []
        except BaseException:
            ahead.pending.cancel()
            self._leave_unsettled(where, ahead.pop)
            raise
        return self._popped(where, body)

    def settle(self, where: TopicPartition, attempts: Attempts | None = None) -> Flow[None]:
        """Learn the fate of every pop of a partition; what they gave waits to be handed out.

        Args:
            where: topic and partition.
            attempts: patience; that of a call when left out.

        Raises:
            QueueError: that was not possible in time.
        """
        messages = yield from self._finish_ahead(where)
        with self._pops_lock:
            self._pops.keep(messages)
        while self.is_pending(where):
            messages = yield from self._pop_now(where, 1, 0, attempts or self.attempts())
            with self._pops_lock:
                self._pops.keep(messages)

    # Giving back

    def give_back(self) -> Flow[None]:
        """Move the cursors back over what was popped in advance and not handed out.

        Raises:
            UnreadMessages: some could not be given back; `messages` has them. When the fate of a
                pop stayed open, `outcome` is unknown.
        """
        lost: list[Message] = []
        failures: list[QueueError] = []
        with self._pops_lock:
            pending = {*self._ahead, *self._pops.unsettled_partitions}
        for where in pending:
            try:
                yield from self.settle(where, self._close_attempts())
            except QueueError as error:
                failures.append(error)
        with self._pops_lock:
            waiting = self._pops.drop_all()
        for where, messages in waiting.items():
            others, run = returnable(messages)
            lost += others
            try:
                yield from self._move_back(where, run, self._close_attempts())
            except QueueError as error:
                failures.append(error)
                lost += run
        if lost or failures:
            first = f": {failures[0].code}: {failures[0].message}" if failures else ""
            raise UnreadMessages(
                f"{len(lost)} messages were taken in advance and not given back{first}",
                messages=lost,
                outcome=None if all(one.outcome_known for one in failures) else "unknown",
            )

    def _move_back(
        self, where: TopicPartition, run: list[Message], attempts: Attempts
    ) -> Flow[None]:
        first, expected = run[0].offset, run[-1].offset + 1
        call = reset_call(
            where, offset=first, expected=expected, timeout_ms=self.config.request_timeout_ms
        )
        try:
            yield from self.at_leader(call, attempts, read_body)
        except CursorMoved as error:
            # A repetition whose first answer was lost finds the cursor where it put it.
            if not attempts.outcome_unknown or error.details.get("offset") != first:
                raise

    def drop_popped(self) -> None:
        """Forget what was popped: the cluster has forgotten the cursors."""
        with self._pops_lock:
            self._pops = Pops()
            ahead, self._ahead = self._ahead, {}
        for one in ahead.values():
            one.pending.cancel()

    def _close_attempts(self) -> Attempts:
        deadline_s = self.clock.monotonic() + self.config.close_timeout_ms / 1000
        return Attempts(self.config, deadline_s=deadline_s)
