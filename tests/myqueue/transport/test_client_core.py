from __future__ import annotations

from myqueue import AsyncConsumer, Client, Consumer, Producer
from myqueue.testing.queue import InMemoryQueue


def test_clients_show_what_they_are() -> None:
    with InMemoryQueue() as queue:
        with Producer(["a", "b"], queue.address) as producer:
            assert repr(producer) == f"<Producer of a, b at {queue.address}>"
        assert repr(producer).endswith(", closed>")
        with Consumer("a", queue.address, group="billing") as consumer:
            assert repr(consumer).startswith("<Consumer of a in group billing at ")
        assert repr(Client(queue.address)) == f"<Client at {queue.address}>"
        assert repr(AsyncConsumer("a", queue.address)) == f"<AsyncConsumer of a at {queue.address}>"
