"""The thread behind a producer: sends what waits, several requests at once, in order."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from myqueue.contract.errors import ClientClosed
from myqueue.producer import exits
from myqueue.producer.accumulator import size_bytes_of
from myqueue.producer.futures import Outcome
from myqueue.producer.relay import Relay
from myqueue.producer.undelivered import lines
from myqueue.transport import forks
from myqueue.transport.driving import drive
from myqueue.transport.pump import Pump
from myqueue.transport.selfpipe import SelfPipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from myqueue.contract.records import Record
    from myqueue.producer.core import ProducerCore
    from myqueue.producer.lanes import Batch, DeliverySink
    from myqueue.producer.splitting import CallBatches
    from myqueue.results import Delivered, DeliveredBatch
    from myqueue.transport.effects import Flow
    from myqueue.transport.rotation import TopicPartition
    from myqueue.transport.settings import Settings


class Sender:
    """Takes messages from any thread; one daemon thread delivers them.

    A lone message is delivered by the calling thread, which would wait for it anyway.

    Args:
        core: of the producer.
        settings: how requests travel, and time.
    """

    def __init__(self, core: ProducerCore, settings: Settings) -> None:
        self._core = core
        self._transport = settings.transport
        self._clock = settings.clock
        self._begin()
        forks.restart_in_child(self)

    def _begin(self) -> None:
        self._waiters = 0
        self._relay = Relay(self._clock.monotonic)
        self._waker: SelfPipe | None = None
        """The thread's; None while there is no thread."""
        self._stopping = False
        self.pid = os.getpid()
        exits.deliver_at_exit(self)

    def restart_after_fork(self) -> None:
        """Start anew in the child: the thread was left in the parent."""
        if self._waker is not None:
            self._waker.close()
        self._begin()

    def deliver(self, where: TopicPartition, record: Record) -> Delivered:
        """Send a message and wait until it is durable.

        The calling thread sends it when nothing of its partition waits or is in flight; else the
        background thread does, behind the others.

        Raises:
            QueueError: it was not delivered, or what `put` raises.
            RuntimeError: as `put`.
        """
        core = self._core
        outcome: Outcome[Delivered]
        if core.buffer.is_idle(where):
            outcome = Outcome()
            if self.put_alone(batch := core.single(where, record, outcome)):
                self._deliver_here(batch)
                return outcome.wait()
        outcome = Outcome(self._relay)
        self.put(where, record, outcome, has_caller=True)
        return outcome.wait()

    def results(self, sent: list[Delivered]) -> list[Delivered]:
        """Return where messages of one call are: `deliver` waited for each."""
        return sent

    def put(
        self,
        where: TopicPartition,
        record: Record,
        future: DeliverySink[Delivered],
        *,
        has_caller: bool = False,
    ) -> None:
        """Queue a message; the future gets its outcome.

        Args:
            where: topic and partition.
            record: the message.
            future: gets its outcome.
            has_caller: the calling thread waits for it next.

        Raises:
            BufferFull: there was no room for `max_block_ms`.
            ClientClosed: the producer was closed.
            RuntimeError: the system starts no further thread; the message was not taken.
        """
        buffer = self._core.buffer
        with self._core.lock:
            if self._waker is None and not self._stopping:
                self._start()
            more = (
                None if self._stopping else buffer.put(where, record, future, has_caller=has_caller)
            )
            while more is None:
                self._wait_for_room(size_bytes_of(record))
                more = buffer.put(where, record, future, has_caller=has_caller)
            if more:
                self._wake()

    def put_all(self, batches: list[Batch]) -> None:
        """Queue batches that are sent as they are.

        Raises:
            BufferFull: there was no room for `max_block_ms`; none was taken.
            ClientClosed: the producer was closed.
            RuntimeError: the system starts no further thread; none was taken.
        """
        size_bytes = sum(batch.size_bytes for batch in batches)
        with self._core.changed:
            self._wait_for_room(size_bytes)
            self._wake()
            for batch in batches:
                self._core.buffer.put_whole(batch)

    def hand_over(self, batches: list[Batch], given: CallBatches, *, last: bool = False) -> bool:
        """Send batches of a call behind its others; the only one of a call in this thread.

        Args:
            batches: those that come next.
            given: those before, to which they are added.
            last: whether no more come.

        Returns:
            False when one of those before failed; then these are not sent.
        """
        size_bytes = sum(batch.size_bytes for batch in batches)
        while (future := given.to_wait_for(size_bytes)) is not None:
            future.exception()
        if given.has_failed or not batches:
            return not given.has_failed
        alone = last and not given.futures and len(batches) == 1
        if alone and self.put_alone(batches[0]):
            given.add(batches)
            self._deliver_here(batches[0])
        else:
            self.put_all(batches)
            given.add(batches)
        return True

    def outcomes(self, futures: Iterable[Any]) -> list[DeliveredBatch | BaseException]:
        """Wait for batches of one call, and return the result or failure of each."""
        return [future.exception() or future.result() for future in futures]

    def put_alone(self, batch: Batch) -> bool:
        """Stamp a batch for the calling thread to deliver, when nothing is queued before it.

        Returns:
            False when something is; the batch was not taken then.
        """
        topic = batch.where[0]
        with self._core.lock:
            if self._stopping:
                raise ClientClosed("this producer was closed")
            if not self._core.buffer.has_room(batch.size_bytes):
                return False
            return self._core.buffer.put_alone(batch, self._core.producer_id(topic))

    def go_on(self, more: bool) -> None:
        """Wake those who wait for room after a delivery, and the thread if there is `more`."""
        if more or self._waiters or self._stopping:
            with self._core.changed:
                self._core.changed.notify_all()
                # While it stops, too: there may be more to send, or nothing left to run for.
                if more or (self._stopping and self._waker is not None):
                    self._wake()

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until everything that is held now is settled; False when time was over before."""
        with self._core.changed:
            held = self._core.buffer.held()
            return self._wait_for(held, timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Take nothing more, deliver what is held, end the thread.

        Raises:
            UndeliveredMessages: what was not delivered in time; `values` has the messages.
        """
        with self._core.changed:
            self._stopping = True
            self._core.changed.notify_all()
            self._wait_for(self._core.buffer.held(), timeout_s)
        try:
            self._core.give_up()
        finally:
            with self._core.changed:
                if self._waker is not None:
                    self._waker.wake()

    @contextmanager
    def drained(self, timeout_s: float) -> Iterator[None]:
        """Stop, then enter the block; nothing is taken after it either.

        Raises:
            UndeliveredMessages: as `stop`; the block is not entered.
        """
        self.stop(timeout_s)
        yield

    def finish(self, started_s: float) -> list[str]:
        """Deliver what is held at the end of a program that did not close.

        Args:
            started_s: monotonic time at which the end began; `exit_timeout_ms` count from there.

        Returns:
            A line for each topic with undelivered messages whose failure was not reported.
        """
        until_s = started_s + self._core.config.exit_timeout_ms / 1000
        with self._core.changed:
            if self._stopping:
                return []  # `close` delivers, and tells by itself
            held = self._core.buffer.held()
            # Somebody who interrupts the program at its end wants it to end.
            with suppress(KeyboardInterrupt):
                self._wait_for(held, max(0.0, until_s - time.monotonic()))
        return lines(*self._core.take_lost())

    def _wait_for(self, held: list[Batch], timeout_s: float | None) -> bool:
        """Wait under the lock until batches are settled."""

        def settled() -> bool:
            while held and held[-1].settled:
                held.pop()
            return not held

        self._waiters += 1
        try:
            return self._core.changed.wait_for(settled, timeout_s)
        finally:
            self._waiters -= 1

    def _wait_for_room(self, size_bytes: int) -> None:
        """Wait under the lock until so many bytes fit."""
        buffer, max_block_ms = self._core.buffer, self._core.config.max_block_ms
        self._waiters += 1
        try:
            self._core.changed.wait_for(
                lambda: self._stopping or buffer.has_room(size_bytes), max_block_ms / 1000
            )
        finally:
            self._waiters -= 1
        if self._stopping:
            raise ClientClosed("this producer was closed")
        if not buffer.has_room(size_bytes):
            raise buffer.no_room(size_bytes, max_block_ms)

    def _wake(self) -> None:
        """Wake the background thread; the caller holds the lock."""
        (self._waker or self._start()).wake()

    def _start(self) -> SelfPipe:
        """Start the thread and return its waker; the caller holds the lock.

        A thread that finds nothing held when the producer stops ends at once.

        Raises:
            RuntimeError: the system starts no further thread; the next call tries again.
        """
        waker = SelfPipe()
        thread = threading.Thread(
            target=self._run, args=(waker,), name="myqueue-sender", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            waker.close()
            raise
        self._waker = waker
        return waker

    def _run(self, waker: SelfPipe) -> None:
        pump, relay = Pump(self._transport, self._clock, waker), self._relay
        while True:
            waker.clear()
            relay.look()
            with self._core.changed:
                batches = self._core.buffer.take(self._core.producer_id)
                until_s = self._core.buffer.held_until_s
                if self._stopping and not batches and not self._core.buffer.held():
                    self._waker = None
                    waker.close()
                    relay.end()
                    return
            for batch in batches:
                pump.start(self._delivery(batch))
            look_s = relay.until_s
            if look_s is not None:
                until_s = look_s if until_s is None else min(until_s, look_s)
            pump.turn(until_s)

    def _deliver_here(self, batch: Batch) -> None:
        """Deliver a stamped batch in this thread."""
        more = True
        try:
            more = drive(self._core.deliver(batch), self._transport, self._clock)
        finally:
            self.go_on(more)

    def _delivery(self, batch: Batch) -> Flow[None]:
        """Deliver a batch, then wake those who wait for room or for the end."""
        more = True
        try:
            more = yield from self._core.deliver(batch)
        finally:
            self._relay.begin()
            self.go_on(more)
