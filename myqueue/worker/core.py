"""The core of queue workers: receive in turns, settle in batches, wait at all partitions. Pure.

A wait receives nothing: the calls that it has held at brokers deliver no message, they only say
where one can be received. So a wait that ends early (a closed worker, an interrupt, a cancelled
task) leaves no message invisible to the other workers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

from myqueue.contract.backoff import Backoff
from myqueue.contract.errors import ClientClosed, QueueError
from myqueue.contract.group_inputs import MAX_RECEIPTS
from myqueue.contract.inputs import bounded, checked
from myqueue.transport.blocking import read_body
from myqueue.transport.client_core import ClientCore
from myqueue.transport.effects import Await, Flow, Lock, Pause, TimeIsOver, within
from myqueue.transport.leader_call import LeaderCall
from myqueue.transport.partition_waiting import PartitionWaiting
from myqueue.transport.retry import Attempts
from myqueue.transport.rotation import ANSWER_GRACE_S, ONE_TRY_S, Wait, may_pass
from myqueue.transport.session import Session
from myqueue.transport.skipped_messages import CORRUPT, MISSED, SkippedMessages
from myqueue.worker.ack_batches import AckBatches
from myqueue.worker.work_requests import (
    ACK,
    NACK,
    WorkOptions,
    flat,
    look_request,
    receive_call,
    received_delivery,
    settle_call,
    work_ms,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from myqueue.config import ClientConfig
    from myqueue.results import Delivery, Registration, Settlement
    from myqueue.transport.clock import Clock
    from myqueue.transport.rotation import TopicPartition

logger = logging.getLogger(__name__)

LEAVE_S = 2.0
"""How long a manager may take to forget a worker that closes."""
MessagesAtOnce = Annotated[int, bounded(1, MAX_RECEIPTS)]
"""What one receive asks for at most; a program wants at least one."""
VAIN_ROUNDS = 2
"""Wake-ups in a row that gave nothing before the next wait is put off."""
VAIN_PAUSE = Backoff(first_s=0.005, longest_s=0.2, jitter=1.0)
"""For how long.

One message wakes every worker that waits, and one of them gets it. From about the time of a call,
so that the others do not all ask again at once, up to what nobody notices beside a job.
"""
QUIET_S = 1.0
"""A wait as long as this was not in vain."""


class WorkerCore(ClientCore):
    """The core of `Worker` and `AsyncWorker`.

    Args:
        address: those of the managers.
        options: how the worker takes part in its group.
        config: settings.
        clock: time and chance.
        make_lock: makes a lock of the driver's kind.
        create: True to create a missing topic.

    Attributes:
        session: its registrations, and how it reaches managers and leaders.
        missed: counts what retention deleted before the group had dealt with it, as far as told
            here.
        corrupt: counts what was stepped over because nobody can decode it, as far as told here.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        *,
        options: WorkOptions,
        config: ClientConfig,
        clock: Clock,
        make_lock: Callable[[], Lock],
        create: bool = False,
    ) -> None:
        super().__init__(
            Session(
                "consumer",
                address,
                config=config,
                clock=clock,
                make_lock=make_lock,
                create=checked("create", create, bool),
            )
        )
        self.options = options
        self.group_name = options.group
        self.missed = SkippedMessages(MISSED)
        self.corrupt = SkippedMessages(CORRUPT)
        self._config = config
        self._clock = clock
        self._first_counts: dict[str, int] = {}
        """Partitions of each topic when it was registered."""
        self._waiting = self._wait_anew()

    def _wait_anew(self) -> PartitionWaiting:
        look = partial(look_request, group=self.options.group, wait_ms=self._config.long_poll_ms)
        return PartitionWaiting(self.session, look)

    # A client's life

    def open(
        self, topics: Iterable[str], attach: dict[str, Registration] | None = None
    ) -> Flow[None]:
        """Register for the topics; a group that starts at the latest starts here."""
        names = list(topics)
        yield from self.session.open(names, attach)
        for topic in names:
            yield from self._note_start(topic)

    def register_all(self, topics: Sequence[str]) -> Flow[list[Registration]]:
        """Register for further topics; raises what `Session.register_all` raises."""
        return self.session.register_all(topics, self._start_at)

    def restart_after_fork(self) -> None:
        """Start anew in the child, under new ids; open requests are the parent's.

        What the parent received may be settled by either of them.
        """
        super().restart_after_fork()
        self.session.forget_ids()
        self._waiting = self._wait_anew()

    def _start_at(self, topic: str) -> Flow[None]:
        """Do for a further topic what `open` does, unless the worker closes."""
        if not self.session.closing:
            yield from self._note_start(topic)

    def _note_start(self, topic: str) -> Flow[None]:
        if topic in self._first_counts:
            return
        count = yield from self.session.partition_count(topic)
        self._first_counts[topic] = count
        if self.options.start == "latest":
            for partition in range(count):
                call = self._receive_call((topic, partition), 0)
                yield from self.session.at_leader(call, self.session.attempts(), read_body)

    # Receiving

    def receive(
        self,
        max_messages: int,
        timeout: float | None,
        *,
        partitions: list[TopicPartition] | None = None,
    ) -> Flow[list[Delivery]]:
        """Return up to `max_messages` of one partition.

        Args:
            max_messages: 1 to `MAX_RECEIPTS`.
            timeout: seconds to wait for the first; None waits until one comes; 0 asks.
            partitions: those to ask; all of the topics when left out.

        Returns:
            Nothing when none came in time. With a timeout of 0 each partition said so.

        Raises:
            QueueError: a partition did not answer for `delivery_timeout_ms`, and the others had
                nothing; or it refused.
        """
        checked("max_messages", max_messages, MessagesAtOnce)
        # A message that is cut off on its way is invisible to all for a while.
        grace_s = 0.0 if self._waiting.rotation.has_silent else ANSWER_GRACE_S
        wait = self.session.begin_wait(timeout, grace_s=grace_s)
        flow = self._receive(max_messages, partitions, wait)
        if not wait.is_bounded:
            return (yield from flow)
        try:
            return (yield from within(flow, self._clock, wait.limit_s))
        except TimeIsOver:
            self._waiting.out_of_time(next(iter(self.session.registrations)), wait)
            return []

    def _receive(
        self, max_messages: int, partitions: list[TopicPartition] | None, wait: Wait
    ) -> Flow[list[Delivery]]:
        waiting = self._waiting
        receive = partial(self._receive_from, max_messages=max_messages)
        quiet: set[TopicPartition] = set()
        vain = 0
        while True:
            self.session.check_usable()
            wait.ask(None, self._clock.monotonic())
            topics = list(self.session.registrations)
            asked = partitions or []
            if topics and not asked:
                asked = yield from self.session.partitions(topics, None)
            if waiting.rotation.has_silent:
                waiting.managers_answered(topics)
            found = yield from waiting.ask_in_turn(asked, receive, quiet, wait)
            if found and self.session.closing:
                yield from self._hand_back(found)
                raise ClientClosed("this worker was closed")
            if found:
                return found
            now_s = self._clock.monotonic()
            if waiting.is_over(asked, wait):
                return []
            if vain > VAIN_ROUNDS:
                yield Pause(VAIN_PAUSE.pause_s(vain, self._clock.jitter()))
            quiet = yield from waiting.wait(asked, wait.deadline_s)
            waited_s = self._clock.monotonic() - now_s
            vain = 0 if waited_s >= QUIET_S else vain + 1

    def _receive_from(self, where: TopicPartition, max_messages: int) -> Flow[list[Delivery]]:
        call = self._receive_call(where, max_messages)
        body = yield from self.session.at_leader(call, self._one_try(), read_body)
        self.missed.add(where, int(body.get("missed") or 0), self.options.group)
        self.corrupt.add(where, int(body.get("corrupt") or 0), "")
        return [received_delivery(item, where) for item in body["messages"]]

    def _receive_call(self, where: TopicPartition, max_messages: int) -> LeaderCall:
        # What a partition that was added later holds is new to the group, whatever its start.
        added = where[1] >= self._first_counts.get(where[0], 0)
        return receive_call(
            where,
            self.options,
            max_messages=max_messages,
            start="earliest" if added else self.options.start,
            timeout_ms=self._config.request_timeout_ms,
        )

    def _one_try(self) -> Attempts:
        return Attempts(self._config, deadline_s=self._clock.monotonic() + ONE_TRY_S)

    def _hand_back(self, found: list[Delivery]) -> Flow[None]:
        """Nack what arrived while the worker was being closed, so that others get it at once."""
        where = (found[0].topic, found[0].partition)
        receipts = [delivery.receipt for delivery in found]
        call = settle_call(
            NACK,
            where,
            self.options.group,
            receipts,
            timeout_ms=self._config.request_timeout_ms,
        )
        with suppress(QueueError):
            pending = yield from self.session.begin_at_leader(call, LEAVE_S)
            yield Await(pending)

    def stop_waiting(self) -> None:
        """Cancel what is held at servers; a flow that waits does it at its end."""
        self._waiting.close()

    # Settling

    def settle(
        self, path: str, given: Sequence[Delivery | Sequence[Delivery]], **fields: int | None
    ) -> Flow[list[Settlement]]:
        """Ack, nack or extend deliveries: one call per partition, repeated until it is answered.

        Args:
            path: `ACK`, `NACK` or `EXTEND`.
            given: deliveries of any partitions, one by one or in lists.
            fields: `delay_ms` of a nack, `visibility_ms` of an extend.

        Returns:
            What became of each, in their order.

        Raises:
            UnsettledDeliveries: a partition could not be asked within `delivery_timeout_ms`, or
                refused; `results` has the same list.
        """
        deliveries = flat(given)
        ack_batches = AckBatches(deliveries)
        patience = self.session.attempts()
        while batches := ack_batches.open_batches():
            error: QueueError | None = None
            for batch in batches:
                call = settle_call(
                    path,
                    batch.where,
                    self.options.group,
                    [deliveries[index].receipt for index in batch.indexes],
                    timeout_ms=self._config.request_timeout_ms,
                    **fields,
                )
                try:
                    body = yield from self.session.at_leader(call, self._one_try(), read_body)
                except QueueError as failure:
                    ack_batches.failed(batch, failure)
                    error = failure if may_pass(failure) else error
                else:
                    ack_batches.answered(batch, body["results"])
            if error is not None:
                decision = patience.wait(
                    error, now_s=self._clock.monotonic(), jitter=self._clock.jitter()
                )
                if patience.expired:
                    break
                yield Pause(decision.delay_s)
        results = ack_batches.results()
        if path == ACK:
            self._warn_of_late(results)
        return results

    def _warn_of_late(self, results: list[Settlement]) -> None:
        """Warn of work that may be done twice, as programs rarely look at what `ack` returns."""
        for one in results:
            if not one.done:
                self.session.complaints.warn(
                    "late ack",
                    "ack of %s/%d, offset %d, came too late (%s): its work may be done twice; is"
                    " the visibility longer than the work takes?",
                    *(one.delivery.topic, one.delivery.partition, one.delivery.offset, one.reason),
                )

    def visibility_ms(self, seconds: float | None) -> int:
        """Return how long an extend is for, in milliseconds; the worker's own time for None."""
        if seconds is None:
            return self.options.visibility_ms
        return max(1, work_ms("visibility", seconds))

    # The end

    def leave(self) -> Flow[None]:
        """Have a manager forget the registrations, which only this worker uses."""
        for registration in self.session.registrations.values():
            if not registration.client_id:
                continue
            request = self.session.forget_request(registration)
            try:
                yield from self.session.managers.call(request, timeout_s=LEAVE_S)
            except QueueError as error:
                # It expires by itself.
                logger.debug("a manager did not forget a worker: %s", error)
                return
