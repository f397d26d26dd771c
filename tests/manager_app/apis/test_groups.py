from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from asgiref.sync import sync_to_async
from msgspec.structs import replace

from manager_app import runtime
from manager_app.models import Cluster, ConsumerGroup, GroupMember
from manager_app.process import ManagerProcess
from manager_app.services import group as group_service
from tests.manager_app.reader import Reader, pass_time, settle
from tests.manager_app.take_over import take_over

NOBODY = "http://127.0.0.1:1"
"""Where no manager listens."""


@pytest.fixture
async def busy(site):
    await site.create_topic("logs", partitions=4)
    return site


@pytest.fixture
async def quiet(site):
    """A site whose own sweeps see no change of time: the tests sweep."""
    await site.create_topic("logs", partitions=4)
    return site


async def test_the_first_member_makes_the_group_and_reads_everything(busy):
    heard = await Reader(busy).join()
    assert len(heard.pop("member_id")) == 32
    assert heard == {
        "status": "success",
        "group": "billing",
        "generation": 1,
        "assignment": {"logs": [0, 1, 2, 3]},
        "heartbeat_interval_ms": 3_000,
        "session_timeout_ms": 30_000,
    }
    assert (await busy.get("/groups"))["groups"] == ["billing"]


async def test_partitions_move_one_by_one_and_nobody_waits_for_anybody(busy):
    first, second = Reader(busy), Reader(busy)
    await first.join()
    heard = await second.join()
    assert (heard["generation"], heard["assignment"]) == (2, {})
    assert heard["heartbeat_interval_ms"] == 500
    await first.beat(gives_up=False)
    assert first.heard["assignment"] == {"logs": [0, 1]}
    await second.beat()
    assert second.assignment == set()
    await first.beat()
    await second.beat()
    assert second.heard["assignment"] == {"logs": [2, 3]}
    assert (second.heard["generation"], second.heard["heartbeat_interval_ms"]) == (2, 3_000)
    assert await busy.in_database(GroupMember.objects.count) == 2


async def test_a_member_that_leaves_makes_room_at_once_and_may_leave_twice(busy):
    first, second = Reader(busy), Reader(busy)
    await first.join()
    await second.join()
    await settle(first, second)
    await first.leave()
    await first.leave()
    await second.beat()
    assert second.assignment == {("logs", one) for one in range(4)}
    assert (await first.beat(status=409))["code"] == "UNKNOWN_MEMBER"
    await busy.post("/groups/nowhere/leave", {"member_id": "x"})


async def test_a_member_may_change_its_topics_and_keeps_what_it_holds(busy):
    await busy.create_topic("more", partitions=2)
    first, second = Reader(busy), Reader(busy)
    await first.join()
    await second.join()
    await settle(first, second)
    heard = await first.join(member_id=first.member_id, topics=["logs", "more"])
    assert heard["generation"] == 3
    assert first.assignment > {("more", 0), ("more", 1)}
    heard = await first.join(member_id="0" * 32, status=409)
    assert heard["code"] == "UNKNOWN_MEMBER"
    await Reader(busy, group="other").join()
    heard = await Reader(busy, group="other").join(member_id=first.member_id, status=409)
    assert heard["code"] == "UNKNOWN_MEMBER"


async def test_owning_what_was_not_granted_names_the_generation(busy):
    first, second = Reader(busy), Reader(busy)
    await first.join()
    await second.join()
    heard = await second.beat(owned={"logs": [3]}, status=409)
    assert (heard["code"], heard["generation"], heard["field"]) == (
        "ILLEGAL_GENERATION",
        2,
        "owned",
    )


async def test_wrong_subscriptions_are_refused(busy):
    assert (await Reader(busy, topics=["nowhere"]).join(status=404))["code"] == "TOPIC_NOT_FOUND"
    for fields, field in (
        ({"topics": []}, "topics"),
        ({"topics": [f"t{number}" for number in range(101)]}, "topics"),
        ({"topics": "logs"}, "topics"),
        ({"topics": ["logs"], "session_timeout_ms": 999}, "session_timeout_ms"),
        ({"topics": ["logs"], "session_timeout_ms": 600_001}, "session_timeout_ms"),
        ({}, "topics"),
    ):
        answer = await busy.post("/groups/billing/join", fields, status=400)
        assert answer["field"] == field
    for name in ("a%20b", "x" * 250, "..", "%00"):
        await busy.post(f"/groups/{name}/join", {"topics": ["logs"]}, status=400)
    assert (await busy.get("/groups"))["groups"] == []


async def test_a_heartbeat_that_changes_nothing_costs_no_query(quiet, monkeypatch):
    reader = Reader(quiet)
    await reader.join()

    async def run(*_):
        raise AssertionError("the database was asked")

    monkeypatch.setattr(quiet.runtime.database, "run", run)
    for _ in range(5):
        await reader.beat()
    monkeypatch.undo()


async def test_silent_members_are_out_before_their_session_is_over(quiet):
    quick = Reader(quiet, session_timeout_ms=1_000)
    slow = Reader(quiet, session_timeout_ms=10_000)
    await quick.join()
    await slow.join()
    assert quick.heard["heartbeat_interval_ms"] == 100
    assert await pass_time(quiet, 0.7) == []
    assert await pass_time(quiet, 0.1) == [("billing", quick.member_id)]
    await slow.beat()
    assert slow.assignment == {("logs", one) for one in range(4)}
    assert slow.heard["generation"] == 3
    assert await pass_time(quiet, 7.4) == []
    assert await pass_time(quiet, 0.2) == [("billing", slow.member_id)]
    assert (await quick.beat(status=409))["code"] == "UNKNOWN_MEMBER"
    assert (await quiet.get("/groups?detail=1"))["groups"][0]["members"] == 0


async def test_heartbeats_keep_a_member_for_any_time(quiet):
    reader = Reader(quiet, session_timeout_ms=1_000)
    await reader.join()
    for _ in range(40):
        assert await pass_time(quiet, 0.5) == []
        await reader.beat()


async def test_a_manager_that_was_held_up_lets_nobody_go_for_it(quiet):
    reader = Reader(quiet, session_timeout_ms=1_000)
    await reader.join()
    await quiet.runtime.groups.sweep()
    quiet.clock.seconds += 60
    refused = await reader.beat(status=503)  # it may have been superseded
    assert (refused["code"], refused["retry_after_ms"]) == ("DATABASE_UNAVAILABLE", 1_000)
    await quiet.keep_lease()
    assert await quiet.runtime.groups.sweep() == []
    await reader.beat()
    assert await pass_time(quiet, 2) == [("billing", reader.member_id)]


async def test_everything_survives_a_restart_and_sessions_begin_anew(quiet):
    first, second = Reader(quiet), Reader(quiet)
    await first.join()
    await second.join()
    await first.beat(gives_up=False)
    before = await quiet.get("/groups/billing")
    await quiet.stop_manager()
    quiet.clock.seconds += 3_600
    await quiet.start_manager()
    assert await pass_time(quiet, 22) == []
    after = await quiet.get("/groups/billing")
    assert (after["generation"], after["partitions"]) == (2, before["partitions"])
    await first.beat()
    await settle(first, second)
    assert (first.heard["generation"], second.heard["generation"]) == (2, 2)
    assert first.owned == {("logs", 0), ("logs", 1)}
    assert second.owned == {("logs", 2), ("logs", 3)}


async def test_a_member_that_never_comes_back_after_a_restart_expires_too(quiet):
    reader = Reader(quiet)
    await reader.join()
    await quiet.restart_manager()
    assert await pass_time(quiet, 31) == [("billing", reader.member_id)]


async def test_added_partitions_and_deleted_topics_reach_the_members(quiet):
    await quiet.create_topic("more", partitions=2)
    reader = Reader(quiet, topics=["logs", "more"])
    await reader.join()
    await quiet.ask("PATCH", "/topics/logs", {"number_of_partitions": 6})
    await reader.beat()
    assert {("logs", 4), ("logs", 5)} < reader.assignment
    await quiet.ask("DELETE", "/topics/more")
    generation = (await reader.beat())["generation"]
    assert generation > 2
    assert {name for name, _ in reader.assignment} == {"logs"}
    await quiet.create_topic("more", partitions=3)
    await quiet.twins.reported()
    await reader.beat()
    await reader.beat()
    assert {("more", 0), ("more", 1), ("more", 2)} < reader.assignment


async def test_the_sweep_follows_the_topics_without_a_heartbeat(quiet):
    reader = Reader(quiet)
    await reader.join()
    await quiet.ask("DELETE", "/topics/logs")
    await quiet.runtime.groups.sweep()
    (member,) = (await quiet.get("/groups/billing"))["members"]
    assert member["assignment"] == {}


async def test_many_join_at_once_and_share_everything(quiet):
    readers = [Reader(quiet) for _ in range(9)]
    await asyncio.gather(*(reader.join() for reader in readers))
    for _ in range(4):
        await asyncio.gather(*(reader.beat() for reader in readers))
    assert Counter(len(reader.owned) for reader in readers) == {1: 4, 0: 5}
    owned = [one for reader in readers for one in reader.owned]
    assert sorted(owned) == [("logs", one) for one in range(4)]
    assert max(reader.heard["generation"] for reader in readers) == 9


async def test_only_the_primary_coordinates(quiet):
    reader = Reader(quiet)
    await reader.join()

    await quiet.in_database(take_over, NOBODY)
    # It does not know yet; what would change something fails in the transaction, and goes there.
    answer = await Reader(quiet).join(status=503)
    assert answer["code"] == "PRIMARY_UNAVAILABLE"
    assert NOBODY in answer["message"]
    assert "outcome" not in answer
    await quiet.in_database(quiet.runtime.metadata.refresh)
    assert (await reader.beat(status=503))["code"] == "PRIMARY_UNAVAILABLE"
    assert await pass_time(quiet, 60, keeps_lease=False) == []
    assert await quiet.in_database(GroupMember.objects.count) == 1


async def test_a_manager_that_becomes_the_primary_goes_on_from_the_database(quiet):
    first = Reader(quiet)
    await first.join()
    old = quiet.process, quiet._runtime
    await quiet.in_database(take_over, NOBODY)
    config, quiet.config = quiet.config, replace(quiet.config, current_address=NOBODY)
    await quiet.start_manager()
    second = Reader(quiet)
    await second.join()
    await settle(first, second)
    assert len(second.owned) == 2
    await quiet.in_database(old[1].metadata.refresh)
    assert old[1].lease.epoch is None
    assert await old[1].groups.sweep() == []
    await quiet.stop_manager()
    await old[0].stop()
    quiet.config = config


async def test_groups_go_on_at_the_other_manager_when_the_primary_dies(quiet):
    first, second = Reader(quiet), Reader(quiet)
    standby = quiet.process, quiet.runtime
    await quiet.in_database(take_over, NOBODY)
    config, quiet.config = quiet.config, replace(quiet.config, current_address=NOBODY)
    await quiet.start_manager()
    await first.join()
    epoch = quiet.runtime.lease.require()
    await quiet.stop_manager()
    rows = Cluster.objects.filter(pk=1)  # it did not stop in order
    await sync_to_async(rows.update)(primary_address=NOBODY)

    quiet.config = config
    quiet.process, quiet._runtime = standby
    runtime.install(quiet.runtime)
    for _ in range(5):
        await quiet.keep_lease()
        assert (await second.join(status=503))["code"] == "PRIMARY_UNAVAILABLE"
        quiet.clock.seconds += 2
    await quiet.keep_lease()
    await first.beat()
    await second.join()
    await settle(first, second)
    assert len(second.owned) == 2
    assert (first.heard["generation"], second.heard["generation"]) == (2, 2)
    assert (await quiet.twins.brokers[0].report()).epoch == epoch + 1
    await quiet.create_topic("more", partitions=1)
    assert {order.epoch for order in quiet.twins.brokers[0].orders[-1:]} == {epoch + 1}


async def test_a_primary_that_hangs_while_another_takes_over_refuses_and_changes_nothing(quiet):
    reader = Reader(quiet)
    await reader.join()
    await quiet.in_database(take_over, NOBODY)
    successor = ManagerProcess(
        replace(quiet.config, current_address=NOBODY), monotonic_s=quiet.clock.monotonic_s
    )
    made = await successor.start()
    runtime.install(quiet.runtime)
    assert made.lease.epoch is not None
    await made.groups.sweep()

    # It does not know yet; what would change something fails in the transaction.
    passed = {"X-Queue-Passed": "1"}
    call = {"topics": ["logs"]}
    refused = await quiet.ask("POST", "/groups/billing/join", call, status=409, **passed)
    assert (refused["code"], refused["primary"]) == ("READ_ONLY_MANAGER", NOBODY)
    await quiet.keep_lease()
    assert (await reader.beat(status=503))["code"] == "PRIMARY_UNAVAILABLE"
    assert await pass_time(quiet, 60, keeps_lease=False) == []
    assert await quiet.in_database(GroupMember.objects.count) == 1
    await successor.stop()
    runtime.install(quiet.runtime)


async def test_a_read_only_manager_shows_groups_and_coordinates_none(quiet):
    reader = Reader(quiet)
    await reader.join()
    await quiet.restart_manager(read_only=True)
    assert (await quiet.get("/groups"))["groups"] == ["billing"]
    (member,) = (await quiet.get("/groups/billing"))["members"]
    assert member["member_id"] == reader.member_id
    assert (await reader.beat(status=409))["code"] == "READ_ONLY_MANAGER"
    assert (await reader.join(status=409))["code"] == "READ_ONLY_MANAGER"
    assert (await quiet.ask("DELETE", "/groups/billing", status=409))["code"] == "READ_ONLY_MANAGER"


async def test_limits_are_told(quiet, monkeypatch):
    monkeypatch.setattr(group_service, "GROUPS_MAX", 1)
    await Reader(quiet, group="a").join()
    assert (await Reader(quiet, group="b").join(status=503))["code"] == "OVERLOADED"
    monkeypatch.setattr("myqueue.contract.rules.group_membership.MEMBERS_MAX", 1)
    assert (await Reader(quiet, group="a").join(status=503))["code"] == "OVERLOADED"
    assert await quiet.in_database(ConsumerGroup.objects.count) == 1


async def test_registering_the_process_of_a_member_opens_no_cursor(quiet):
    consumer = await quiet.consumer()
    assert consumer
    assert not any(twin.called("/cursors/open") for twin in quiet.twins.brokers)
