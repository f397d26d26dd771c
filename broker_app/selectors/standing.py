"""How this broker is and what it has counted, for the managers, which ask every few seconds."""

from __future__ import annotations

import time
from operator import attrgetter
from typing import TYPE_CHECKING

from django.conf import settings
from prometheus_client import REGISTRY

from broker_app.selectors.partitions import problems_list
from broker_app.traffic import OTHER, summed
from http_base.cluster import BrokerStanding
from http_base.request_metrics import OK, REQUEST_TIMES

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from broker_app.traffic import Traffic
    from http_base.cluster import TopicTraffic

TOPICS_TOLD_MAX = 1_000
"""Topics that an answer names; a manager keeps histories of them."""
PRODUCED = ("POST", "/producer/produce", OK)
"""Key of the times of produce calls that succeeded."""
STARTED_S = time.monotonic()
"""When this process imported this module, which it does at its start."""


def standing_get(*, runtime: BrokerRuntime) -> BrokerStanding:
    """Return how the broker is now."""
    engine = runtime.engine
    intervals = engine.watchdog.tick_intervals
    runtime.overview.refresh()
    produced = REQUEST_TIMES.get(PRODUCED)
    return BrokerStanding(
        version=settings.VERSION,
        uptime_s=time.monotonic() - STARTED_S,
        traffic=traffic_told(runtime.traffic),
        produce_bounds_s=[] if produced is None else list(produced.bounds),
        produce_counts=[] if produced is None else produced.cumulated(),
        sync_bounds_s=list(engine.commits.bounds),
        sync_counts=engine.commits.cumulated(),
        ticks=intervals.times.cumulated()[-1],
        ticks_late=intervals.late,
        stored_bytes=runtime.overview.stored_bytes,
        disk_free_bytes=engine.disk.free_bytes,
        disk_reserve_bytes=engine.disk.reserve_bytes,
        disk_full=engine.disk.full,
        disk_slow=engine.slow_disk.is_slow,
        replicas=len(engine.replicas),
        leaders=len(runtime.overview.led),
        connections=_open_connections(),
        long_polls=runtime.long_polls.waiting + runtime.work_waits.waiting,
        problems=problems_list(runtime=runtime),
    )


def _open_connections() -> int:
    """Return how many HTTP connections are open; whoever serves HTTP counts them."""
    found = REGISTRY.restricted_registry(("queue_http_connections",)).collect()
    return int(sum(sample.value for metric in found for sample in metric.samples))


def traffic_told(traffic: Traffic) -> dict[str, TopicTraffic]:
    """Return the counters of the topics with the most bytes, and those of all others together."""
    if len(traffic) <= TOPICS_TOLD_MAX:
        return dict(traffic)
    by_bytes = sorted(traffic.items(), key=lambda item: _bytes_of(item[1]), reverse=True)
    told = dict(by_bytes[:TOPICS_TOLD_MAX])
    told[OTHER] = summed(counters for _, counters in by_bytes[TOPICS_TOLD_MAX:])
    return told


_bytes = attrgetter("produced_bytes", "popped_bytes", "fetched_bytes", "received_bytes")


def _bytes_of(counters: TopicTraffic) -> int:
    return sum(_bytes(counters))
