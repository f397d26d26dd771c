from __future__ import annotations

import os
import random
from typing import Any

import pytest

from myqueue.config import ClientConfig
from myqueue.contract.errors import ClientClosed
from myqueue.testing.queue import InMemoryQueue
from myqueue.worker.worker import Worker
from tests.myqueue.conftest import World


def test_a_worker_is_a_consumer_that_is_kept_alive_until_it_closes(world: World) -> None:
    world.twin.create("logs", 2)
    world.twin.create("more", 1)
    worker = world.worker(["logs", "more"])
    assert worker.group == "workers"
    assert world.beats.clients == [worker]
    worker.beat()
    ids = [one.client_id for one in worker.registrations.values()]
    assert world.twin.beats == [(0, one) for one in ids]
    assert all(not partition.cursors for partition in world.twin.topics["logs"])
    worker.close()
    assert world.beats.clients == []
    assert world.twin.clients == {}, "nobody goes on under a worker's registration"
    with pytest.raises(ClientClosed):
        worker.ack()


def test_a_worker_closes_without_a_manager(world: World) -> None:
    world.twin.create("logs", 1)
    with world.worker():
        world.twin.down.add(world.twin.manager)
    assert len(world.twin.clients) == 1


def test_what_arrives_while_it_closes_is_given_back(world: World) -> None:
    (partition,) = world.twin.create("logs", 1)
    worker = world.worker()

    def closing(answer: dict[str, Any]) -> dict[str, Any]:
        if answer["messages"]:
            worker._core.session.closing = True
        return answer

    world.twin.amended["/messages/receive"] = closing
    partition.put("x")
    with pytest.raises(ClientClosed):
        worker.receive(timeout=None)
    assert partition.works["workers"].unsettled[0].visible_at_ms <= world.twin.state.now_ms()


def test_the_child_of_a_fork_works_under_its_own_registration() -> None:
    with InMemoryQueue({"logs": 1}) as queue:
        queue._api.state.topics["logs"][0].put("x", "y")
        worker = Worker("logs", queue.address, "workers")
        (mine,) = worker.receive(1, None)
        pid = os.fork()
        if not pid:
            status = 1
            try:
                (other,) = worker.receive(1, None)
                done = [one.done for one in worker.ack(mine, other)]
                worker.close()
                status = 0 if done == [True, True] and len(queue._api.state.clients) == 1 else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert [one.done for one in worker.ack(mine)] == [True]
        worker.close()


@pytest.mark.parametrize("seed", range(20))
def test_chaos_loses_nothing_and_buries_nothing_that_was_acknowledged(
    world: World, seed: int
) -> None:
    chance = random.Random(seed)
    for partition in world.twin.create("logs", 3):
        partition.put(*map(str, range(20)))
    config = ClientConfig(retry_backoff_ms=1, delivery_timeout_ms=600_000)
    options = {"config": config, "visibility_ms": 2_000, "delivery_limit": 1_000}
    handled: dict[tuple[int, int], int] = {}
    acknowledged: set[tuple[int, int]] = set()
    with world.worker(**options) as one, world.worker(**options) as two:
        world.twin.chaos = random.Random(seed)
        while len(acknowledged) < 60:
            worker = chance.choice([one, two])
            found = worker.receive(chance.randrange(1, 8), None)
            for delivery in found:
                place = (delivery.partition, delivery.offset)
                assert place not in acknowledged
                handled[place] = handled.get(place, 0) + 1
            fate = chance.random()
            if fate < 0.6:
                done = worker.ack(*found)
                acknowledged |= {
                    (result.delivery.partition, result.delivery.offset)
                    for result in done
                    if result.done
                }
            elif fate < 0.8:
                worker.nack(*found, delay=chance.random())
        world.twin.chaos = None
        assert one.receive(timeout=10) == []
    assert handled.keys() == acknowledged
    assert "logs.dead" not in world.twin.topics
