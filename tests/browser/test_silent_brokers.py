"""Two of three brokers hang: every page is there all the same, and waits for neither."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest
import requests

from tests.browser.pages import paths
from tests.browser.visitor import PASSWORD, SUPERUSER
from tests.cluster.processes import create_topic

pytestmark = pytest.mark.cluster

UNHURRIED_S = 0.9
"""Who waits for a broker on one of these pages waits for a second or more."""
TRIES = 30
"""Of a page: a busy machine may make any of them slow, and the first waits for who just hung."""
NAMES = ("overview", "messages", "group", "move", "brokers")
"""Of the pages: those that ask brokers, and some that do not."""


@pytest.fixture(scope="module")
def person(cluster):
    """Somebody who has logged in, without a browser."""
    create_topic(cluster, "orders", 3)
    joined = cluster.post("/groups/billing/join", topics=["orders"])
    assert joined["http_status"] == 200, joined
    with requests.Session() as session:
        where = f"{cluster.manager}/admin/login/"
        form = session.get(where, timeout=60).text
        [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        fields = {"username": SUPERUSER, "password": PASSWORD, "csrfmiddlewaretoken": token}
        answer = session.post(where, data=fields, headers={"Referer": where}, timeout=60)
        assert answer.ok
        yield session


@pytest.fixture
def alone(cluster, person):
    """Two brokers that are stopped for a while."""
    pids = [cluster.pid_of(address) for address in cluster.broker_addresses()[1:3]]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    cluster.leader_of("orders", 0)


def test_no_page_waits_for_a_broker_that_hangs(cluster, person, alone):
    pages = paths(topic="orders", group="billing", workers="", mails="")

    def takes_s(name):
        begun_s = time.monotonic()
        answer = person.get(f"{cluster.manager}{pages[name]}", timeout=60)
        assert answer.ok, (name, answer.status_code)
        assert "Log out" in answer.text
        return time.monotonic() - begun_s

    slow = [name for name in NAMES if not any(takes_s(name) < UNHURRIED_S for _ in range(TRIES))]
    assert slow == []
