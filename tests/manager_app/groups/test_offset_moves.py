from __future__ import annotations

import asyncio
from functools import partial
from unittest.mock import ANY

import pytest
from django.contrib.auth.models import User
from msgspec import structs

from http_base.access import Role
from manager_app.groups import offsets
from manager_app.models import Event
from manager_app.services.access import token_create
from myqueue.contract.errors import DiskFull, Internal, Overloaded
from myqueue.contract.records import Record
from tests.manager_app.group_twin import CommittedTwin
from tests.manager_app.reader import Reader

URL = "/groups/billing/offsets"


@pytest.fixture
async def busy(site):
    """A topic with 5, 0, 9 and 1 messages, which group `billing` has read to 3, 0, 9 and 0."""
    await site.create_topic("logs", partitions=4)
    for index, count in enumerate((5, 0, 9, 1)):
        site.twins.group("logs", index).records += [Record("x", None, None, 5)] * count
    reader = Reader(site)
    await reader.join()
    for index, offset in enumerate((3, 0, 9, 0)):
        site.twins.group("logs", index).offsets["billing"] = CommittedTwin(1, offset=offset)
    await reader.leave()
    site.reader = reader
    return site


async def reset(site, *, status=200, url=URL, **fields):
    return await site.ask("PUT", url, {"topic": "logs", **fields}, status=status)


async def moves(site):
    """Return the events of groups that were moved."""
    rows = Event.objects.filter(action="group offsets")
    return await site.in_database(lambda: list(rows))


def committed(site, group="billing", topic="logs"):
    parts = [one for one in site.twins.groups.values() if one.order.topic == topic]
    parts.sort(key=lambda one: one.order.partition)
    return [one.offsets[group].offset if group in one.offsets else None for one in parts]


@pytest.mark.parametrize(
    ("fields", "after"),
    [
        ({"shift": -2}, [1, 0, 7, 0]),
        ({"timestamp": 2}, [2, 0, 2, 1]),
        ({"to": "latest", "partitions": [3, 0]}, [5, 0, 9, 1]),
    ],
)
async def test_a_group_goes_on_where_it_is_told(busy, fields, after):
    moved = await reset(busy, dry_run=True, **fields)
    assert committed(busy) == [3, 0, 9, 0], "a dry run moves nothing"
    indexes = sorted(fields.get("partitions", range(4)))
    before = [3, 0, 9, 0]
    assert moved["partitions"] == [
        {"partition": index, "before": before[index], "after": after[index], "moved": False}
        for index in indexes
    ]
    assert (moved["dry_run"], moved["members"]) == (True, 0)
    moved = await reset(busy, **fields)
    assert [one["moved"] for one in moved["partitions"]] == [True] * len(indexes)
    assert committed(busy) == after


async def test_what_was_committed_late_is_fenced_off(busy):
    known = busy.twins.group("logs", 0).offsets["billing"]
    known.generation = generation = 7  # of a member that the database has never known
    await reset(busy, to="earliest")
    assert known.generation > generation
    heard = await busy.reader.join()
    assert heard["generation"] > known.generation


async def test_a_group_with_members_is_left_alone_unless_forced(busy):
    reader = Reader(busy)
    await reader.join()
    refused = await reset(busy, to="earliest", status=409)
    assert (refused["code"], refused["field"]) == ("GROUP_ACTIVE", "force")
    assert committed(busy) == [3, 0, 9, 0]
    assert await moves(busy) == []
    assert (await reset(busy, to="earliest", dry_run=True))["members"] == 1
    await reader.beat()
    assert (await reset(busy, to="earliest", force=True))["members"] == 1
    assert committed(busy) == [0, 0, 0, 0]
    assert (await reader.beat(status=409))["code"] == "UNKNOWN_MEMBER"
    again = Reader(busy)
    await again.join()
    assert again.assignment == {("logs", index) for index in range(4)}


async def test_nobody_joins_while_a_group_is_moved(busy):
    twin = busy.twins.by_id(busy.twins.group("logs", 0).leader)
    twin.offsets.silent.add("/offsets/commit")
    moving = asyncio.ensure_future(reset(busy, to="earliest", timeout_ms=60_000))
    while not twin.called("/offsets/commit"):
        await asyncio.sleep(0.01)
    joining = asyncio.ensure_future(Reader(busy).join())
    await asyncio.sleep(0.1)
    assert not joining.done()
    (event,) = await moves(busy)
    assert event.details == {"asked": ANY, "members": 0}, "stored before anything moves"
    twin.offsets.silent.clear()
    assert all(one["moved"] for one in (await moving)["partitions"])
    assert (await joining)["generation"] > busy.twins.group("logs", 0).offsets["billing"].generation


async def test_a_refusal_that_passes_is_waited_for(busy):
    twin = busy.twins.by_id(busy.twins.group("logs", 0).leader)
    twin.refuses["/offsets/commit"] = Overloaded("handing over", retry_after_ms=10)
    moving = asyncio.ensure_future(reset(busy, to="earliest", timeout_ms=60_000))
    while len(twin.called("/offsets/commit")) < 2:
        await asyncio.sleep(0.01)
    twin.refuses.clear()
    assert [one["moved"] for one in (await moving)["partitions"]] == [True] * 4
    twin.refuses["/offsets/commit"] = Overloaded("handing over", retry_after_ms=10_000)
    told = (await reset(busy, to="latest", partitions=[0]))["partitions"][0]
    assert (told["moved"], told["reason"]) == (False, "OVERLOADED: handing over")


async def test_an_unknown_outcome_is_told_as_such(busy):
    for twin in busy.twins.brokers:
        twin.refuses["/offsets/commit"] = Internal("a bug", outcome="unknown")
    moved = await reset(busy, to="earliest")
    assert [one["moved"] for one in moved["partitions"]] == [None] * 4
    assert moved["partitions"][0]["reason"].startswith("INTERNAL: ")


async def test_a_partition_that_refuses_is_told_and_the_others_are_moved(busy):
    leaders = [busy.twins.group("logs", index).leader for index in range(4)]
    busy.twins.by_id(leaders[0]).refuses["/offsets/commit"] = DiskFull("full")
    moved = await reset(busy, to="earliest")
    for index, one in enumerate(moved["partitions"]):
        refused = leaders[index] == leaders[0]
        assert one["moved"] is not refused
        assert one.get("reason") == ("DISK_FULL: full" if refused else None)


async def test_a_partition_without_an_answer_moves_nothing(busy):
    busy.twins.by_id(busy.twins.group("logs", 0).leader).offsets.silent.add("/offsets")
    refused = await reset(busy, to="earliest", timeout_ms=200, status=503)
    assert (refused["code"], "outcome" in refused) == ("NO_LEADER", False)
    assert committed(busy) == [3, 0, 9, 0]


async def test_brokers_that_answer_late_or_were_silent_are_waited_for(busy, monkeypatch):
    monkeypatch.setattr(offsets, "ASK_LIMIT_S", 0.0)
    monkeypatch.setattr(offsets, "ASK_TIMEOUT_MS", 0)
    busy.silence(*busy.twins.brokers)
    await reset(busy, to="earliest", dry_run=True)
    busy.silence(*busy.twins.brokers)
    await reset(busy, to="earliest")
    assert committed(busy) == [0, 0, 0, 0]


async def test_a_group_may_be_moved_in_a_topic_that_it_has_not_read(busy):
    await busy.create_topic("more", partitions=2)
    producer = await busy.producer("more")
    await busy.produce(producer, "x", topic="more", partition=1)
    moved = await busy.ask("PUT", URL, {"topic": "more", "to": "latest"})
    assert [(one["before"], one["after"]) for one in moved["partitions"]] == [(None, 0), (None, 1)]
    assert committed(busy, topic="more") == [0, 1]


async def test_workers_are_moved_while_nothing_is_out(busy):
    parts = [busy.twins.group("logs", index) for index in range(4)]
    parts[0].offsets["jobs"] = CommittedTwin(0, offset=1)
    parts[2].offsets["jobs"] = CommittedTwin(0, offset=4, unsettled=1)
    url = "/groups/jobs/offsets"
    refused = await reset(busy, url=url, to="earliest", force=True, status=409)
    assert refused["code"] == "GROUP_ACTIVE"
    await reset(busy, url=url, to="latest", partitions=[0, 1])
    assert [part.offsets["jobs"].generation for part in parts[:2]] == [0, 0]
    assert committed(busy, "jobs") == [5, 0, 4, None]


async def test_what_is_not_there_or_not_clear_is_refused(busy):
    assert (await reset(busy, url="/groups/none/offsets", to="latest", status=404))["code"] == (
        "GROUP_NOT_FOUND"
    )
    assert (await reset(busy, topic="none", to="latest", status=404))["code"] == "TOPIC_NOT_FOUND"
    answer = await reset(busy, to="latest", partitions=[4], status=404)
    assert (answer["code"], answer["field"]) == ("PARTITION_NOT_FOUND", "partitions")
    for fields in (
        {},
        {"to": "latest", "offset": 3},
        {"to": "middle"},
        {"offset": -1},
        {"to": "latest", "partitions": []},
        {"shift": "3"},
    ):
        await reset(busy, status=400, **fields)


async def test_every_change_is_an_event(busy):
    await reset(busy, offset=4, partitions=[0])
    (event,) = await moves(busy)
    assert event.things == [("group", "billing"), ("topic", "logs")]
    assert (event.text, event.outcome, event.at) == (
        "Moved group billing in topic logs: 1 of 1 partitions",
        "done",
        busy.clock.now(),
    )
    assert event.details["asked"]["offset"] == 4
    assert event.details["partitions"] == [{"partition": 0, "before": 3, "after": 4, "moved": True}]


async def test_the_event_has_who_asked_where_that_is_known(busy, settings):
    settings.QUEUE = structs.replace(settings.QUEUE, auth="required")
    await busy.in_database(User.objects.create_superuser, "ada")
    make = partial(token_create, "root", "ada", role=Role.OPERATOR)
    _, text = await busy.in_database(make)
    await busy.in_database(busy.runtime.metadata.refresh)
    fields = {"topic": "logs", "to": "earliest"}
    await busy.ask("PUT", URL, fields, authorization=f"Bearer {text}")
    (event,) = await moves(busy)
    assert event.person == "API token 'root'"
