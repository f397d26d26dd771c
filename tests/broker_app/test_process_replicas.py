"""Whole brokers in one loop: real directories and sockets while a partition changes replicas."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broker_app.options import BrokerOptions
from broker_app.process import BrokerProcess
from broker_app.runtime import state_of
from broker_app.services.consume import PopCall, messages_pop
from broker_app.services.partitions import partition_create
from broker_app.services.produce import batch_produce
from broker_app.services.replicas import members_get, replica_discard, replicas_change
from broker_app.services.retention import messages_truncate
from http_base.cluster import ReplicaOrder, ReplicaPlace, ReplicaTarget
from http_base.memory_budget import MemoryBudget
from myqueue.contract.errors import BrokerUnreachable, NotLeader, QueueError, StalePlacement
from raft_app.engine.config import EngineConfig
from tests.broker_app.manager_twin import ManagerTwin
from tests.broker_app.replica import batch_of
from tests.broker_app.test_process import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from broker_app.runtime import BrokerRuntime
    from http_base.cluster import MembersAnswer
    from raft_app.engine.replica import Replica

GROUP = 1
ENGINE = EngineConfig(
    ticks_missed_max=1_000_000,  # the test ticks
    checkpoint_entries=50,
    log_tail_entries=20,
    log_keep_bytes=1,
    snapshot_part_bytes=4_096,
)


class Cluster:
    """Brokers with ids from 1, ticked while calls are under way."""

    def __init__(self, tmp_path: Path, manager: ManagerTwin) -> None:
        self.tmp_path = tmp_path
        self.manager = manager
        self.processes: dict[int, BrokerProcess] = {}

    async def start(self) -> BrokerProcess:
        number, port = len(self.processes) + 1, free_port()
        process = BrokerProcess(
            BrokerOptions(
                data_dir=self.tmp_path / str(number),
                address=f"http://127.0.0.1:{number}",
                bind_host="127.0.0.1",
                raft_port=port,
                raft_address=f"127.0.0.1:{port}",
                manager_addresses=(self.manager.address,),
                cluster_secret="a secret of a test run",
                engine=ENGINE,
            ),
            memory=MemoryBudget(),
        )
        await process.start()
        process.runtime.peers = self
        self.processes[process.broker_id] = process
        return process

    async def members(self, broker_id: int, group_id: int) -> MembersAnswer:
        """Ask a broker as `PeerLink` would over HTTP."""
        if broker_id not in self.processes:
            raise BrokerUnreachable(f"broker {broker_id}")
        return await members_get(runtime=self.processes[broker_id].runtime, group_id=group_id)

    async def tick(self) -> None:
        while True:
            for process in list(self.processes.values()):
                process.engine.post_tick()
                process.engine.request_checkpoints()
            await asyncio.sleep(0.005)

    def replica(self, broker_id: int) -> Replica:
        return self.processes[broker_id].engine.replicas[GROUP]

    def leader(self) -> tuple[BrokerRuntime, Replica] | None:
        for process in self.processes.values():
            replica = process.engine.replicas.get(GROUP)
            if replica is not None and replica.serves:
                return process.runtime, replica
        return None

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds():
                await asyncio.sleep(0.005)

    async def call(self, service: Any, **fields: Any) -> Any:
        """Call at whoever leads until it works, as a client does."""
        async with asyncio.timeout(30):
            while True:
                place = self.leader()
                if place is not None:
                    try:
                        return await service(runtime=place[0], replica=place[1], **fields)
                    except QueueError as error:
                        if not error.retriable:
                            raise
                await asyncio.sleep(0.005)

    async def make(
        self, broker_id: int, replica_id: int, places: list[ReplicaPlace], **facts: Any
    ) -> None:
        order = ReplicaOrder(
            group_id=GROUP,
            replica_id=replica_id,
            topic="logs",
            partition=0,
            replicas=places,
            **{"bootstrap": False, "epoch": 1, "version": 1, **facts},
        )
        await partition_create(runtime=self.processes[broker_id].runtime, order=order)

    async def change(self, places: list[ReplicaPlace], version: int) -> None:
        """Ask for other replicas until they are the only ones, for good, as a manager does."""
        target = ReplicaTarget(replicas=places, epoch=1, version=version)
        wanted = {(place.replica_id, place.broker_id) for place in places}
        async with asyncio.timeout(30):
            while True:
                place = self.leader()
                if place is not None:
                    membership = place[1].applied.membership
                    voters = {(one.replica_id, one.broker_id) for one in membership.voters}
                    if voters == wanted and not membership.learners:
                        return
                    try:
                        await replicas_change(runtime=place[0], group_id=GROUP, target=target)
                    except NotLeader:
                        continue
                await asyncio.sleep(0.02)


@pytest.fixture
async def cluster(tmp_path: Path, django_db_blocker: Any) -> AsyncIterator[Cluster]:
    with django_db_blocker.unblock():
        async with ManagerTwin() as manager:
            made = Cluster(tmp_path, manager)
            for _ in range(4):
                await made.start()
            for process in made.processes.values():
                process.runtime.post_heartbeat()
            ticking = asyncio.get_running_loop().create_task(made.tick())
            await made.until(
                lambda: all(len(one.engine.peers) == 4 for one in made.processes.values())
            )
            yield made
            ticking.cancel()
            await asyncio.wait((ticking,))
            for process in made.processes.values():
                await process.stop()


async def popped_values(cluster: Cluster, count: int) -> list[Any]:
    """Pop so many messages, one call after the other, and return their values."""
    call = PopCall(
        consumer_id=5, max_messages=1_000, max_bytes=8 << 20, wait_ms=0, timeout_ms=2_000
    )
    received: list[Any] = []
    while len(received) < count:
        popped = await cluster.call(messages_pop, call=call)
        assert popped.first_offset == len(received)
        received += [record.value for _, record in popped.messages]
    return received


async def move_from_broker_3_to_4(cluster: Cluster, moved: list[ReplicaPlace]) -> None:
    """Change the replicas; only the one that was removed may be discarded then."""
    await cluster.make(4, 14, moved, version=2)
    await cluster.change(moved, 2)
    with pytest.raises(StalePlacement):
        await replica_discard(
            runtime=cluster.processes[1].runtime, group_id=GROUP, replica_id=11, ask=()
        )
    assert await replica_discard(
        runtime=cluster.processes[3].runtime, group_id=GROUP, replica_id=13, ask=(1,)
    )


async def test_partition_moves_to_a_new_broker_while_it_is_written_and_read(
    cluster: Cluster,
) -> None:
    places = [ReplicaPlace(11, 1), ReplicaPlace(12, 2), ReplicaPlace(13, 3)]
    for place in reversed(places):
        await cluster.make(
            place.broker_id, place.replica_id, places, bootstrap=True, retention_bytes=60_000
        )
    sent: list[str] = []
    stopped = False

    async def produce() -> None:
        while not stopped:
            value = f"{len(sent)} {'x' * 500}"
            request = batch_of(value, producer_id=1, sequence=len(sent))
            await cluster.call(batch_produce, producer_id=1, batch=request.batch, timeout_ms=1_000)
            sent.append(value)

    producing = asyncio.ensure_future(produce())
    await cluster.until(lambda: len(sent) > 200)
    moved = [ReplicaPlace(11, 1), ReplicaPlace(12, 2), ReplicaPlace(14, 4)]
    await move_from_broker_3_to_4(cluster, moved)
    stopped = True
    await producing
    assert cluster.processes[4].engine.snapshots_received.received == 1
    await cluster.until(lambda: state_of(cluster.replica(4)).next_offset == len(sent))

    replica = cluster.replica(4)
    await cluster.processes[1].engine.hand_over_all(timeout_ms=2_000)
    await cluster.processes[2].engine.hand_over_all(timeout_ms=2_000)
    assert await popped_values(cluster, len(sent)) == sent

    for broker_id, replica_id in ((4, 14), (1, 11), (2, 12)):
        await cluster.make(broker_id, replica_id, moved, version=2, retention_bytes=60_000)
    begin = await cluster.call(messages_truncate, now_ms=0)
    assert begin > 0
    for broker_id in (1, 2, 4):
        await cluster.until(lambda one=broker_id: cluster.replica(one).log_start.cut == begin)
    rows = await cluster.processes[4].engine.read_batches(GROUP, begin, len(sent), 1 << 20)
    assert rows[0].base_offset == begin
    assert replica.node.membership.version == 2
