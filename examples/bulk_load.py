"""Loads lines of any number into a topic: as fast as it goes, in order, in little memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from myqueue import Producer, QueueError


def load(lines: Iterable[str], topic: str, address: str | None = None) -> int:
    """Send each line as a message; return how many are stored.

    Args:
        lines: are taken while others are on their way.
        topic: its name; it is an error when it is missing.
        address: of a manager; MYQUEUE_ADDRESS when left out.
    """
    with Producer(topic, address, create=False) as producer:
        try:
            batches = producer.produce_many(topic, (line.rstrip("\n") for line in lines))
        except QueueError as error:
            # Each batch is stored as a whole or not at all; these are.
            batches = error.details.get("delivered", [])
            print(f"{error.code}: {error.message}", file=sys.stderr)
    return sum(batch.message_count for batch in batches)


if __name__ == "__main__":
    print(load(sys.stdin, sys.argv[1]), "messages are stored")
