"""Every page of the console: usable by everybody, narrow and wide, light and dark."""

from __future__ import annotations

import pytest

from tests.browser.visitor import NARROW, WIDE
from tests.cluster.processes import create_topic

pytestmark = pytest.mark.cluster

TOPIC = "orders"
PAGES = (
    "/admin/",
    "/admin/brokers/",
    "/admin/brokers/1/",
    "/admin/brokers/1/drain/",
    "/admin/brokers/1/hand-over/",
    "/admin/rebalance/",
    "/admin/rebalance/start/",
    "/admin/records/",
    "/admin/manager_app/topic/",
    "/admin/auth/user/",
)
"""What is looked at; a topic `orders` of two partitions is there."""


@pytest.fixture(scope="module", autouse=True)
def something_to_see(cluster):
    create_topic(cluster, TOPIC, 2)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(visit, dark):
    visitor = visit("anna", dark=dark)
    found = {path: visitor.go(path) and visitor.violations() for path in PAGES}
    assert {path: problems for path, problems in found.items() if problems} == {}


def test_no_page_is_wider_than_its_window(visit):
    wide, narrow = visit("anna", size=WIDE), visit("anna", size=NARROW)
    for path in PAGES:
        for visitor in (wide, narrow):
            page = visitor.go(path)
            excess = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert excess <= 0, (path, page.viewport_size)


def test_the_login_page_is_usable_by_everybody(visit):
    visitor = visit("vera")
    visitor.page.context.clear_cookies()
    visitor.go("/admin/login/")
    assert visitor.violations() == []
