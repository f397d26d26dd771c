"""A partition with many messages: a new replica catches up, a broker starts again.

There are 1,000,000 where faults are repeated often, and a fifth of them in `make test`: the log is
cut off behind snapshots with both, and no limit is wider with fewer.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from myqueue import Producer
from myqueue.contract.inputs import BATCH
from myqueue.contract.records import read_header, unframe_batches
from tests.cluster.fault_cluster import FaultCluster
from tests.cluster.processes import replicas_at, wait_until
from tests.cluster.proxy import WHOLE, Link
from tests.cluster.rounds import MANY
from tests.cluster.stream import Stream
from tests.cluster.waited import Waited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster.fault_cluster import ServerUnderTest

pytestmark = pytest.mark.cluster

TOPIC = "values"
MESSAGES = 1_000_000 if MANY else 200_000
BATCH_MESSAGES = 400 if MANY else 80
"""2,500 batches: a log is cut off from two times `log_tail_entries` on, which is 2,000."""
FETCH_BYTES = 8 << 20
SNAPSHOT_BYTES_PER_SECOND = 12 << 20 if MANY else 4 << 20
"""So slow that the receiver can be cut off in the middle."""
SERVING_SECONDS_MAX = 2.0
STARTS = 6
CATCH_UP_SECONDS = 120
BEFORE_SECONDS = 2.0 if MANY else 1.0


class Million:
    """A cluster with a spare broker, and a topic with many messages on the others."""

    def __init__(self, cluster: FaultCluster) -> None:
        self.cluster = cluster
        cluster.create_topic(TOPIC)
        started = time.monotonic()
        with Producer(TOPIC, cluster.manager.address) as producer:
            for first in range(0, MESSAGES, BATCH_MESSAGES):
                values = [f"{number:048d}" for number in range(first, first + BATCH_MESSAGES)]
                producer.produce_many(TOPIC, values, partition=0)
        self.seconds = time.monotonic() - started
        self.written = MESSAGES
        registered = cluster.http.post(
            f"{cluster.manager.address}/consumer/register", json={"topic": TOPIC}, timeout=10
        ).json()
        self._headers = {"Accept": BATCH, "Authorization": f"Bearer {registered['token']}"}

    def fetch(self, broker_id: int, offset: int, max_bytes: int = FETCH_BYTES) -> requests.Response:
        return self.cluster.http.get(
            f"{self.cluster.brokers[broker_id].address}/fetch",
            params={"topic": TOPIC, "partition": 0, "offset": offset, "max_bytes": max_bytes},
            headers=self._headers,
            timeout=10,
        )

    def read(self, broker_id: int) -> tuple[int, str]:
        """Read one replica from offset 0; return its messages and a digest of all their bytes."""
        offset, digest = 0, hashlib.sha256()
        while True:
            answer = self.fetch(broker_id, offset)
            assert answer.status_code == 200, answer.text
            if not answer.content:
                return offset, digest.hexdigest()
            for base_offset, batch in unframe_batches(answer.content):
                assert base_offset == offset
                offset += read_header(batch).record_count
                digest.update(batch)

    def replica(self, broker_id: int) -> dict[str, Any] | None:
        """Return what a broker says of its replica; None when it has none or does not answer."""
        found = replicas_at(self.cluster.http, self.cluster.brokers[broker_id].address, TOPIC)
        return found[0] if found else None


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Million]:
    with FaultCluster(
        tmp_path_factory.mktemp("million"),
        brokers=4,
        broker_heartbeat_s="2",
        checkpoint_entries="200",
        log_keep_bytes=str(1 << 20),
        snapshot_bytes_per_second=str(SNAPSHOT_BYTES_PER_SECOND),
    ) as cluster:
        yield Million(cluster)


def percentiles(stream: Stream, since: float, until: float) -> str:
    gaps = [gap * 1000 for gap in stream.gaps(since, until)]
    cuts = statistics.quantiles(gaps, n=100)
    return f"p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, longest {max(gaps):.0f} ms"


def kill_in_mid_transfer(million: Million, spare: int) -> None:
    """Kill a broker that takes in a snapshot; check that it serves nothing of it on its return.

    It is cut off meanwhile: what it has of the snapshot does not change while it is looked at.
    """
    network, others = million.cluster.network, list(million.cluster.brokers)
    first = wait_until(
        lambda: (one := million.replica(spare)) and one["installing"] and one,
        what="the new replica takes in a snapshot",
    )
    time.sleep(0.5)  # some parts are in place
    network.isolate(spare, others, Link(cut=True))
    million.cluster.brokers[spare].kill()
    million.cluster.brokers[spare].start()
    resumed = million.cluster.replica(spare, TOPIC)
    assert resumed["replica_id"] == first["replica_id"]
    assert resumed["installing"], "it had everything before it was killed"
    assert resumed["role"] != "leader"
    assert not resumed["serves"]
    assert resumed["high_watermark"] < MESSAGES
    partial = million.fetch(spare, MESSAGES // 2)
    assert partial.status_code != 200 or not partial.content
    network.isolate(spare, others, WHOLE)


def agreed_count(million: Million, holders: list[int]) -> int:
    """Wait until some replicas have the same, compare them, return the number of messages."""

    def mark() -> int:
        marks = {(million.replica(one) or {}).get("high_watermark", 0) for one in holders}
        return marks.pop() if len(marks) == 1 else 0

    count = int(wait_until(mark, what="all replicas have everything"))
    [copy] = {million.read(one) for one in holders}
    assert copy[0] == count
    return count


def test_new_replica_catches_up_while_produce_goes_on_and_takes_nothing_by_halves(
    million: Million, say: Callable[[str], None]
) -> None:
    cluster = million.cluster
    holders = [one for one in cluster.brokers if million.replica(one) is not None]
    [spare] = set(cluster.brokers) - set(holders)
    leaver = next(one for one in holders if one != cluster.leader_id(TOPIC))

    def follows() -> bool:
        one = million.replica(spare)
        return bool(one and one["role"] == "follower" and not one["installing"])

    before = million.written
    with Stream(cluster, TOPIC, producers=1) as stream:
        stream.wait_for_more(20)
        quiet = time.monotonic()
        time.sleep(BEFORE_SECONDS)
        began = time.monotonic()
        deleted = cluster.http.delete(f"{cluster.manager.address}/brokers/{leaver}", timeout=10)
        assert deleted.status_code == 202, deleted.text
        kill_in_mid_transfer(million, spare)
        wait_until(follows, what="the new replica is a voter", seconds=CATCH_UP_SECONDS)
        caught_up = time.monotonic()
        stream.wait_for_more(20)
    holders = [spare, *(one for one in holders if one != leaver)]
    count = agreed_count(million, holders)
    [history] = stream.histories
    assert not history.unknown
    million.written += len(history.acknowledged)
    assert count == before + len(history.acknowledged)
    say(
        f"{MESSAGES:,} messages written in {million.seconds:.0f} s; a new replica, killed in"
        f" mid-transfer, was a voter after {caught_up - began:.1f} s at"
        f" {SNAPSHOT_BYTES_PER_SECOND >> 20} MiB/s; produce meanwhile"
        f" {percentiles(stream, began, caught_up)}, before {percentiles(stream, quiet, began)};"
        f" {count:,} messages byte-identical on {len(holders)} replicas"
    )


def test_broker_with_many_messages_serves_soon_after_its_start(
    million: Million, say: Callable[[str], None]
) -> None:
    """The best of some starts, without the time in which other processes had the processor."""
    cluster = million.cluster
    served, led, alone = [], [], []
    with Producer(TOPIC, cluster.manager.address) as producer:
        for number in range(STARTS):
            leader = cluster.leader_id(TOPIC)
            broker = cluster.brokers[leader]
            broker.kill()
            producer.enqueue(TOPIC, f"while it is down {number}")
            waited, started = Waited([]), time.monotonic()
            broker.launch()
            waited.follow(broker.pid)
            broker.wait_healthy()
            wait_until(lambda one=broker: is_ready(cluster, one), what="it is ready")
            # That the last one is committed it may have to hear from the new leader first.
            wait_until(
                lambda one=leader: million.fetch(one, MESSAGES - 1, max_bytes=1).content,
                what="a message of before the start is there",
            )
            served.append(time.monotonic() - started)
            cluster.lead(leader, TOPIC)
            producer.enqueue(TOPIC, f"through it {number}")
            led.append(time.monotonic() - started)
            alone.append(led[-1] - waited.seconds)
            million.written += 2
            if alone[-1] <= SERVING_SECONDS_MAX:
                break
    say(
        f"broker with {MESSAGES:,} messages killed and started: ready and fetched from after"
        f" {_listed(served)} s, written to through it after {_listed(led)} s, of which it had to"
        f" run {_listed(alone)} s and else waited for a processor"
    )
    assert min(alone) <= SERVING_SECONDS_MAX


def is_ready(cluster: FaultCluster, server: ServerUnderTest) -> bool:
    return cluster.http.get(f"{server.address}/readyz", timeout=5).status_code == 200


def _listed(seconds: list[float]) -> str:
    return ", ".join(f"{one:.2f}" for one in seconds)
