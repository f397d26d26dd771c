"""Pops from one partition with one request ahead, and gives back at the end. Pure.

A pop moves the cursor, so that prefetched messages must be given back when the consumer is closed.
`give_back` first learns the outcome of every open pop (a repetition under its request id moves
nothing twice), then moves each cursor back over exactly the messages that were not handed out, on
the condition that it stands where they end. The partition's state machine checks that condition,
so that no message is read twice, whatever else moved the cursor. Messages that cannot be given back
are reported with an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from myqueue.consumer.pop_calls import pop_call, popped_message, reset_call
from myqueue.consumer.pop_requests import Ahead, Pops, returnable
from myqueue.contract.errors import ClientError, CursorMoved, QueueError, UnreadMessages
from myqueue.transport.blocking import read_body
from myqueue.transport.effects import Await, Flow
from myqueue.transport.retry import Attempts

if TYPE_CHECKING:
    from myqueue.contract.http1 import Answer
    from myqueue.results import Message
    from myqueue.transport.rotation import TopicPartition
    from myqueue.transport.session import Session
    from myqueue.transport.skipped_messages import SkippedMessages


class Prefetcher:
    """Pops, prefetches, and gives back what was not handed out.

    Args:
        session: of the client.
        pops: in flight, and prefetched messages.
        corrupt: counts what nobody can decode.
        missed: counts what retention deleted before it was read.
    """

    def __init__(
        self, session: Session, pops: Pops, *, corrupt: SkippedMessages, missed: SkippedMessages
    ) -> None:
        self._session = session
        self._config = session.config
        self._pops = pops
        self._corrupt = corrupt
        self._missed = missed

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
        """Pop from one partition, after its unsettled pops.

        Args:
            where: topic and partition.
            max_messages: most messages to return; of earlier pops the rest is kept.
            wait_ms: how long the broker holds the request while there is nothing.
            patience_s: how long to try; `delivery_timeout_ms` on top of `wait_ms` when left out.
            more: True to begin the next pop already when there is probably more.

        Raises:
            QueueError: the pop is kept to be repeated, when it may have happened.
        """
        messages: list[Message] = []
        ahead = self._pops.take_ahead(where)
        if ahead is not None:
            messages = yield from self._finish_ahead(where, ahead)
        if not messages:
            if patience_s is None:
                attempts = self._session.attempts(wait_ms=wait_ms)
            else:
                deadline_s = self._session.clock.monotonic() + patience_s
                attempts = Attempts(self._config, deadline_s=deadline_s)
            messages = yield from self._pop_now(where, max_messages, wait_ms, attempts)
        if len(messages) > max_messages:
            self._pops.keep(messages[max_messages:])
        elif more and len(messages) == max_messages:
            try:
                yield from self._begin_ahead(where, max_messages)
            except BaseException:
                self._pops.put_back(messages)
                raise
        return messages[:max_messages]

    def _pop_now(
        self, where: TopicPartition, max_messages: int, wait_ms: int, attempts: Attempts
    ) -> Flow[list[Message]]:
        pop = self._pops.begin(where, max_messages)
        call = pop_call(where, pop, wait_ms=wait_ms, timeout_ms=self._config.request_timeout_ms)
        try:
            body = yield from self._session.at_leader(call, attempts, read_body)
        except QueueError as error:
            if pop.uncertain or attempts.outcome_unknown or isinstance(error, ClientError):
                self._pops.unsettled(where, pop)
            raise attempts.verdict(error) from error
        except BaseException:
            # Interrupted in the middle: the pop may have happened.
            self._pops.unsettled(where, pop)
            raise
        return self._popped(where, body)

    def _popped(self, where: TopicPartition, body: dict[str, Any]) -> list[Message]:
        self._missed.add(where, int(body.get("missed") or 0))
        self._corrupt.add(where, int(body.get("corrupt") or 0), "")
        return [popped_message(item, where) for item in body["messages"]]

    # One request ahead

    def _begin_ahead(self, where: TopicPartition, max_messages: int) -> Flow[None]:
        """Send a pop ahead, whose answer the next call takes; nothing when that is not possible."""
        pop = self._pops.begin_ahead(where, max_messages)
        if pop is None:
            return
        call = pop_call(where, pop, wait_ms=0, timeout_ms=self._config.request_timeout_ms)
        timeout_s = (self._config.request_timeout_ms + self._config.answer_margin_ms) / 1000
        try:
            pending = yield from self._session.begin_at_leader(call, timeout_s)
        except BaseException as error:
            if pop.uncertain or not isinstance(error, QueueError) or not error.outcome_known:
                self._pops.unsettled(where, pop)
            if not isinstance(error, QueueError):
                raise
            return
        self._pops.sent_ahead(where, Ahead(pop, pending))

    def _finish_ahead(self, where: TopicPartition, ahead: Ahead) -> Flow[list[Message]]:
        """Return the messages of the pop that was sent ahead; without an answer it is unsettled."""
        try:
            answer: Answer | None = yield Await(
                ahead.pending, self._config.leader_patience_ms / 1000
            )
            if answer is None:
                ahead.pending.cancel()
                self._pops.unsettled(where, ahead.pop)
                return []
            body = read_body(answer)
        except QueueError:
            # The repetition under the same id deals with the failure.
            self._pops.unsettled(where, ahead.pop)
            return []
        except BaseException:
            ahead.pending.cancel()
            self._pops.unsettled(where, ahead.pop)
            raise
        return self._popped(where, body)

    def settle(self, where: TopicPartition, attempts: Attempts | None = None) -> Flow[None]:
        """Learn the outcome of every pop of a partition; their messages wait to be handed out.

        Args:
            where: topic and partition.
            attempts: patience; that of a call when left out.

        Raises:
            QueueError: that was not possible in time.
        """
        ahead = self._pops.take_ahead(where)
        if ahead is not None:
            self._pops.keep((yield from self._finish_ahead(where, ahead)))
        while self._pops.is_open(where):
            patience = attempts or self._session.attempts()
            self._pops.keep((yield from self._pop_now(where, 1, 0, patience)))

    # Giving back

    def give_back(self) -> Flow[None]:
        """Move the cursors back over prefetched messages that were not handed out.

        Raises:
            UnreadMessages: some could not be given back; `messages` has them. When the outcome
                of a pop stayed open, `outcome` is unknown.
        """
        lost: list[Message] = []
        failures: list[QueueError] = []
        for where in self._pops.open_partitions():
            try:
                yield from self.settle(where, self._close_attempts())
            except QueueError as error:
                failures.append(error)
        for where, messages in self._pops.drop_all().items():
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
            where, offset=first, expected=expected, timeout_ms=self._config.request_timeout_ms
        )
        try:
            yield from self._session.at_leader(call, attempts, read_body)
        except CursorMoved as error:
            # A repetition whose first answer was lost finds the cursor where it put it.
            if not attempts.outcome_unknown or error.details.get("offset") != first:
                raise

    def drop_popped(self) -> None:
        """Drop prefetched messages: the cluster has dropped the cursors."""
        for pending in self._pops.forget():
            pending.cancel()

    def _close_attempts(self) -> Attempts:
        deadline_s = self._session.clock.monotonic() + self._config.close_timeout_ms / 1000
        return Attempts(self._config, deadline_s=deadline_s)
