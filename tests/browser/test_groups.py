"""Groups in the console: moved after a preview, dead letters sent back, and who cannot."""

from __future__ import annotations

import time

import pytest

from myqueue import Consumer, Producer, Worker
from tests.browser.visitor import NARROW
from tests.cluster.processes import create_topic, knows_group, wait_until

pytestmark = pytest.mark.cluster

MESSAGES = 6
HTML = "<img src=x onerror=alert(1)>"
LETTERS = "/admin/groups/mailers/dead-letters/mails/"
SESSION_S = 6.0
"""Of the reader: were its leaving not to arrive, it would be a member for so long."""
WAIT_S = 30.0
"""For what the brokers do by themselves."""


@pytest.fixture(scope="module")
def readers(cluster):
    """Give a group that read all of `orders`, and workers whose first message in `mails` died."""
    at = cluster.manager
    for topic in ("orders", "mails", "mails.dead"):
        create_topic(cluster, topic, 1)
    with Producer(["orders", "mails"], at) as producer:
        producer.produce_many("orders", [str(number) for number in range(MESSAGES)])
        producer.produce_many("mails", [HTML, "later"])
    with Consumer("orders", at, group="billing", session_timeout=SESSION_S) as consumer:
        assert len(consumer.poll(MESSAGES, timeout=WAIT_S)) == MESSAGES
        consumer.commit()
    with Worker("mails", at, "mailers", delivery_limit=1) as worker:
        worker.nack(*worker.receive(1, timeout=WAIT_S))
        for group in ("billing", "mailers"):
            wait_until(lambda group=group: knows_group(cluster, group), what=f"group {group}")
        wait_until(lambda: has_nobody(cluster, "billing"), what="nobody reads", seconds=WAIT_S)
        yield worker


def has_nobody(cluster, group):
    """Tell whether a group has no members, so that it may be moved."""
    found = cluster.get(f"/groups/{group}")
    return found["member_count"] == 0 and not found["members"]


def committed(cluster, group="billing"):
    with Consumer("orders", cluster.manager, group=group) as consumer:
        return [int(message.value) for message in consumer.poll(MESSAGES, timeout=WAIT_S)]


def wait_for_letter(page):
    """Look until the message that died is in the dead-letter topic."""
    deadline = time.monotonic() + WAIT_S
    while not page.get_by_role("cell", name=HTML).count():
        assert time.monotonic() < deadline, page.inner_text("main, body")
        page.wait_for_timeout(200)
        page.reload()


def test_a_group_is_moved_back_after_a_preview(cluster, readers, visit):
    visitor = visit("olga")
    page = visitor.go("/admin/groups/billing/")
    page.get_by_role("link", name="Move offsets").click()
    page.select_option("[name=to]", "shift")
    page.fill("[name=amount]", "-2")
    page.get_by_role("button", name="Continue").click()
    row = page.get_by_role("row", name="0 6 4 -2")
    assert row.count() == 1, page.inner_text("main, body")
    page.get_by_role("button", name="Move offsets").click()
    page.wait_for_url("**/admin/groups/billing/")
    assert page.get_by_text("goes on elsewhere in 1 partition").count()
    assert committed(cluster) == [MESSAGES - 2, MESSAGES - 1]


def test_a_dead_letter_is_shown_as_text_and_sent_back(cluster, readers, visit):
    visitor = visit("mona")
    page = visitor.go("/admin/groups/mailers/")
    page.get_by_role("link", name="What died in mails").click()
    wait_for_letter(page)
    assert page.locator("img[src=x]").count() == 0
    page.get_by_role("link", name="Redrive").click()
    assert page.get_by_text("1 dead letter in mails.dead will go back to topic mails").count()
    page.get_by_role("button", name="Redrive").click()
    page.wait_for_url(f"**{LETTERS}")
    assert page.get_by_text("1 dead letter sent back to mails").count()
    assert page.get_by_text("No dead letter waits here.").count()
    values = {one.value for one in readers.receive(5, timeout=WAIT_S)}
    values |= {one.value for one in readers.receive(5, timeout=1)}
    assert values == {HTML, "later"}


def test_a_viewer_sees_it_all_and_can_do_nothing(readers, visit):
    visitor = visit("vera", size=NARROW)
    for path in ("/admin/groups/", "/admin/groups/billing/", "/admin/groups/mailers/", LETTERS):
        page = visitor.go(path)
        for word in ("Move offsets", "Delete", "Redrive", "Purge"):
            assert page.locator("a.q-button", has_text=word).count() == 0, (path, word)
        assert HTML not in page.inner_text("body"), "reading messages is a right of its own"
    for path in (
        "/admin/groups/billing/move/",
        "/admin/groups/billing/forget/",
        f"{LETTERS}redrive/",
        f"{LETTERS}purge/",
    ):
        assert visitor.status_of(path) == 403, path


def test_everybody_can_use_the_pages(readers, visit):
    for visitor in (visit("mona", dark=True), visit("mona", size=NARROW)):
        for path in ("/admin/groups/", "/admin/groups/billing/", LETTERS):
            page = visitor.go(path)
            assert visitor.violations() == [], path
            excess = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert excess <= 0, (path, page.viewport_size)
