"""Reads from the manager's database."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hmac import compare_digest
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Literal, NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import Count, F, OuterRef, Prefetch, Q, Subquery, Value
from django.db.models.functions import Coalesce, Collate, Left, StrIndex
from django.db.models.lookups import Exact, GreaterThan

from http_base.access import EMPTY_ACCESS, AccessIndex
from http_base.cluster import BrokerPlace, DeletedPartition, ReplicaOrder, ReplicaPlace
from http_base.paging import Page, page_of
from http_base.tokens import secret_fingerprint
from manager_app.access_rows import access_load
from manager_app.metadata import (
    NOTHING_KNOWN,
    BrokerMetadata,
    ClusterMetadata,
    Leadership,
    PartitionMetadata,
    StoredSettings,
    TopicMetadata,
)
from manager_app.models import (
    ID_MAX,
    INTEGER_ID_MAX,
    ApiToken,
    Broker,
    BrokerState,
    ClientState,
    Cluster,
    Consumer,
    ConsumerGroup,
    DeletedGroup,
    Event,
    GroupMember,
    Partition,
    Producer,
    Replica,
    ReplicaState,
    TokenRight,
    Topic,
)
from manager_app.placement import eligible_brokers
from manager_app.placement.partition_facts import (
    SUSPECT,
    ListedBroker,
    ListedPartition,
    ListedReplica,
)
from manager_app.placement.repair_rules import MemberRole
from manager_app.placement.rules import BrokerLoad, LedPartition
from manager_app.written_queries import WrittenGet, WrittenQuery
from myqueue.contract.errors import (
    BrokerNotFound,
    GroupNotFound,
    InvalidTopicName,
    PartitionNotFound,
    TopicDoesNotExist,
)
from myqueue.contract.inputs import check_topic_name
from myqueue.contract.rules.group_membership import GroupState, Member, TopicShape, flattened

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from django.db.models import Model, QuerySet
    from django.db.models.expressions import Combinable

    from http_base.cluster import ReplicaReport
    from manager_app.inputs import (
        BrokersQuery,
        ClientsQuery,
        EventsQuery,
        GroupsQuery,
        TokensQuery,
        TopicsQuery,
    )

ClientKind = Literal["producer", "consumer"]

CLIENT_MODELS: dict[ClientKind, type[Producer] | type[Consumer]] = {
    "producer": Producer,
    "consumer": Consumer,
}

_DIGITS = re.compile(r"[0-9]{1,10}", re.ASCII)


class ClientKey(NamedTuple):
    """Kind and id of a client: producers and consumers are numbered separately."""

    kind: ClientKind
    client_id: int


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A registered client, as stored."""

    key: ClientKey
    topic: str
    state: str
    last_heartbeat: datetime


@dataclass(frozen=True, slots=True)
class StoredConsumerGroup:
    """A consumer group, as stored."""

    revision: int = 0
    """Of the row; a higher one in the database means that this state is out of date."""
    state: GroupState = field(default_factory=GroupState)
    topics_used: frozenset[str] = frozenset()
    """All topics that were ever subscribed."""
    last_heartbeats: Mapping[str, datetime] = field(default_factory=dict)
    """By member id, as stored; later ones are in the primary's memory."""


def cluster_find() -> Cluster | None:
    """Return the cluster's row; None before the first manager started."""
    return Cluster.objects.filter(pk=1).first()


def secret_fits(secret: str) -> bool:
    """Tell whether a secret is the cluster's; True as long as no manager recorded one."""
    cluster = cluster_find()
    if cluster is None or not cluster.secret_fingerprint:
        return True
    fingerprint = secret_fingerprint(secret, cluster.cluster_id)
    return compare_digest(cluster.secret_fingerprint, fingerprint)


_VERSION = WrittenQuery(lambda pk: Cluster.objects.filter(pk=pk).values_list("metadata_version"))


def metadata_version() -> int:
    """Return the version of the stored metadata; 0 before the first manager started."""
    return next((version for (version,) in _VERSION.rows(1)), 0)


def metadata_load(known: ClusterMetadata = NOTHING_KNOWN) -> ClusterMetadata:
    """Read the metadata for the copy in memory: what changed since it was read, or all of it.

    The version is read first: a change that is committed meanwhile makes the next poll load again.

    Args:
        known: what was read last.
    """
    cluster = cluster_find()
    version = cluster.metadata_version if cluster else 0
    whole_version = cluster.whole_version if cluster else 0
    is_part = 0 < known.version <= version and known.whole_version == whole_version
    if is_part:
        topics, leaders = _topics_load(changed_after=known.version)
        topics, access = {**known.topics, **topics}, known.access
    else:
        topics, leaders = _topics_load()
        access = EMPTY_ACCESS if settings.QUEUE.auth == "off" else AccessIndex(access_load())
    return ClusterMetadata(
        version=version,
        whole_version=whole_version,
        is_part=is_part,
        primary_address=cluster.primary_address if cluster else "",
        epoch=cluster.epoch if cluster else 0,
        topics=topics,
        brokers={
            broker.broker_id: BrokerMetadata(
                broker.broker_id,
                broker.address,
                broker.state,
                raft_address=broker.raft_address,
                draining=broker.draining,
            )
            for broker in Broker.objects.order_by("broker_id")
        },
        leaders=leaders,
        access=access,
    )


def _topics_load(
    *, changed_after: int | None = None
) -> tuple[dict[str, TopicMetadata], dict[int, Leadership]]:
    """Read topics in the order of their creation, and the leaders of their partitions.

    Args:
        changed_after: version of the metadata after which they changed; None: all topics.
    """
    topics, partitions = Topic.objects.order_by("id"), Partition.objects.all()
    replicas = Replica.objects.all()
    if changed_after is not None:
        topics = topics.filter(changed_version__gt=changed_after)
        partitions = partitions.filter(topic__changed_version__gt=changed_after)
        replicas = replicas.filter(partition__topic__changed_version__gt=changed_after)
    held: dict[int, list[int]] = defaultdict(list)
    of_topic: dict[int, list[PartitionMetadata]] = defaultdict(list)
    leaders: dict[int, Leadership] = {}
    found = list(topics)
    names = {topic.pk: topic.name for topic in found}
    rows = list(partitions.values_list("group_id", "topic_id", "index", "leader_id", "term"))
    for group_id, broker_id in replicas.values_list("partition_id", "broker_id"):
        held[group_id].append(broker_id)
    for group_id, topic_id, index, leader_id, term in rows:
        if topic_id in names:
            of_topic[topic_id].append(
                PartitionMetadata(group_id, index, names[topic_id], tuple(held[group_id]))
            )
            leaders[group_id] = Leadership(leader_id or 0, term)
    loaded = {
        topic.name: TopicMetadata(
            topic.name,
            topic.partitions_at_creation,
            tuple(of_topic[topic.pk]),
            StoredSettings(
                topic.replication_factor,
                topic.retention_ms,
                topic.retention_bytes,
                topic.created_at,
            ),
            topic.pk,
        )
        for topic in found
        if of_topic[topic.pk]
    }
    return loaded, leaders


_TOPIC = WrittenGet(lambda name: Topic.objects.filter(name=name).order_by())


def topic_get(name: str) -> Topic:
    """Return a topic.

    Raises:
        TopicDoesNotExist: there is none of this name, or no topic could have it.
    """
    try:
        check_topic_name(name)
        return _TOPIC.get(name)
    except (InvalidTopicName, Topic.DoesNotExist) as error:
        raise TopicDoesNotExist(f"topic {name[:260]!r} does not exist", field="topic") from error


def topic_names(asked: TopicsQuery) -> Page[str]:
    """Return names of topics in the order of their creation."""
    rows = _topics(asked).values_list("id", "name")[: asked.limit + 1]
    return page_of(rows, asked.limit, itemgetter(0)).map(itemgetter(1))


def topics_with_counts(asked: TopicsQuery) -> Page[Topic]:
    """Return topics in the order of their creation, each with `number_of_partitions`."""
    rows = _topics(asked).annotate(number_of_partitions=row_count_of(Partition, "topic"))
    return page_of(rows[: asked.limit + 1], asked.limit, attrgetter("id"))


def _topics(asked: TopicsQuery) -> QuerySet[Topic]:
    rows = Topic.objects.filter(id__gt=asked.after_id).order_by("id")
    return rows.filter(_named(asked.prefix))


def _named(prefix: str) -> Combinable | Q:
    """Return a condition: the name begins with a text. `startswith` ignores case on SQLite."""
    return Exact(Left("name", len(prefix)), prefix) if prefix else Q()


_PARTITIONS = WrittenQuery(
    # Tuples of one query, not models: of a topic of fifty partitions that is a fifth of the time.
    lambda topic_id: (
        Partition.objects.filter(topic_id=topic_id)
        .order_by("index", "replicas__position")
        .values_list(
            *("group_id", "index", "leader_id", "leader__state", "term", "membership_term"),
            *("placement_version", "strangers", "replicas__broker_id", "replicas__broker__state"),
            *("replicas__broker__address", "replicas__broker__draining", "replicas__replica_id"),
            *("replicas__state", "replicas__role", "replicas__log_start_offset"),
            *("replicas__high_watermark", "replicas__last_index", "replicas__fault"),
            *("replicas__suspicion", "replicas__membership", "replicas__leaving"),
        )
    )
)


def topic_partitions(topic: Topic) -> list[ListedPartition]:
    """Return a topic's partitions by index, with replicas by position and their brokers."""
    found: dict[int, ListedPartition] = {}
    brokers: dict[int, ListedBroker] = {}
    for row in _PARTITIONS.rows(topic.pk):
        group_id, index, leader_id, leader_state, term, told_term, version, strangers, *of = row
        partition = found.get(group_id)
        if partition is None:
            partition = found[group_id] = ListedPartition(
                group_id=group_id,
                index=index,
                leader_id=leader_id,
                leader_state=leader_state,
                term=term,
                membership_term=told_term,
                placement_version=version,
                strangers=strangers,
                replication_factor=topic.replication_factor,
                replicas=[],
            )
        if of[0] is not None:  # a partition without replicas is one row of nulls
            broker = brokers.get(of[0])
            if broker is None:
                broker = brokers[of[0]] = ListedBroker._make((*of[:3], bool(of[3])))
            listed = ListedReplica._make((broker, *of[4:-1], bool(of[-1])))
            partition.replicas.append(listed)
    return list(found.values())


def partition_get(topic: str, index: int) -> Partition:
    """Return a partition with its topic, replicas by position and their brokers.

    Raises:
        TopicDoesNotExist: there is no such topic.
        PartitionNotFound: it has no such partition.
    """
    rows = Partition.objects.filter(topic=topic_get(topic), index=index)
    found = rows.select_related("topic").prefetch_related("replicas__broker").first()
    if found is None:
        raise PartitionNotFound(f"topic {topic!r} has no partition {str(index)[:20]}")
    return found


def broker_get(broker_id: int) -> Broker:
    """Return a broker.

    Raises:
        BrokerNotFound: there is none with this id.
    """
    broker = None
    if 0 < broker_id <= INTEGER_ID_MAX:
        broker = Broker.objects.filter(pk=broker_id).first()
    if broker is None:
        raise BrokerNotFound(f"there is no broker {str(broker_id)[:20]}")
    return broker


def broker_find(key: int | str) -> Broker | None:
    """Return the broker with an id or an address, or None."""
    if isinstance(key, int) or _DIGITS.fullmatch(key):
        number = int(key)
        return Broker.objects.filter(pk=number).first() if 0 < number <= INTEGER_ID_MAX else None
    if "\0" in key or len(key) > 255 or not key.isascii():
        return None
    return (
        Broker.objects.filter(address=key.rstrip("/"))
        .exclude(state=BrokerState.REPLACED)
        .order_by("-broker_id")
        .first()
    )


def row_count_of(model: type[Model], reference: str) -> Combinable:
    """Return an annotation: how many rows of `model` refer to the row with their `reference`.

    Each is counted by itself. Two `Count` over two relations in one query count every pair.
    """
    referring = model._default_manager.filter(**{reference: OuterRef("pk")}).order_by()
    counted = referring.values(reference).annotate(rows=Count("pk")).values("rows")
    return Coalesce(Subquery(counted), 0)


def broker_addresses(asked: BrokersQuery, suspects: Collection[int] = ()) -> Page[str]:
    """Return addresses of brokers by id, without those that were replaced there.

    Args:
        asked: which.
        suspects: ids of brokers that have been silent for a short time.
    """
    present = _brokers(asked, suspects).exclude(state=BrokerState.REPLACED)
    rows = present.values_list("broker_id", "address")[: asked.limit + 1]
    return page_of(rows, asked.limit, itemgetter(0)).map(itemgetter(1))


def brokers_with_counts(asked: BrokersQuery, suspects: Collection[int] = ()) -> Page[Broker]:
    """Return brokers by id, each with `replica_count` and `leader_count`.

    Args:
        asked: which.
        suspects: ids of brokers that have been silent for a short time.
    """
    rows = _brokers(asked, suspects).annotate(
        replica_count=row_count_of(Replica, "broker"),
        leader_count=row_count_of(Partition, "leader"),
    )
    return page_of(rows[: asked.limit + 1], asked.limit, attrgetter("broker_id"))


def _brokers(asked: BrokersQuery, suspects: Collection[int]) -> QuerySet[Broker]:
    rows = Broker.objects.filter(broker_id__gt=asked.after_id).order_by("broker_id")
    if asked.rack is not None:
        rows = rows.filter(rack=asked.rack)
    if asked.state is None:
        return rows
    silent = Q(state__in=(BrokerState.ALIVE, BrokerState.STOPPING), broker_id__in=list(suspects))
    return rows.filter(silent if asked.state == SUSPECT else Q(state=asked.state) & ~silent)


def broker_loads() -> list[BrokerLoad]:
    """Return the brokers that may be given replicas, each with its numbers of replicas."""
    held = Replica.objects.order_by().values_list("broker_id")
    counts = {
        broker_id: (replicas, firsts)
        for broker_id, replicas, firsts in held.annotate(
            replicas=Count("pk"), firsts=Count("pk", filter=Q(position=0))
        )
    }
    brokers = eligible_brokers.brokers_for_replicas().order_by("broker_id")
    return [
        BrokerLoad(broker_id, *counts.get(broker_id, (0, 0)), rack)
        for broker_id, rack in brokers.values_list("broker_id", "rack")
    ]


def broker_places() -> list[BrokerPlace]:
    """Return the addresses of every broker that has reported once and was not replaced."""
    rows = (
        Broker.objects.exclude(incarnation=None)
        .exclude(state=BrokerState.REPLACED)
        .order_by("broker_id")
    )
    return [
        BrokerPlace(broker_id=row.broker_id, address=row.address, raft_address=row.raft_address)
        for row in rows
    ]


def replica_orders(replicas: QuerySet[Replica], epoch: int) -> dict[int, list[ReplicaOrder]]:
    """Return the orders for some replicas, by broker id.

    A replica that was reported once is never ordered with `bootstrap` again, so that it cannot
    start empty under its old id. Nor is any once the replicas are others than at the creation:
    those are the first entry of the log.
    """
    replicas = replicas.filter(leaving=False)
    # Tuples, not models: a report of a broker is answered with thousands.
    wanted = replicas.order_by("replica_id").values_list(
        *("broker_id", "partition_id", "replica_id", "bootstrap", "state"),
        *("partition__topic__name", "partition__index", "partition__placement_version"),
        *("partition__topic__retention_ms", "partition__topic__retention_bytes"),
    )
    places: dict[int, list[ReplicaPlace]] = defaultdict(list)
    siblings = Replica.objects.filter(
        leaving=False, partition_id__in=replicas.order_by().values("partition_id")
    ).order_by("partition_id", "position")
    for group_id, replica_id, broker_id in siblings.values_list(
        "partition_id", "replica_id", "broker_id"
    ):
        places[group_id].append(ReplicaPlace(replica_id, broker_id))
    orders: dict[int, list[ReplicaOrder]] = defaultdict(list)
    for broker_id, group_id, replica_id, bootstrap, state, *rest in wanted:
        topic, index, version, retention_ms, retention_bytes = rest
        orders[broker_id].append(
            ReplicaOrder(
                group_id=group_id,
                replica_id=replica_id,
                topic=topic,
                partition=index,
                bootstrap=version == 1 and bootstrap and state == ReplicaState.ORDERED,
                replicas=places[group_id],
                epoch=epoch,
                version=version,
                retention_ms=retention_ms or 0,
                retention_bytes=retention_bytes or 0,
            )
        )
    return orders


def deleted_among(reported: Sequence[ReplicaReport]) -> list[DeletedPartition]:
    """Return the partitions of reported replicas whose topic was deleted.

    Another partition with the group id of a deleted one belongs to a database that was lost.
    """
    said = {(one.group_id, one.topic, one.partition) for one in reported}
    rows = DeletedGroup.objects.filter(group_id__in=[one.group_id for one in reported])
    return [
        DeletedPartition(group_id=row[0], topic=row[1], partition=row[2])
        for row in rows.values_list("group_id", "topic_name", "index")
        if row in said
    ]


def led_counts() -> dict[int | None, int]:
    """Return how many partitions each broker leads, by its id; None: that have no leader."""
    return dict(Partition.objects.order_by().values_list("leader_id").annotate(Count("pk")))


def led_partitions() -> list[LedPartition]:
    """Return all partitions with a leader that is alive, and the brokers that may lead them."""
    replicas: dict[int, list[int]] = defaultdict(list)
    may_lead = Replica.objects.filter(
        state=ReplicaState.RUNNING,
        membership=MemberRole.VOTER,
        leaving=False,
        suspicion="",
        broker__draining=False,
    )
    for group_id, broker_id in may_lead.values_list("partition_id", "broker_id"):
        replicas[group_id].append(broker_id)
    return [
        LedPartition(group_id, leader_id, tuple(replicas[group_id]))
        for group_id, leader_id in Partition.objects.filter(
            leader__state=BrokerState.ALIVE
        ).values_list("group_id", "leader_id")
        if leader_id is not None
    ]


def client_find(key: ClientKey) -> ClientRow | None:
    """Return a client that was not revoked, or None."""
    if not 0 < key.client_id <= ID_MAX:
        return None
    row = (
        CLIENT_MODELS[key.kind]
        .objects.filter(pk=key.client_id)
        .exclude(state=ClientState.REVOKED)
        .values_list("topic__name", "state", "last_heartbeat")
        .first()
    )
    return ClientRow(key, *row) if row else None


def last_id(model: type[Model]) -> int:
    """Return the last id that the database gave out for a model, or 0."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT pg_sequence_last_value(pg_get_serial_sequence(%s, %s)::regclass)",
                [table, model._meta.pk.column],
            )
        else:
            cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
        row = cursor.fetchone()
    return int(row[0] or 0) if row else 0


def clients_alive(kind: ClientKind) -> list[tuple[ClientKey, datetime]]:
    """Return the clients of a kind that have not expired, with the recorded heartbeat."""
    rows = CLIENT_MODELS[kind].objects.filter(state=ClientState.ALIVE)
    return [
        (ClientKey(kind, client_id), last_heartbeat)
        for client_id, last_heartbeat in rows.values_list("id", "last_heartbeat")
    ]


def clients_list(kind: ClientKind, asked: ClientsQuery) -> Page[ClientRow]:
    """Return registered clients of a kind by id, of one topic or of all.

    Raises:
        TopicDoesNotExist: there is no such topic.
    """
    rows = CLIENT_MODELS[kind].objects.filter(id__gt=asked.after_id).order_by("id")
    if asked.topic is not None:
        rows = rows.filter(topic=topic_get(asked.topic))
    if asked.state is None:
        rows = rows.exclude(state=ClientState.REVOKED)
    else:
        rows = rows.filter(state=asked.state)
    found = rows.values_list("id", "topic__name", "state", "last_heartbeat")[: asked.limit + 1]
    return page_of(found, asked.limit, itemgetter(0)).map(
        lambda row: ClientRow(ClientKey(kind, row[0]), *row[1:])
    )


def tokens_list(asked: TokensQuery) -> Page[ApiToken]:
    """Return API tokens by id, with owners and rights loaded."""
    rows = ApiToken.objects.filter(pk__gt=asked.after_id).order_by("pk").select_related("owner")
    rights = Prefetch("rights", TokenRight.objects.order_by("pattern"))
    found = rows.prefetch_related(rights)[: asked.limit + 1]
    return page_of(found, asked.limit, lambda token: token.pk)


def clients_revoked(kind: ClientKind) -> list[int]:
    """Return the ids of revoked clients whose tokens may still be in use."""
    rows = CLIENT_MODELS[kind].objects.filter(state=ClientState.REVOKED)
    return list(rows.order_by("id").values_list("id", flat=True))


def groups_with_counts(asked: GroupsQuery) -> list[ConsumerGroup]:
    """Return consumer groups by name, each with `member_count`; one more than a page has.

    Names are in the order of their bytes, as Python sorts them.
    """
    name = F("name") if connection.vendor == "sqlite" else Collate("name", "C")
    rows = _groups(asked).filter(GreaterThan(name, asked.after)).order_by(name)
    return list(rows.annotate(member_count=row_count_of(GroupMember, "group"))[: asked.limit + 1])


def group_names(asked: GroupsQuery) -> list[str]:
    """Return the names of consumer groups, on whatever page, in no order."""
    return list(_groups(asked).values_list("name", flat=True))


def groups_named(names: Sequence[str]) -> list[ConsumerGroup]:
    """Return the consumer groups of these names, each with `member_count`, in no order."""
    rows = ConsumerGroup.objects.filter(name__in=names)
    return list(rows.annotate(member_count=row_count_of(GroupMember, "group")))


def _groups(asked: GroupsQuery) -> QuerySet[ConsumerGroup]:
    rows = ConsumerGroup.objects.filter(_named(asked.prefix))
    return rows.filter(topics__has_key=asked.topic) if asked.topic else rows


def group_get(name: str) -> ConsumerGroup:
    """Return a consumer group.

    Raises:
        GroupNotFound: there is none of this name.
    """
    found = ConsumerGroup.objects.filter(name=name).first()
    if found is None:
        raise GroupNotFound(f"there is no consumer group {name!r}", field="group")
    return found


def group_stored(row: ConsumerGroup) -> StoredConsumerGroup:
    """Return a consumer group with its members; they may be prefetched."""
    members = list(row.members.all())
    return StoredConsumerGroup(
        revision=row.revision,
        state=GroupState(
            generation=row.generation,
            topics={name: TopicShape(*shape) for name, shape in row.topics.items()},
            members={member.member_id: _member(member) for member in members},
        ),
        topics_used=frozenset(row.topics_used),
        last_heartbeats={member.member_id: member.last_heartbeat for member in members},
    )


def groups_stored() -> dict[str, StoredConsumerGroup]:
    """Return all consumer groups by name."""
    rows = ConsumerGroup.objects.prefetch_related("members")
    return {row.name: group_stored(row) for row in rows}


def _member(row: GroupMember) -> Member:
    return Member(
        topics=frozenset(row.topics),
        session_timeout_ms=row.session_timeout_ms,
        granted=flattened(row.granted),
        target=flattened(row.target),
        revoked_generation=row.revoked_generation,
    )


def events_list(asked: EventsQuery) -> Page[Event]:
    """Return events, the newest first; `after` names the oldest of the page before."""
    rows = Event.objects.order_by("-id")
    if asked.after_id:
        rows = rows.filter(id__lt=asked.after_id)
    if asked.kind is not None:
        rows = rows.filter(kind=asked.kind)
    if asked.since is not None:
        rows = rows.filter(at__gte=_time_of(asked.since))
    if asked.until is not None:
        rows = rows.filter(at__lt=_time_of(asked.until))
    if asked.about:
        named = _has_part("about", f"\n{asked.about}\n")
        if asked.about.startswith("topic:"):
            named |= _has_part("about", "\ntopic:*\n")
        rows = rows.filter(named)
    if asked.person:
        rows = rows.filter(_has_part("person", asked.person))
    return page_of(rows[: asked.limit + 1], asked.limit, attrgetter("id"))


def _has_part(field: str, text: str) -> Q:
    """Return a condition: a text is part of a field. `contains` ignores case on SQLite."""
    return Q(GreaterThan(StrIndex(F(field), Value(text)), 0))


def _time_of(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, tz=UTC)
