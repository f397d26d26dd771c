"""The older style of the original library: `MyProducer` and `MyConsumer` with `broker=`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from myqueue.consumer import Consumer
from myqueue.errors import ClientClosed
from myqueue.producer import Producer

if TYPE_CHECKING:
    from myqueue.config import ClientConfig
    from myqueue.results import Delivered

GLANCE_S = 1.0
"""How long one wait of `get_next` lasts before it looks whether it was stopped."""


class MyProducer:
    """A producer for some topics.

    Args:
        topics: their names; those that do not exist are created.
        broker: a manager's address, or several.
        config: settings.
    """

    def __init__(
        self,
        topics: Sequence[str],
        broker: str | Sequence[str],
        *,
        config: ClientConfig | None = None,
    ) -> None:
        self._producer = Producer(topics, broker, config=config)
        self._stopped = False

    def can_send(self) -> bool:
        """Return True until `stop`."""
        return not self._stopped

    def send(self, topic: str, message: str | bytes) -> Delivered:
        """Send a message and wait until it is durable.

        Raises:
            QueueError: as `Producer.enqueue`.
        """
        return self._producer.enqueue(topic, message)

    def stop(self) -> None:
        """End the producer."""
        self._stopped = True
        self._producer.close()


class MyConsumer:
    """A consumer of some topics.

    Args:
        topics: their names; they must exist.
        broker: a manager's address, or several.
        config: settings.
    """

    def __init__(
        self,
        topics: Sequence[str],
        broker: str | Sequence[str],
        *,
        config: ClientConfig | None = None,
    ) -> None:
        self._consumer = Consumer(topics, broker, config=config)
        self._stopped = False

    def get_next(self) -> Iterator[str | bytes]:
        """Yield the messages of all topics one by one, waiting for new ones, until `stop`."""
        while not self._stopped:
            try:
                found = self._consumer.poll(1, timeout=GLANCE_S)
            except ClientClosed:
                return
            for message in found:
                yield message.value

    def stop(self) -> None:
        """End the consumer and every `get_next`."""
        self._stopped = True
        self._consumer.close()
