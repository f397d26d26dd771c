"""A program with the library of an earlier version, which goes on while the cluster is upgraded.

Run by path with that version first on the path of imports: steady_client.py ADDRESSES TOPIC REPORT
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

from myqueue import Consumer, Producer

PAUSE_SECONDS = 0.05
ended: list[int] = []


def main(addresses: str, topic: str, report: str) -> None:
    """Write and read until SIGTERM, then tell what was acknowledged and what was read."""
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    acknowledged: list[str] = []
    read: list[str] = []
    with (
        Producer(topic, addresses.split(",")) as producer,
        Consumer(topic, addresses.split(",")) as consumer,
    ):
        while not ended:
            text = f"earlier library {len(acknowledged)}"
            producer.enqueue(topic, text)
            acknowledged.append(text)
            read += [message.text for message in consumer.poll(100, timeout=0.1)]
            time.sleep(PAUSE_SECONDS)
    Path(report).write_text(json.dumps({"acknowledged": acknowledged, "read": read}))


if __name__ == "__main__":
    main(*sys.argv[1:])
