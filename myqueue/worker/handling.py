"""Calls a handler for each message of a worker, in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Protocol

from myqueue.contract.errors import ClientClosed, InvalidRequest, QueueError
from myqueue.tracing import processing
from myqueue.worker.jobs import AtWork, HandlerOptions, failed, unsettled

if TYPE_CHECKING:
    from myqueue.results import Delivery, Settlement
    from myqueue.transport.clock import Clock

Handler = Callable[["Delivery"], object]


class Hands(Protocol):
    """What a worker does for its handler."""

    def receive(self, max_messages: int, timeout: float) -> list[Delivery]:
        """Take up to so many messages."""
        ...

    def ack(self, *deliveries: Delivery) -> list[Settlement]:
        """Say that the work is done."""
        ...

    def nack(self, *deliveries: Delivery, delay: float) -> list[Settlement]:
        """Give messages back, for later."""
        ...

    def extend(self, *deliveries: Delivery) -> list[Settlement]:
        """Keep messages for longer."""
        ...


class Handling:
    """A handler, and the messages that it works at.

    Args:
        worker: receives and settles.
        handler: called with each message, in a thread.
        options: how.
        clock: time.
    """

    def __init__(
        self, worker: Hands, handler: Handler, options: HandlerOptions, clock: Clock
    ) -> None:
        if iscoroutinefunction(handler):
            raise InvalidRequest(
                "the handler of a Worker is a function; AsyncWorker takes coroutine functions",
                field="handler",
            )
        self._worker = worker
        self._handler = handler
        self._options = options
        self._clock = clock
        self._finishing = threading.Event()

    def finish(self) -> None:
        """Receive nothing more; safe in a signal handler."""
        self._finishing.set()

    def run(self, visibility_s: float) -> None:
        """Work until `finish`, or until the worker is closed; what is at work is ended first.

        Raises:
            QueueError: the cluster did not answer for `delivery_timeout_ms`.
        """
        at_work = AtWork(visibility_s)
        changed = threading.Condition()

        def work(delivery: Delivery) -> None:
            try:
                self._work(delivery)
            finally:
                with changed:
                    at_work.end(delivery)
                    changed.notify_all()

        def keep() -> None:
            with changed:
                due = at_work.due(self._clock.monotonic())
            if due:
                self._keep(due)

        with ThreadPoolExecutor(self._options.concurrency, "myqueue-handler") as pool:
            try:
                while not self._finishing.is_set():
                    keep()
                    with changed:
                        free = self._options.concurrency - len(at_work)
                        if not free:
                            changed.wait(at_work.look_s)
                            continue
                    found = self._worker.receive(free, at_work.look_s)
                    with changed:
                        at_work.begin(found, self._clock.monotonic())
                    for delivery in found:
                        pool.submit(work, delivery)
            except ClientClosed:
                return
            finally:
                while True:
                    keep()
                    with changed:
                        if not at_work:
                            break
                        changed.wait(at_work.look_s)

    def _work(self, delivery: Delivery) -> None:
        try:
            try:
                with processing(delivery):
                    self._handler(delivery)
            except Exception as error:  # noqa: BLE001 - of the program: its message comes again
                delay_s = self._options.delay_s(delivery)
                failed(delivery, delay_s, error)
                self._worker.nack(delivery, delay=delay_s)
            else:
                self._worker.ack(delivery)
        except QueueError as error:
            unsettled("what became of a message", error)

    def _keep(self, due: list[Delivery]) -> None:
        try:
            self._worker.extend(*due)
        except QueueError as error:
            unsettled("that messages are still at work", error)
