from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import OperationalError

from manager_app import periodic, tasks
from manager_app.brokers import orders
from manager_app.clients.registry import ClientRegistry
from manager_app.models import Broker, Consumer, Partition, Producer, Replica
from manager_app.placement.rules import LedPartition, Transfer, choose_transfers
from manager_app.services.client import TOKEN_LIFE
from manager_app.services.cluster import fenced
from queuesite.celery import schedule_of
from queuesite.conf import MANAGER, QueueConfig
from tests.manager_app.apis.test_remembered import no_database
from tests.manager_app.broker_twin import unknown_outcome


def states(model):
    return list(model.objects.order_by("pk").values_list("state", flat=True))


async def run(site, task):
    return await site.in_database(task, site.runtime)


async def test_a_broker_is_dead_after_a_minute_of_silence_and_nothing_of_it_is_removed(site):
    await site.create_topic(partitions=3)
    before = await site.in_database(lambda: list(Replica.objects.values("broker_id", "role")))
    site.clock.seconds += 60
    assert await run(site, periodic.check_brokers) == []
    for twin in site.twins.brokers[1:]:
        await twin.report(full=False)
    site.clock.seconds += 0.5
    assert await run(site, periodic.check_brokers) == [1]
    assert await site.in_database(states, Broker) == ["dead", "alive", "alive"]
    after = await site.in_database(lambda: list(Replica.objects.values("broker_id", "role")))
    assert after == before
    assert await site.in_database(Partition.objects.filter(leader_id=1).count) == 1
    assert site.runtime.metadata.current.brokers[1].state == "dead"
    answer = await site.post("/topics", {"topic": "more"}, status=503)
    assert answer["code"] == "NOT_ENOUGH_BROKERS"
    await site.twins.brokers[0].report()
    assert await site.in_database(states, Broker) == ["alive"] * 3


async def test_a_manager_that_starts_lets_nobody_die_for_its_own_absence(site):
    await site.create_topic()
    producer = await site.producer()
    await site.stop_manager()
    site.clock.seconds += 3_600
    await site.start_manager()
    assert await run(site, periodic.check_brokers) == []
    assert await run(site, periodic.check_clients) == []
    await site.produce(producer, "still welcome")
    site.clock.seconds += 61
    assert await run(site, periodic.check_brokers) == [1, 2, 3]
    assert len(await run(site, periodic.check_clients)) == 1


async def test_the_recorded_heartbeat_of_another_manager_counts(site):
    await site.create_topic()
    await site.producer()
    await run(site, periodic.check_clients)
    await run(site, periodic.check_brokers)
    site.clock.seconds += 45

    def beat_elsewhere():
        with fenced():
            for model in (Producer, Broker):
                model.objects.update(last_heartbeat=site.clock.now())

    await site.in_database(beat_elsewhere)
    await run(site, periodic.check_clients)
    await run(site, periodic.check_brokers)
    site.clock.seconds += 45
    assert await run(site, periodic.check_clients) == []
    assert await run(site, periodic.check_brokers) == []


async def test_tasks_outside_the_manager_see_who_is_alive_by_what_it_recorded(site):
    await site.create_topic()
    heard, silent = await site.producer(), await site.producer()
    clients = ClientRegistry(
        look_up=site.runtime.clients._look_up,
        dead_after_s=60,
        monotonic_s=site.clock.monotonic_s,
        now=site.clock.now,
        epoch=lambda: 1,
        is_silent=lambda: False,
    )
    outside = replace(site.runtime, clients=clients)
    for _ in range(4):
        assert await site.in_database(periodic.check_clients, outside) == []
        site.clock.seconds += 15
        await site.get(f"/health?type=1&key={heard}")
        assert await site.in_database(periodic.record_heartbeats, site.runtime) >= 1
    site.clock.seconds += 0.1
    assert await site.in_database(periodic.check_clients, outside) == [("producer", silent)]
    assert await site.in_database(periodic.record_heartbeats, outside) == 0


async def test_recording_a_heartbeat_does_not_prolong_a_life(site):
    await site.create_topic()
    producer = await site.producer()
    site.clock.seconds += 5
    await site.get(f"/health?type=1&key={producer}")
    for _ in range(4):
        site.clock.seconds += 15
        assert await run(site, periodic.check_clients) == []
    site.clock.seconds += 0.1
    assert await run(site, periodic.check_clients) == [("producer", producer)]
    assert await site.in_database(states, Producer) == ["expired"]


async def test_expiry_survives_a_restart_and_ends_with_the_next_call(site):
    await site.create_topic()
    await site.post("/consumer/register", {"topic": "logs"})
    site.clock.seconds += 61
    await run(site, periodic.check_clients)
    await site.restart_manager()
    assert (await site.get("/consumers"))["consumers"][0]["state"] == "expired"
    call = {"topic": "logs", "consumer_id": 1, "max_messages": 1}
    await site.post("/consumer/consume", call)
    assert (await site.get("/consumers"))["consumers"][0]["state"] == "alive"
    assert await site.in_database(periodic.record_heartbeats, site.runtime) == 1
    assert await site.in_database(states, Consumer) == ["alive"]


async def test_heartbeats_that_cannot_be_stored_are_stored_later(site, monkeypatch):
    await site.create_topic()
    producer = await site.producer()
    site.clock.seconds += 30
    await site.get(f"/health?type=1&key={producer}")
    with no_database(monkeypatch), pytest.raises(OperationalError):
        await site.in_database(periodic.record_heartbeats, site.runtime)
    assert await site.in_database(periodic.record_heartbeats, site.runtime) == 1


async def test_revoked_ids_are_forgotten_when_their_tokens_are_past_their_time(site):
    await site.create_topic()
    token = (await site.post("/producer/register", {"topic": "logs"}))["token"]
    await site.ask("DELETE", "/producers/1", {"token": token})
    await run(site, periodic.check_clients)
    assert await site.in_database(Producer.objects.count) == 1
    site.clock.seconds += (TOKEN_LIFE + timedelta(hours=1)).total_seconds()
    await run(site, periodic.check_clients)
    assert await site.in_database(Producer.objects.count) == 0
    await site.twins.brokers[0].report()


def cursors(site, partitions=2):
    return [sorted(site.twins.group("logs", one).cursors) for one in range(partitions)]


async def pass_time(site, seconds):
    """Let time pass between two rounds."""
    await run(site, periodic.check_clients)
    site.clock.seconds += seconds
    await run(site, periodic.check_clients)


async def test_a_consumer_that_is_silent_for_days_is_forgotten_with_its_cursors(site):
    await site.create_topic(partitions=2)
    limit_s = site.config.forget_after_s
    registered = await site.post("/consumer/register", {"topic": "logs", "start": "latest"})
    await site.get("/health?type=0&key=1")
    await pass_time(site, 61)
    kept = await site.consumer(start="latest")
    await site.get(f"/health?type=0&key={kept}")
    await pass_time(site, limit_s - 62)
    await pass_time(site, 0)
    assert cursors(site) == [[1, kept], [1, kept]]
    assert await site.in_database(states, Consumer) == ["expired", "expired"]
    await pass_time(site, 2)
    assert cursors(site) == [[1, kept], [1, kept]], "first the brokers hear that it is revoked"
    assert (await site.twins.brokers[0].report()).revoked_consumers == [1]
    fields = {"topic": "logs", "consumer_id": 1, "token": registered["token"]}
    assert (await site.post("/consumer/register", fields, status=401))["code"] == "UNAUTHORIZED"
    await pass_time(site, 0)
    assert cursors(site) == [[kept], [kept]]
    assert [row["consumer_id"] for row in (await site.get("/consumers"))["consumers"]] == [kept]
    site.clock.seconds += (TOKEN_LIFE + timedelta(hours=1)).total_seconds()
    await run(site, periodic.check_clients)
    assert not await site.in_database(Consumer.objects.filter(pk=1).exists)


async def test_after_a_start_consumers_have_an_hour_to_come_back(site):
    await site.create_topic(partitions=2)
    registered = await site.post("/consumer/register", {"topic": "logs", "start": "latest"})
    await pass_time(site, 61)
    await site.stop_manager()
    site.clock.seconds += 30 * 86_400 - 7_200
    await site.start_manager()
    await pass_time(site, 3_600)
    fields = {"topic": "logs", "consumer_id": 1, "token": registered["token"]}
    await site.post("/consumer/register", fields)
    await pass_time(site, 15)
    assert await site.in_database(states, Consumer) == ["alive"]
    assert cursors(site) == [[1], [1]]


async def test_partitions_that_cannot_forget_are_asked_again_and_keep_no_other_waiting(site):
    await site.create_topic(partitions=2)
    await site.create_topic("other", partitions=1)
    for topic in ("logs", "other"):
        await site.post("/consumer/register", {"topic": topic, "start": "latest"})
    group = site.twins.group("logs", 1)
    down = site.twins.by_id(group.leader)
    other = site.twins.group("other", 0)
    if other.leader == down.broker_id:
        site.twins.elect(other, next(one for one in (1, 2, 3) if one != down.broker_id))
    await down.stop()
    await pass_time(site, site.config.forget_after_s + 61)
    for _ in range(3):
        await run(site, periodic.check_clients)
    assert sorted(group.cursors) == [1]
    assert other.cursors == {}
    pending = Consumer.objects.filter(topic__isnull=False)
    assert await site.in_database(lambda: list(pending.values_list("pk", "state"))) == [
        (1, "revoked")
    ]
    await down.start()
    await run(site, periodic.check_clients)
    assert cursors(site) == [[], []]
    assert not await site.in_database(pending.exists)


async def test_what_a_deleted_client_left_on_a_broker_that_was_down_is_forgotten_later(
    site, monkeypatch
):
    await site.create_topic(partitions=2)
    registered = await site.post("/consumer/register", {"topic": "logs", "start": "latest"})
    down = site.twins.by_id(site.twins.group("logs", 0).leader)
    await down.stop()
    with monkeypatch.context() as hurried:
        hurried.setattr(orders, "CURSOR_TIMEOUT_MS", 500)
        answer = await site.ask("DELETE", "/consumers/1", {"token": registered["token"]})
    assert answer["partitions_pending"] == [0]
    await down.start()
    await run(site, periodic.check_clients)
    assert cursors(site) == [[], []]


async def test_missing_replicas_are_ordered_again(site):
    down = site.twins.brokers[2]
    await down.stop()
    await site.create_topic(partitions=2)
    assert await run(site, periodic.reconcile_placement) == 2
    await down.start()
    assert await run(site, periodic.reconcile_placement) == 0
    assert sorted(down.replicas) == [1, 2]
    orders = len(down.called("/partitions"))
    await down.report()
    await run(site, periodic.reconcile_placement)
    assert len(down.called("/partitions")) == orders


async def test_one_leadership_moves_per_run_until_they_are_spread(site):
    await site.create_topic(partitions=3)
    for group in site.twins.groups.values():
        site.twins.elect(group, 1)
    for twin in site.twins.brokers:
        await twin.report()
    await run(site, periodic.check_brokers)
    (moved,) = await run(site, periodic.balance_leaders)
    assert (moved.source, moved.target) == (1, 2)
    await site.twins.reported()
    (moved,) = await run(site, periodic.balance_leaders)
    assert moved.target == 3
    await site.twins.reported()
    assert await run(site, periodic.balance_leaders) == []
    assert sorted(group.leader for group in site.twins.groups.values()) == [1, 2, 3]


async def test_no_leadership_moves_to_or_from_a_broker_that_does_not_answer(site):
    await site.create_topic(partitions=3)
    for group in site.twins.groups.values():
        site.twins.elect(group, 1)
    for twin in site.twins.brokers:
        await twin.report()
    site.silence(site.twins.by_id(2))
    (moved,) = await run(site, periodic.balance_leaders)
    assert (moved.source, moved.target) == (1, 3)
    await site.twins.reported()
    site.silence(site.twins.by_id(1))
    assert await run(site, periodic.balance_leaders) == []


async def test_in_a_larger_cluster_several_leaderships_move_per_run(site, monkeypatch):
    monkeypatch.setattr(periodic, "PARTITIONS_PER_TRANSFER", 3)
    await site.create_topic(partitions=6)
    for group in site.twins.groups.values():
        site.twins.elect(group, 1)
    for twin in site.twins.brokers:
        await twin.report()
    moved = await run(site, periodic.balance_leaders)
    assert [(one.source, one.target) for one in moved] == [(1, 2), (1, 3), (1, 2)]
    assert site.runtime.failed_transfers == {}
    await site.twins.reported()
    assert len(await run(site, periodic.balance_leaders)) == 1
    await site.twins.reported()
    assert sorted(group.leader for group in site.twins.groups.values()) == [1, 1, 2, 2, 3, 3]


def test_leaderships_of_a_thousand_partitions_are_spread_within_half_a_minute():
    """A fourth broker, which has its share of replicas, gets its share of leaderships."""
    led = {
        number: LedPartition(number, 1 + number % 3, (1, 2, 3, 4) if number % 4 else (1, 2, 3))
        for number in range(1, 1_001)
    }
    interval_s = schedule_of(MANAGER, QueueConfig())["manager_app.tasks.balance_leaders"]
    rounds = 0
    while transfers := choose_transfers(
        list(led.values()), {1, 2, 3, 4}, at_most=periodic.transfers_at_most(len(led))
    ):
        rounds += 1
        for one in transfers:
            led[one.group_id] = replace(led[one.group_id], leader=one.target)
    assert set(Counter(one.leader for one in led.values()).values()) == {250}
    assert rounds * interval_s["schedule"] <= 30


async def test_no_leadership_moves_to_a_broker_whose_disk_is_full(site):
    await site.create_topic(partitions=3)
    for group in site.twins.groups.values():
        site.twins.elect(group, 1)
    for twin in site.twins.brokers:
        await twin.report()
    await site.twins.by_id(2).report(disk_free_bytes=1 << 20)
    (moved,) = await run(site, periodic.balance_leaders)
    assert (moved.source, moved.target) == (1, 3)


async def test_no_leadership_moves_to_a_broker_that_says_its_disk_is_slow(site):
    await site.create_topic(partitions=3)
    for group in site.twins.groups.values():
        site.twins.elect(group, 1)
    for twin in site.twins.brokers:
        await twin.report(disk_slow=twin.broker_id == 2)
    (moved,) = await run(site, periodic.balance_leaders)
    assert (moved.source, moved.target) == (1, 3)
    await site.twins.reported()
    assert await run(site, periodic.balance_leaders) == []
    await site.twins.by_id(2).report()
    (moved,) = await run(site, periodic.balance_leaders)
    assert moved.target == 2
    await site.twins.reported()


async def test_a_leadership_that_could_not_be_moved_is_offered_to_another_for_a_while(site):
    await site.create_topic(partitions=2)
    first, second = sorted(site.twins.groups)
    for group_id in (first, second):
        site.twins.elect(site.twins.groups[group_id], 1)
    for twin in site.twins.brokers:
        await twin.report()
    site.twins.by_id(1).refuses[f"/partitions/{first}/leader"] = unknown_outcome()

    async def balance():
        moved = await run(site, periodic.balance_leaders)
        await site.twins.reported()
        return moved

    assert await balance() == []
    assert await balance() == []
    asked = site.twins.by_id(1).called(f"/partitions/{first}/leader")
    assert [call["broker_id"] for call in asked] == [2, 3]
    assert await balance() == [Transfer(second, 1, 2)]
    site.twins.elect(site.twins.groups[second], 1)
    await site.twins.by_id(1).report()
    site.clock.seconds += periodic.FAILED_TRANSFER_PAUSE_S + 1
    for twin in site.twins.brokers:
        await twin.report()
    site.twins.by_id(1).refuses.clear()
    assert await balance() == [Transfer(first, 1, 2)]
    assert site.runtime.failed_transfers == {}


async def test_a_read_only_manager_does_nothing_by_the_clock(site):
    await site.create_topic()
    await site.producer()
    await site.restart_manager(read_only=True)
    site.clock.seconds += 3_600
    assert await run(site, periodic.check_brokers) == []
    assert await run(site, periodic.check_clients) == []
    assert await run(site, periodic.reconcile_placement) == 0
    assert await run(site, periodic.balance_leaders) == []
    assert await site.in_database(states, Broker) == ["alive"] * 3


async def test_each_task_is_one_call_of_its_namesake(site):
    for name in ("check_brokers", "check_clients", "reconcile_placement", "balance_leaders"):
        task = getattr(tasks, name)
        assert task.name == f"manager_app.tasks.{name}"
        await site.in_database(task)


async def test_orders_that_take_too_long_keep_no_partition_from_its_repair(site, monkeypatch):
    repaired = []

    def too_long(runtime):
        raise TimeoutError

    monkeypatch.setattr(periodic, "place_missing", too_long)
    monkeypatch.setattr(periodic.repair_round, "repair_partitions", repaired.append)
    assert await run(site, periodic.reconcile_placement) == 0
    assert repaired == [site.runtime]
