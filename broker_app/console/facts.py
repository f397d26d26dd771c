"""What the pages show, as values: read in the engine's loop, never more than a page at a time."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING

from broker_app.runtime import state_of
from broker_app.selectors.partitions import partition_get, problems_list
from http_base.paging import Page, page_of

if TYPE_CHECKING:
    from broker_app.answers import LocalReplica
    from broker_app.runtime import BrokerRuntime
    from raft_app.core.status import Status
    from raft_app.engine.replica import Replica

PAGE_SIZE = 50
"""Replicas, cursors or groups of one page."""


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """A replica here."""

    told: LocalReplica
    """As managers and programs are told it."""
    first_index: int
    """The oldest entry of its log."""
    is_asleep: bool


@dataclass(frozen=True, slots=True)
class FollowerFacts:
    """What a leader knows of one of its followers."""

    replica_id: int
    broker_id: int
    match: int
    next: int
    state: str
    is_heard: bool
    lag: int
    inflight_appends: int
    inflight_bytes: int


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """Where a group is in a partition."""

    name: str
    kind: str
    """`consumers` or `workers`."""
    generation: int
    offset: int
    lag: int
    out: int
    """Messages with workers, not settled."""
    dead: int
    """Messages that are not in the dead-letter topic yet."""


@dataclass(frozen=True, slots=True)
class ReplicaDetail:
    """One replica, whole."""

    facts: ReplicaFacts
    status: Status
    followers: list[FollowerFacts]
    cursors: Page[tuple[int, int]]
    """(consumer id, next offset)."""
    groups: Page[GroupFacts]


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """The connections with another broker."""

    broker_id: int
    raft_address: str
    hears: bool
    """Its connection to this broker is up."""
    reaches: bool
    """This broker's connection to it is up."""


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """The broker itself."""

    broker_id: int
    replicas: int
    epoch: int
    problems: list[str]
    intervals_without_tick: int
    write_seconds_so_far: float
    peers: list[PeerFacts]


def broker_facts(runtime: BrokerRuntime) -> BrokerFacts:
    """Return what there is to say of the broker."""
    engine = runtime.engine
    hears, reaches = engine.connected_peers, engine.reached_peers
    return BrokerFacts(
        broker_id=engine.broker_id,
        replicas=len(engine.replicas),
        epoch=runtime.epoch,
        problems=problems_list(runtime=runtime),
        intervals_without_tick=engine.watchdog.intervals_without_tick,
        write_seconds_so_far=engine.slow_disk.seconds_so_far,
        peers=[
            PeerFacts(
                broker_id=broker_id,
                raft_address=peer.raft_address if peer is not None else "",
                hears=broker_id in hears,
                reaches=broker_id in reaches,
            )
            for broker_id, peer in sorted(engine.peers.items())
            if broker_id != engine.broker_id
        ],
    )


def replicas_page(runtime: BrokerRuntime, *, topic: str, after: str) -> Page[ReplicaFacts]:
    """Return replicas by topic and index.

    Args:
        runtime: of this broker.
        topic: only those of this one; empty: of all.
        after: `topic/index` of the last one of the page before; empty: from the first on.
    """
    name, _, index = after.rpartition("/")
    places = runtime.places
    from_place = max((name, int(index)) if index.isdecimal() else ("", -1), (topic, -1))
    found = islice(places, bisect_right(places, from_place), None)
    chosen = [place for place in islice(found, PAGE_SIZE + 1) if not topic or place[0] == topic]
    page = page_of(chosen, PAGE_SIZE, lambda place: f"{place[0]}/{place[1]}")
    return page.map(lambda place: replica_facts(runtime, runtime.partition(*place)))


def replica_facts(runtime: BrokerRuntime, replica: Replica) -> ReplicaFacts:
    """Return what the list says of a replica."""
    return ReplicaFacts(
        told=partition_get(runtime=runtime, replica=replica),
        first_index=replica.node.first_index,
        is_asleep=not replica.faulty and replica.is_asleep,
    )


def replica_detail(
    runtime: BrokerRuntime, topic: str, partition: int, *, cursor: str, group: str
) -> ReplicaDetail:
    """Return a replica with a page of its cursors and one of its groups.

    Args:
        runtime: of this broker.
        topic: of the partition.
        partition: its index.
        cursor: consumer id after which the cursors begin; empty: with the first.
        group: name after which the groups begin; empty: with the first.

    Raises:
        PartitionNotFound: it is not here.
    """
    replica = runtime.partition(topic, partition)
    status = replica.node.status()
    return ReplicaDetail(
        facts=replica_facts(runtime, replica),
        status=status,
        followers=[
            FollowerFacts(
                replica_id=replica_id,
                broker_id=replica.broker_of(replica_id),
                match=peer.match,
                next=peer.next,
                state=str(peer.state),
                is_heard=peer.is_heard,
                lag=max(0, status.last_index - peer.match),
                inflight_appends=peer.inflight_appends,
                inflight_bytes=peer.inflight_bytes,
            )
            for replica_id, peer in status.progress.items()
        ],
        cursors=_cursors(replica, int(cursor) if cursor.isdecimal() else -1),
        groups=_groups(replica, group),
    )


def _cursors(replica: Replica, after: int) -> Page[tuple[int, int]]:
    cursors = state_of(replica).cursors_by_id
    chosen = nsmallest(PAGE_SIZE + 1, (one for one in cursors if one > after))
    return page_of([(one, cursors[one]) for one in chosen], PAGE_SIZE, lambda row: row[0])


def _groups(replica: Replica, after: str) -> Page[GroupFacts]:
    names = nsmallest(
        PAGE_SIZE + 1, (name for name in state_of(replica).group_names() if name > after)
    )
    return page_of(names, PAGE_SIZE, str).map(lambda name: _group(replica, name))


def _group(replica: Replica, name: str) -> GroupFacts:
    state = state_of(replica)
    work, group = state.works.get(name), state.consumer_group(name)
    if work is not None:
        left = max(0, state.next_offset - work.offset - work.settled_above)
        out, dead = len(work.unsettled), len(work.dead)
        return GroupFacts(name, "workers", 0, work.offset, left, out, dead)
    assert group is not None, f"nothing is known of group {name}"
    offset = max(group.offset, state.log_start_offset)
    lag = max(0, state.next_offset - offset)
    return GroupFacts(name, "consumers", group.generation, offset, lag, 0, 0)
