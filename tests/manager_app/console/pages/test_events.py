from __future__ import annotations

import re
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from manager_app.console.pages.events import Thing
from manager_app.models import Event, EventKind
from manager_app.services.events import about, event_store

pytestmark = pytest.mark.django_db
URL = "/admin/events/"


@pytest.fixture
def browser(log_in):
    browser = log_in("viewer")
    Event.objects.all().delete()
    return browser


def make(text, **fields):
    event_store(Event(action=fields.pop("action", "act"), text=text, **fields))


def shown(browser, **asked):
    """Return the texts of the events on the page."""
    page = browser.get(URL, asked).content.decode()
    return re.findall(r"<p><span class=\"q-hidden\">[^<]*</span> ([^<]*?)\s*<", page)


def test_events_are_shown_by_day_with_who_and_what(browser):
    make("Broker 3 died", kind=EventKind.BROKER, action="broker dead", about=about(broker=3))
    make("X", person="user 'ada'", origin="10.0.0.9", outcome="refused", details={"a_b": [1, 2]})
    page = browser.get(URL).content.decode()
    assert "user &#x27;ada&#x27; from 10.0.0.9" in page
    assert '<a href="/admin/brokers/3/">broker 3</a>' in page
    assert page.count('<li class="q-wrong">') == 1
    assert "q-badge q-warn" in page
    assert "<dt>a b</dt><dd>[1, 2]</dd>" in page
    assert timezone.now().strftime("%B %Y") in page


def test_what_was_said_is_text_and_no_page(browser):
    make(
        "<script>alert(1)</script>", about=about(topic="<b>"), person="<i>", details={"<u>": "<p>"}
    )
    page = browser.get(URL).content.decode()
    for tag in ("<script>alert", "<b>", "<i>", "<u>", "<p></p>"):
        assert tag not in page


def test_each_filter_is_a_field_and_a_wrong_one_is_said(browser):
    make("old", at=timezone.now() - timedelta(days=3))
    make("mine", kind=EventKind.ACTION, person="user 'ada'", about=about(topic="orders"))
    make("theirs", kind=EventKind.LOGIN)
    assert shown(browser) == ["theirs", "mine", "old"]
    assert shown(browser, kind="login") == ["theirs"]
    assert shown(browser, about="topic:orders", person="ada") == ["mine"]
    yesterday = (timezone.now() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    assert shown(browser, until=yesterday) == ["old"]
    assert shown(browser, **{"from": yesterday}) == ["theirs", "mine"]
    for wrong in ({"kind": "x"}, {"about": "x"}, {"from": "noon"}, {"after": "x"}):
        answer = browser.get(URL, wrong)
        assert answer.status_code == 200
        assert b'role="alert"' in answer.content
        assert b"<ol>" not in answer.content
    assert b"No event fits" in browser.get(URL, {"person": "nobody"}).content
    Event.objects.all().delete()
    assert b"Nothing has happened" in browser.get(URL).content


def test_pages_follow_each_other_by_key_and_keep_the_filter(browser, monkeypatch):
    monkeypatch.setattr("manager_app.console.pages.events.PAGE_SIZE", 2)
    for number in range(5):
        make(str(number), kind=EventKind.MOVE)
    page = browser.get(URL, {"kind": "move"}).content.decode()
    follows = re.search(r'href="(\?[^"]*)" rel="next"', page)[1].replace("&amp;", "&")
    assert "kind=move" in follows
    make("late", kind=EventKind.MOVE)
    answer = browser.get(URL + follows).content.decode()
    assert [text for text in ("3", "2", "1", "0", "late") if f"</span> {text}" in answer] == [
        "2",
        "1",
    ]


def test_a_refresh_has_the_live_part_alone(browser):
    make("x")
    part = browser.get(URL, headers={"HX-Request": "true"}).content
    assert b"<form" not in part
    assert b"<ol>" in part


def test_things_are_links_where_they_have_a_page():
    assert Thing("broker", "3").url == "/admin/brokers/3/"
    assert Thing("token", "a b").url == "/admin/manager_app/apitoken/?q=a+b"
    assert Thing("manager", "http://h:1").url == ""
    assert Thing("broker", "x").url == ""
    assert (Thing("topic", "*").url, Thing("topic", "*").text) == ("", "further topics")


def test_the_page_stays_quick_however_many_events_there_are(browser):
    Event.objects.bulk_create(
        [
            Event(
                at=timezone.now(),
                kind=EventKind.values[number % 8],
                action="act",
                text=f"Leaders of {number} partitions changed",
                about=about(topic=f"t{number % 100}", broker=number % 6),
                person=f"user 'u{number % 50}'",
                details={"partitions": number},
            )
            for number in range(20_000)
        ],
        batch_size=2_000,
    )
    for asked in ({}, {"kind": "move"}, {"about": "topic:t7"}, {"person": "nobody at all"}):
        took = []
        for _ in range(3):
            begun = time.thread_time()
            assert browser.get(URL, asked).status_code == 200
            took.append(time.thread_time() - begun)
        assert min(took) < 0.3, asked
