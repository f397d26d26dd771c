"""Every page of the console: usable by everybody, narrow and wide, light and dark."""

from __future__ import annotations

import pytest

from myqueue import Consumer, Producer, Worker
from tests.browser.pages import paths
from tests.browser.visitor import NARROW, SUPERUSER, WIDE, Visitor
from tests.cluster.processes import create_topic, knows_group, wait_until

pytestmark = pytest.mark.cluster

FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
WAIT_S = 60.0
"""For what the brokers do by themselves on a busy machine."""
PAGES = paths(topic="orders", group="billing", workers="mailers", mails="mails")


@pytest.fixture(scope="module", autouse=True)
def something_to_see(cluster):
    """Let there be a message, a group that read it, and workers with a dead letter."""
    at = cluster.manager
    for topic in ("orders", "mails"):
        create_topic(cluster, topic, 2)
    with Producer(["orders", "mails"], at) as producer:
        for topic in ("orders", "mails"):
            producer.send(topic, "a message", partition=0).result(timeout=WAIT_S)
    with Consumer("orders", at, group="billing") as consumer:
        assert consumer.poll(1, timeout=WAIT_S)
        consumer.commit()
    with Worker("mails", at, "mailers", delivery_limit=1) as worker:
        worker.nack(*worker.receive(1, timeout=WAIT_S))
        wait_until(lambda: knows_group(cluster, "mailers"), what="the workers are a group")


@pytest.fixture(scope="module")
def administrator(browser, cluster):
    """One browser for all pages: to log in takes longer than to look."""
    window = {"width": WIDE[0], "height": WIDE[1]}
    # Colours that fade from light to dark are neither for a moment.
    context = browser.new_context(viewport=window, reduced_motion="reduce")
    visitor = Visitor(context, cluster.manager)
    visitor.log_in(SUPERUSER)
    yield visitor
    context.close()
    assert visitor.problems == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_usable_by_everybody_light_and_dark_wide_and_narrow(administrator, name):
    page = administrator.go(PAGES[name])
    assert administrator.violations() == []
    page.evaluate("document.documentElement.className = 'dark'")
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    page.wait_for_function(FITS)  # charts follow their window a moment later
    assert administrator.violations() == []
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})


def test_the_login_page_is_usable_by_everybody(visit):
    visitor = visit("vera")
    visitor.page.context.clear_cookies()
    visitor.go("/admin/login/")
    assert visitor.violations() == []
