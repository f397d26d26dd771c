"""The command `myqueue demo`: traffic and some trouble, for whoever wants to see a live cluster."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import myqueue
from myqueue.cli import values
from myqueue.cli.ending import GLANCE_S, orderly_end
from myqueue.cli.output import say
from myqueue.contract.errors import (
    GroupNotFound,
    QueueError,
    TopicAlreadyExists,
    TopicDoesNotExist,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from concurrent.futures import Future

    from myqueue.cli.commands import Commands
    from myqueue.results import Delivered

ORDERS, CLICKS, EMAILS = "demo.orders", "demo.clicks", "demo.emails"
TOPICS = {ORDERS: 6, CLICKS: 8, EMAILS: 3}
"""Topic -> partitions."""
BILLING, REPORTS, MAILERS = "demo.billing", "demo.reports", "demo.mailers"
GROUPS = (BILLING, REPORTS, MAILERS)
REPLICAS_MAX = 3
RETENTION_MS = 86_400_000
RETENTION_BYTES = 16 << 20
"""Of each partition: a demonstration that is forgotten fills no disk."""
SHARES = {ORDERS: 0.25, CLICKS: 0.65, EMAILS: 0.1}
"""Of the messages, those that go to a topic."""
RATE_MAX = 1_000
"""Messages a second."""
HOT_SHARE = 0.8
"""Of the clicks, those with one key, and so in one partition."""
READ_SHARE = 0.5
"""Of the clicks, those that `demo.reports` reads: it falls behind."""
BOUNCE_SHARE = 0.1
"""Of the emails, those that no worker can send: they become dead letters."""
DELIVERY_LIMIT = 2
VISIBILITY_MS = 10_000
STEP_S = 0.1
"""Between two looks at what is due."""
SAY_S, SAY_TO_FILE_S = 1.0, 10.0
"""Between two status lines, on a terminal and elsewhere."""
PAUSE_S = 1.0
"""Before something is tried again that the queue refused or did not answer."""


@dataclass
class _Counts:
    """What was done so far, by all threads."""

    numbers: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("published", "read", "worked", "failed"), 0)
    )
    last_error: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, count: int = 1) -> None:
        """Count something."""
        with self._lock:
            self.numbers[name] += count

    def note(self, error: QueueError) -> None:
        """Count something that the queue refused or did not answer."""
        with self._lock:
            self.numbers["failed"] += 1
            self.last_error = f"{type(error).__name__}: {error}"


class Demo:
    """Producers, a group that keeps up and one that does not, and workers."""

    def __init__(self, address: str, rate: float) -> None:
        """Make one; nothing runs before `run`.

        Args:
            address: of managers.
            rate: messages a second, all topics together.
        """
        self._address = address
        self._rate = rate
        self._over = threading.Event()
        self._counts = _Counts()
        self._threads = [
            threading.Thread(target=self._keep, args=(work,), name=f"demo {name}", daemon=True)
            for name, work in (
                ("publisher", self._publish),
                ("billing 1", self._bill),
                ("billing 2", self._bill),
                ("reports", self._report),
                ("mailer 1", self._mail),
                ("mailer 2", self._mail),
            )
        ]

    def run(self, is_over: Callable[[], bool], *, seconds: float | None) -> None:
        """Make what is missing, and go on until it is over, a time has passed, or Ctrl-C."""
        prepare(self._address)
        begun_s = self._said_s = time.monotonic()
        for thread in self._threads:
            thread.start()
        try:
            while not is_over() and (seconds is None or time.monotonic() - begun_s < seconds):
                time.sleep(STEP_S)
                self._say(begun_s)
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()
            self._say(begun_s, last=True)

    _said_s = 0.0

    def _say(self, begun_s: float, *, last: bool = False) -> None:
        now_s = time.monotonic()
        is_terminal = sys.stdout.isatty()
        if not last and now_s - self._said_s < (SAY_S if is_terminal else SAY_TO_FILE_S):
            return
        self._said_s = now_s
        counts = dict(self._counts.numbers)
        said = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        line = f"{now_s - begun_s:,.0f} s: {said}"
        if self._counts.last_error:
            line += f"; last failure: {self._counts.last_error[:120]}"
        if is_terminal:
            sys.stdout.write(f"\r\033[K{line}" + ("\n" if last else ""))
            sys.stdout.flush()
        else:
            sys.stdout.write(f"{line}\n")

    def _keep(self, work: Callable[[], None]) -> None:
        """Do a part again when the queue fails it: people kill brokers to see what happens."""
        while not self._over.is_set():
            try:
                work()
            except QueueError as error:
                self._counts.note(error)
                self._over.wait(PAUSE_S)

    def _publish(self) -> None:
        """Publish at the rate, however long each step takes; nothing is caught up."""
        chance = random.Random()  # noqa: S311 - made-up traffic
        number, owed = 0, 0.0
        with myqueue.Producer(list(TOPICS), self._address) as producer:
            while not self._over.wait(STEP_S):
                owed = min(owed + self._rate * STEP_S, self._rate)
                while owed >= 1:
                    owed -= 1
                    number += 1
                    topic, key, value = message(chance, number)
                    producer.send(topic, value, partition_key=key).add_done_callback(self._sent)
            producer.flush()

    def _sent(self, future: Future[Delivered]) -> None:
        error = future.exception()
        if error is None:
            self._counts.add("published")
        elif isinstance(error, QueueError):
            self._counts.note(error)
        else:
            raise error

    def _bill(self) -> None:
        """Read the orders as a member of a group that keeps up."""
        with myqueue.Consumer(ORDERS, self._address, group=BILLING) as consumer:
            while not self._over.is_set():
                self._counts.add("read", len(consumer.poll(100, timeout=GLANCE_S)))

    def _report(self) -> None:
        """Read the clicks too slowly."""
        rate = self._rate * SHARES[CLICKS] * READ_SHARE
        with myqueue.Consumer(CLICKS, self._address, group=REPORTS) as consumer:
            while not self._over.is_set():
                found = consumer.poll(max(1, int(rate * GLANCE_S)), timeout=GLANCE_S)
                self._counts.add("read", len(found))
                self._over.wait(len(found) / rate)

    def _mail(self) -> None:
        """Work through the emails; those that bounce are given back until they are dead."""
        options = {"visibility_ms": VISIBILITY_MS, "delivery_limit": DELIVERY_LIMIT}
        with myqueue.Worker(EMAILS, self._address, MAILERS, **options) as worker:  # type: ignore[arg-type]
            while not self._over.is_set():
                for delivery in worker.receive(10, timeout=GLANCE_S):
                    if "bounce" in delivery.text:
                        worker.nack(delivery)
                    else:
                        worker.ack(delivery)
                        self._counts.add("worked")


def message(chance: random.Random, number: int) -> tuple[str, str, str]:
    """Return topic, key and value of a made-up message."""
    [topic] = chance.choices(list(SHARES), list(SHARES.values()))
    customer = f"customer-{chance.randrange(500)}"
    if topic == CLICKS:
        page = "home" if chance.random() < HOT_SHARE else f"page-{chance.randrange(40)}"
        return topic, page, json.dumps({"page": page, "by": customer})
    if topic == EMAILS:
        host = "bounce.example" if chance.random() < BOUNCE_SHARE else "mail.example"
        return topic, customer, json.dumps({"to": f"{customer}@{host}", "order": number})
    amount = chance.randrange(500, 20_000) / 100
    items = chance.sample(("tea", "coffee", "cups", "honey", "biscuits"), chance.randrange(1, 4))
    order = {"order": number, "customer": customer, "items": items, "amount": amount}
    return topic, customer, json.dumps(order)


def prepare(address: str) -> None:
    """Make the topics that are missing, with as many replicas as there are brokers, up to three.

    Raises:
        QueueError: it cannot be.
    """
    with myqueue.Client(address) as client:
        alive = sum(one["state"] == "alive" for one in client.describe_brokers())
        for name, partitions in TOPICS.items():
            with suppress(TopicAlreadyExists):
                client.create_topic(
                    name,
                    partitions,
                    replication_factor=max(1, min(REPLICAS_MAX, alive)),
                    retention_ms=RETENTION_MS,
                    retention_bytes=RETENTION_BYTES,
                )


def remove(address: str) -> int:
    """Delete the topics and groups of the demonstration; return how many there were.

    Raises:
        QueueError: one is there and cannot be deleted.
    """
    count = 0
    with myqueue.Client(address) as client:
        for delete, names, gone in (
            (client.delete_group, GROUPS, GroupNotFound),
            (client.delete_topic, (*TOPICS, f"{EMAILS}.dead"), TopicDoesNotExist),
        ):
            for name in names:
                with suppress(gone):
                    delete(name)
                    count += 1
    return count


def demo(options: argparse.Namespace) -> None:
    """Run the demonstration, or remove what it made."""
    if options.remove:
        count = remove(options.address)
        say(options, f"{count} topics and groups removed", removed=count)
        return
    names = ", ".join(TOPICS)
    say(
        options,
        f"Messages go in and out of {names} at {options.address}.\n"
        "Ctrl-C stops that; --remove deletes what was made.",
        topics=list(TOPICS),
        address=options.address,
    )
    with orderly_end() as is_over, suppress(KeyboardInterrupt):
        Demo(options.address, min(options.rate, RATE_MAX)).run(is_over, seconds=options.seconds)


def add_commands(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "demo",
        demo,
        "Publish, read and work, with some trouble, until Ctrl-C.",
        keys="topics address removed",
        examples="""
        myqueue demo
        myqueue demo --rate 500 --seconds 60
        myqueue demo --remove
        """,
    )
    parser.add_argument(
        "--rate",
        type=values.at_least_one,
        default=60,
        metavar="N",
        help=f"messages a second, up to {RATE_MAX:,}",
    )
    parser.add_argument(
        "--seconds", type=values.duration_s, metavar="DURATION", help="end after so long"
    )
    parser.add_argument(
        "--remove", action="store_true", help="delete the topics and groups that it made"
    )
