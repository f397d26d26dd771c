from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async

from manager_app.models import Event
from myqueue.contract.errors import Overloaded
from myqueue.contract.records import Record

PURGE = "/topics/logs/purge"


async def filled(site, *, partitions=2, messages=3):
    await site.create_topic("logs", partitions)
    for index in range(partitions):
        site.twins.group("logs", index).append([Record("x", timestamp=1)] * messages)


def begins(site, partitions=2):
    return [site.twins.group("logs", index).begin for index in range(partitions)]


async def test_all_that_is_there_goes_and_what_comes_later_stays(site):
    await filled(site)
    purged = await site.post(PURGE, {})
    assert purged["removed"] == 6
    assert purged["partitions"] == [
        {"partition": index, "log_start_offset": 3, "removed": 3} for index in range(2)
    ]
    site.twins.group("logs", 0).append([Record("y", timestamp=2)])
    assert begins(site) == [3, 3]
    assert (await site.post(PURGE, {"partitions": [0]}))["removed"] == 1
    assert begins(site) == [4, 3]


@pytest.mark.parametrize(
    ("asked", "begin"), [({"offset": 2}, 2), ({"offset": 99}, 3), ({"timestamp": 101}, 1)]
)
async def test_messages_below_an_offset_or_before_a_time_go(site, asked, begin):
    await filled(site)
    assert (await site.post(PURGE, asked))["removed"] == 2 * begin
    assert begins(site) == [begin, begin]


async def test_an_answer_that_is_lost_is_asked_for_again_without_deleting_more(site):
    await filled(site, partitions=1)
    leader = site.twins.by_id(site.twins.group("logs", 0).leader)
    leader.breaks["/messages/purge"] = "after"
    purged = await site.post(PURGE, {})
    assert purged["partitions"] == [{"partition": 0, "log_start_offset": 3, "removed": 3}]
    assert [call["below"] for call in leader.called("/messages/purge")] == [3, 3]


async def test_a_partition_that_refuses_says_so_and_the_others_are_purged(site):
    await filled(site)
    leader = site.twins.by_id(site.twins.group("logs", 1).leader)
    leader.refuses["/messages/purge"] = Overloaded("busy", retry_after_ms=10)
    purged = await site.post(PURGE, {})
    assert purged["removed"] == 3
    assert purged["partitions"][1] == {
        "partition": 1,
        "log_start_offset": None,
        "removed": 0,
        "reason": "OVERLOADED: busy",
    }
    assert begins(site) == [3, 0]


async def test_what_cannot_be_is_refused_before_anything_goes(site):
    await filled(site)
    wrong = await site.ask("POST", PURGE, {"offset": 1, "timestamp": 1}, status=400)
    assert wrong["field"] == "offset"
    wrong = await site.ask("POST", PURGE, {"partitions": [0, 7]}, status=404)
    assert (wrong["code"], wrong["field"]) == ("PARTITION_NOT_FOUND", "partitions")
    assert (await site.ask("POST", "/topics/nowhere/purge", {}, status=404))["code"] == (
        "TOPIC_NOT_FOUND"
    )
    assert begins(site) == [0, 0]
    assert not await sync_to_async(Event.objects.filter(action="purge").exists)()


async def test_a_purge_is_an_event_with_what_became_of_it(site):
    await filled(site)
    await site.post(PURGE, {"partitions": [1]})
    entry = await sync_to_async(Event.objects.get)(action="purge")
    assert (entry.things, entry.outcome) == ([("topic", "logs")], "done")
    assert entry.text == "Deleted 3 messages of topic logs"
    assert entry.details["asked"]["partitions"] == [1]
    assert entry.details["partitions"] == [{"partition": 1, "log_start_offset": 3, "removed": 3}]
