from __future__ import annotations

import pytest

from manager_app.models import Broker, Event
from tests.manager_app.many_partitions import make_cluster


@pytest.mark.django_db
def test_brokers_are_listed_with_what_they_hold(log_in):
    make_cluster(1)
    browser = log_in("viewer")
    shown = browser.get("/admin/brokers/").content.decode()
    for broker in Broker.objects.all():
        assert f"/admin/brokers/{broker.broker_id}/" in shown
    page = f"/admin/brokers/{broker.broker_id}/"
    assert "drain" not in browser.get(page).content.decode().lower()
    assert f"{page}drain/" in log_in("operator").get(page).content.decode()


@pytest.mark.django_db
def test_no_broker_at_all_is_said_with_what_to_do(log_in):
    assert b"No broker has registered." in log_in("viewer").get("/admin/brokers/").content
    assert log_in("operator").get("/admin/brokers/9/").status_code == 404


async def test_a_broker_is_drained_and_kept_here(site, log_in_at):
    await site.create_topic(partitions=2)
    browser = await log_in_at("operator")
    refused = await browser.post("/admin/brokers/2/drain/", confirmed=1)
    assert refused.status == 409
    assert b"start one more" in refused.body
    await site.twins.add(1)
    await site.twins.brokers[-1].report()
    asked = await browser.get("/admin/brokers/2/drain/")
    assert b"Its 2 replicas move to other brokers" in asked.body
    done = await browser.post("/admin/brokers/2/drain/", confirmed=1)
    assert (done.status, done.headers["location"]) == (302, "/admin/brokers/2/")
    shown = await browser.get("/admin/brokers/2/")
    assert b"/admin/brokers/2/undrain/" in shown.body
    assert await site.in_database(is_draining, 2)
    kept = await browser.post("/admin/brokers/2/undrain/", confirmed=1)
    assert kept.status == 302
    assert not await site.in_database(is_draining, 2)
    assert await site.in_database(audited) == [
        ("keep", "\nbroker:2\n", "done"),
        ("drain", "\nbroker:2\n", "done"),
        ("drain", "\nbroker:2\n", "refused"),
    ]


async def test_a_broker_without_replicas_is_removed_at_once(site, log_in_at):
    browser = await log_in_at("operator")
    assert b"is removed at once" in (await browser.get("/admin/brokers/3/drain/")).body
    done = await browser.post("/admin/brokers/3/drain/", confirmed=1)
    assert (done.status, done.headers["location"]) == (302, "/admin/brokers/")
    assert not await site.in_database(Broker.objects.filter(pk=3).exists)


def is_draining(broker_id):
    return Broker.objects.get(pk=broker_id).draining


def audited():
    return list(Event.objects.filter(kind="action").values_list("action", "about", "outcome"))
