"""Topics and messages in a browser: made, published, found, followed, and safe to look at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from myqueue import Producer
from tests.browser.visitor import NARROW, WIDE
from tests.cluster.processes import create_topic, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.visitor import Visitor

pytestmark = pytest.mark.cluster

TOPIC = "orders"
MESSAGES = f"/admin/topics/{TOPIC}/messages/"
MARKUP = "<script>window.hit = 1</script><img src=x onerror='window.hit = 2'>"
HOSTILE = {
    "markup": MARKUP,
    "MiB": MARKUP + "x" * ((1 << 20) - len(MARKUP)),
    "binary": b"\xff\x00\x1b" * 1_000,
    "json": json.dumps([{"text": MARKUP, "number": number} for number in range(10_000)]),
}
"""Key -> value of a message."""


@pytest.fixture(scope="module", autouse=True)
def topic(cluster):
    create_topic(cluster, TOPIC, 2)


@pytest.fixture(scope="module")
def hostile(cluster, topic):
    """Publish messages that nobody should have to fear; their places by key."""
    with Producer(TOPIC, cluster.manager) as producer:
        sent = {
            key: producer.send(TOPIC, value, key=key, headers={MARKUP: MARKUP}, partition=0)
            for key, value in HOSTILE.items()
        }
        return {key: one.result(timeout=60).offset for key, one in sent.items()}


def keys(page: Page) -> list[str]:
    """Return the keys of the messages that are listed."""
    return page.locator("#found .q-key").all_inner_texts()


def go_until_all_answer(visitor: Visitor, path: str) -> Page:
    """Go to a page of messages, again while it says that a broker was too slow for it."""

    def is_whole() -> bool:
        return visitor.go(path).locator(".q-note").count() == 0

    wait_until(is_whole, what="every partition is shown", seconds=120)
    return visitor.page


def test_a_topic_is_created_changed_and_deleted(visit):
    visitor = visit("anna")
    page = visitor.go("/admin/topics/")
    page.click("text=Create topic")
    page.fill("[name=topic]", "not/possible")
    page.click("form >> text=Create topic")
    page.wait_for_selector("[role=alert]")
    page.fill("[name=topic]", "invoices")
    page.fill("[name=keep_for]", "7 days")
    page.click("form >> text=Create topic")
    page.click("table >> text=invoices")
    page.wait_for_selector("text=7 d")
    page.click(".q-tabs >> text=Settings")
    page.click("text=Delete topic")
    page.fill("[name=typed]", "invoices")
    page.click("form >> text=Delete topic")
    page.wait_for_selector("text=Topic invoices is deleted")
    assert page.locator("table >> text=invoices").count() == 0
    # The form that was refused is a 400, which the browser says in its console.
    visitor.problems[:] = [one for one in visitor.problems if "400 (Bad Request)" not in one]


def test_a_message_is_published_and_found_by_text_offset_and_time(visit):
    visitor = visit("mona")
    page = visitor.go(f"/admin/topics/{TOPIC}/publish/")
    page.fill("[name=value]", '{"order": 17, "city": "Lisbon"}')
    page.fill("[name=key]", "order-17")
    page.fill("[name=headers]", "trace: abc")
    page.fill("[name=partition]", "1")
    page.click("form >> text=Publish")
    page.click("text=partition 1, offset")
    page.wait_for_selector("#value")
    assert '"city": "Lisbon"' in page.inner_text("#value")
    offset = page.url.rstrip("/").rpartition("/")[2]
    for query, found in [
        ("text=lisbon", ["order-17"]),
        ("text=nowhere", []),
        (f"start=offset&offset={offset}&partition=1", ["order-17"]),
        ("start=time&time=2020-01-01T00:00&partition=1", ["order-17"]),
        ("start=time&time=2200-01-01T00:00&partition=1", []),
        ("path=$.order=17", ["order-17"]),
        ("key=order-*&header=trace=abc", ["order-17"]),
    ]:
        assert keys(go_until_all_answer(visitor, f"{MESSAGES}?{query}")) == found, query


def test_messages_are_followed_live(visit, cluster):
    page = go_until_all_answer(visit("mona"), MESSAGES)
    page.click("text=Follow live")
    page.wait_for_selector("[data-follow]")
    with Producer(TOPIC, cluster.manager) as producer:
        for number in range(3):
            producer.send(TOPIC, "live", key=f"live-{number}", partition=0).result(timeout=60)
    page.wait_for_selector(".q-key >> text=live-2")
    assert keys(page)[:3] == ["live-2", "live-1", "live-0"]


def test_hostile_messages_are_text_and_run_nothing(visit, hostile):
    visitor = visit("mona")
    page = visitor.page
    page.on("dialog", lambda dialog: visitor.problems.append(f"dialog: {dialog.message}"))
    places = [f"{MESSAGES}0/{offset}/?form={form}" for offset in hostile.values() for form in FORMS]
    for path in (MESSAGES, f"{MESSAGES}?follow=1", f"{MESSAGES}?text=script", *places):
        visitor.go(path)
        assert page.evaluate("window.hit") is None, path
        assert page.locator("img[src=x]").count() == 0
    visitor.go(f"{MESSAGES}0/{hostile['markup']}/")
    assert page.inner_text("#value") == MARKUP
    visitor.go(f"{MESSAGES}0/{hostile['MiB']}/")
    assert "1.0 MiB in all" in page.inner_text("main" if page.locator("main").count() else "body")


FORMS = ("auto", "hex")


def test_who_may_not_read_messages_finds_no_way_to_them(visit):
    visitor = visit("anna")
    page = visitor.go(f"/admin/topics/{TOPIC}/")
    assert page.locator(f"a[href^='{MESSAGES}']").count() == 0
    for path in (MESSAGES, f"{MESSAGES}0/0/", f"{MESSAGES}download/", f"{MESSAGES}?follow=1"):
        assert visitor.status_of(path) == 403
    viewer = visit("vera")
    page = viewer.go(f"/admin/topics/{TOPIC}/")
    assert page.locator(".q-tabs >> text=Settings").count() == 0
    assert viewer.status_of("/admin/create-topic/") == 403


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_with_messages_are_usable_by_everybody_and_fit(visit, hostile, dark):
    paths = (
        MESSAGES,
        f"{MESSAGES}?follow=1",
        f"{MESSAGES}0/{hostile['json']}/",
        f"{MESSAGES}0/{hostile['binary']}/",
        f"{MESSAGES}0/{hostile['json']}/republish/",
        f"/admin/topics/{TOPIC}/publish/",
    )
    wide, narrow = visit("mona", size=WIDE, dark=dark), visit("mona", size=NARROW, dark=dark)
    found = {path: wide.go(path) and wide.violations() for path in paths}
    assert {path: problems for path, problems in found.items() if problems} == {}
    for path in paths:
        page = narrow.go(path)
        excess = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert excess <= 0, path
