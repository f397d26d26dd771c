"""Bodies of the internal calls between brokers and managers (cluster token required).

`POST /brokers/heartbeat` on a manager takes a `BrokerReport` and answers `BrokerOrders`;
`POST /partitions` on a broker takes a `ReplicaOrder`. Unknown fields are ignored: brokers and
managers are not upgraded at the same moment. The small orders at the end refuse them, as all other
inputs do.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct, field

from http_base.access import AccessTable
from myqueue.contract.answers import Success
from myqueue.contract.group_inputs import GroupName
from myqueue.contract.inputs import (
    DEFAULT_TIMEOUT_MS,
    Id,
    Input,
    Offset,
    PartitionIndex,
    Start,
    TimeoutMs,
    TopicName,
    bounded,
    int64,
)

Number = Annotated[int, bounded(0)]
IdOrNone = Annotated[int, int64(0)]
"""0 for none."""
NumericId = Annotated[int, bounded(0, (1 << 31) - 1)]
"""Of a group, a replica or a broker; 0 for none."""


class ReplicaPlace(Struct, frozen=True):
    """One replica and its broker."""

    replica_id: int
    broker_id: int


class ReplicaReport(Struct, frozen=True, kw_only=True):
    """A broker's report of one of its replicas."""

    group_id: NumericId
    replica_id: NumericId
    topic: str
    partition: int
    role: str
    """follower, pre-candidate, candidate, leader or learner."""
    term: Number
    leader_broker_id: NumericId
    """0 when unknown."""
    serves: bool
    """True for a leader that takes writes."""
    log_start_offset: Number
    high_watermark: Number
    commit_index: int
    applied_index: int
    last_index: Number
    last_term: Number = 0
    """Of the entry there; 0 when the broker does not say. Both are of its start until a manager has
    compared them."""
    kept_term: Number = 0
    """The highest term that is durable there; 0 when the broker does not say."""
    kept_index: Number = 0
    """Highest index that is known to be committed and is durable there."""
    kept_entry_term: Number = 0
    """Of the entry there; 0 when the broker does not say."""
    placement_version: int
    """Version of the membership in force."""
    replicas: list[ReplicaPlace]
    """Voters of the membership in force."""
    faulty: str = ""
    learners: list[ReplicaPlace] = []
    """Learners of the membership in force."""
    installing: bool = False
    """True while a snapshot is put in place: it serves no reads."""
    removed: bool = False
    """True when it has applied a membership without itself."""
    suspects: list[int] = []
    """On a leader: replica ids that seem to have lost what they had acknowledged."""
    size_bytes: int = 0
    """Of the stored batches."""


class TopicTraffic(Struct, kw_only=True, omit_defaults=True):
    """What went through a broker of one topic since its process started; it only grows."""

    messages_produced: int = 0
    """Acknowledged, retries included."""
    batches_produced: int = 0
    produced_bytes: int = 0
    """Of those batches, as they are stored."""
    messages_popped: int = 0
    """Returned by pops, retries included."""
    popped_bytes: int = 0
    """Of the messages."""
    messages_fetched: int = 0
    """In the batches that were returned."""
    batches_fetched: int = 0
    fetched_bytes: int = 0
    """Of the batches, as they are stored."""
    messages_received: int = 0
    """Delivered to workers, again or for the first time."""
    messages_redelivered: int = 0
    """Of them, those that were delivered again."""
    received_bytes: int = 0
    """Of those delivered."""
    messages_acknowledged: int = 0
    """By workers."""
    offsets_committed: int = 0
    """Commits of groups that took effect, fences included."""
    dead_letters: int = 0
    """Dead messages of the topic that were copied to its dead-letter topic."""
    messages_retired: int = 0
    """That retention let go of."""
    messages_corrupt: int = 0
    """Stepped over because their batch cannot be decoded, by each who reads."""


class BrokerStanding(Success, frozen=True, kw_only=True, omit_defaults=True):
    """How a broker is, and what it counted since its process started; GET /standing."""

    version: str = ""
    """Of the package that it runs."""
    uptime_s: float = 0.0
    traffic: dict[str, TopicTraffic] = field(default_factory=dict)
    """By topic, of those with the most bytes; all others together as `other`."""
    produce_bounds_s: list[float] = field(default_factory=list)
    """Upper ends of the buckets of `produce_counts`; one more has none."""
    produce_counts: list[int] = field(default_factory=list)
    """Produce calls that succeeded, by the time that they took here, each with all shorter ones."""
    sync_bounds_s: list[float] = field(default_factory=list)
    """Upper ends of the buckets of `sync_counts`; one more has none."""
    sync_counts: list[int] = field(default_factory=list)
    """Writes and syncs of what adds to logs, by the time that they took, each with all shorter
    ones."""
    ticks: Number = 0
    ticks_late: Number = 0
    """Of them, those that came more than two intervals after the one before."""
    stored_bytes: Number = 0
    """Of the batches of all replicas."""
    disk_free_bytes: Number = 0
    disk_reserve_bytes: Number = 0
    """Free space below which writes are refused."""
    disk_full: bool = False
    disk_slow: bool = False
    replicas: Number = 0
    leaders: Number = 0
    connections: Number = 0
    """Of HTTP that are open now."""
    long_polls: Number = 0
    """Open now."""
    problems: list[str] = field(default_factory=list)
    """What keeps it from being ready."""


class ReportedReplicas(Success, frozen=True):
    """Replicas on a broker, as far as managers ask for them; GET /partitions."""

    partitions: list[ReplicaReport]
    next: str | None = None


class GroupStanding(Struct, frozen=True, kw_only=True):
    """Where a group is in the partitions of a topic that one broker leads, taken together."""

    group: str
    topic: str
    is_workers: bool
    """Used by queue workers; else by members with generations, or by nobody any more."""
    partitions: Number
    lag: Number
    """Messages left, those that workers have out included."""
    visible: Number = 0
    in_flight: Number = 0
    delayed: Number = 0
    dead: Number = 0
    age_ms: Number | None
    """Of the oldest message left, by the broker's clock: 0 when nothing is left, None when it is
    not known. At least so old while `ages_unknown`."""
    ages_unknown: Number = 0
    """Partitions where the age of the oldest message left is not known yet."""
    dead_letter_topic: str = ""
    """Of workers: where their dead messages go; empty for the topic's name with `.dead`."""


class GroupStandings(Success, frozen=True):
    """Where groups are on a broker; GET /groups."""

    standings: list[GroupStanding]
    left_out: Number = 0
    """Standings beyond what one answer may have; those are of the last names."""


class BrokerReport(Struct, frozen=True, kw_only=True):
    """A broker's heartbeat; also sent at once when a leader changes."""

    incarnation: str
    """32 hexadecimal digits, random at the first start of the data directory."""
    address: str
    """`http://host:port` where clients reach it."""
    raft_address: str
    """`host:port` where its peers reach it."""
    broker_id: int = 0
    """0 when the broker never registered."""
    cluster_id: str = ""
    epoch: int = 0
    """Highest lease epoch the broker has seen."""
    stopping: bool = False
    full: bool = True
    """False: `replicas` holds only those that changed, and the answer carries no assignment."""
    replicas: list[ReplicaReport] = []
    disk_free_bytes: Number = 0
    rack: str = ""
    """What the broker shares a failure with."""
    disk_slow: bool = False
    """True while its disk is slower than those of others: it had better be given no leadership."""
    number: Number = 0
    """Of each report of all replicas another one; 0 for a report of some."""
    follows: Number = 0
    """The number of an earlier report: `replicas` are those that changed since, and `full` is
    false. 0: it follows none."""
    gone: list[int] = []
    """Groups of the report that it follows whose replicas are here no longer."""
    metadata_version: Number = 0
    """Of the last orders that were carried out whole."""
    access_version: str = ""
    """Of the table of holders that the broker has; empty when it has none."""


class BrokerPlace(Struct, frozen=True, kw_only=True):
    """Where a broker listens."""

    broker_id: int
    address: str
    raft_address: str


class ReplicaOrder(Struct, frozen=True, kw_only=True):
    """A replica that should exist on a broker."""

    group_id: int
    replica_id: int
    topic: str
    partition: int
    bootstrap: bool
    """True for the replicas of a topic's creation: `replicas` is the first entry of their log.
    False for one that joins: it learns its membership from the leader."""
    replicas: list[ReplicaPlace]
    """Where the partition's replicas are to be. At the creation the first campaigns at once."""
    epoch: int
    """Lease epoch of the manager; a broker refuses one below the highest it has seen."""
    version: int
    """Placement version."""
    retention_ms: int = 0
    """Age in milliseconds after which messages may go; 0 is no limit."""
    retention_bytes: int = 0
    """Bytes of the partition that remain when older messages may go; 0 is no limit."""


class ReplicaTarget(Struct, frozen=True, kw_only=True):
    """The replicas that a partition is to have; body of POST /partitions/{group_id}/replicas."""

    replicas: list[ReplicaPlace]
    """Its voters when the change is done."""
    epoch: int
    """Lease epoch of the manager."""
    version: int
    """Placement version; not below that of the membership in force."""


class MembersAnswer(Struct, frozen=True, kw_only=True, tag_field="status", tag="success"):
    """Who belongs to a group, confirmed by its leader; GET /partitions/{group_id}/replicas."""

    group_id: int
    version: int
    """Placement version of the membership."""
    replicas: list[ReplicaPlace]
    learners: list[ReplicaPlace] = []

    def names(self, replica_id: int) -> bool:
        """Tell whether a replica is among them."""
        return any(place.replica_id == replica_id for place in (*self.replicas, *self.learners))


class RemovedReplica(Struct, frozen=True, kw_only=True):
    """A replica that its broker should drop."""

    group_id: int
    replica_id: int
    leader_broker_id: int = 0
    """Who leads the partition, as far as the manager knows; 0 when it does not."""


class DeletedPartition(Struct, frozen=True, kw_only=True):
    """A partition whose topic's deletion is final.

    All three have to fit: a manager whose database was restored gives the ids of lost groups again.
    """

    group_id: int
    topic: str
    partition: int


class RememberedReplica(Struct, frozen=True, kw_only=True):
    """What a replica once reported to have kept, and by its last report has not."""

    group_id: int
    replica_id: int
    kept_term: int
    kept_index: int
    kept_entry_term: int = 0


class BrokerOrders(Struct, frozen=True, kw_only=True, tag_field="status", tag="success"):
    """A manager's answer to a heartbeat."""

    cluster_id: str
    broker_id: int
    epoch: int
    brokers: list[BrokerPlace]
    """Every broker of the cluster that has registered, the asking one included."""
    assignment: list[ReplicaOrder] = []
    """Empty when the report was not full."""
    deleted_groups: list[DeletedPartition] = []
    """Reported partitions whose topic's deletion is final: drop them."""
    removed_replicas: list[RemovedReplica] = []
    """Reported replicas that are placed elsewhere now: drop each once its group is without it."""
    revoked_producers: list[int] | None = None
    """All ids whose tokens are not taken any more; None when the report was not full."""
    revoked_consumers: list[int] | None = None
    remembered: list[RememberedReplica] | None = None
    """Of the reported replicas those that have less than they once had; None when the report was
    not full."""
    taken: int = 0
    """The report's number when it was taken for all replicas, so that the next may follow it. A
    full one is wanted when a report that followed another has not been."""
    metadata_version: int = 0
    """Of the metadata that the orders are made from, or of an earlier one."""
    access: AccessTable | None = None
    """Who may do what; None when the broker has it already, or it does not matter."""


class CursorOpen(Input, frozen=True):
    """POST /cursors/open."""

    topic: TopicName
    partition: PartitionIndex
    consumer_id: Id
    start: Start
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS


class ClientForgetHere(Input, frozen=True):
    """POST /clients/forget: exactly one of `producer_id` and `consumer_id`."""

    topic: TopicName
    partition: PartitionIndex
    producer_id: IdOrNone = 0
    consumer_id: IdOrNone = 0
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS


class GroupForgetHere(Input, frozen=True):
    """POST /groups/forget."""

    topic: TopicName
    partition: PartitionIndex
    group: GroupName
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS


class MessagesPurge(Input, frozen=True):
    """POST /messages/purge."""

    topic: TopicName
    partition: PartitionIndex
    below: Offset
    """The first offset that stays."""
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS


class MessagesPurged(Success, frozen=True):
    """Where the messages of a partition begin now."""

    topic: str
    partition: int
    log_start_offset: int


class StoredReplica(Success, frozen=True, kw_only=True):
    """What a broker has of a partition, also when faulty; GET /partitions/{group_id}/stored."""

    replica_id: int
    faulty: str
    """Why it is out of service; empty when it is not."""
    hears_leader: bool
    """True also when it leads."""
    unusable: str
    """Why it could not go on alone; empty when it could."""
    term: int
    """The highest that it knows of."""
    last_term: int
    """Of the last entry of its log."""
    last_index: int
    end_offset: int
    """After its last message."""


class LossOrder(Struct, frozen=True, kw_only=True):
    """A replica that goes on alone with what it has; POST /partitions/{group_id}/stored.

    Doing it again changes nothing.
    """

    topic: str
    partition: int
    old_replica_id: int
    replica_id: int
    """What it is called from now on."""
    above_term: int
    """The highest term that is known of any replica."""
    next_offset: int
    """Where new messages begin; not below the end of those that are there."""
    epoch: int
    """Lease epoch of the manager."""
    version: int
    """Placement version from now on."""


class PartitionDelete(Input, frozen=True):
    """DELETE /partitions/{group_id}; with `epoch`, refused below the highest seen.

    Without `replica_id` the topic's deletion is final: `topic` and `partition` are needed then, and
    a replica of another partition stays. With it that replica goes, if it is here and its group has
    removed it.
    """

    epoch: IdOrNone = 0
    replica_id: IdOrNone = 0
    topic: TopicName | None = None
    partition: PartitionIndex | None = None


class LeaderTransfer(Input, frozen=True):
    """POST /partitions/{group_id}/leader; with `epoch`, refused below the highest seen."""

    broker_id: Id
    epoch: IdOrNone = 0
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS
