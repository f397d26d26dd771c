"""A whole broker in the test's loop: real directory, real sockets, a twin of the manager."""

from __future__ import annotations

import asyncio
import gc
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from broker_app import runtime
from broker_app.options import BrokerOptions
from broker_app.process import BrokerProcess, JoinRefused
from broker_app.secret_proof import PROOF_NAME
from broker_app.services.partitions import partition_create
from http_base.cluster import DeletedPartition, ReplicaOrder, ReplicaPlace
from http_base.memory_budget import MemoryBudget
from myqueue.contract.errors import Forbidden, StalePlacement, UnauthorizedException
from raft_app import registry
from raft_app.engine.config import EngineConfig
from raft_app.engine.disk import SlowDisk
from raft_app.storage.protocol import StorageRefusal
from tests.broker_app.manager_twin import ManagerTwin
from tests.ports import free_ports

ENGINE = EngineConfig(ticks_missed_max=1_000_000)  # the test ticks


def free_port() -> int:
    """Return one that the system gives to no connection meanwhile."""
    return free_ports(1)[0]


def order(**changes) -> ReplicaOrder:
    fields = {
        "group_id": 1,
        "replica_id": 11,
        "topic": "logs",
        "partition": 0,
        "bootstrap": True,
        "replicas": [ReplicaPlace(11, 1)],
        "epoch": 1,
        "version": 1,
    }
    return ReplicaOrder(**{**fields, **changes})


def deleted(group_id: int, topic: str = "logs") -> DeletedPartition:
    return DeletedPartition(group_id=group_id, topic=topic, partition=0)


@pytest.fixture(autouse=True)
def _own_database(django_db_blocker):
    """Let storage open the file in the test's own directory."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
async def manager():
    async with ManagerTwin() as manager:
        yield manager


def make(tmp_path, manager) -> BrokerProcess:
    port = free_port()
    return BrokerProcess(
        BrokerOptions(
            data_dir=tmp_path / "broker",
            address="http://127.0.0.1:9",
            bind_host="127.0.0.1",
            raft_port=port,
            raft_address=f"127.0.0.1:{port}",
            manager_addresses=(manager.address,),
            cluster_secret="a secret of a test run",
            engine=ENGINE,
        ),
        memory=MemoryBudget(),
    )


async def until(holds, process):
    async with asyncio.timeout(20):
        while not holds():
            process.engine.post_tick()
            await asyncio.sleep(0.002)


async def test_first_start_gets_an_id_and_the_next_one_keeps_it(tmp_path, manager):
    process = make(tmp_path, manager)
    await process.start()
    assert process.broker_id == 1
    assert registry.current() is process.engine
    assert runtime.current() is process.runtime
    await process.stop()
    assert registry.current() is None

    manager.brokers.clear()  # it must not be asked again
    manager.refusal = (503, {"status": "failure", "code": "OVERLOADED", "message": "later"})
    again = make(tmp_path, manager)
    await again.start()
    assert again.broker_id == 1
    await again.stop()


async def test_stopped_before_a_manager_answers_it_leaves_nothing_open(tmp_path, caplog):
    left_open = []
    asyncio.get_running_loop().set_exception_handler(lambda _, found: left_open.append(found))
    nobody = SimpleNamespace(address=f"http://127.0.0.1:{free_port()}")
    starting = asyncio.get_running_loop().create_task(make(tmp_path, nobody).start())
    async with asyncio.timeout(20):
        while "waiting for a manager" not in caplog.text:
            await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    del starting
    gc.collect()
    assert left_open == []


async def test_assigned_replica_is_made_led_and_reported(tmp_path, manager):
    manager.assignment = [order()]
    process = make(tmp_path, manager)
    await process.start()
    await until(lambda: process.engine.replicas and process.engine.replicas[1].serves, process)
    await until(lambda: any(one.replicas for one in manager.reports), process)
    last = next(one for one in reversed(manager.reports) if one.replicas)
    assert (last.replicas[0].group_id, last.replicas[0].replica_id) == (1, 11)
    await process.stop()


async def test_broker_is_not_started_before_it_knows_its_room(tmp_path, manager, monkeypatch):
    asked, answer = threading.Event(), threading.Event()

    def disk_usage(_):
        asked.set()
        answer.wait(20)
        return SimpleNamespace(free=123)

    monkeypatch.setattr("broker_app.process.shutil.disk_usage", disk_usage)
    process = make(tmp_path, manager)
    starting = asyncio.ensure_future(process.start())
    await asyncio.to_thread(asked.wait, 20)
    early, _ = await asyncio.wait({starting}, timeout=0.2)
    answer.set()
    await starting
    assert not early
    assert process._report(True, frozenset()).disk_free_bytes == 123
    await process.stop()


WRONG = "the secret of some other cluster"


def make_wrong(tmp_path, manager, **changes) -> BrokerProcess:
    """Return the same broker with another secret."""
    options = make(tmp_path, manager).options
    return BrokerProcess(replace(options, cluster_secret=WRONG, **changes), memory=MemoryBudget())


def refuse_secret(manager):
    manager.refusal = (401, UnauthorizedException("this call needs the cluster's token").to_body())


async def test_broker_whose_secret_a_manager_refuses_does_not_start(tmp_path, manager):
    refuse_secret(manager)
    with pytest.raises(
        JoinRefused, match=r"has another secret: set QUEUE_CLUSTER_SECRET"
    ) as raised:
        await make(tmp_path, manager).start()
    assert manager.address in str(raised.value)
    assert not (tmp_path / "broker" / PROOF_NAME).exists()


async def test_broker_refused_for_another_reason_says_which(tmp_path, manager):
    manager.refusal = (403, Forbidden("it is replaced").to_body())
    with pytest.raises(JoinRefused, match="refuses this broker: it is replaced"):
        await make(tmp_path, manager).start()


async def test_broker_that_joined_starts_with_no_other_secret_unless_told_to(tmp_path, manager):
    process = make(tmp_path, manager)
    await process.start()
    await process.stop()
    kept = (tmp_path / "broker" / PROOF_NAME).read_text()
    assert "a secret of a test run" not in kept
    asked = len(manager.reports)
    with pytest.raises(JoinRefused, match=r"broker 1 .* joined its cluster with"):
        await make_wrong(tmp_path, manager).start()
    assert len(manager.reports) == asked
    changed = make_wrong(tmp_path, manager, change_secret=True)
    await changed.start()
    await changed.stop()
    assert (tmp_path / "broker" / PROOF_NAME).read_text() != kept
    with pytest.raises(JoinRefused):
        await make(tmp_path, manager).start()


async def test_broker_of_an_earlier_version_asks_the_managers_once(tmp_path, manager):
    process = make(tmp_path, manager)
    await process.start()
    await process.stop()
    proof = tmp_path / "broker" / PROOF_NAME
    proof.unlink()
    refuse_secret(manager)
    with pytest.raises(JoinRefused):
        await make_wrong(tmp_path, manager).start()
    manager.refusal = (503, {"status": "failure", "code": "OVERLOADED", "message": "later"})
    alone = make(tmp_path, manager)
    await alone.start()
    await alone.stop()
    assert not proof.exists()
    manager.refusal = None
    manager.reports.clear()
    again = make(tmp_path, manager)
    await again.start()
    assert proof.exists()
    assert not manager.reports[0].full  # it holds no list of the replicas
    await again.stop()


async def test_report_says_how_the_disk_is(tmp_path, manager, monkeypatch):
    process = make(tmp_path, manager)
    await process.start()
    report = process._report(False, frozenset())
    assert (report.disk_free_bytes > 0, report.disk_slow) == (True, False)
    monkeypatch.setattr(SlowDisk, "is_slow", True)
    assert process._report(False, frozenset()).disk_slow
    await process.stop()


async def test_deleted_group_is_dropped(tmp_path, manager):
    manager.assignment = [order()]
    process = make(tmp_path, manager)
    await process.start()
    await until(lambda: 1 in process.engine.replicas, process)
    manager.assignment, manager.deleted_groups = [], [deleted(1)]
    process.runtime.post_heartbeat()
    await until(lambda: 1 not in process.engine.replicas, process)
    await process.stop()


async def test_deletion_of_another_topic_with_that_group_id_is_refused_alone(tmp_path, manager):
    manager.assignment = [order(), order(group_id=2, replica_id=12, replicas=[ReplicaPlace(12, 1)])]
    process = make(tmp_path, manager)
    await process.start()
    await until(lambda: process.engine.replicas.keys() == {1, 2}, process)
    manager.assignment = [order(group_id=3, replica_id=13, replicas=[ReplicaPlace(13, 1)])]
    manager.deleted_groups = [deleted(1, topic="other"), deleted(2)]
    orders = await process._link.send(process._report(True, frozenset()))
    with pytest.raises(StalePlacement, match="group 1 is here"):
        await process.take_orders(orders)
    assert process.engine.replicas.keys() == {1, 3}
    await process.stop()


async def test_what_a_manager_remembers_takes_an_older_copy_out_of_service(tmp_path, manager):
    manager.assignment = [order()]
    process = make(tmp_path, manager)
    await process.start()
    await until(lambda: 1 in process.engine.replicas, process)
    await process.stop()
    manager.more = {
        "remembered": [{"group_id": 1, "replica_id": 11, "kept_term": 1, "kept_index": 1_000}]
    }
    again = make(tmp_path, manager)
    await again.start()
    replica = again.engine.replicas[1]
    await until(lambda: bool(replica.faulty), again)
    assert "it had told of 1000 in term 1" in replica.faulty
    await again.stop()


async def test_replica_survives_a_restart_with_its_data(tmp_path, manager):
    manager.assignment = [order()]
    process = make(tmp_path, manager)
    await process.start()
    await until(lambda: process.engine.replicas and process.engine.replicas[1].serves, process)
    index = process.engine.replicas[1].node.last_index
    await process.stop()
    again = make(tmp_path, manager)
    await again.start()
    assert again.engine.replicas[1].node.last_index >= index
    await again.stop()


async def test_orders_of_another_cluster_or_an_older_epoch_are_refused(tmp_path, manager):
    process = make(tmp_path, manager)
    await process.start()
    orders = await process._link.send(process._report(True, frozenset()))
    await process.take_orders(orders)
    manager.cluster_id = "d" * 32
    with pytest.raises(Forbidden):
        await process.take_orders(await process._link.send(process._report(True, frozenset())))
    await process.runtime.obey_epoch(5)
    with pytest.raises(StalePlacement):
        await process.take_orders(orders)
    await process.stop()
    again = make(tmp_path, manager)
    await again.start()
    assert again.runtime.epoch == 5
    with pytest.raises(StalePlacement):
        await again.take_orders(orders)
    await again.stop()


async def test_refused_order_does_not_keep_the_others_from_being_carried_out(tmp_path, manager):
    process = make(tmp_path, manager)
    await process.start()
    await partition_create(runtime=process.runtime, order=order())
    await process.engine.delete_replica(1)
    manager.assignment = [order(), order(group_id=2, replica_id=12, replicas=[ReplicaPlace(12, 1)])]
    orders = await process._link.send(process._report(True, frozenset()))
    with pytest.raises(StalePlacement):
        await process.take_orders(orders)
    assert set(process.engine.replicas) == {2}
    await process.stop()


async def test_second_process_on_the_directory_is_refused(tmp_path, manager):
    process = make(tmp_path, manager)
    await process.start()
    with pytest.raises(StorageRefusal):
        await make(tmp_path, manager).start()
    await process.stop()
