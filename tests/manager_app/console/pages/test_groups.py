"""The pages of groups: who falls behind, where a group is, moving and deleting one."""

from __future__ import annotations

import re

import pytest

from manager_app.console.pages.groups import numbers_of, runs_of
from manager_app.groups import standings
from manager_app.models import ConsumerGroup, Event
from manager_app.services.cluster import fenced, metadata_bump
from tests.manager_app.group_twin import CommittedTwin
from tests.manager_app.reader import Reader


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([3], "3"), ([2, 0, 1], "0-2"), ([0, 1, 3, 5, 6], "0-1, 3, 5-6")],
)
def test_numbers_that_follow_each_other_are_one_run(numbers, text):
    assert runs_of(numbers) == text
    assert numbers_of(text) == (sorted(numbers) or None)


def test_of_many_runs_the_first_are_named():
    assert runs_of(range(0, 100, 2)).endswith("20, 22 and 38 more")


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "0-99999", "1,,2"])
def test_what_is_no_list_of_partitions_is_refused(text):
    with pytest.raises(ValueError, match=r".*"):
        numbers_of(text)


@pytest.fixture
async def busy(site, monkeypatch):
    ask_anew(site, monkeypatch)
    await site.create_topic("logs", partitions=4)
    producer = await site.producer()
    for _ in range(3):
        await site.produce(producer, "x", partition=1)
    return site


def ask_anew(site, monkeypatch):
    """Let each page ask the brokers, however long they take on a busy machine."""
    monkeypatch.setattr(standings, "ASK_LIMIT_S", 10.0)
    monkeypatch.setattr(site.runtime.standings, "recent", site.runtime.standings.ask)


async def shown(browser, path, status=200):
    answer = await browser.get(path)
    assert answer.status == status, answer.body.decode()[:500]
    return answer.body.decode()


async def test_the_furthest_behind_come_first_and_all_can_be_had_by_name(busy, log_in_at):
    for name, age_ms in (("late", 60_000), ("later", 7_200_000)):
        busy.twins.group("logs", 1).offsets[name] = CommittedTwin(1, offset=1, age_ms=age_ms)
        await busy.in_database(lambda name=name: store(name))
    busy.twins.group("logs", 1).offsets["jobs"] = CommittedTwin(0, offset=2, unsettled=1)
    browser = await log_in_at("viewer")
    page = await shown(browser, "/admin/groups/")
    places = [page.index(f"/admin/groups/{name}/") for name in ("later", "late", "jobs")]
    assert places == sorted(places)
    assert "2 h" in page
    assert "nobody reads" in page
    by_name = await shown(browser, "/admin/groups/?order=name&prefix=late")
    assert by_name.index("/groups/late/") < by_name.index("/groups/later/")
    assert "/groups/jobs/" not in by_name
    assert "/groups/late/" not in await shown(browser, "/admin/groups/?kind=workers")
    assert "No group is like that." in await shown(browser, "/admin/groups/?topic=nowhere")


async def test_without_groups_it_says_how_they_are_made(site, log_in_at):
    assert "No group reads yet." in await shown(await log_in_at("viewer"), "/admin/groups/")


async def test_a_group_shows_members_partitions_and_lag(busy, log_in_at):
    reader = Reader(busy)
    await reader.join()
    busy.twins.group("logs", 1).offsets["billing"] = CommittedTwin(1, offset=1, age_ms=9_000)
    page = await shown(await log_in_at("viewer"), "/admin/groups/billing/")
    assert reader.member_id in page
    assert "logs 0-3" in page
    assert "reading" in page
    assert "9 s" in page
    assert "chart-lag" in page
    assert "chart-age" in page
    assert "/admin/groups/billing/move/" not in page, "a viewer may not"
    await shown(await log_in_at("operator"), "/admin/groups/nowhere/", status=404)


async def test_a_broker_that_does_not_answer_is_named(busy, log_in_at, monkeypatch):
    monkeypatch.setattr(standings, "ASK_LIMIT_S", 1.0)
    busy.twins.group("logs", 1).offsets["billing"] = CommittedTwin(1, offset=1)
    await busy.in_database(lambda: store("billing"))
    leader = busy.twins.group("logs", 1).leader
    busy.twins.by_id(leader).offsets.silent.add("/groups")
    page = await shown(await log_in_at("viewer"), "/admin/groups/")
    assert re.search(rf"Brokers? [\d, ]*\b{leader}\b[\d, ]* do(es)? not answer", page)
    assert "unknown" in page


async def test_a_group_is_moved_after_a_preview(busy, log_in_at):
    busy.twins.group("logs", 1).offsets["billing"] = CommittedTwin(1, offset=1)
    await busy.in_database(lambda: store("billing"))
    browser = await log_in_at("operator")
    move = "/admin/groups/billing/move/"
    assert 'value="logs"' in await shown(browser, move)
    asked = {"topic": "logs", "to": "latest", "partitions": "1"}
    plan = await browser.post(move, **asked)
    assert plan.status == 200
    assert "+2" in plan.body.decode()
    assert busy.twins.group("logs", 1).offsets["billing"].offset == 1
    done = await browser.post(move, **asked, confirmed=1)
    assert (done.status, done.headers["location"]) == (302, "/admin/groups/billing/")
    assert busy.twins.group("logs", 1).offsets["billing"].offset == 3
    told = await busy.in_database(events)
    assert told.count(("group offsets", "done")) == 1
    assert ("move offsets", "done") not in told, "the service tells it, with what became of each"


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"to": "time"}, "Say which time."),
        ({"to": "offset"}, "Say which number."),
        ({"to": "offset", "amount": "-1"}, "An offset is not negative"),
        ({"to": "latest", "partitions": "x"}, "Write numbers and ranges"),
    ],
)
async def test_a_move_that_says_too_little_is_asked_again(busy, log_in_at, asked, problem):
    busy.twins.group("logs", 1).offsets["billing"] = CommittedTwin(1, offset=1)
    await busy.in_database(lambda: store("billing"))
    browser = await log_in_at("operator")
    answer = await browser.post("/admin/groups/billing/move/", topic="logs", **asked)
    assert answer.status == 400
    assert problem in answer.body.decode()


async def test_a_group_with_members_is_moved_only_when_they_are_sent_away(busy, log_in_at):
    await Reader(busy).join()
    browser = await log_in_at("operator")
    asked = {"topic": "logs", "to": "latest"}
    refused = await browser.post("/admin/groups/billing/move/", **asked, confirmed=1)
    assert refused.status == 400
    assert "The group has 1 member" in refused.body.decode()
    plan = await browser.post("/admin/groups/billing/move/", **asked, force="on")
    assert plan.status == 200
    assert "1 member will be sent away" in plan.body.decode()
    done = await browser.post("/admin/groups/billing/move/", **asked, force="on", confirmed=1)
    assert done.status == 302


async def test_only_who_may_moves_and_deletes(busy, log_in_at):
    busy.twins.group("logs", 1).offsets["billing"] = CommittedTwin(1, offset=1)
    await busy.in_database(lambda: store("billing"))
    viewer, operator = await log_in_at("viewer"), await log_in_at("operator")
    for action in ("move", "forget"):
        assert (await viewer.get(f"/admin/groups/billing/{action}/")).status == 403
    assert (await operator.get("/admin/groups/billing/move/")).status == 200
    assert (await operator.post("/admin/groups/billing/forget/", confirmed=1)).status == 403
    admin = await log_in_at("administrator")
    path = "/admin/groups/billing/forget/"
    assert (await admin.post(path, confirmed=1, typed="other")).status == 400
    done = await admin.post(path, confirmed=1, typed="billing")
    assert (done.status, done.headers["location"]) == (302, "/admin/groups/")
    assert "billing" not in busy.twins.group("logs", 1).offsets
    await shown(admin, path, status=404)


def store(name):
    with fenced():
        metadata_bump()
        ConsumerGroup.objects.create(
            name=name, generation=1, topics={"logs": [4, 1]}, topics_used=["logs"]
        )


def events():
    return list(Event.objects.order_by("-pk").values_list("action", "outcome"))
