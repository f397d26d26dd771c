"""The clients of a soak. What is acknowledged is noted, and what is read or settled too."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from myqueue import ClientConfig, Consumer, Producer, Worker
from myqueue.contract.errors import QueueError

if TYPE_CHECKING:
    from collections.abc import Callable

LOG, JOBS, RETAINED = "soak.log", "soak.jobs", "soak.retained"
"""Read by pops and by a group; worked through; deleted soon by retention."""
PADDING = "x" * 150
RETRY_S = 0.2
VISIBILITY_MS = 10_000
"""Jobs whose answer was lost come again after this."""


class Numbers:
    """A growing set of numbers from 0, a byte each."""

    def __init__(self) -> None:
        self._noted = bytearray()
        self.count = 0
        """How often one was added."""

    def add(self, number: int) -> None:
        """Add a number; again is no error, and counted."""
        if number >= len(self._noted):
            self._noted.extend(bytes(max(number + 1 - len(self._noted), 65_536)))
        self._noted[number] = 1
        self.count += 1

    def without(self, others: Numbers) -> int:
        """Return how many of these numbers are not among others."""
        theirs = others._noted.ljust(len(self._noted), b"\0")
        return sum(mine > their for mine, their in zip(self._noted, theirs, strict=False))


class Traffic:
    """Threads that produce and read until they are told to end."""

    def __init__(self, manager: str) -> None:
        """Prepare clients that reach the cluster by a manager's address."""
        self.manager = manager
        self.acknowledged = {topic: Numbers() for topic in (LOG, JOBS, RETAINED)}
        """By topic."""
        self.read = {name: Numbers() for name in ("pops", "group", "workers")}
        """By kind of reader."""
        self.errors: Counter[str] = Counter()
        """Refusals and failures that clients were told, by code; all were tried again."""
        self.missed = 0
        """Messages that retention deleted before a reader of `LOG` or `JOBS` had them."""
        self.cut_off = 0
        """How often the slow client was."""
        self.failures: list[BaseException] = []
        self._next = {topic: iter(range(1 << 40)) for topic in self.acknowledged}
        self._numbering = threading.Lock()
        self._sending_ends = threading.Event()
        self._reading_ends = threading.Event()
        self._threads: list[threading.Thread] = []
        self._senders: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        sending = self._sending_ends
        for work, ends in (
            (self._send_batches, sending),
            (self._send_singles, sending),
            (self._send_jobs, sending),
            (self._fill, sending),
            (self._be_slow, sending),
            (self._pop, self._reading_ends),
            (self._read_as_member, self._reading_ends),
            (self._read_as_member, self._reading_ends),
            (self._work, self._reading_ends),
            (self._work, self._reading_ends),
        ):
            thread = threading.Thread(target=self._run, args=(work, ends), daemon=True)
            self._threads.append(thread)
            if ends is sending:
                self._senders.append(thread)
            thread.start()

    def end(self, *, drain_s: float) -> float:
        """End sending, and reading once everything is read, or after a time in seconds.

        Returns:
            How many seconds passed until everything was read.
        """
        self._sending_ends.set()
        for thread in self._senders:  # what is on its way may yet be acknowledged
            thread.join(60)
        begun = time.monotonic()
        while any(self.lost().values()) and not self.failures:
            time.sleep(0.5)
            if time.monotonic() - begun > drain_s:
                break
        drained_s = time.monotonic() - begun
        self._reading_ends.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client does not end"
        return drained_s

    def lost(self) -> dict[str, int]:
        """Return by kind of reader how many acknowledged messages it has not seen."""
        log, jobs = self.acknowledged[LOG], self.acknowledged[JOBS]
        return {
            "pops": log.without(self.read["pops"]),
            "group": log.without(self.read["group"]),
            "workers": jobs.without(self.read["workers"]),
        }

    # --- threads ----------------------------------------------------------------------------

    def _run(self, work: Callable[[], None], ends: threading.Event) -> None:
        try:
            while not ends.is_set():
                try:
                    work()
                except QueueError as error:
                    self.errors[error.code] += 1
                    if not error.retriable:
                        raise
                    time.sleep(RETRY_S)
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits
            self.failures.append(error)

    def _take(self, topic: str, count: int) -> list[int]:
        with self._numbering:
            return [next(self._next[topic]) for _ in range(count)]

    def _send_batches(self) -> None:
        with Producer(LOG, self.manager) as producer:
            while not self._sending_ends.wait(0.25):
                numbers = self._take(LOG, 100)
                producer.produce_many(LOG, [f"{number} {PADDING}" for number in numbers])
                for number in numbers:
                    self.acknowledged[LOG].add(number)

    def _send_singles(self, topic: str = LOG) -> None:
        with Producer(topic, self.manager) as producer:
            while not self._sending_ends.wait(0.05):
                [number] = self._take(topic, 1)
                producer.enqueue(topic, f"{number} {PADDING}")
                self.acknowledged[topic].add(number)

    def _send_jobs(self) -> None:
        self._send_singles(JOBS)

    def _fill(self) -> None:
        with Producer(RETAINED, self.manager) as producer:
            while not self._sending_ends.wait(0.5):
                numbers = self._take(RETAINED, 20)
                producer.produce_many(RETAINED, [f"{number} {PADDING * 50}" for number in numbers])
                for number in numbers:
                    self.acknowledged[RETAINED].add(number)

    def _be_slow(self) -> None:
        """Ask for everything on one connection, send half of a body on another, and read little."""
        at = urlsplit(self.manager)
        host = f"HTTP/1.1\r\nHost: {at.netloc}\r\n".encode()
        asked = b"GET /metrics " + host + b"\r\n"
        begun = b"POST /topics " + host + b"Content-Length: 1000000\r\n\r\n{"
        reader = socket.create_connection((at.hostname, at.port), timeout=10)
        sender = socket.create_connection((at.hostname, at.port), timeout=10)
        with reader, sender:
            reader.setblocking(False)  # what does not fit into its buffer is not asked for
            with suppress(BlockingIOError):
                reader.send(asked * 200)
            try:
                sender.sendall(begun)
                while not self._sending_ends.wait(1):
                    sender.sendall(b"a")
            except OSError:
                self.cut_off += 1

    def _pop(self) -> None:
        config = ClientConfig(prefetch_messages=100)
        with Consumer(LOG, self.manager, config=config) as consumer:
            self._note_until_end(consumer, "pops")

    def _read_as_member(self) -> None:
        with Consumer(LOG, self.manager, group="soak") as consumer:
            self._note_until_end(consumer, "group")
            self.missed += sum(consumer.missed().values())

    def _note_until_end(self, consumer: Consumer, name: str) -> None:
        while not self._reading_ends.is_set():
            for message in consumer.poll(200, timeout=0.5):
                self.read[name].add(int(message.text.split()[0]))

    def _work(self) -> None:
        with Worker(
            JOBS, self.manager, group="soak-workers", visibility_ms=VISIBILITY_MS
        ) as worker:
            while not self._reading_ends.is_set():
                deliveries = worker.receive(50, timeout=0.5)
                settled = worker.ack(*deliveries) if deliveries else []
                for delivery, settlement in zip(deliveries, settled, strict=True):
                    if settlement.done:
                        self.read["workers"].add(int(delivery.text.split()[0]))
            self.missed += worker.missed
