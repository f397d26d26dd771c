"""Reading every replica of a partition and comparing them byte by byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from myqueue.contract.inputs import BATCH
from myqueue.contract.records import Record, decode_records, unframe_batches
from tests.cluster.processes import replicas_at, wait_until

if TYPE_CHECKING:
    from tests.cluster.fault_cluster import FaultCluster
    from tests.cluster.processes import Cluster

FETCH_BYTES = 1 << 20


def fetch_all(
    cluster: Cluster | FaultCluster, address: str, topic: str, partition: int, token: str
) -> bytes:
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
            timeout=40,
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


AGREED = ("term", "last_index", "commit_index", "applied_index", "high_watermark")
"""What a replica says that has stored and applied all that there is."""


def settled_replicas(
    cluster: Cluster | FaultCluster, topic: str, partitions: int
) -> list[dict[str, Any]]:
    """Wait until every broker has stored and applied the same of each partition, and one leads.

    Returns:
        What all of them say of their replicas.
    """
    addresses = cluster.broker_addresses()

    def settled() -> list[dict[str, Any]] | None:
        found = [one for address in addresses for one in replicas_at(cluster.http, address, topic)]
        marks = {(one["partition"], *(one[name] for name in AGREED)) for one in found}
        led = {one["partition"] for one in found if one["serves"]}
        complete = len(found) == len(addresses) * partitions
        return found if complete and len(marks) == len(led) == partitions else None

    found: list[dict[str, Any]] = wait_until(settled, what=f"the replicas of {topic} agree")
    return found


def identical_replicas(
    cluster: Cluster | FaultCluster, topic: str, partitions: int, token: str
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
