from __future__ import annotations

import asyncio

import pytest

from myqueue import AsyncConsumer, AsyncProducer, ClientConfig
from myqueue.contract.errors import ManagerNotFound
from myqueue.testing.queue import InMemoryQueue
from myqueue.transport.effects import Flow
from tests.myqueue.http_twin import HttpCluster


async def test_without_a_manager_there_is_no_client() -> None:
    config = ClientConfig(manager_timeout_ms=20)
    with InMemoryQueue() as queue:
        producer = AsyncProducer("a", queue.address, config=config)
        queue.close()
        with pytest.raises(ManagerNotFound):
            async with producer:
                pytest.fail("it has not started")


async def test_a_bug_does_not_end_the_heartbeats(
    http_cluster: HttpCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("myqueue.transport.aio_lifetime.BROKEN_PAUSE_S", 0.01)
    http_cluster.twin.create("logs", 1)
    config = ClientConfig(heartbeat_interval_ms=5)
    async with AsyncConsumer("logs", http_cluster.address, config=config) as consumer:
        beat, broken = consumer._core.beat, list[int]()

        def breaks_once() -> Flow[None]:
            if not broken:
                broken.append(1)
                raise ZeroDivisionError("a bug")
            return beat()

        monkeypatch.setattr(consumer._core, "beat", breaks_once)
        before = len(http_cluster.twin.beats)
        async with asyncio.timeout(10):
            while not broken or len(http_cluster.twin.beats) < before + 2:
                await asyncio.sleep(0.005)
    [failed] = [record for record in caplog.records if record.exc_info]
    assert failed.exc_info is not None
    assert failed.exc_info[0] is ZeroDivisionError
