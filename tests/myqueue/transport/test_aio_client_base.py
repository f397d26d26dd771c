from __future__ import annotations

import pytest

from myqueue import AsyncProducer
from myqueue.contract.errors import AlreadyRegistered, ClientClosed
from myqueue.testing.queue import InMemoryQueue


async def test_registrations_come_and_go() -> None:
    with InMemoryQueue() as queue:
        producer = await AsyncProducer(["a"], queue.address).start()
        await producer.register("b")
        assert producer.topics == ("a", "b")
        with pytest.raises(AlreadyRegistered):
            await producer.register("a")
        assert (await producer.reattach("a")) == producer.registrations["a"]
        assert len((await producer.topic_view("a")).partitions) == 3
        await producer.forget()
        assert queue._api.state.clients == {}
        with pytest.raises(ClientClosed):
            await producer.topic_view("a")
