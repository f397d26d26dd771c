from __future__ import annotations

import asyncio
import pkgutil
import threading

import pytest
from django.conf import settings
from msgspec.structs import replace

from manager_app import process, runtime, tasks
from manager_app.clients.registry import UNUSED_S_MAX
from manager_app.fence import write_under
from manager_app.models import Cluster, Producer
from manager_app.services.cluster import secret_record
from myqueue.contract.errors import UnauthorizedException
from myqueue.contract.rules import group_membership


@pytest.fixture
async def read_only(site):
    """A read-only manager over the database of one that did some work."""
    await site.create_topic(partitions=2)
    producer = await site.producer()
    await site.consumer()
    for number in range(4):
        await site.produce(producer, str(number))
    await site.restart_manager(read_only=True)
    return site


async def test_a_read_only_manager_answers_every_read_and_says_how_old_its_view_is(read_only):
    for target in (
        "/topics",
        "/topics?detail=1",
        "/topics/logs",
        "/brokers",
        "/producers",
        "/consumers",
        "/groups",
        "/size?topic=logs&consumer_id=1",
        "/healthz",
        "/readyz",
        "/topics/nowhere",
    ):
        read_only.clock.seconds += 0.001
        answer = await read_only.send("GET", target)
        assert answer.status == (404 if target == "/topics/nowhere" else 200), answer
        assert 0 <= int(answer.headers["x-metadata-age-ms"]) < 1_000


@pytest.mark.parametrize(
    ("method", "target", "fields"),
    [
        ("POST", "/topics", {"topic": "more"}),
        ("PATCH", "/topics/logs", {"retention_ms": 5}),
        ("DELETE", "/topics/logs", {}),
        ("POST", "/brokers", {"address": "http://h:1"}),
        ("DELETE", "/brokers/1", {}),
        ("PATCH", "/brokers/1", {"draining": False}),
        ("POST", "/groups/g/join", {"topics": ["logs"]}),
        ("POST", "/groups/g/heartbeat", {"member_id": "x", "generation": 1, "owned": {}}),
        ("POST", "/groups/g/leave", {"member_id": "x"}),
        ("DELETE", "/groups/g", {}),
        ("POST", "/producer/register", {"topic": "logs"}),
        ("POST", "/consumer/register", {"topic": "logs"}),
        ("DELETE", "/producers/1", {"token": "x"}),
        ("DELETE", "/consumers/1", {"token": "x"}),
        ("GET", "/health", {"type": 2, "key": 1}),
    ],
)
async def test_a_read_only_manager_refuses_every_write_and_names_the_primary(
    read_only, method, target, fields
):
    answer = await read_only.ask(method, target, fields, status=409)
    assert answer["code"] == "READ_ONLY_MANAGER"
    assert answer["primary"] == "http://manager.test:8000"


async def test_a_read_only_manager_takes_no_reports(read_only):
    answer = await read_only.send(
        "POST",
        "/brokers/heartbeat",
        body=b"{}",
        headers={"authorization": f"Bearer {read_only.cluster_token}"},
    )
    assert answer.json["code"] == "READ_ONLY_MANAGER"


async def test_a_read_only_manager_passes_consume_on_to_the_brokers(read_only):
    call = {"topic": "logs", "consumer_id": 1}
    found = [(await read_only.post("/consumer/consume", call))["message"] for _ in range(4)]
    assert sorted(found) == ["0", "1", "2", "3"]
    answer = await read_only.post(
        "/consumer/consume", {"topic": "logs", "consumer_id": 9}, status=401
    )
    assert answer["code"] == "UNAUTHORIZED"


async def test_a_read_only_manager_passes_produce_on_to_the_brokers(read_only):
    call = {"topic": "logs", "producer_id": 1, "message": "x", "partition": 1}
    first = await read_only.post("/producer/produce", {**call, "request_id": "one"})
    again = await read_only.post("/producer/produce", {**call, "request_id": "one"})
    assert (first["partition"], first["offset"]) == (again["partition"], again["offset"])
    assert first["offset"] == (await read_only.post("/producer/produce", call))["offset"] - 1
    stranger = await read_only.post("/producer/produce", {**call, "producer_id": 9}, status=401)
    assert stranger["code"] == "UNAUTHORIZED"


async def test_changes_that_another_manager_made_are_seen(site):
    await site.create_topic("logs", partitions=1)
    await site.restart_manager(read_only=True)
    reader = site.process
    runtime.install(None)  # there is one in a process, and it is the writer's now
    await site.start_manager()
    await site.create_topic("more", partitions=1)
    assert await reader.metadata.wait_until(lambda: "more" in reader.metadata.current.topics, 5)
    group_id = reader.metadata.topic("more").partitions[0].group_id
    assert await reader.metadata.wait_until(
        lambda: reader.metadata.leader_of(group_id).broker_id > 0, 5
    )
    group = site.twins.groups[group_id]
    site.twins.elect(group, group.brokers[2])
    await site.twins.by_id(group.leader).report(full=False, groups=[group])
    assert await reader.metadata.wait_until(
        lambda: reader.metadata.leader_of(group_id).broker_id == group.leader, 5
    )
    await reader.stop()
    runtime.install(site.runtime)


async def test_a_primary_stores_its_address_and_the_cluster_keeps_its_id(site):
    before = await site.in_database(Cluster.objects.get)
    assert before.primary_address == "http://manager.test:8000"
    await site.restart_manager()
    after = await site.in_database(Cluster.objects.get)
    assert after.cluster_id == before.cluster_id
    assert len(after.cluster_id) == 32


@pytest.mark.parametrize(("read_only", "works"), [(True, False), (False, True)])
async def test_neither_a_read_only_manager_nor_a_worker_ever_takes_the_lease(
    site, read_only, works
):
    await site.in_database(site.runtime.lease.give_back)
    options = replace(site.config, read_only=read_only, current_address="http://b:1")
    other = process.ManagerProcess(options, works=works)
    made = await other.start()
    for _ in range(3):
        tasks.keep_lease()
        site.clock.seconds += 3
    assert made.lease.epoch is None
    assert made.is_primary is works, "it does the tasks of whoever is the primary"
    await other.stop()
    assert not (await site.in_database(Cluster.objects.get)).primary_address


async def test_the_installed_runtime_goes_with_its_process(site):
    assert runtime.current() is site.runtime
    assert process.worker_runtime() is site.runtime
    await site.stop_manager()
    assert runtime.installed() is None
    with pytest.raises(RuntimeError, match="runs no manager"):
        runtime.current()


@pytest.fixture
def worker_process(transactional_db, monkeypatch):
    """A process that runs no manager; one that a Celery worker starts in it ends with the test."""
    started = []

    class Recorded(process.ManagerProcess):
        async def start(self):
            started.append((self, asyncio.get_running_loop()))
            return await super().start()

    monkeypatch.setattr(process, "ManagerProcess", Recorded)
    yield
    for manager, loop in started:
        asyncio.run_coroutine_threadsafe(manager.stop(), loop).result(process.START_TIMEOUT_S)
        loop.call_soon_threadsafe(loop.stop)
        for thread in threading.enumerate():
            if thread.name == "manager-loop":
                thread.join(process.START_TIMEOUT_S)
        loop.close()
    write_under(None)
    assert runtime.installed() is None


def test_a_worker_process_gets_a_runtime_of_its_own(worker_process):
    made = process.worker_runtime()
    assert process.worker_runtime() is made
    assert made.metadata.current.version >= 1


def test_a_worker_process_with_another_secret_does_nothing(worker_process):
    secret_record("the secret of some other cluster")
    with pytest.raises(UnauthorizedException, match="QUEUE_CLUSTER_SECRET"):
        process.worker_runtime()
    assert runtime.installed() is None
    secret_record(settings.QUEUE.cluster_secret, change=True)
    process.worker_runtime()


async def test_a_manager_stores_the_heartbeats_that_it_hears_by_itself(site, monkeypatch):
    monkeypatch.setattr(process, "RECORD_INTERVAL_S", 0.01)
    await site.restart_manager()
    await site.create_topic()
    producer = await site.producer()
    site.clock.seconds += 20
    await site.get(f"/health?type=1&key={producer}")
    heard_at = site.clock.now()
    for _ in range(500):
        row = await site.in_database(Producer.objects.get)
        if row.last_heartbeat == heard_at:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the heartbeat was not stored")


@pytest.mark.parametrize(
    "broken",
    [
        "metadata.MetadataCopy.poll",
        "groups.coordinator.GroupCoordinator.sweep",
        "periodic.observe_brokers",
        "periodic.record_heartbeats",
    ],
)
async def test_what_a_manager_repeats_goes_on_after_an_unexpected_exception(
    site, monkeypatch, caplog, broken
):
    await site.stop_manager()
    for name in ("SWEEP_INTERVAL_S", "OBSERVE_INTERVAL_S", "RECORD_INTERVAL_S"):
        monkeypatch.setattr(process, name, 0.01)
    holder, _, name = f"manager_app.{broken}".rpartition(".")
    works = pkgutil.resolve_name(holder)
    work, calls = getattr(works, name), []

    def breaks_once(*args):
        calls.append(args)
        if len(calls) == 1:
            raise RuntimeError("can't start new thread")
        return work(*args)

    manager = process.ManagerProcess(site.config, poll_interval_s=0.01)
    monkeypatch.setattr(works, name, breaks_once)
    await manager.start()
    for _ in range(500):
        if len(calls) > 2:
            break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError(f"{broken} was called {len(calls)} times")
    await manager.stop()
    [failed] = [record for record in caplog.records if record.exc_info]
    assert "failed in an unexpected way" in failed.getMessage()
    assert failed.exc_info[0] is RuntimeError


async def test_a_silent_member_goes_although_one_sweep_broke_off(site, monkeypatch):
    await site.create_topic(partitions=2)
    monkeypatch.setattr(process, "SWEEP_INTERVAL_S", 0.01)
    await site.restart_manager()
    joined = await site.post("/groups/g/join", {"topics": ["logs"], "session_timeout_ms": 6_000})
    follow, broken = group_membership.follow, []

    def breaks_once(*args):
        if not broken:
            broken.append(args)
            raise KeyError("a bug")
        return follow(*args)

    monkeypatch.setattr(group_membership, "follow", breaks_once)
    site.clock.seconds += 2.0  # a step of more is one in which nobody could be heard
    for _ in range(500):
        site.clock.seconds += 0.1
        await asyncio.sleep(0.01)
        if not (await site.get("/groups/g"))["members"]:
            break
    else:
        raise AssertionError(f"{joined['member_id']} is still a member")
    assert broken


@pytest.mark.parametrize("read_only", [False, True])
async def test_clients_that_do_nothing_leave_the_memory_of_every_manager(
    site, monkeypatch, read_only
):
    monkeypatch.setattr(process, "UNUSED_INTERVAL_S", 0.01)
    await site.create_topic("logs", partitions=1)
    consumers = [await site.consumer() for _ in range(3)]
    await site.restart_manager(read_only=read_only)
    for consumer in consumers:
        await site.get(f"/size?topic=logs&consumer_id={consumer}")
    clients = site.runtime.clients
    assert len(clients) == 3
    site.clock.seconds += UNUSED_S_MAX / 2
    await site.get(f"/size?topic=logs&consumer_id={consumers[0]}")
    site.clock.seconds += UNUSED_S_MAX / 2 + 1
    async with asyncio.timeout(5):
        while len(clients) > 1:
            await asyncio.sleep(0.01)
    await site.get(f"/size?topic=logs&consumer_id={consumers[1]}")
    assert len(clients) == 2
