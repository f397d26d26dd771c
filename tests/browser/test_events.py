"""Events and clients in the console, and a broker's own pages."""

from __future__ import annotations

import pytest

from tests.browser.visitor import NARROW
from tests.cluster.processes import create_topic

pytestmark = pytest.mark.cluster
TOPIC = "clicks"
PAGES = ("/admin/events/", f"/admin/events/?about=topic:{TOPIC}", "/admin/clients/")


@pytest.fixture(scope="module", autouse=True)
def something_to_see(cluster):
    create_topic(cluster, TOPIC, 2)


def test_what_happened_to_a_topic_is_found_and_appears_by_itself(visit, cluster):
    visitor = visit("vera")
    page = visitor.go("/admin/events/")
    page.fill("[name=about]", f"topic:{TOPIC}")
    page.click("button:has-text('Filter')")
    page.wait_for_url("**about=topic*")
    page.wait_for_selector(f"text=Topic '{TOPIC}' created")
    assert page.locator("text=logged in").count() == 0
    page.click("a:has-text('Clear')")
    page.wait_for_selector("text=User 'vera' logged in")
    create_topic(cluster, "late", 1)
    page.wait_for_selector("text=Topic 'late' created")


def test_pages_of_events_and_clients_are_usable_by_everybody(visit):
    for visitor in (visit("vera", dark=True), visit("vera", size=NARROW)):
        for path in PAGES:
            page = visitor.go(path)
            assert visitor.violations() == [], path
            width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(width) <= 0, path


def test_a_broker_shows_its_replicas(visit, cluster):
    visitor = visit("vera", size=NARROW, dark=True)
    visitor.page.goto("about:blank")
    visitor.address = cluster.broker_addresses()[0]
    page = visitor.go("/console/")
    page.wait_for_selector("text=Connections to other brokers")
    assert visitor.violations() == []
    page.click("nav >> text=Replicas")
    page.click(f"text={TOPIC}/0")
    page.wait_for_selector("h2 >> text=Followers")
    assert visitor.violations() == []
