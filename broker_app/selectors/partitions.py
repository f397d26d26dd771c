"""The local replicas and how the broker is."""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from broker_app.answers import ChangeProgress, LocalReplica
from broker_app.links.reports import reported
from broker_app.runtime import state_of
from http_base import guard
from http_base.cluster import ReplicaPlace
from http_base.paging import Page, page_of

if TYPE_CHECKING:
    from broker_app.inputs import PartitionQuery
    from broker_app.runtime import BrokerRuntime
    from raft_app.engine.membership import ReplicaChange
    from raft_app.engine.replica import Replica

INTERVALS_WITHOUT_TICK_MAX = 20
"""Tick intervals without a tick after which the broker is not ready."""
WRITING_SECONDS_MAX = 5.0
"""How long a transaction may take before the broker is not ready."""


def partitions_list(*, runtime: BrokerRuntime, asked: PartitionQuery) -> Page[LocalReplica]:
    """Return local replicas by topic and index: report, table sizes, followers' lag."""
    topic, _, index = asked.after.rpartition("/")
    after = (topic, int(index or -1))
    if asked.topic is not None:
        after = max(after, (asked.topic, -1))
    places = runtime.places
    following = places[bisect_right(places, after) :]
    chosen = (
        runtime.partition(*place)
        for place in takewhile(lambda one: asked.topic in (None, one[0]), following)
        if asked.partition in (None, place[1])
    )
    wanted = (replica for replica in chosen if not asked.leads or replica.serves)
    page = page_of(islice(wanted, asked.limit + 1), asked.limit, _shown_place)
    return page.map(lambda replica: partition_get(runtime=runtime, replica=replica))


def _shown_place(replica: Replica) -> str:
    return f"{replica.spec.topic}/{replica.spec.partition}"


def partition_get(*, runtime: BrokerRuntime, replica: Replica) -> LocalReplica:
    """Return what there is to say about one local replica."""
    state = state_of(replica)
    retention, sizes = state.retention, state.table_sizes()
    change = runtime.engine.find_change(replica.spec.group_id)
    return LocalReplica(
        **reported(replica),
        cursors=sizes.cursors,
        consumer_groups=sizes.consumer_groups,
        producers=sizes.producers,
        request_ids=sizes.request_ids,
        retention_ms=retention.retention_ms,
        retention_bytes=retention.retention_bytes,
        followers=replica.progress(),
        change=change_described(change) if change else None,
    )


def change_described(change: ReplicaChange) -> ChangeProgress:
    """Return a change of replicas as managers and people are told it."""
    return ChangeProgress(
        target=[ReplicaPlace(member.replica_id, member.broker_id) for member in change.target],
        version=change.version,
        step=change.step,
        waiting_for=change.waiting_for,
        done=change.is_done,
    )


def problems_list(*, runtime: BrokerRuntime) -> list[str]:
    """Return why this broker should get no requests; empty when it is ready.

    That no manager can be reached is no reason: a broker serves without.
    """
    engine = runtime.engine
    problems = []
    silent = engine.watchdog.intervals_without_tick
    if silent >= INTERVALS_WITHOUT_TICK_MAX:
        problems.append(f"no tick for {silent} intervals")
    if engine.failure.done():
        problems.append("the storage failed")
    writing = engine.slow_disk.seconds_so_far
    if writing >= WRITING_SECONDS_MAX:
        problems.append(f"the disk has not finished a write for {writing:.0f} s")
    if engine.disk.full:
        problems.append("the disk has less than its reserve of free space")
    runtime.overview.refresh()
    faulty = [
        f"replica of partition {replica.spec.partition} of topic '{replica.spec.topic}' is faulty:"
        f" {replica.faulty}"
        for replica in runtime.overview.faulty.values()
    ]
    if faulty and guard.is_on():  # whoever asks need not be known, and learns of no topic
        faulty = [f"{len(faulty)} replicas are faulty; /partitions names them"]
    return problems + faulty
