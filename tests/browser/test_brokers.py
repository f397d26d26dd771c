"""Brokers are drained and kept, moves are paused and started, by those alone that may."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster


@contextmanager
def hanging(cluster: Cluster, addresses: list[str]) -> Iterator[None]:
    """Let brokers do nothing for a while: what is to move to them stays where it is."""
    pids = [cluster.pid_of(address) for address in addresses]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_an_operator_drains_a_broker_and_keeps_it(visit, cluster):
    made = cluster.post("/topics", topic="single", number_of_partitions=3, replication_factor=1)
    assert made["http_status"] == 201, made
    first, *others = cluster.get("/brokers", detail=1)["brokers"]
    page = visit("olga").go(f"/admin/brokers/{first['broker_id']}/")
    with hanging(cluster, [one["address"] for one in others]):
        page.get_by_role("link", name="Drain").click()
        expect(page.get_by_text("Its 1 replica move to other brokers")).to_be_visible()
        page.get_by_role("button", name="Drain").click()
        expect(page.get_by_text("is being emptied of 1 replica")).to_be_visible()
        page.get_by_role("link", name="Keep").click()
        page.get_by_role("button", name="Keep").click()
        expect(page.get_by_text(f"Broker {first['broker_id']} stays.")).to_be_visible()
        expect(page.get_by_role("link", name="Drain")).to_be_visible()


def test_a_broker_that_was_announced_in_vain_is_removed(visit, cluster):
    added = cluster.post("/brokers", broker_address="http://127.0.0.1:9")
    page = visit("olga").go(f"/admin/brokers/{added['broker_id']}/drain/")
    page.get_by_role("button", name="Drain").click()
    expect(page.get_by_text(f"Broker {added['broker_id']} is removed.")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(3)


def test_moves_are_paused_given_a_speed_and_started(visit):
    page = visit("olga").go("/admin/rebalance/")
    page.get_by_role("link", name="Pause").click()
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".q-facts .q-badge")).to_have_text("paused")
    page.get_by_role("link", name="Start").click()
    page.get_by_label("MiB per second").fill("48")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("48.0 MiB a second")).to_be_visible()
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".q-facts .q-badge")).to_have_text("on")
    expect(page.get_by_text("48.0 MiB/s")).to_be_visible()


def test_a_viewer_can_do_none_of_it(visit):
    visitor = visit("vera")
    for path, actions in (
        ("/admin/brokers/1/", ("drain", "undrain", "hand-over")),
        ("/admin/rebalance/", ("start", "pause", "cancel")),
    ):
        page = visitor.go(path)
        for action in actions:
            assert page.locator(f"a[href='{path}{action}/']").count() == 0
            assert visitor.status_of(f"{path}{action}/") == 403
