"""Reads a topic again from a time on, up to what is there now, and moves nobody else's place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from myqueue import Consumer, Message


def replay(topic: str, since: datetime, address: str | None = None) -> Iterator[Message]:
    """Yield the messages that were stored at or after a time.

    Args:
        topic: its name.
        since: a time with its zone.
        address: of a manager; MYQUEUE_ADDRESS when left out.
    """
    with Consumer(topic, address) as consumer:
        consumer.seek_to_time(topic, since)
        # Without a timeout, nothing means that nothing is left.
        while messages := consumer.poll():
            yield from messages
        consumer.forget()


if __name__ == "__main__":
    for message in replay("orders", datetime.now(UTC) - timedelta(days=1)):
        print(message.partition, message.offset, message.text)
