"""Three managers on one PostgreSQL that change metadata all the time, and a primary that dies."""

from __future__ import annotations

import random
import signal
import threading
import time
from contextlib import ExitStack

import psycopg2
import pytest

from tests.cluster.rounds import MANY, ROUNDS
from tests.manager_app.manager_process import READY_S, Manager, ask, make_topic, until
from tests.manager_app.postgres import required_postgres

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(not MANY, reason="takes minutes: CLUSTER_ROUNDS=10 or more"),
]

ACCEPTED_S = 10.0
"""After which writes are accepted again, whatever became of the primary."""
STOPPED_S = 15.0
"""How long the primary stands still: longer than a take-over takes."""


class Workload:
    """Registers consumers and announces brokers through any manager, all the time."""

    def __init__(self, managers):
        self.managers = managers
        self.registered = []
        self.announced = {}
        self.accepted_s = []
        self.refusals = set()
        self.ends = threading.Event()
        self.lock = threading.Lock()

    def register(self):
        chance = random.Random(7)
        while not self.ends.wait(0.02):
            self.take(
                *ask(
                    chance.choice(self.managers).address,
                    "POST",
                    "/consumer/register",
                    {"topic": "logs"},
                ),
                lambda fields: self.registered.append(fields["consumer_id"]),
            )

    def announce(self):
        chance = random.Random(8)
        number = 0
        while not self.ends.wait(0.05):
            number += 1
            address = f"http://127.0.0.2:{number}"
            self.take(
                *ask(
                    chance.choice(self.managers).address,
                    "POST",
                    "/brokers",
                    {"broker_address": address},
                ),
                lambda fields, of=address: self.announced.setdefault(fields["broker_id"], of),
            )

    def take(self, status, fields, note):
        with self.lock:
            if status in (200, 201):
                note(fields)
                self.accepted_s.append(time.monotonic())
            elif status:
                self.refusals.add((status, fields["code"]))

    def accepted_after(self, begun_s):
        """Return whether a write was accepted after a time."""
        with self.lock:
            return bool(self.accepted_s) and self.accepted_s[-1] > begun_s


@pytest.fixture
def cluster(tmp_path):
    with ExitStack() as stack:
        url = stack.enter_context(required_postgres())
        managers = [Manager(tmp_path, name, url) for name in ("one", "two", "three")]
        for one in managers:
            one.start()
            stack.callback(one.kill)
        make_topic(managers[0].address)
        work = Workload(managers)
        threads = [threading.Thread(target=of) for of in (work.register, work.announce)]
        for thread in threads:
            thread.start()
        try:
            yield url, managers, work
        finally:
            work.ends.set()
            for thread in threads:
                thread.join()


def stored(url, statement):
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()
    finally:
        connection.close()


def primary_of(url, managers):
    [(address,)] = stored(url, "SELECT primary_address FROM manager_app_cluster")
    return next(one for one in managers if one.address == address)


def test_every_acknowledged_change_outlives_the_primaries(cluster, capsys):
    url, managers, work = cluster
    gaps_s = []
    for number in range(ROUNDS):
        until(lambda: work.accepted_after(time.monotonic() - 1), 20, lambda: work.refusals)
        primary, kills = primary_of(url, managers), number % 3 != 2
        begun_s = time.monotonic()
        if kills:
            primary.kill()
        else:
            primary.signal(signal.SIGSTOP)
        others = [one for one in managers if one is not primary]
        work.managers = others
        holds = lambda of=primary: primary_of(url, managers) is not of  # noqa: E731
        until(holds, 2 * ACCEPTED_S, lambda: "nobody took over")
        taken_s = time.monotonic()
        until(lambda at=taken_s: work.accepted_after(at), 20, lambda: work.refusals)
        gaps_s.append(time.monotonic() - begun_s)
        if kills:
            primary.start()
        else:
            time.sleep(max(0.0, STOPPED_S - gaps_s[-1]))
            primary.signal(signal.SIGCONT)
            until(primary.is_ready, READY_S, primary.log.read_text)
        work.managers = managers
        assert primary_of(url, managers) is not primary, "it leaves a healthy primary its lease"
    work.ends.set()
    time.sleep(1)
    consumers = [one for (one,) in stored(url, "SELECT id FROM manager_app_consumer")]
    brokers = dict(stored(url, "SELECT broker_id, address FROM manager_app_broker"))
    with capsys.disabled():
        print(  # noqa: T201 - the figures are asked for
            f"\n  {len(gaps_s)} primaries lost: writes accepted again after"
            f" {min(gaps_s):.1f} to {max(gaps_s):.1f} s; {len(work.registered)} registrations and"
            f" {len(work.announced)} brokers acknowledged; refusals {sorted(work.refusals)}"
        )
    assert len(set(work.registered)) == len(work.registered), "an id was given out twice"
    assert set(work.registered) <= set(consumers)
    assert work.announced.items() <= brokers.items()
    assert max(gaps_s) < ACCEPTED_S, gaps_s
    logs = [one.log.read_text() for one in managers]
    assert not any("outside of a fence" in log for log in logs)
