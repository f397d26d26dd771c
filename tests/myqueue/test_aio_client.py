from __future__ import annotations

import inspect

import pytest

from myqueue import AsyncClient, Client, Worker
from myqueue.contract.errors import InvalidRequest, TopicDoesNotExist
from myqueue.testing.queue import InMemoryQueue


def test_every_call_of_the_client_can_be_awaited() -> None:
    blocking = {name for name in dir(Client) if not name.startswith("_")}
    assert blocking - set(dir(AsyncClient)) == {"redriving", "restart_after_fork"}
    for name in blocking - {"redriving", "restart_after_fork"}:
        call = getattr(AsyncClient, name)
        assert inspect.iscoroutinefunction(call), name
        assert call.__doc__ == getattr(Client, name).__doc__


async def test_topics_groups_and_dead_letters_are_seen_to_from_an_event_loop() -> None:
    with InMemoryQueue() as queue:
        async with AsyncClient(queue.address) as client:
            assert repr(client) == f"<AsyncClient at {queue.address}>"
            created = await client.create_topic("logs", 2)
            assert created.number_of_partitions == 2
            changed = await client.update_topic("logs", number_of_partitions=3)
            assert changed.number_of_partitions == 3
            with Worker("logs", queue.address, "mailers"):
                assert await client.redrive("logs") == 0
            await client.delete_topic("logs")
            with pytest.raises(TopicDoesNotExist):
                await client.describe_topic("logs")
    with pytest.raises(InvalidRequest):
        AsyncClient("")
