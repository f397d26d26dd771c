"""Taking a broker's report into the database, and the orders that answer it.

Whatever a report says removes nothing: not the broker, not a replica.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from msgspec import structs

from http_base.cluster import BrokerOrders, RememberedReplica
from http_base.kept import Found, Kept
from manager_app import event_texts, selectors
from manager_app.metadata import Leadership
from manager_app.models import (
    Broker,
    BrokerState,
    Partition,
    Replica,
    ReplicaState,
)
from manager_app.placement import partition_facts
from manager_app.row_updates import portions, rows_update
from manager_app.services.broker import address_clean
from manager_app.services.cluster import cluster_ensure, fenced, metadata_bump, topics_mark
from manager_app.services.events import events_store
from manager_app.services.membership import ToldMembership, memberships_take
from myqueue.contract.errors import Forbidden, InvalidRequest

if TYPE_CHECKING:
    from datetime import datetime

    from http_base.cluster import BrokerReport, ReplicaOrder, ReplicaReport
    from manager_app.models import Event

logger = logging.getLogger(__name__)

_INCARNATION = re.compile(r"[0-9a-f]{32}", re.ASCII)
_RAFT_ADDRESS = re.compile(r"[A-Za-z0-9._:\[\]-]{1,249}:[0-9]{1,5}", re.ASCII)
_ROLE_LENGTH_MAX = 16
_RACK_LENGTH_MAX = 64
PLACES_MAX = 100
"""Partitions whose names are looked up for the event of one report."""
_LOST = (ReplicaState.FAULTY, ReplicaState.MISSING)
_REPORTED_ONCE = (ReplicaState.RUNNING, ReplicaState.FAULTY)


class _StoredReplica(NamedTuple):
    """What is stored of a replica; reports of thousands are compared with it, not with models."""

    replica_id: int
    partition_id: int
    leaving: bool
    state: str
    role: str
    log_start_offset: int
    high_watermark: int
    last_index: int
    size_bytes: int
    kept_term: int
    kept_index: int
    kept_entry_term: int
    kept_offset: int
    fault: str


_REPLICA_FIELDS = [*_StoredReplica._fields[3:], "reported_at"]
"""What reports change."""


@dataclass(frozen=True)
class TakenReport:
    """A report as it was stored, and the orders that answer it."""

    broker_id: int
    recorded_at: datetime
    """The heartbeat as stored."""
    orders: BrokerOrders
    leaders: list[tuple[int, Leadership]]
    """Group id and leader of each leadership that moved."""
    metadata_changed: bool
    """True when more than leaders changed: the copies in memory have to be loaded again."""


@dataclass
class _Changes:
    """Changes that a report calls for, decided before anything is written."""

    broker_fields: dict[str, object]
    broker_moved: bool
    replicas: list[Replica] = field(default_factory=list)
    leaders: list[tuple[int, Leadership]] = field(default_factory=list)
    led_topics: set[int] = field(default_factory=set)
    """Ids of the topics of those."""
    remembered: list[RememberedReplica] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    """Group ids of replicas that are faulty or missing now and were not."""
    healed: int = 0
    """Replicas that were faulty or missing and are not any more."""


def broker_report(report: BrokerReport) -> TakenReport:
    """Store a broker's report of itself and its replicas, and return the orders for it.

    Raises:
        InvalidRequest: an address, the incarnation or a number is malformed.
        Forbidden: the broker belongs to another cluster, or was removed from this one.
    """
    _check(report)
    cluster = cluster_ensure()
    if report.cluster_id and report.cluster_id != cluster.cluster_id:
        raise Forbidden(
            f"the broker at {report.address} belongs to cluster {report.cluster_id[:40]!r}, this"
            f" is {cluster.cluster_id!r}: point it to its own manager, or start it with an empty"
            " data directory"
        )
    now = timezone.now()
    broker, created = _identify(report, now)
    with fenced():
        follows = report.follows and _follows(broker, report, cluster.whole_version)
        if report.follows and not follows:
            # What it says may be older than what is stored: the full one that is asked for is not.
            report = structs.replace(report, replicas=[], gone=[])
        report = _without_strangers(report)
        changes = _changes(broker, report, now)
        if report.full or follows:
            changes.broker_fields["report_number"] = report.number
        if changes.broker_moved or changes.leaders:
            metadata_bump(of_topics=not changes.broker_moved)
            topics_mark(changes.led_topics)
        events = _events(broker, changes, is_new=created)
        _write(broker, changes)
        events_store(events)
        memberships_take(_told(broker, said) for said in report.replicas if said.serves)
    is_whole = report.full or bool(follows)
    orders = BrokerOrders(
        cluster_id=cluster.cluster_id,
        broker_id=broker.broker_id,
        epoch=cluster.epoch,
        brokers=selectors.broker_places(),
        assignment=_assignment(broker, cluster.epoch) if report.full else [],
        deleted_groups=selectors.deleted_among(report.replicas),
        removed_replicas=partition_facts.replicas_removed(broker, report.replicas),
        revoked_producers=selectors.clients_revoked("producer") if is_whole else None,
        revoked_consumers=selectors.clients_revoked("consumer") if is_whole else None,
        remembered=changes.remembered if report.full else None,
        taken=report.number if is_whole else 0,
        # New topics are ordered by themselves, and of leaders brokers know more than managers.
        metadata_version=cluster.whole_version,
    )
    return TakenReport(
        broker_id=broker.broker_id,
        recorded_at=now,
        orders=orders,
        leaders=changes.leaders,
        metadata_changed=created or changes.broker_moved,
    )


def _follows(broker: Broker, report: BrokerReport, whole_version: int) -> bool:
    """Tell whether nothing is missing between the last report that was stored and this one."""
    if report.metadata_version != whole_version:
        return False
    row = Broker.objects.select_for_update().filter(pk=broker.broker_id)
    return row.values_list("report_number", flat=True).first() == report.follows


def _check(report: BrokerReport) -> None:
    """Raise InvalidRequest for a report with fields that cannot be stored."""
    if not _INCARNATION.fullmatch(report.incarnation):
        raise InvalidRequest(
            f"incarnation must be 32 hexadecimal digits, not {report.incarnation[:40]!r}",
            field="incarnation",
        )
    if address_clean(report.address) != report.address:
        raise InvalidRequest(
            f"address must be http://host:port, not {report.address[:300]!r}", field="address"
        )
    if not _RAFT_ADDRESS.fullmatch(report.raft_address):
        raise InvalidRequest(
            f"raft_address must be host:port, not {report.raft_address[:300]!r}",
            field="raft_address",
        )


def _identify(report: BrokerReport, now: datetime) -> tuple[Broker, bool]:
    """Return the row of the reporting broker, and whether it was made or taken over just now."""
    known = Broker.objects.filter(incarnation=report.incarnation).first()
    if known is not None:
        return known, False
    if report.broker_id:
        raise Forbidden(
            f"broker {report.broker_id} at {report.address} was removed from this cluster; start"
            " it with an empty data directory to let it join anew"
        )
    with transaction.atomic():
        metadata_bump()
        known = Broker.objects.filter(incarnation=report.incarnation).first()
        if known is not None:
            return known, False
        broker = Broker.objects.filter(address=report.address, incarnation=None).first() or Broker()
        broker.incarnation = report.incarnation
        broker.address = report.address
        broker.raft_address = report.raft_address
        broker.state = BrokerState.STOPPING if report.stopping else BrokerState.ALIVE
        broker.last_heartbeat = now
        broker.save()
        _replace_others(broker)
    return broker, True


def _replace_others(broker: Broker) -> None:
    """Mark other brokers that reported from this address as replaced."""
    others = Broker.objects.filter(address=broker.address).exclude(pk=broker.broker_id)
    others.filter(incarnation=None).delete()
    others.update(state=BrokerState.REPLACED)


def _without_strangers(report: BrokerReport) -> BrokerReport:
    """Return a report without the groups that are other partitions in the database.

    A database that was restored from an older copy hands out the group ids that it lost again.
    Reports on the lost groups must not be stored for the new ones, and nothing is ordered for them.
    """
    rows = Partition.objects.filter(group_id__in=[said.group_id for said in report.replicas])
    places = {
        group_id: (topic, index)
        for group_id, topic, index in rows.values_list("group_id", "topic__name", "index")
    }

    def is_stranger(said: ReplicaReport) -> bool:
        place = (said.topic, said.partition)
        return places.get(said.group_id, place) != place

    strangers = [said for said in report.replicas if is_stranger(said)]
    if not strangers:
        return report
    first = strangers[0]
    logger.warning(
        "the broker at %s has %d groups that are other partitions in the database, such as group"
        " %d: there it is %s/%d; they are left alone",
        *(report.address, len(strangers), first.group_id, first.topic, first.partition),
    )
    return structs.replace(
        report, replicas=[said for said in report.replicas if not is_stranger(said)]
    )


def _changes(broker: Broker, report: BrokerReport, now: datetime) -> _Changes:
    state = BrokerState.STOPPING if report.stopping else BrokerState.ALIVE
    rack = report.rack[:_RACK_LENGTH_MAX].replace("\0", "")
    moved = (broker.address, broker.raft_address, broker.state, broker.rack) != (
        report.address,
        report.raft_address,
        state,
        rack,
    )
    changes = _Changes(
        broker_fields={
            "address": report.address,
            "raft_address": report.raft_address,
            "state": state,
            "last_heartbeat": now,
            "disk_free_bytes": report.disk_free_bytes or broker.disk_free_bytes,
            "disk_slow": report.disk_slow,
            "rack": rack,
        },
        broker_moved=moved,
    )
    reported = {replica.replica_id: replica for replica in report.replicas}
    rows = broker.replicas.values_list(*_StoredReplica._fields)
    gone = set(report.gone)
    if not report.full:
        rows = rows.filter(Q(replica_id__in=list(reported)) | Q(partition_id__in=gone))
    for row in map(_StoredReplica._make, rows):
        after = row
        said = reported.get(row.replica_id)
        if said is not None and said.group_id == row.partition_id:
            if _has_less(row, said):
                changes.remembered.append(_remember(broker, row, said))
            after = _taken(row, said)
        elif report.full or row.partition_id in gone:
            after = _unreported(broker, row)
        if after != row:
            changes.replicas.append(Replica(**after._asdict(), reported_at=now))
        if (after.state in _LOST) > (row.state in _LOST):
            changes.lost.append(row.partition_id)
        changes.healed += (after.state in _LOST) < (row.state in _LOST)
    moved_leaders = _moved_leaders(broker, report)
    changes.leaders = [(group_id, leadership) for group_id, leadership, _ in moved_leaders]
    changes.led_topics = {topic_id for _, _, topic_id in moved_leaders}
    return changes


def _events(broker: Broker, changes: _Changes, *, is_new: bool) -> list[Event]:
    """Return what a report tells that is to be remembered: one event of each sort at most."""
    state = str(changes.broker_fields["state"])
    events = []
    if is_new or state != broker.state:
        said = BrokerState.NEW if is_new else state
        events.append(event_texts.broker_changed(broker.broker_id, said, address=broker.address))
    moved = [group_id for group_id, _ in changes.leaders]
    if not (moved or changes.lost or changes.healed):
        return events
    asked = [*moved[:PLACES_MAX], *changes.lost[:PLACES_MAX]]
    rows = Partition.objects.filter(group_id__in=asked)
    places = {
        group_id: (topic, index)
        for group_id, topic, index in rows.values_list("group_id", "topic__name", "index")
    }
    if moved:
        events.append(event_texts.elected(changes.leaders, places, broker.broker_id))
    lost = [places[group_id] for group_id in changes.lost if group_id in places]
    return events + event_texts.replicas_lost(
        broker.broker_id, len(changes.lost), changes.healed, lost
    )


def _has_less(row: _StoredReplica, said: ReplicaReport) -> bool:
    """Tell whether a replica lost, and does not know it yet, what it once reported to have."""
    if said.faulty or said.installing or not said.kept_term:
        return False
    found = Found(said.kept_term, said.last_index, said.last_term)
    return found.lacks(Kept(row.kept_term, row.kept_index, row.kept_entry_term))


def _remember(broker: Broker, row: _StoredReplica, said: ReplicaReport) -> RememberedReplica:
    logger.error(
        "broker %d has %s/%d only up to index %d in term %d, and had reported index %d in term %d:"
        " it was restored from an older copy, and is refilled by its peers; where too few have"
        " more, the partition waits for `manage.py accept-loss`",
        *(broker.broker_id, said.topic, said.partition, said.last_index, said.kept_term),
        *(row.kept_index, row.kept_term),
    )
    return RememberedReplica(
        group_id=row.partition_id,
        replica_id=row.replica_id,
        kept_term=row.kept_term,
        kept_index=row.kept_index,
        kept_entry_term=row.kept_entry_term,
    )


def _unreported(broker: Broker, row: _StoredReplica) -> _StoredReplica:
    """Return a replica's row as it is after a report in which it is missing."""
    if not row.leaving and row.state not in _REPORTED_ONCE:
        return row
    if not row.leaving:
        logger.error(
            "broker %d no longer reports replica %d of group %d",
            *(broker.broker_id, row.replica_id, row.partition_id),
        )
    return row._replace(state=ReplicaState.MISSING)


def _taken(row: _StoredReplica, said: ReplicaReport) -> _StoredReplica:
    """Return a replica's row as it is after a report."""
    return _StoredReplica(
        row.replica_id,
        row.partition_id,
        row.leaving,
        state=ReplicaState.FAULTY if said.faulty else ReplicaState.RUNNING,
        role=said.role[:_ROLE_LENGTH_MAX],
        log_start_offset=said.log_start_offset,
        high_watermark=said.high_watermark,
        last_index=said.last_index,
        size_bytes=said.size_bytes,
        kept_term=max(row.kept_term, said.kept_term),
        kept_index=max(row.kept_index, said.kept_index),
        kept_entry_term=max(row.kept_entry_term, said.kept_entry_term),
        kept_offset=max(row.kept_offset, said.high_watermark),
        fault=said.faulty[:255].replace("\0", ""),
    )


def _told(broker: Broker, said: ReplicaReport) -> ToldMembership:
    return ToldMembership(
        group_id=said.group_id,
        leader=broker.broker_id,
        term=said.term,
        voters=frozenset(place.replica_id for place in said.replicas),
        learners=frozenset(place.replica_id for place in said.learners),
        suspects=frozenset(said.suspects),
    )


def _moved_leaders(broker: Broker, report: BrokerReport) -> list[tuple[int, Leadership, int]]:
    """Return the leaders that the report names in a newer term than the database.

    Returns:
        Group id, leader and id of the topic of each.
    """
    said_by_group = {replica.group_id: replica for replica in report.replicas}
    if not said_by_group:
        return []
    brokers = set(Broker.objects.values_list("broker_id", flat=True))
    moved = []
    rows = Partition.objects.filter(replicas__broker=broker).order_by("group_id")
    if not report.full:
        rows = rows.filter(group_id__in=list(said_by_group))
    for group_id, leader_id, term, topic_id in rows.values_list(
        "group_id", "leader_id", "term", "topic_id"
    ):
        said = said_by_group.get(group_id)
        if said is None or said.term < term:
            continue
        if said.leader_broker_id in brokers:
            if (said.leader_broker_id, said.term) != (leader_id, term):
                leadership = Leadership(said.leader_broker_id, said.term)
                moved.append((group_id, leadership, topic_id))
        elif leader_id == broker.broker_id and _leads_no_more(said, term):
            # The reports of others will name the new leader.
            moved.append((group_id, Leadership(0, said.term), topic_id))
    return moved


def _leads_no_more(said: ReplicaReport, term: int) -> bool:
    """Tell whether the reported leader of a term has stepped down, by its own report.

    A candidate of that very term has not led yet: others' reports of its victory came first.
    """
    return said.role != "leader" and (said.role, said.term) != ("candidate", term)


def _write(broker: Broker, changes: _Changes) -> None:
    Broker.objects.filter(pk=broker.broker_id).update(**changes.broker_fields)
    for name, value in changes.broker_fields.items():
        setattr(broker, name, value)
    if changes.broker_moved:
        _replace_others(broker)
    rows_update(changes.replicas, _REPLICA_FIELDS)
    groups: dict[Leadership, list[int]] = defaultdict(list)
    for group_id, leadership in changes.leaders:
        groups[leadership].append(group_id)
    for leadership, of_one in groups.items():
        for some in portions(of_one):
            Partition.objects.filter(term__lte=leadership.term, group_id__in=some).update(
                leader_id=leadership.broker_id or None, term=leadership.term
            )


def _assignment(broker: Broker, epoch: int) -> list[ReplicaOrder]:
    replicas = broker.replicas.exclude(state=ReplicaState.MISSING).filter(leaving=False)
    return selectors.replica_orders(replicas, epoch).get(broker.broker_id, [])
