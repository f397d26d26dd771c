"""Reading every replica of a partition and comparing them byte by byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myqueue.contract.inputs import BATCH
from myqueue.contract.records import Record, decode_records, unframe_batches
from tests.cluster.processes import wait_until

if TYPE_CHECKING:
    from tests.cluster.processes import Cluster

FETCH_BYTES = 1 << 20


def fetch_all(cluster: Cluster, address: str, topic: str, partition: int, token: str) -> bytes:
    """Return all that one replica serves, framed, from offset 0 to its high watermark."""
    parts: list[bytes] = []
    offset = 0
    while True:
        answer = cluster.http.get(
            f"{address}/fetch",
            params={
                "topic": topic,
                "partition": partition,
                "offset": offset,
                "max_bytes": FETCH_BYTES,
            },
            headers={"Accept": BATCH, "Authorization": f"Bearer {token}"},
            timeout=10,
        )
        assert answer.status_code == 200, answer.text
        if not answer.content:
            return b"".join(parts)
        parts.append(answer.content)
        for base_offset, batch in unframe_batches(answer.content):
            assert base_offset == offset, f"offset {offset} expected, got {base_offset}"
            offset = base_offset + len(decode_records(batch))


def records_of(framed: bytes) -> list[Record]:
    """Return the messages of framed batches."""
    return [record for _, batch in unframe_batches(framed) for record in decode_records(batch)]


def settled_replicas(cluster: Cluster, topic: str, partitions: int) -> None:
    """Wait until all replicas of a topic have applied the same."""

    def same() -> bool:
        marks: dict[int, set[int]] = {}
        for address in cluster.broker_addresses():
            for replica in cluster.local_replicas(address, topic):
                marks.setdefault(replica["partition"], set()).add(replica["high_watermark"])
        return len(marks) == partitions and all(len(found) == 1 for found in marks.values())

    wait_until(same, what=f"the replicas of {topic} agree")


def identical_replicas(
    cluster: Cluster, topic: str, partitions: int, token: str
) -> dict[int, list[Record]]:
    """Check that all replicas are byte-identical; return the messages of each partition."""
    settled_replicas(cluster, topic, partitions)
    found: dict[int, list[Record]] = {}
    for partition in range(partitions):
        copies = {
            address: fetch_all(cluster, address, topic, partition, token)
            for address in cluster.broker_addresses()
        }
        assert len(set(copies.values())) == 1, f"the replicas of {topic}[{partition}] differ"
        found[partition] = records_of(next(iter(copies.values())))
    return found
