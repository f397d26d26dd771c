"""The incidents of docs/how-to/operations.md, made to happen, and the page that shows each."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from myqueue import Consumer, Producer, Worker
from tests.cluster.processes import Cluster, create_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from playwright.sync_api import Page

WAIT_S = 60.0
"""For what a cluster does by itself on a busy machine."""
SHOWN_MS = 120_000
"""Until the page shows what happened."""
MORE_BYTES = 1 << 40
"""Above what is free: a reserve that no disk has."""


@dataclass(frozen=True)
class Incident:
    """Something that goes wrong, and where one sees it."""

    name: str
    """Of the picture: `incident-NAME`."""
    happens: Callable[[Cluster], AbstractContextManager[object]]
    path: str
    shows: str
    """CSS selector of what appears there because of it."""
    look: Callable[[Page], None] | None = None
    """What one does on the page first."""
    lasts_ms: int = 0
    """How long it is let be after that, so that charts have something to show."""


@contextmanager
def brokers_hang(cluster: Cluster, count: int) -> Iterator[None]:
    """Stop some brokers for a while, as `kill -STOP` does."""
    pids = [cluster.pid_of(address) for address in cluster.broker_addresses()[1 : 1 + count]]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def one_hangs(cluster: Cluster) -> AbstractContextManager[None]:
    """Stop one of three brokers."""
    return brokers_hang(cluster, 1)


def two_hang(cluster: Cluster) -> AbstractContextManager[None]:
    """Stop two of three brokers: nothing has a quorum."""
    return brokers_hang(cluster, 2)


@contextmanager
def group_lags(cluster: Cluster) -> Iterator[None]:
    """Let a group read 100 of 500 messages and leave."""
    create_topic(cluster, "invoices", 3)
    with Producer("invoices", cluster.manager) as producer:
        producer.produce_many("invoices", [str(number) for number in range(500)])
    with Consumer("invoices", cluster.manager, group="accounts") as consumer:
        read = 0
        while read < 100:
            read += len(consumer.poll(100 - read, timeout=WAIT_S))
        consumer.commit()
    yield


@contextmanager
def message_is_poison(cluster: Cluster) -> Iterator[None]:
    """Let workers fail at a message until it is dead."""
    create_topic(cluster, "mails", 1)
    with Producer("mails", cluster.manager) as producer:
        producer.produce_many("mails", ["good", "bad", "good too"])
    with Worker("mails", cluster.manager, "mailers", delivery_limit=1) as worker:
        left = 3
        while left:
            for one in worker.receive(3, timeout=WAIT_S):
                (worker.nack if one.value == "bad" else worker.ack)(one)
                left -= 1
    yield


@contextmanager
def database_is_locked(cluster: Cluster) -> Iterator[None]:
    """Let nobody change the managers' database."""
    file = cluster.data_dir / "manager" / "manager.sqlite3"
    database = sqlite3.connect(file, isolation_level=None, timeout=WAIT_S)
    database.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        database.rollback()
        database.close()


@contextmanager
def disk_is_full(cluster: Cluster) -> Iterator[None]:
    """Start the cluster again with a reserve that is larger than what is free."""
    cluster.stop()
    reserve = shutil.disk_usage(cluster.data_dir).free + MORE_BYTES
    cluster.variables = {**cluster.variables, "QUEUE_DISK_RESERVE_BYTES": str(reserve)}
    cluster.start()
    yield


def create_later(page: Page) -> None:
    """Try to make a topic; the answer comes once the database was waited for."""
    page.set_default_timeout(SHOWN_MS)
    page.fill("[name=topic]", "later")
    page.get_by_role("button", name="Create topic").click()


INCIDENTS = (
    Incident(
        "group-lags",
        group_lags,
        "/admin/groups/accounts/",
        ".q-badge:text-is('nobody reads')",
        lasts_ms=60_000,
    ),
    Incident(
        "poison",
        message_is_poison,
        "/admin/groups/mailers/dead-letters/mails/",
        "td:has-text('bad')",
    ),
    Incident("broker-hangs", one_hangs, "/admin/", ".q-problem:has-text('does not answer')"),
    Incident(
        "no-quorum", two_hang, "/admin/", ".q-problem.q-bad:has-text('leader')", lasts_ms=20_000
    ),
    Incident("database", database_is_locked, "/admin/create-topic/", "[role=alert]", create_later),
    Incident("disk-full", disk_is_full, "/admin/", ".q-problem:has-text('disk')"),
)
"""In an order in which none is in the way of the next."""
