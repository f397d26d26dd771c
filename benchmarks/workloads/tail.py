"""How long the slowest messages take while a cluster tidies up, moves replicas and rebalances."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from benchmarks.acknowledged import CheckFailed
from benchmarks.cluster import Shape
from benchmarks.measurement import Figure
from benchmarks.message import message
from benchmarks.target import Target, at_most
from benchmarks.workloads.sync import Sync

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.floor import FloorKind
    from benchmarks.measurement import Measurement
    from benchmarks.peers.queuesite import Site

CALLERS = 4
"""So few that two cores are not always busy: a queue for a processor is not what is looked for."""
LEAST_S = 12.0
"""Shorter runs would end before everything has been going on."""
MOVED_MESSAGES = 200_000
"""Of the replica that moves: its snapshot takes some seconds."""
BATCH_MESSAGES = 1_000
FEED_MESSAGES = 100
FEED_S = 0.05
"""Between two batches that make retention delete others."""
RETENTION_BYTES = 1 << 20
MEMBER_S = 0.5
"""How long a member stays in its group."""
PATIENCE_S = 60.0
"""Longest wait for a replica to have moved, and for a thread to end."""


class Tail:
    """Callers send one at a time; beside them replicas move, members come and go, logs shrink.

    Every broker writes checkpoints, deletes what retention lets go and scrubs; one is emptied, so
    that it hands its leaderships over and its replica of a topic goes to another by a snapshot.
    """

    runs = 3
    warms_up = False
    figures = (
        *(Figure.PER_SECOND, Figure.P50_MS, Figure.P99_MS),
        *(Figure.P999_MS, Figure.LONGEST_MS),
    )
    targets: tuple[Target, ...] = (at_most(Figure.LONGEST_MS, 100, worst=True),)
    floor: FloorKind | None = None
    name = "tail"
    summary = (
        f"one at a time by {CALLERS} callers, with checkpoints, retention, scrubs, a snapshot and"
        " rebalances going on"
    )
    shape = Shape(
        brokers=4,
        settings=(
            ("QUEUE_CHECKPOINT_ENTRIES", "500"),
            ("QUEUE_LOG_KEEP_BYTES", str(1 << 20)),
            ("QUEUE_RETENTION_INTERVAL_S", "1"),
            ("QUEUE_SCRUB_INTERVAL_S", "5"),
            ("QUEUE_SNAPSHOT_BYTES_PER_SECOND", str(8 << 20)),
            ("QUEUE_BROKER_HEARTBEAT_S", "2"),
        ),
    )
    """Of a cluster in which all that otherwise happens now and then happens in each run."""

    def prepare(self, site: Site) -> None:
        """Fill the topic whose replica moves."""
        self._site = site
        self._sync = Sync(CALLERS)
        self._sync.prepare(site)
        self._moved = site.new_topic(self.name, replication_factor=2)
        self._short = site.new_topic(self.name, retention_bytes=RETENTION_BYTES)
        with closing(site.producer(self._moved)) as producer:
            for start in range(0, MOVED_MESSAGES, BATCH_MESSAGES):
                values = [message(number) for number in range(start, start + BATCH_MESSAGES)]
                producer.produce_many(self._moved, values, partition=0)

    def run(self, seconds: float) -> Measurement:
        """Send for some seconds, `LEAST_S` at least, while all the rest goes on.

        Raises:
            CheckFailed: something of it did not happen.
        """
        deleted_before = self._deleted()
        others = [_Repeated(one) for one in (self._move, self._join_and_leave, self._feed())]
        for one in others:
            one.start()
        try:
            measurement = self._sync.run(max(seconds, LEAST_S))
        finally:
            for one in others:
                one.stopped.set()
            for one in others:
                one.join(PATIENCE_S)
        for one in others:
            one.check()
        if self._deleted() <= deleted_before:
            raise CheckFailed("retention deleted nothing")
        return measurement

    def check(self) -> int:
        """Read back what the callers sent."""
        return self._sync.check()

    def close(self) -> None:
        """Keep nothing."""
        self._sync.close()

    def _move(self) -> None:
        """Empty a broker that has a replica of the topic, until another has it, and keep it."""
        site = self._site
        held = site.holders(self._moved)
        leaver = min(held)
        site.wait_for(lambda: site.empty_broker(leaver), what=f"broker {leaver} can be emptied")
        try:
            site.wait_for(
                lambda: (now := site.holders(self._moved)) != held and leaver not in now,
                what=f"the replica of broker {leaver} is elsewhere",
            )
        finally:
            site.keep_broker(leaver)

    def _join_and_leave(self) -> None:
        """Be a member of a group for a while, so that the others' partitions change."""
        with closing(self._site.consumer(self._short, group=self.name)) as member:
            member.poll(1, MEMBER_S)

    def _feed(self) -> Callable[[], None]:
        """Return what writes a batch to the topic of which little is kept."""
        producer = self._site.producer(self._short)
        numbers = itertools.count()

        def feed() -> None:
            values = [message(next(numbers), 1) for _ in range(FEED_MESSAGES)]
            producer.produce_many(self._short, values, partition=0)
            time.sleep(FEED_S)

        return feed

    def _deleted(self) -> int:
        """Return how many messages retention has deleted."""
        return max(
            int(replica["log_start_offset"])
            for place in self._site.brokers()
            for replica in self._site.replicas(place.address)
            if replica["topic"] == self._short
        )


class _Repeated(threading.Thread):
    """Does something again and again until it is stopped."""

    def __init__(self, what: Callable[[], None]) -> None:
        super().__init__(name=getattr(what, "__name__", "feed"), daemon=True)
        self.stopped = threading.Event()
        self._what = what
        self._done = 0
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stopped.is_set():
                self._what()
                self._done += 1
        except BaseException as error:  # noqa: BLE001 - told by `check`
            self._failure = error

    def check(self) -> None:
        """Raise CheckFailed when it failed, hangs, or did nothing."""
        if self._failure is not None:
            raise CheckFailed(f"{self.name}: {self._failure!r}") from self._failure
        if self.is_alive() or not self._done:
            raise CheckFailed(f"{self.name} came to no end within the run")
