"""A worker for a test that kills it: handles messages and notes each in a file first.

Arguments: the manager's address, the topic, the group, the file.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from typing import TextIO

from myqueue import Worker
from myqueue.contract.errors import QueueError
from myqueue.results import Delivery

VISIBILITY_MS = 3_000
DELIVERY_LIMIT = 5
POISON = "poison"
WORK_SECONDS = 0.02
"""Longest work on a message."""


def main(address: str, topic: str, group: str, path: str) -> None:
    """Work until SIGTERM."""
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    with (
        open(path, "a", buffering=1) as notes,
        Worker(
            topic, address, group, visibility_ms=VISIBILITY_MS, delivery_limit=DELIVERY_LIMIT
        ) as worker,
    ):
        while not ended:
            for delivery in worker.receive(random.randrange(1, 6), timeout=0.5):
                handle(worker, delivery, notes)


def handle(worker: Worker, delivery: Delivery, notes: TextIO) -> None:
    """Note a message, work on it, and settle it."""
    place = f"{delivery.partition} {delivery.offset} {delivery.delivery_count} {delivery.text}"
    notes.write(f"handled {place}\n")
    time.sleep(random.random() * WORK_SECONDS)
    try:
        if delivery.text.startswith(POISON):
            worker.nack(delivery, delay=random.random() * 0.2)
            return
        (settled,) = worker.ack(delivery)
    except QueueError as error:
        notes.write(f"failed {error.code} {place}\n")
        return
    notes.write(f"{'acked' if settled.done else 'late'} {place}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
