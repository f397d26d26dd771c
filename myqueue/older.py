"""The older style of the original library: `MyProducer` and `MyConsumer` with `broker=`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from myqueue.consumer.consumer import Consumer
from myqueue.contract.errors import ClientClosed
from myqueue.producer.producer import Producer
from myqueue.transport.settings import Address, one_address

if TYPE_CHECKING:
    from myqueue.config import ClientConfig
    from myqueue.results import Delivered, Message

GLANCE_S = 1.0
"""How long one wait of `get_next` lasts before it looks whether it was stopped."""


class TextMessage(str):
    """A message whose value is a text: it is that text, and says where it was stored."""

    topic: str
    partition: int  # type: ignore[assignment]
    """The partition's number, not the method of texts; `value` has that."""
    offset: int
    value: str
    """The text alone."""
    key: str | bytes | None
    headers: dict[str, str | bytes] | None
    timestamp: int
    """Milliseconds since 1970, as the producer said."""


class BytesMessage(bytes):
    """A message whose value is bytes: it is those bytes, and says where it was stored."""

    topic: str
    partition: int  # type: ignore[assignment]
    """The partition's number, not the method of bytes; `value` has that."""
    offset: int
    value: bytes
    """The bytes alone."""
    key: str | bytes | None
    headers: dict[str, str | bytes] | None
    timestamp: int
    """Milliseconds since 1970, as the producer said."""


def with_place(message: Message) -> TextMessage | BytesMessage:
    """Return a message as its value, which prints and compares as such, with what else is known."""
    value = message.value
    made = TextMessage(value) if isinstance(value, str) else BytesMessage(value)
    for name in message.__struct_fields__:
        setattr(made, name, getattr(message, name))
    return made


class MyProducer:
    """A producer for some topics.

    Args:
        topics: their names, or one; those that do not exist are created.
        broker: a manager's address, or several; when left out, MYQUEUE_ADDRESS of the environment.
        manager: the same; only one of the two is given.
        config: settings.
    """

    def __init__(
        self,
        topics: str | Sequence[str],
        broker: Address | None = None,
        *,
        manager: Address | None = None,
        config: ClientConfig | None = None,
    ) -> None:
        address = one_address(None, {"broker": broker, "manager": manager})
        self._producer = Producer(topics, address, config=config)
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
        topics: their names, or one; they must exist.
        broker: a manager's address, or several; when left out, MYQUEUE_ADDRESS of the environment.
        manager: the same; only one of the two is given.
        config: settings.
    """

    def __init__(
        self,
        topics: str | Sequence[str],
        broker: Address | None = None,
        *,
        manager: Address | None = None,
        config: ClientConfig | None = None,
    ) -> None:
        address = one_address(None, {"broker": broker, "manager": manager})
        self._consumer = Consumer(topics, address, config=config)
        self._stopped = False

    def get_next(self) -> Iterator[TextMessage | BytesMessage]:
        """Yield the messages of all topics one by one, waiting for new ones, until `stop`.

        Each is its value, a text or bytes, and has `topic`, `partition`, `offset`, `value`, `key`,
        `headers` and `timestamp` besides.
        """
        while not self._stopped:
            try:
                found = self._consumer.poll(1, timeout=GLANCE_S)
            except ClientClosed:
                return
            for message in found:
                yield with_place(message)

    def stop(self) -> None:
        """End the consumer and every `get_next`."""
        self._stopped = True
        self._consumer.close()
