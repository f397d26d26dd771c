"""Somebody looks whether the cluster is well, on a day on which a broker dies."""

from __future__ import annotations

import os
import re
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster

NAMED_MS = 20_000
"""A dead broker is named within so many milliseconds."""
BACK_MS = 60_000
"""For a process that starts again on a busy machine, and a report."""


@contextmanager
def one_broker_dead(cluster: Cluster) -> Iterator[int]:
    """Kill a broker and let nobody start it again meanwhile; yield its id."""
    assert cluster.process is not None
    address = cluster.broker_addresses()[-1]
    [broker_id] = [
        one["broker_id"]
        for one in cluster.get("/brokers", detail=1)["brokers"]
        if one["address"] == address
    ]
    os.kill(cluster.process.pid, signal.SIGSTOP)
    try:
        pid = cluster.kill(address)
        yield broker_id
    finally:
        os.kill(cluster.process.pid, signal.SIGCONT)
    cluster.wait_restarted(address, pid)


FINE = "[data-health=good], [data-health=warn]"
"""A busy machine lets clocks be late, which is a warning."""


def test_a_healthy_cluster_is_said_to_work(visit):
    page = visit("vera").go("/admin/")
    expect(page.locator(FINE)).to_have_text(re.compile("^(All is well|It works)"), timeout=BACK_MS)
    expect(page.locator(".q-problem.q-bad")).to_have_count(0)
    expect(page.get_by_role("article")).to_have_count(3)


def test_a_dead_broker_is_named_in_time_and_no_more_when_it_is_back(visit, cluster):
    page = visit("vera").go("/admin/")
    expect(page.locator(FINE)).to_be_visible(timeout=BACK_MS)
    with one_broker_dead(cluster) as broker_id:
        problem = page.locator(".q-problem.q-bad", has_text=f"Broker {broker_id} ")
        expect(problem).to_contain_text("does not answer", timeout=NAMED_MS)
        expect(page.locator("[data-health=bad]")).to_be_visible()
    expect(problem).to_have_count(0, timeout=BACK_MS)
    expect(page.locator(FINE)).to_be_visible(timeout=BACK_MS)


def test_it_can_be_read_without_javascript(browser, visit, cluster):
    state = visit("vera").page.context.storage_state()
    context = browser.new_context(storage_state=state, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{cluster.manager}/admin/")
    assert page.locator("[data-health]").is_visible()
    page.set_viewport_size({"width": 400, "height": 800})
    page.get_by_role("link", name="Brokers", exact=True).click()
    assert page.url == f"{cluster.manager}/admin/brokers/"
    assert page.get_by_role("heading", name="Brokers").is_visible()
    context.close()


def test_the_menu_opens_by_keyboard_on_a_narrow_screen(visit):
    page = visit("vera", size=(400, 800)).go("/admin/")
    menu = page.get_by_role("button", name="Menu", exact=True)
    menu.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Brokers", exact=True)).to_be_visible()
    page.get_by_role("button", name="Close the menu").press("Enter")
    expect(page.get_by_role("link", name="Brokers", exact=True)).to_be_hidden()
