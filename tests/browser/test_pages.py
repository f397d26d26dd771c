"""Every page of the console: usable by everybody, narrow and wide, light and dark."""

from __future__ import annotations

import pytest

from tests.browser.visitor import NARROW, SUPERUSER, WIDE, Visitor
from tests.cluster.processes import create_topic

pytestmark = pytest.mark.cluster

TOPIC = "orders"
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
PAGES = (
    "/admin/",
    "/admin/brokers/",
    "/admin/brokers/1/",
    "/admin/brokers/1/drain/",
    "/admin/brokers/1/hand-over/",
    "/admin/rebalance/",
    "/admin/rebalance/start/",
    f"/admin/topics/{TOPIC}/",
    f"/admin/topics/{TOPIC}/messages/",
    f"/admin/topics/{TOPIC}/publish/",
    f"/admin/topics/{TOPIC}/settings/",
    "/admin/topics/",
    "/admin/groups/",
    "/admin/clients/",
    "/admin/events/",
    "/admin/records/",
    "/admin/manager_app/apitoken/add/",
    "/admin/auth/user/add/",
    "/admin/manager_app/topic/",
    "/admin/auth/user/",
)
"""What is looked at; a topic `orders` of two partitions is there."""


@pytest.fixture(scope="module", autouse=True)
def something_to_see(cluster):
    create_topic(cluster, TOPIC, 2)


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


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_usable_by_everybody_light_and_dark_wide_and_narrow(administrator, path):
    page = administrator.go(path)
    assert administrator.violations() == []
    page.evaluate("document.documentElement.className = 'dark'")
    assert administrator.violations(rules=["color-contrast"]) == []
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    page.wait_for_function(FITS)  # charts follow their window a moment later
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})


def test_the_login_page_is_usable_by_everybody(visit):
    visitor = visit("vera")
    visitor.page.context.clear_cookies()
    visitor.go("/admin/login/")
    assert visitor.violations() == []
