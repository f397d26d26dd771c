"""What `tools.old_data` has the client of an earlier version write, and tell of it.

Run by path with that version first on the path of imports: python old_data_writer.py ADDRESS FACTS
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import myqueue
from myqueue import Client, Consumer, Producer

FOREVER_MS = 3_000_000_000_000
"""95 years: no message gets too old while the archive is in use."""
MESSAGES = 240
JOBS = 20
LARGE_BYTES = 30_000


def main(address: str, facts_path: str) -> None:
    """Write everything, then what is there according to the calls of the same version."""
    facts: dict[str, Any] = {"jobs": {}, "group": {}, "topics": {}}
    with Client(address) as client:
        client.create_topic("logs", 3, 3, retention_ms=FOREVER_MS, retention_bytes=1 << 30)
        client.create_topic("plain", 1, 3)
        with Producer(["logs", "plain"], address) as producer:
            for number in range(MESSAGES):
                headers: dict[str, str | bytes] = {"number": str(number), "raw": bytes([number])}
                producer.enqueue("logs", f"message {number}", key=f"key-{number}", headers=headers)
            producer.enqueue("plain", "x" * LARGE_BYTES)
            facts["producer"] = producer.registrations["logs"].client_id
        facts["consumer"] = _read_alone(client, address)
        if hasattr(myqueue, "Worker"):
            _read_in_a_group(address)
            facts["group"] = client.describe_group("readers")
            facts["jobs"] = _work(client, address)
        time.sleep(2)  # the dead letter is copied, brokers report
        for topic in client.list_topics():
            facts["topics"][topic] = {"described": client.describe_topic(topic)}
            facts["topics"][topic]["messages"] = _stored(client, address, topic)
    Path(facts_path).write_text(json.dumps(facts))


def _read_alone(client: Client, address: str) -> dict[str, Any]:
    """Pop some, and return where the consumer's cursors are."""
    read: list[str] = []
    with Consumer("logs", address) as consumer:
        while len(read) < 50:
            read += [message.text for message in consumer.poll(10, timeout=5)]
        number = consumer.registrations["logs"].client_id
    return {"id": number, "read": read, "left": client.consumer_sizes("logs", number)}


def _read_in_a_group(address: str) -> None:
    read = 0
    with Consumer("logs", address, group="readers") as member:
        while read < 60:
            read += len(member.poll(20, timeout=5))
        member.commit()


def _work(client: Client, address: str) -> dict[str, list[str]]:
    """Acknowledge some jobs, let one die, keep some out."""
    client.create_topic("jobs", 1, 3)
    with Producer("jobs", address) as producer:
        producer.produce_many("jobs", [f"job {number}" for number in range(JOBS)])
    with myqueue.Worker("jobs", address, group="workers", delivery_limit=1) as worker:
        out: list[Any] = []
        while len(out) < 6:
            out += worker.receive(6 - len(out), timeout=5)
        worker.ack(*out[:4])
        worker.nack(out[4])
        texts = [delivery.text for delivery in out]
    return {"acknowledged": texts[:4], "dead": texts[4:5], "out": texts[5:]}


def _stored(client: Client, address: str, topic: str) -> dict[str, list[list[Any]]]:
    """Return of each partition offset, key, headers and text of every message."""
    partitions = client.describe_topic(topic)["partitions"]
    stored: dict[str, list[list[Any]]] = {}
    with Consumer(topic, address) as reader:
        for number in range(len(partitions)):
            rows, offset = [], 0
            while found := reader.fetch(topic, number, offset).messages:
                rows += [_row(message) for message in found]
                offset = found[-1].offset + 1
            stored[str(number)] = rows
        reader.forget()
    return stored


def _row(message: Any) -> list[Any]:
    headers = [[name, _hex(value)] for name, value in (message.headers or {}).items()]
    return [message.offset, _hex(message.key), headers, _hex(message.value)]


def _hex(value: str | bytes | None) -> str | None:
    if value is None:
        return None
    return (value.encode() if isinstance(value, str) else value).hex()


if __name__ == "__main__":
    main(*sys.argv[1:])
