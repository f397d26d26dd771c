"""A `logging.Handler` that writes to a topic.

It never blocks the program and never raises into it: records go into a buffer in memory, a
background thread sends what waits as one batch after the other, and what finds the buffer full is
dropped and counted.

    LOGGING = {
        "version": 1,
        "handlers": {
            "queue": {
                "class": "myqueue.logging.QueueHandler",
                "topic": "logs",
                "address": "http://127.0.0.1:8000",
                "format": "json",
            },
        },
        "root": {"handlers": ["queue"], "level": "INFO"},
    }
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from myqueue.config import ClientConfig
from myqueue.contract.errors import QueueError, UndeliveredMessages
from myqueue.contract.records import make_record
from myqueue.producer import exits
from myqueue.producer.producer import Producer
from myqueue.transport import forks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from myqueue.contract.records import Record
    from myqueue.results import DeliveredBatch

RETRY_S = 2.0
"""How long after a failure to reach a manager the next try comes."""
BATCH_RECORDS = 1_000
BATCH_BYTES = 512 << 10
OVERHEAD_BYTES = 64
"""What a record costs in the buffer besides its text."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes of every record; the others are what the program added with `extra`."""


class JsonFormatter(logging.Formatter):
    """One JSON object per record: time, level, logger, message, place, exception and extras."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON; what JSON does not know is shown as text."""
        fields: dict[str, Any] = {
            "timestamp": int(record.created * 1000),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "module": record.module,
            "line": record.lineno,
            "process": record.process,
            "thread": record.threadName,
        }
        extras = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if extras:
            fields["extra"] = extras
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=str)


class QueueHandler(logging.Handler):
    """Sends each record to a topic.

    The background thread begins with the first record and makes the producer, so neither making
    the handler nor logging waits for the network. Records of this client's own modules are not
    sent: they would beget themselves.

    Args:
        topic: where to; it is created when it does not exist.
        address: a manager's address, or several as a list or separated by commas.
        format: text (as the formatter says) or json.
        level: as for every handler.
        key: key of every message, such as the host's name; None for none.
        buffer_bytes: what may wait before records are dropped.
        flush_timeout_s: longest time that `flush` and `close` wait.
        config: settings of the producer.

    Attributes:
        dropped: records that were not sent: the buffer was full, or they were not delivered.
    """

    def __init__(
        self,
        topic: str,
        address: str | Sequence[str],
        *,
        format: str = "text",
        level: int | str = logging.NOTSET,
        key: str | None = None,
        buffer_bytes: int = 4 << 20,
        flush_timeout_s: float = 5.0,
        config: ClientConfig | None = None,
    ) -> None:
        if format not in ("text", "json"):
            raise ValueError(f"format must be text or json, not {format!r}")
        super().__init__(level)
        if format == "json":
            self.setFormatter(JsonFormatter())
        self._topic = topic
        self._key = key
        self._buffer_bytes = buffer_bytes
        self._flush_timeout_s = flush_timeout_s
        self._make_producer: Callable[[], Producer] = lambda: Producer(
            topic, address, config=config
        )
        self.dropped = 0
        self.restart_after_fork()
        forks.restart_in_child(self)

    def restart_after_fork(self) -> None:
        """Start anew in the child: what waits is the parent's, and so is the thread."""
        self._changed = threading.Condition()
        self._waiting: deque[Record] = deque()
        self._waiting_bytes = 0
        self._logged = self._finished = 0
        self._ended = False
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record; never waits, never raises."""
        if record.name == "myqueue" or record.name.startswith("myqueue."):
            return
        try:
            message = make_record(
                self.format(record), self._key, None, timestamp=int(record.created * 1000)
            )
        except Exception:  # noqa: BLE001 - the contract of every handler: the program goes on
            self.dropped += 1
            self.handleError(record)
            return
        size_bytes = len(message.value) + OVERHEAD_BYTES
        with self._changed:
            if self._ended or self._waiting_bytes + size_bytes > self._buffer_bytes:
                self.dropped += 1
                return
            self._waiting.append(message)
            self._waiting_bytes += size_bytes
            self._logged += 1
            if self._thread is None:
                # No thread is to be had now: the record waits, and the next one tries again.
                with suppress(RuntimeError):
                    thread = threading.Thread(target=self._run, name="myqueue-logging", daemon=True)
                    thread.start()
                    self._thread = thread
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until what was logged before is delivered or dropped, at most `flush_timeout_s`."""
        with self._changed:
            logged = self._logged
            self._changed.wait_for(lambda: self._finished >= logged, self._flush_timeout_s)

    def close(self) -> None:
        """Deliver what waits and close the producer, both at most for `flush_timeout_s`.

        The rest is dropped and counted. Its number goes to stderr, too: at the end of a program
        nobody else tells it.
        """
        ends_s = time.monotonic() + self._flush_timeout_s
        self.flush()
        with self._changed:
            if not self._ended:
                self._ended = True
                left = self._logged - self._finished
                if left:
                    text = f"myqueue: {left} log records for topic {self._topic} were not delivered"
                    exits.say([text])
                self.dropped += left
                self._finished = self._logged
                self._waiting.clear()
                self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(max(0.0, ends_s - time.monotonic()))
        super().close()

    def _run(self) -> None:
        """Send batch by batch until the handler is closed."""
        producer: Producer | None = None
        try:
            while producer is None:
                producer = self._connect()
                if self._ended:
                    return
            while batch := self._take():
                lost = self._send(producer, batch)
                with self._changed:
                    if not self._ended:
                        self.dropped += lost
                        self._finished += len(batch)
                        self._changed.notify_all()
        finally:
            if producer is not None:
                with suppress(UndeliveredMessages):
                    producer.close()

    def _connect(self) -> Producer | None:
        """Make the producer; None after a pause when no manager or no thread was to be had."""
        try:
            return self._make_producer()
        except (QueueError, RuntimeError):
            with self._changed:
                self._changed.wait_for(lambda: self._ended, RETRY_S)
            return None

    def _take(self) -> list[Record]:
        """Wait for records and return them; none when the handler was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            batch: list[Record] = []
            size_bytes = 0
            while self._waiting and len(batch) < BATCH_RECORDS and size_bytes < BATCH_BYTES:
                record = self._waiting.popleft()
                size_bytes += len(record.value) + OVERHEAD_BYTES
                batch.append(record)
            self._waiting_bytes -= size_bytes
            return batch

    def _send(self, producer: Producer, batch: list[Record]) -> int:
        """Send records and return how many are lost."""
        try:
            producer.produce_many(self._topic, batch)
        except QueueError as error:
            delivered: list[DeliveredBatch] = error.details.get("delivered", [])
            return len(batch) - sum(one.message_count for one in delivered)
        except RuntimeError:
            return len(batch)  # the producer's thread cannot be started
        return 0
