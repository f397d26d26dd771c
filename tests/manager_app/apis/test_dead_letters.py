"""Where dead letters are, and a look at the oldest, over the API."""

from __future__ import annotations

from base64 import b64decode

import pytest

from myqueue.contract.records import Record
from tests.manager_app.group_twin import CommittedTwin

DIED = {
    "dead-letter-topic": "mails",
    "dead-letter-partition": "0",
    "dead-letter-offset": "17",
    "dead-letter-group": "mailers",
    "dead-letter-deliveries": "5",
}


@pytest.fixture
async def dead(site):
    for topic in ("mails", "mails.dead", "jobs"):
        await site.create_topic(topic, partitions=1)
    for topic, group in (("mails", "mailers"), ("mails", "auditors"), ("jobs", "workers")):
        site.twins.group(topic, 0).offsets[group] = CommittedTwin(0, offset=0, unsettled=1)
    records = [Record("one", "k", DIED, timestamp=1), Record(b"\xff", None, None, timestamp=2)]
    site.twins.group("mails.dead", 0).append(records)
    return site


async def test_groups_with_dead_letters_are_listed_with_how_many_are_left(dead):
    mails = {"topic": "mails", "dead_letter_topic": "mails.dead", "left": 2}
    both = [{"group": group, **mails} for group in ("auditors", "mailers")]
    told = await dead.get("/dead-letters")
    assert (told["dead_letters"], told["silent_brokers"], told["next"]) == (both, [], None)
    assert (await dead.get("/dead-letters?group=mailers"))["dead_letters"] == both[1:]
    assert (await dead.get("/dead-letters?topic=jobs"))["dead_letters"] == []
    first = await dead.get("/dead-letters?limit=1")
    assert first["dead_letters"] == both[:1]
    rest = await dead.get(f"/dead-letters?limit=1&after={first['next']}")
    assert (rest["dead_letters"], rest["next"]) == (both[1:], None)


async def test_what_was_sent_back_is_left_out(dead):
    dead.twins.group("mails.dead", 0).offsets["redrive"] = CommittedTwin(0, offset=1)
    assert [one["left"] for one in (await dead.get("/dead-letters"))["dead_letters"]] == [1, 1]
    [letter] = (await dead.get("/topics/mails/dead-letters"))["letters"]
    assert letter["offset"] == 1


async def test_a_look_says_where_each_died_and_moves_nothing(dead):
    for _ in range(2):
        told = await dead.get("/topics/mails/dead-letters")
        assert (told["left"], told["dead_letter_topic"]) == (2, "mails.dead")
        one, two = told["letters"]
        assert (one["message"], one["key"], one["offset"]) == ("one", "k", 0)
        assert (one["died_topic"], one["died_partition"], one["died_offset"]) == ("mails", 0, 17)
        assert (one["died_group"], one["deliveries"]) == ("mailers", 5)
        assert b64decode(two["message_base64"]) == b"\xff"
        assert {two[name] for name in two if name.startswith("died_")} == {None}
    [only] = (await dead.get("/topics/mails/dead-letters?max_messages=1"))["letters"]
    assert only["offset"] == 0


async def test_a_topic_without_dead_letters_is_named(dead):
    for path, name in (
        ("/topics/jobs/dead-letters", "jobs.dead"),
        ("/topics/none/dead-letters", "none"),
        ("/topics/mails/dead-letters?dead_letter_topic=other", "other"),
    ):
        answer = await dead.ask("GET", path, status=404)
        assert answer["code"] == "TOPIC_NOT_FOUND"
        assert name in answer["message"]
