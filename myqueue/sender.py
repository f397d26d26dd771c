"""The thread behind `Producer.send`: delivers what waits, batch by batch."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from myqueue.accumulator import Accumulator, TopicPartition, Waiting
from myqueue.errors import BufferFull, ClientClosed, QueueError, UndeliveredMessages
from myqueue.results import Delivered, DeliveredBatch

if TYPE_CHECKING:
    from myqueue.config import ClientConfig
    from myqueue.records import Record

logger = logging.getLogger(__name__)

Deliver = Callable[[str, int, list["Record"]], DeliveredBatch]
"""(topic, partition, messages) -> where they are."""
OVERHEAD_BYTES = 64
"""What a message costs besides its value, so that empty ones fill the buffer too."""


class Sender:
    """A bounded buffer and one daemon thread; one batch is out at a time.

    Messages of one partition are delivered in the order of `put`.
    """

    def __init__(self, deliver: Deliver, config: ClientConfig) -> None:
        self._deliver = deliver
        self._config = config
        self._waiting = Accumulator(
            buffer_bytes=config.buffer_bytes,
            batch_messages=config.batch_messages,
            batch_bytes=config.batch_bytes,
        )
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._out: TopicPartition | None = None
        self._out_batch: list[Waiting] = []
        self._stopping = False

    def put(self, where: TopicPartition, record: Record) -> Future[Delivered]:
        """Queue a message.

        Raises:
            BufferFull: the buffer stayed full for `max_block_ms`.
            ClientClosed: the sender is stopping.
        """
        size_bytes = len(record.value) + OVERHEAD_BYTES
        deadline_s = time.monotonic() + self._config.max_block_ms / 1000
        with self._changed:
            while not self._stopping and not self._waiting.has_room(size_bytes):
                remaining_s = deadline_s - time.monotonic()
                if remaining_s <= 0 or not self._changed.wait(remaining_s):
                    raise BufferFull(
                        f"{self._waiting.waiting_bytes} of {self._config.buffer_bytes} bytes wait; "
                        f"none left within {self._config.max_block_ms} ms"
                    )
            if self._stopping:
                raise ClientClosed("this producer was closed")
            future: Future[Delivered] = Future()
            self._waiting.add(where, Waiting(record, future, size_bytes))
            self._start()
            self._changed.notify_all()
            return future

    def holds(self, where: TopicPartition) -> bool:
        """Return True while messages of this partition wait or are out."""
        with self._changed:
            return self._out == where or self._waiting.holds(where)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing waits and nothing is out; False when the time was over before."""
        with self._changed:
            return self._changed.wait_for(self._is_empty, timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Deliver what waits, take nothing more, end the thread.

        Raises:
            UndeliveredMessages: what was not delivered in time; `values` has the messages.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            self._changed.wait_for(self._is_empty, timeout_s)
            left = self._waiting.take_all()
            out = list(self._out_batch)
            self._changed.notify_all()
        for waiting in left:
            waiting.future.cancel()
        if left or out:
            raise UndeliveredMessages(
                f"{len(left)} messages were not sent, {len(out)} have an unknown outcome",
                values=[waiting.record.value for waiting in (*out, *left)],
                outcome="unknown" if out else None,
            )

    def _is_empty(self) -> bool:
        return self._out is None and not self._waiting.waiting_messages

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="myqueue-sender", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting.waiting_messages or self._stopping)
                taken = self._waiting.take()
                if taken is None:
                    return
                self._out, batch = taken
                batch = [one for one in batch if one.future.set_running_or_notify_cancel()]
                self._out_batch = batch
                self._changed.notify_all()
            if batch:
                self._send(taken[0], batch)
            with self._changed:
                self._out, self._out_batch = None, []
                self._changed.notify_all()

    def _send(self, where: TopicPartition, batch: list[Waiting]) -> None:
        topic, partition = where
        try:
            delivered = self._deliver(topic, partition, [waiting.record for waiting in batch])
        except QueueError as error:
            for waiting in batch:
                waiting.future.set_exception(error)
        except Exception as error:  # the edge of the thread: the caller gets it with the future
            logger.exception("a batch for %s/%d failed in an unexpected way", topic, partition)
            for waiting in batch:
                waiting.future.set_exception(error)
        else:
            for waiting, offset in zip(batch, delivered.offsets, strict=True):
                waiting.future.set_result(Delivered(partition, offset))
