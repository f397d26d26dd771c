from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from manager_app import selectors
from manager_app.inputs import EventsQuery
from manager_app.models import Event, EventKind
from manager_app.services import events
from manager_app.services.events import about, about_all, event_store, events_forget, events_store

pytestmark = pytest.mark.django_db


def make(action, **fields):
    event_store(event := Event(action=action, **fields))
    return event


def found(**asked):
    return [event.action for event in selectors.events_list(EventsQuery(**asked)).rows]


def test_an_event_gets_its_time_and_what_has_no_room_is_cut():
    event = make("a" * 100, text="\0" + "b" * 2_000, origin="c" * 80, person="d" * 300)
    event.refresh_from_db()
    assert timezone.now() - event.at < timedelta(minutes=1)
    sizes = [len(part) for part in (event.action, event.text, event.origin, event.person)]
    assert sizes == [64, 1_000, 64, 255]
    assert event.text.endswith("b…")
    assert "\0" not in event.text


def test_what_an_event_is_about_is_one_line_each_and_topics_are_bounded():
    assert about(topic="orders", broker=3) == "\ntopic:orders\nbroker:3\n"
    assert about() == ""
    many = about_all([*(("topic", f"t{number}") for number in range(50)), ("broker", 1)] * 2)
    assert many.count("\ntopic:t") == events.NAMED_MAX
    assert many.endswith("\ntopic:*\nbroker:1\n")
    assert make("x", about=about(person="ada b\nc")).things == [("person", "ada b c")]
    assert make("x").things == []


def test_events_of_one_statement_have_their_times(django_assert_num_queries):
    with django_assert_num_queries(1):
        events_store(Event(action=name) for name in ("a", "b"))
    with django_assert_num_queries(0):
        events_store([])
    assert found() == ["b", "a"]


def test_each_filter_takes_what_fits_whole():
    old = timezone.now() - timedelta(days=2)
    make("a", kind=EventKind.BROKER, about=about(broker=3), at=old)
    make("b", about=about(topic="orders"), person="user 'ada'")
    make("c", about=about(topic="orders.eu", broker=33), person="user 'Ada'")
    make("d", about="\ntopic:x\ntopic:*\n")
    assert found(kind="broker") == ["a"]
    assert found(about="broker:3") == ["a"]
    assert found(about="topic:orders") == ["d", "b"], "one may be about more than it names"
    assert found(about="topic:ORDERS") == ["d"]
    assert found(person="ada") == ["b"]
    day_ago = int((timezone.now() - timedelta(days=1)).timestamp() * 1000)
    assert found(until=day_ago) == ["a"]
    assert found(since=day_ago, about="topic:orders") == ["d", "b"]


def test_pages_are_by_key_whatever_comes_meanwhile():
    for number in range(5):
        make(str(number))
    page = selectors.events_list(EventsQuery(limit=2))
    assert [event.action for event in page.rows] == ["4", "3"]
    make("5")
    assert found(limit=2, after=page.next) == ["2", "1"]
    assert selectors.events_list(EventsQuery(limit=2, after=str(1))).next is None


def test_old_events_are_forgotten_and_one_kind_pushes_out_no_other(monkeypatch):
    monkeypatch.setattr(events, "EVENTS_PER_KIND_MAX", 3)
    now = timezone.now()
    make("old", at=now - timedelta(days=events.DAYS_KEPT, seconds=1))
    make("who", at=now - timedelta(days=events.DAYS_KEPT - 1))
    for number in range(6):
        make(str(number), kind=EventKind.ELECTION)
    assert events_forget(now) == 4
    assert found() == ["5", "4", "3", "who"]
    assert events_forget(now) == 0
