"""What cannot be written through a read-only manager, beside its API."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.test import Client as Browser

from manager_app.models import Broker, Cluster, Producer, Topic
from manager_app.services.broker import broker_create
from manager_app.services.client import producer_create
from manager_app.services.cluster import cluster_ensure, lease_give_back, lease_renew
from manager_app.services.topic import topic_create, topic_delete, topic_update
from myqueue.contract.errors import ReadOnlyManager
from tests.manager_app.take_over import take_over

PASSWORD = "secret"
PAGE = "/admin/manager_app/topic/{}/change/"


@pytest.fixture
async def read_only(site):
    """A read-only manager with a topic, and a person who may do everything."""
    await site.create_topic(partitions=1)
    people = get_user_model().objects
    await site.in_database(lambda: people.create_superuser("admin", "", PASSWORD))
    await site.restart_manager(read_only=True)
    return site


async def test_people_log_in_and_look_and_change_nothing(read_only):
    def visit():
        browser = Browser(raise_request_exception=False)
        assert browser.login(username="admin", password=PASSWORD)
        assert Session.objects.count() == 1
        topic = Topic.objects.get()
        shown = browser.get(PAGE.format(topic.pk))
        assert shown.status_code == 200
        assert b'name="_save"' not in shown.content
        changed = browser.post(PAGE.format(topic.pk), {"retention_ms": "7200000"})
        assert (changed.status_code, changed.json()["code"]) == (409, "READ_ONLY_MANAGER")
        listed = browser.get("/admin/manager_app/topic/")
        assert b'name="action"' not in listed.content
        return Topic.objects.get().retention_ms

    assert await read_only.in_database(visit) is None


async def test_on_a_writable_manager_the_same_person_may(read_only):
    await read_only.restart_manager()

    def visit():
        browser = Browser()
        assert browser.login(username="admin", password=PASSWORD)
        topic = Topic.objects.get()
        assert b'name="_save"' in browser.get(PAGE.format(topic.pk)).content
        assert browser.post(PAGE.format(topic.pk), {"retention_ms": "7200000"}).status_code == 302
        return Topic.objects.get().retention_ms

    assert await read_only.in_database(visit) == 7_200_000


@pytest.mark.parametrize(
    "write",
    [
        lambda: topic_update("logs", retention={"retention_ms": 5}),
        lambda: topic_create(name="more", number_of_partitions=1, replication_factor=1),
        lambda: topic_delete("logs"),
        lambda: broker_create("http://127.0.0.1:1"),
        lambda: producer_create("logs"),
        lambda: take_over("http://read-only:1"),
        lambda: lease_give_back("http://manager.test:8000", epoch=2),
        lambda: lease_renew("http://manager.test:8000", epoch=1),
        cluster_ensure,
        lambda: Topic.objects.get().save(),
        lambda: Topic.objects.get().delete(),
        lambda: Broker.objects.update(draining=True),
        lambda: Producer.objects.bulk_create([Producer(topic=Topic.objects.get())]),
    ],
)
async def test_no_service_writes_there(read_only, write):
    def state():
        return (
            list(Topic.objects.values_list()),
            list(Broker.objects.values_list()),
            list(Cluster.objects.values_list()),
            Producer.objects.count(),
        )

    before = await read_only.in_database(state)
    with pytest.raises(ReadOnlyManager) as raised:
        await read_only.in_database(write)
    assert raised.value.details["primary"] == "http://manager.test:8000"
    assert await read_only.in_database(state) == before
