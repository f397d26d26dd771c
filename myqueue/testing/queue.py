"""A queue in memory for unit tests: the same client classes against a dictionary.

    from myqueue.testing.queue import InMemoryQueue

    with InMemoryQueue() as queue:
        producer = Producer("logs", queue.address)
        consumer = Consumer("logs", queue.address)

Everything works as with a cluster, `Client`, `AsyncProducer`, `AsyncConsumer` and the command line
included: the program under test only gets another address. Nothing is stored, nothing is
replicated, nobody but silent members of groups expires, and there are no sockets. It lives in one
process.
"""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING, Self

from myqueue.contract.errors import BrokerUnreachable
from myqueue.contract.http1 import MEMORY
from myqueue.results import Message
from myqueue.testing.aio_transport import AsyncMemoryTransport
from myqueue.testing.api import MemoryApi
from myqueue.testing.state import MemoryState
from myqueue.testing.transport import GLANCE_S, MemoryTransport
from myqueue.transport.aio import ASYNC_TRANSPORTS
from myqueue.transport.blocking import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from myqueue.contract.http1 import Answer, Request

_numbers = itertools.count(1)
_queues: dict[str, InMemoryQueue] = {}


class InMemoryQueue:
    """A cluster in memory, with an address that the client's classes take.

    Args:
        topics: names of topics to create, or a dictionary from name to number of partitions.
    """

    def __init__(self, topics: dict[str, int] | list[str] | tuple[str, ...] = ()) -> None:
        self.address = f"memory://queue-{next(_numbers)}:80"
        """The address to give to clients as that of a manager."""
        self._broker = self.address.replace("queue", "broker")
        self._api = MemoryApi(MemoryState(self.address, [self._broker]))
        self._changed = threading.Condition(threading.RLock())
        self._listeners: set[Callable[[], None]] = set()
        counts = topics if isinstance(topics, dict) else dict.fromkeys(topics, 1)
        for topic, partitions in counts.items():
            self.create_topic(topic, partitions)
        _queues[self.address] = self

    def create_topic(self, topic: str, number_of_partitions: int = 1) -> None:
        """Create a topic."""
        with self._changed:
            self._api.state.create(topic, number_of_partitions)

    def messages(self, topic: str) -> list[Message]:
        """Return all messages of a topic, partition by partition, whether read or not.

        Raises:
            KeyError: there is no such topic.
        """
        with self._changed:
            return [
                Message(topic, index, offset, *record)
                for index, partition in enumerate(self._api.state.topics[topic])
                for offset, record in partition.found(range(len(partition.records)))
            ]

    def values(self, topic: str) -> list[str | bytes]:
        """Return the values of all messages of a topic."""
        return [message.value for message in self.messages(topic)]

    def clear(self) -> None:
        """Remove all topics and forget all clients."""
        with self._changed:
            self._api = MemoryApi(MemoryState(self.address, [self._broker]))
            self._notify()

    def close(self) -> None:
        """Make the address unreachable."""
        _queues.pop(self.address, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What the transports need

    def reach(self, address: str) -> None:
        """Raise BrokerUnreachable when the queue was closed, or the address is not its own."""
        if self.address not in _queues or address not in (self.address, self._broker):
            raise BrokerUnreachable(f"there is no queue at {address}")

    def handle(self, address: str, request: Request) -> Answer:
        """Answer a request at once."""
        with self._changed:
            answer = self._api.handle(address, request)
            if request.method != "GET":
                self._notify()
            return answer

    def held_ms(self, address: str, request: Request) -> int:
        """Return how many milliseconds a long poll is held; 0: answer it at once."""
        with self._changed:
            return self._api.is_held(address, request)

    def now_s(self) -> float:
        """Return the monotonic clock, in seconds."""
        return time.monotonic()

    def wait(self, predicate: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until the predicate holds; False when the time was over before."""
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not predicate():
                remaining_s = GLANCE_S if end_s is None else end_s - time.monotonic()
                if remaining_s <= 0:
                    return predicate()
                self._changed.wait(min(GLANCE_S, remaining_s))
            return True

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have a function called after every change; return one that ends it."""
        with self._changed:
            self._listeners.add(listener)

        def end() -> None:
            with self._changed:
                self._listeners.discard(listener)

        return end

    def _notify(self) -> None:
        self._changed.notify_all()
        for listener in list(self._listeners):
            listener()


def queue_at(address: str) -> InMemoryQueue:
    """Return the open queue with an address.

    Raises:
        BrokerUnreachable: there is none.
    """
    queue = _queues.get(address)
    if queue is None:
        raise BrokerUnreachable(f"there is no queue at {address}")
    return queue


def transport_at(address: str) -> MemoryTransport:
    """Return the transport to the queue with an address, for threads."""
    return MemoryTransport(queue_at(address))


def async_transport_at(address: str) -> AsyncMemoryTransport:
    """Return the transport to the queue with an address, for event loops."""
    return AsyncMemoryTransport(queue_at(address))


TRANSPORTS[MEMORY] = transport_at
ASYNC_TRANSPORTS[MEMORY] = async_transport_at
