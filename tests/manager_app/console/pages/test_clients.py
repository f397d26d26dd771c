from __future__ import annotations

import re
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from manager_app.console.pages import clients
from manager_app.models import Consumer, Producer, Topic

URL = "/admin/clients/"


@pytest.fixture
def topic(db):
    return Topic.objects.create(name="orders", partitions_at_creation=1, replication_factor=1)


def make(topic, count, kind=Producer, **fields):
    heard = timezone.now() - timedelta(seconds=61)
    rows = (kind(topic=topic, last_heartbeat=heard, **fields) for _ in range(count))
    return kind.objects.bulk_create(rows, batch_size=2_000)


def ids(page):
    return [int(found) for found in re.findall(r"(?:Producer|Consumer) (\d+)</th>", page)]


def test_producers_and_consumers_are_shown_with_when_they_were_heard(log_in, topic):
    make(topic, 1)
    make(topic, 2, Consumer, state="expired")
    browser = log_in("viewer")
    page = browser.get(URL).content.decode()
    assert len(ids(page)) == 1
    assert re.search(r"1 min ago</time>", page)
    page = browser.get(URL, {"kind": "consumer"}).content.decode()
    assert len(ids(page)) == 2
    assert page.count("q-badge q-bad") == 2


def test_a_topic_and_a_state_choose_and_what_is_not_there_is_said(log_in, topic):
    other = Topic.objects.create(name="other", partitions_at_creation=1, replication_factor=1)
    make(topic, 1)
    make(other, 1, state="expired")
    browser = log_in("viewer")

    def found(**asked):
        return len(ids(browser.get(URL, asked).content.decode()))

    assert (found(), found(topic="other"), found(state="alive")) == (2, 1, 1)
    assert found(topic="orders", state="expired") == 0
    assert b"No client fits" in browser.get(URL, {"topic": "orders", "state": "expired"}).content
    for wrong in ({"topic": "missing"}, {"state": "x"}, {"after": "x"}, {"topic": "a/b"}):
        answer = browser.get(URL, wrong)
        assert answer.status_code == 200, wrong
        assert b'role="alert"' in answer.content, wrong
    assert b"No consumer has registered" in browser.get(URL, {"kind": "consumer"}).content


def test_pages_are_by_key_and_keep_the_filter(log_in, topic, monkeypatch):
    monkeypatch.setattr(clients, "PAGE_SIZE", 2)
    rows = make(topic, 3, Consumer)
    browser = log_in("viewer")
    page = browser.get(URL, {"kind": "consumer", "topic": "orders"}).content.decode()
    follows = re.search(r'href="(\?[^"]*)" rel="next"', page)[1].replace("&amp;", "&")
    assert ids(browser.get(URL + follows).content.decode()) == [rows[2].pk]


async def test_what_this_manager_heard_counts_before_it_is_stored(site, log_in_at):
    await site.create_topic("logs", partitions=1)
    producer = await site.producer("logs")
    site.clock.seconds += 3_600
    await site.produce(producer, "x")
    browser = await log_in_at("viewer")
    page = (await browser.get(URL)).body.decode()
    assert ids(page) == [producer]
    assert "q-badge q-good" in page


def test_twenty_thousand_clients_are_no_slower(log_in, topic):
    rows = make(topic, 20_000)
    browser = log_in("viewer")
    for asked in ({}, {"after": rows[10_000].pk}, {"state": "expired"}, {"topic": "orders"}):
        took = []
        for _ in range(3):
            begun = time.thread_time()
            assert browser.get(URL, asked).status_code == 200
            took.append(time.thread_time() - begun)
        assert min(took) < 0.3, asked
