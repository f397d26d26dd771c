"""One broker that cannot be reached, beside those that can."""

from __future__ import annotations

import time

from myqueue import ClientConfig, Producer
from tests.myqueue.dead_ends import dead_end
from tests.myqueue.http_twin import HttpCluster

SECONDS = 2.0
EVERY_S = 0.01
CONNECT_TIMEOUT_MS = 4_000
"""So long did each try to connect hold up all partitions."""


def test_sends_to_other_partitions_go_on(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 2)
    config = ClientConfig(connect_timeout_ms=CONNECT_TIMEOUT_MS)
    gone = http_cluster.twin.topics["logs"][0].leader
    http_cluster.stop(gone)
    with (
        dead_end("cannot be reached", int(gone.rpartition(":")[2])),
        Producer("logs", http_cluster.address, config=config) as producer,
    ):
        assert producer.partition_count("logs") == 2
        stuck = producer.send("logs", "stuck", partition=0)
        took_s = []
        end_s = time.monotonic() + SECONDS
        while time.monotonic() < end_s:
            started_s = time.monotonic()
            future = producer.send("logs", "goes on", partition=1)
            future.result(60)
            took_s.append(time.monotonic() - started_s)
            time.sleep(EVERY_S)
        assert not stuck.done()
        took_s.sort()
        assert took_s[int(len(took_s) * 0.99)] < CONNECT_TIMEOUT_MS / 1000 / 4
        assert len(took_s) > 10
        # The other replicas and the manager are asked when it is given up.
        assert stuck.result(60).offset == 0
