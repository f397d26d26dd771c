from __future__ import annotations

from functools import partial

import pytest
from django.conf import settings

from manager_app import periodic
from manager_app.models import Broker, DeletedGroup, Partition, Replica
from manager_app.placement import partition_facts
from manager_app.placement import repair_round as repair
from manager_app.placement.eligible_brokers import ROOM_RESERVES
from manager_app.placement.repair_round import CHANGES_AT_ONCE
from tests.manager_app.broker_twin import BrokerTwin
from tests.manager_app.writing import change

ROOM_BYTES = ROOM_RESERVES * settings.QUEUE.disk_reserve_bytes


async def run(site, task=periodic.reconcile_placement):
    return await site.in_database(task, site.runtime)


async def report_all(site):
    for twin in site.twins.brokers:
        if twin.is_up:
            await twin.report()


async def rounds(site, count):
    for _ in range(count):
        await run(site)
        await report_all(site)


def rows():
    return list(
        Replica.objects.order_by("replica_id").values_list(
            "replica_id", "broker_id", "membership", "leaving"
        )
    )


async def states(site, topic="logs"):
    (partition,) = (await site.get(f"/topics/{topic}"))["partitions"]
    return partition["condition"], {
        said["replica_id"]: said["state"] for said in partition["replicas"]
    }


@pytest.fixture
async def placed(site):
    """One partition on brokers 1, 2 and 3, led by 1; its replicas have these ids too."""
    await site.create_topic(partitions=1)
    await report_all(site)
    return site


async def add_broker(site):
    await site.twins.add(1)
    await site.twins.brokers[-1].report()


def always_reports(twin, **facts):
    twin.report = partial(BrokerTwin.report, twin, **facts)


async def test_a_healthy_partition_is_left_alone(placed):
    group = placed.twins.group("logs", 0)
    assert await states(placed) == ("healthy", {1: "voter", 2: "voter", 3: "voter"})
    await rounds(placed, 2)
    assert group.history == []
    assert placed.twins.by_id(1).called("/partitions/1/replicas") == []


async def test_a_faulty_replica_is_replaced_on_a_spare_broker(placed):
    await add_broker(placed)
    faulty = placed.twins.by_id(3)
    faulty.membership.faults[1] = "checksum of entry 7"
    await faulty.report()
    assert await states(placed) == ("degraded", {1: "voter", 2: "voter", 3: "faulty"})
    await rounds(placed, 3)
    assert placed.twins.group("logs", 0).history == [
        [1, 2, 3],
        [1, 2, 3, 4],
        [1, 2, 4],
    ]
    assert faulty.membership.discarded == [3]
    assert placed.twins.by_id(4).replicas == {1: 4}
    assert await states(placed) == ("healthy", {1: "voter", 2: "voter", 4: "voter"})


async def test_a_spare_broker_without_room_gets_no_replica_until_it_has_room(placed):
    await placed.twins.add(1)
    spare, dead = placed.twins.brokers[-1], placed.twins.by_id(3)
    always_reports(spare, disk_free_bytes=ROOM_BYTES - 1)
    await spare.report()
    await dead.stop()
    await placed.in_database(lambda: change(Broker.objects.filter(pk=3), draining=True))
    await rounds(placed, 3)
    assert placed.twins.group("logs", 0).history == []
    assert spare.replicas == {}
    always_reports(spare, disk_free_bytes=ROOM_BYTES)
    await spare.report()
    await rounds(placed, 3)
    assert spare.replicas == {1: 4}
    always_reports(spare, disk_free_bytes=1)
    await rounds(placed, 2)
    assert spare.replicas == {1: 4}, "what is there already stays"


async def test_a_faulty_replica_leaves_a_full_disk_and_comes_back_when_there_is_room(placed):
    """It makes room by leaving."""
    faulty = placed.twins.by_id(3)
    always_reports(faulty, disk_free_bytes=1)
    faulty.membership.faults[1] = "checksum of entry 7"
    await rounds(placed, 4)
    assert faulty.membership.discarded == [3]
    assert (await states(placed))[0] == "under-replicated"
    assert faulty.replicas == {}
    always_reports(faulty, disk_free_bytes=ROOM_BYTES)
    await faulty.report()
    await rounds(placed, 2)
    assert await states(placed) == ("healthy", {1: "voter", 2: "voter", 4: "voter"})


async def test_without_a_spare_broker_it_leaves_first_and_comes_back_under_a_new_id(placed):
    faulty = placed.twins.by_id(3)
    faulty.membership.faults[1] = "checksum of entry 7"
    await faulty.report()
    group = placed.twins.group("logs", 0)
    await run(placed)
    assert group.history == [[1, 2]]
    assert faulty.membership.discarded == []
    assert await placed.in_database(rows) == [
        (1, 1, "voter", False),
        (2, 2, "voter", False),
        (3, 3, "none", True),
    ]
    assert (await states(placed))[1][3] == "leaving"
    await run(placed)
    assert faulty.membership.discarded == [3]
    assert (await states(placed))[0] == "under-replicated"
    await run(placed)
    assert group.history == [[1, 2], [1, 2], [1, 2, 4]]
    assert faulty.replicas == {1: 4}
    joined = faulty.orders[-1]
    assert not joined.bootstrap
    assert [place.replica_id for place in joined.replicas] == [1, 2, 4]
    assert await states(placed) == ("healthy", {1: "voter", 2: "voter", 4: "voter"})
    await rounds(placed, 2)
    assert len(group.history) == 3


async def test_every_target_has_a_higher_version_and_carries_the_epoch(placed):
    placed.twins.by_id(3).membership.faults[1] = "bad"
    await report_all(placed)
    await rounds(placed, 4)
    calls = [fields for fields in placed.twins.by_id(1).called("/partitions/1/replicas") if fields]
    assert [(one["version"], one["epoch"]) for one in calls] == [(2, 2), (3, 2)]
    partition = await placed.in_database(Partition.objects.get)
    assert partition.placement_version == 3


async def test_a_replica_that_its_broker_no_longer_reports_is_refilled(placed):
    del placed.twins.by_id(2).replicas[1]
    await placed.twins.by_id(2).report()
    assert (await states(placed))[1][2] == "missing"
    await rounds(placed, 4)
    assert placed.twins.by_id(2).replicas == {1: 4}
    assert (await states(placed))[0] == "healthy"


async def test_a_follower_that_its_leader_suspects_is_refilled(placed):
    group = placed.twins.group("logs", 0)
    group.suspects = {2}
    await placed.twins.by_id(1).report()
    group.suspects = set()
    await report_all(placed)
    condition, said = await states(placed)
    assert (condition, said[2]) == ("degraded", "faulty")
    await rounds(placed, 4)
    assert placed.twins.by_id(2).membership.discarded == [2]
    assert await states(placed) == ("healthy", {1: "voter", 3: "voter", 4: "voter"})


async def test_the_replicas_of_a_wiped_broker_move_to_the_one_that_took_its_place(placed):
    old = placed.twins.by_id(3)
    await old.stop()
    placed.twins.brokers.remove(old)
    new = BrokerTwin(placed.twins)
    new._port = old._port
    await new.start()
    placed.twins.brokers.append(new)
    await new.report()
    assert (await states(placed))[1][3] == "missing"
    await rounds(placed, 3)
    assert new.replicas == {1: 4}
    assert await states(placed) == ("healthy", {1: "voter", 2: "voter", 4: "voter"})


async def test_without_a_leader_nothing_is_done_and_nothing_is_dropped(placed):
    await add_broker(placed)
    group = placed.twins.group("logs", 0)
    for twin in placed.twins.brokers[:3]:
        twin.membership.faults[1] = "bad"
    group.leader, group.term = 0, group.term + 1
    await report_all(placed)
    await rounds(placed, 3)
    assert await states(placed) == (
        "no healthy replica",
        {1: "faulty", 2: "faulty", 3: "faulty"},
    )
    assert group.history == []
    assert [twin.replicas for twin in placed.twins.brokers] == [{1: 1}, {1: 2}, {1: 3}, {}]


async def test_a_dead_broker_is_replaced_after_the_limit_and_only_by_a_spare_one(placed):
    dead = placed.twins.by_id(3)
    await dead.stop()

    async def silence(seconds):
        placed.clock.seconds += seconds
        await report_all(placed)
        await run(placed, periodic.check_brokers)
        await run(placed)

    await silence(61)
    await silence(600)
    assert (await states(placed))[0] == "degraded"
    assert placed.twins.group("logs", 0).history == []
    await add_broker(placed)
    await run(placed)
    await report_all(placed)
    condition, said = await states(placed)
    assert (condition, said) == (
        "healthy",
        {1: "voter", 2: "voter", 3: "leaving", 4: "voter"},
    )
    await dead.start()
    await dead.report()
    assert dead.membership.discarded == [3]
    await rounds(placed, 1)
    assert await states(placed) == ("healthy", {1: "voter", 2: "voter", 4: "voter"})


async def test_a_dead_broker_has_time_to_come_back(placed):
    await add_broker(placed)
    await placed.twins.by_id(3).stop()
    placed.clock.seconds += 599
    await report_all(placed)
    await run(placed, periodic.check_brokers)
    await run(placed)
    assert placed.twins.group("logs", 0).history == []
    await placed.restart_manager()
    placed.clock.seconds += 599
    await report_all(placed)
    await run(placed)
    assert placed.twins.group("logs", 0).history == []


async def test_a_change_goes_on_after_the_manager_was_interrupted_anywhere(placed):
    placed.twins.moves_on = False
    placed.twins.by_id(3).membership.faults[1] = "bad"
    await report_all(placed)
    group = placed.twins.group("logs", 0)
    sound = {1, 2, 4}
    for _ in range(8):
        await run(placed)
        await placed.restart_manager()
        await report_all(placed)
        group.advance(sound)
        await report_all(placed)
    assert await states(placed) == ("healthy", {1: "voter", 2: "voter", 4: "voter"})


async def test_while_a_new_replica_catches_up_the_leader_is_only_asked_again(placed):
    await add_broker(placed)
    placed.twins.by_id(3).membership.faults[1] = "bad"
    placed.twins.by_id(4).membership.faults[1] = "it cannot catch up"
    await report_all(placed)
    await run(placed)
    condition, said = await states(placed)
    assert (condition, said) == (
        "changing",
        {1: "voter", 2: "voter", 3: "leaving", 4: "learner"},
    )
    version = (await placed.in_database(Partition.objects.get)).placement_version
    await run(placed)
    assert (await placed.in_database(Partition.objects.get)).placement_version == version
    await report_all(placed)
    await rounds(placed, 6)
    assert (await states(placed))[0] == "healthy"


async def test_a_leader_that_is_down_is_no_error_and_is_asked_later(placed):
    placed.twins.by_id(3).membership.faults[1] = "bad"
    await report_all(placed)
    leader = placed.twins.by_id(1)
    await leader.stop()
    await run(placed)
    assert placed.twins.group("logs", 0).history == []
    await leader.start()
    await rounds(placed, 4)
    assert (await states(placed))[0] == "healthy"


@pytest.mark.parametrize("few", [0, partition_facts.FEW_REPLICAS])
async def test_a_replica_without_a_row_is_dropped_only_when_the_partition_is_without_it(
    placed, few, monkeypatch
):
    monkeypatch.setattr(partition_facts, "FEW_REPLICAS", few)
    await add_broker(placed)
    stranger = placed.twins.by_id(4)
    stranger.replicas[1] = 77
    orders = await stranger.report()
    (removed,) = orders.removed_replicas
    assert (removed.group_id, removed.replica_id, removed.leader_broker_id) == (1, 77, 1)
    assert stranger.membership.discarded == [77]
    group = placed.twins.group("logs", 0)
    group.leader, group.term = 0, 9
    await placed.twins.by_id(1).report()
    stranger.replicas[1] = 78
    assert (await stranger.report()).removed_replicas == []


async def test_only_so_many_partitions_change_at_once(site):
    await site.create_topic(partitions=CHANGES_AT_ONCE + 4)
    site.twins.moves_on = False
    for group_id in site.twins.by_id(3).replicas:
        if site.twins.groups[group_id].leader != 3:
            site.twins.by_id(3).membership.faults[group_id] = "bad"
    for group in site.twins.groups.values():
        if group.leader == 3:
            site.twins.elect(group, 1)
            site.twins.by_id(3).membership.faults[group.order.group_id] = "bad"
    await report_all(site)
    await run(site)
    await run(site)

    def leaving():
        return Replica.objects.filter(leaving=True).count()

    assert await site.in_database(leaving) == CHANGES_AT_ONCE


async def test_a_broker_is_emptied_and_then_removed(site):
    await add_broker(site)
    await site.create_topic(partitions=4)
    await report_all(site)
    held = len(site.twins.by_id(1).replicas)
    answer = await site.ask("DELETE", "/brokers/1", status=202)
    assert (answer["replicas"], "emptied" in answer["message"]) == (held, True)
    assert (await site.ask("DELETE", "/brokers/1", status=202))["replicas"] == held
    for _ in range(6):
        await run(site)
        for twin in site.twins.brokers[1:]:
            await twin.report()
        if await site.in_database(Broker.objects.filter(pk=1).exists):
            await site.twins.brokers[0].report()
    assert site.twins.by_id(1).replicas == {}
    assert not await site.in_database(Broker.objects.filter(pk=1).exists)
    assert len((await site.get("/brokers"))["brokers"]) == 3
    for partition in (await site.get("/topics/logs"))["partitions"]:
        assert partition["condition"] == "healthy"
        assert sorted(said["broker_id"] for said in partition["replicas"]) == [2, 3, 4]
    assert await site.in_database(DeletedGroup.objects.count) == 0


async def test_a_broker_that_is_being_emptied_gets_nothing_new(site):
    await add_broker(site)
    await site.create_topic(partitions=1)
    await report_all(site)
    await site.ask("DELETE", "/brokers/1", status=202)
    await site.create_topic("more", partitions=3)
    (detail, *_) = (await site.get("/brokers?detail=1"))["brokers"]
    assert (detail["draining"], detail["replicas"]) == (True, 1)


async def test_retention_reaches_leaders_at_once_and_the_others_with_their_reports(placed):
    first, second, _ = placed.twins.brokers
    await placed.ask("PATCH", "/topics/logs", {"retention_ms": 60_000})
    assert first.membership.kept[1] == (60_000, 0)
    assert second.membership.kept[1] == (0, 0)
    await second.report()
    assert second.membership.kept[1] == (60_000, 0)
    detail = await placed.ask(
        "PATCH", "/topics/logs", {"retention_bytes": 1_000, "retention_ms": None}
    )
    assert first.membership.kept[1] == (0, 1_000)
    assert detail["settings"]["retention_bytes"] == 1_000
    assert (await placed.get("/topics/logs"))["settings"]["retention_ms"] is None


async def test_a_round_without_anything_to_repair_asks_nobody(placed):
    assert await run(placed, repair.repair_partitions) == 0
