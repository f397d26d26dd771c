from __future__ import annotations

import pytest

from manager_app.models import ConsumerGroup, Event, EventKind, Topic
from manager_app.services.cluster import fenced
from myqueue.contract.records import Record
from tests.manager_app.many_partitions import make_cluster

NEW = "/admin/create-topic/"
FIELDS = {
    "topic": "orders",
    "number_of_partitions": 2,
    "replication_factor": 2,
    "keep_for": "7 days",
    "keep_size": "",
}


def settings_of(name):
    return Topic.objects.values_list(
        "partitions__index", "replication_factor", "retention_ms", "retention_bytes"
    ).filter(name=name)


def audited():
    kinds = (EventKind.ACTION, EventKind.CONFIGURATION)
    actions = Event.objects.filter(kind__in=kinds, person__contains="administrator")
    return [(one.action, one.things, one.outcome) for one in actions.order_by("pk")]


@pytest.mark.django_db
def test_topics_are_listed_found_and_paged(log_in, monkeypatch):
    monkeypatch.setattr("manager_app.console.pages.topics.TOPICS_PER_PAGE", 2)
    make_cluster(3)
    browser = log_in("viewer")
    shown = browser.get("/admin/topics/").content.decode()
    assert "/admin/topics/t0/" in shown
    assert "/admin/topics/t2/" not in shown
    assert "?after=t1" in shown
    assert "/admin/topics/t2/" in browser.get("/admin/topics/?after=t1").content.decode()
    found = browser.get("/admin/topics/?name=T2").content.decode()
    assert "/admin/topics/t2/" in found
    assert "/admin/topics/t0/" not in found
    assert b"No topic has this in its name." in browser.get("/admin/topics/?name=zz").content


@pytest.mark.django_db
def test_no_topic_at_all_is_said_with_what_to_do(log_in):
    assert b"There is no topic yet." in log_in("viewer").get("/admin/topics/").content
    assert log_in("operator").get("/admin/topics/nowhere/").status_code == 404


@pytest.mark.django_db
def test_who_may_not_change_topics_finds_no_button_and_is_refused(log_in):
    make_cluster(1)
    actions = [
        NEW,
        *(f"/admin/topics/t0/settings/{name}/" for name in ("retention", "partitions", "purge")),
        "/admin/topics/t0/settings/delete/",
    ]
    for role in ("viewer", "operator"):
        browser = log_in(role)
        for page in ("/admin/topics/", "/admin/topics/t0/"):
            shown = browser.get(page).content.decode()
            assert not any(action in shown for action in actions), (role, page)
            assert "/admin/topics/t0/settings/" not in shown
        for action in (*actions, "/admin/topics/t0/settings/"):
            assert browser.get(action).status_code == 403
            assert browser.post(action, {"confirmed": 1}).status_code == 403 or action.endswith(
                "settings/"
            )
    assert Topic.objects.filter(name="t0").exists()
    browser = log_in("administrator")
    shown = browser.get("/admin/topics/").content.decode()
    assert NEW in shown
    shown = browser.get("/admin/topics/t0/settings/").content.decode()
    assert all(action in shown for action in actions[1:])


@pytest.mark.django_db
def test_a_topic_shows_its_partitions_in_pages(log_in, monkeypatch):
    monkeypatch.setattr("manager_app.console.pages.topics.PARTITIONS_PER_PAGE", 4)
    make_cluster(1)
    browser = log_in("viewer")
    shown = browser.get("/admin/topics/t0/").content.decode()
    assert shown.count('class="q-replicas"') == 4
    assert "?after=3" in shown
    assert browser.get("/admin/topics/t0/?after=7").content.decode().count("q-replicas") == 2
    assert browser.get("/admin/topics/t0/?after=x").status_code == 200


async def test_a_topic_shows_what_is_in_it_now_and_who_writes_and_reads(
    site, log_in_at, monkeypatch
):
    for limit in ("REPORT_LIMIT_S", "REPORTS_LIMIT_S"):  # however busy this machine is
        monkeypatch.setattr(f"manager_app.console.pages.topics.{limit}", 60.0)
    await site.create_topic(partitions=2)
    producer = await site.producer()
    consumer = await site.consumer()
    await site.produce(producer, "m", partition=0)

    def add_group():
        with fenced():
            ConsumerGroup.objects.create(name="billing", topics={"logs": [2, 1]})

    await site.in_database(add_group)
    browser = await log_in_at("viewer")
    shown = (await browser.get("/admin/topics/logs/")).body.decode()
    assert "<dt>Messages</dt><dd>1</dd>" in shown
    assert ">billing<" in shown
    for one in (producer, consumer):
        assert f'class="q-num">{one}</th>' in shown
    assert "/admin/topics/logs/messages/" not in shown
    with_messages = await log_in_at("operator", messages=True)
    shown = (await with_messages.get("/admin/topics/logs/")).body.decode()
    assert "/admin/topics/logs/messages/?partition=1" in shown


async def test_a_topic_is_created_by_a_form_that_names_the_wrong_field(site, log_in_at):
    browser = await log_in_at("administrator")
    asked = (await browser.get(NEW)).body.decode()
    assert 'name="number_of_partitions" value="3"' in asked
    for wrong, said in [
        ({"topic": "no/slash"}, "topic"),
        ({"number_of_partitions": 0}, "greater than or equal to 1"),
        ({"keep_for": "a while"}, "write it like 7 days"),
        ({"keep_size": "0 B"}, "above 0"),
    ]:
        refused = await browser.post(NEW, **(FIELDS | wrong))
        assert refused.status == 400
        assert said in refused.body.decode()
    refused = await browser.post(NEW, **(FIELDS | {"replication_factor": 9}))
    assert refused.status == 503
    assert b"needs as many live brokers" in refused.body
    assert b'name="replication_factor" value="9"' in refused.body
    assert not await site.in_database(lambda: Topic.objects.exists())
    made = await browser.post(NEW, **FIELDS)
    assert (made.status, made.headers["location"]) == (302, "/admin/topics/")
    assert sorted(await site.in_database(lambda: [*settings_of("orders")])) == [
        (index, 2, 604_800_000, None) for index in range(2)
    ]
    told = (await site.in_database(audited))[-1]
    assert told == ("create topic", [("topic", "orders")], "done")
    again = await browser.post(NEW, **FIELDS)
    assert again.status == 400
    assert b"There is a topic orders already." in again.body


async def test_retention_and_partitions_are_changed_and_written_down(site, log_in_at):
    await site.create_topic(partitions=2)
    browser = await log_in_at("administrator")
    url = "/admin/topics/logs/settings/retention/"
    asked = await browser.post(url, keep_for="2 d", keep_size="1 GiB")
    assert b"Messages are kept for 2 d." in asked.body
    assert await site.in_database(lambda: settings_of("logs").first()[2:]) == (None, None)
    done = await browser.post(url, keep_for="2 d", keep_size="1 GiB", confirmed=1)
    assert (done.status, done.headers["location"]) == (302, "/admin/topics/logs/settings/")
    url = "/admin/topics/logs/settings/partitions/"
    assert b"2 partitions are added to 2." in (await browser.post(url, number_of_partitions=4)).body
    less = await browser.post(url, number_of_partitions=1, confirmed=1)
    assert less.status == 400
    assert b"can only grow" in less.body
    assert (await browser.post(url, number_of_partitions=4, confirmed=1)).status == 302
    rows = await site.in_database(lambda: [*settings_of("logs")])
    assert sorted(row[0] for row in rows) == [0, 1, 2, 3]
    assert rows[0][2:] == (172_800_000, 1 << 30)
    shown = (await browser.get("/admin/topics/logs/settings/")).body.decode()
    assert "Messages are deleted after 2 d. Each partition keeps about 1.0 GiB." in shown
    assert await site.in_database(audited) == [
        ("change retention", [("topic", "logs")], "done"),
        ("add partitions", [("topic", "logs")], "refused"),
        ("add partitions", [("topic", "logs")], "done"),
    ]


async def test_a_topic_is_purged_once_its_name_is_typed(site, log_in_at):
    await site.create_topic(partitions=2)
    for index in range(2):
        site.twins.group("logs", index).append([Record("x", timestamp=1)] * 3)
    browser = await log_in_at("administrator")
    url = "/admin/topics/logs/settings/purge/"
    assert b"All messages that are in it now are deleted for good" in (await browser.get(url)).body
    refused = await browser.post(url, confirmed=1, typed="log")
    assert refused.status == 400
    assert [site.twins.group("logs", index).begin for index in range(2)] == [0, 0]
    done = await browser.post(url, confirmed=1, typed="logs")
    assert (done.status, done.headers["location"]) == (302, "/admin/topics/logs/settings/")
    assert [site.twins.group("logs", index).begin for index in range(2)] == [3, 3]
    event = await site.in_database(lambda: Event.objects.get(action="purge"))
    assert (event.text, event.outcome) == ("6 messages deleted from logs.", "done")


async def test_a_topic_is_deleted_once_its_name_is_typed(site, log_in_at):
    await site.create_topic()
    await site.producer()
    browser = await log_in_at("administrator")
    url = "/admin/topics/logs/settings/delete/"
    assert b"1 registered client of it cannot go on." in (await browser.get(url)).body
    assert (await browser.post(url, confirmed=1)).status == 400
    assert await site.in_database(lambda: Topic.objects.exists())
    done = await browser.post(url, confirmed=1, typed="logs")
    assert (done.status, done.headers["location"]) == (302, "/admin/topics/")
    assert not await site.in_database(lambda: Topic.objects.exists())


async def test_a_topic_shows_how_much_comes_to_each_partition(site, log_in_at):
    await site.create_topic(partitions=2)
    browser = await log_in_at("viewer")
    rates, now_s = site.runtime.watch.partition_rates, site.clock.monotonic_s()
    before = (await browser.get("/admin/topics/logs/")).body.decode()
    assert "q-spark-none" in before
    ids = [one.group_id for one in site.runtime.metadata.topic("logs").partitions]
    for minute in range(3):
        rates.put({ids[0]: 6_000 * minute, ids[1]: 0}, now_s + 60 * minute)
    site.clock.seconds += 120
    after = (await browser.get("/admin/topics/logs/")).body.decode()
    assert "100/s" in after
    assert after.count('class="q-spark"') == 2
