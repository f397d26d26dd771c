"""Answers of the calls that only a manager has; see `myqueue.contract.answers`.

Fields that come from the database are null in lists and descriptions while it does not answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import UNSET, UnsetType

from myqueue.contract.answers import (
    AnswerPart,
    BrokerAddress,
    Message,
    Milliseconds,
    Success,
    SuccessPage,
)

if TYPE_CHECKING:
    from datetime import datetime


def unix_ms(time: datetime | None) -> int | None:
    """Return a time as milliseconds since 1970."""
    return None if time is None else int(time.timestamp() * 1000)


class PartitionPlace(AnswerPart, frozen=True):
    """Leader and replicas of a partition, as known now; `leader` is null without one."""

    partition: int
    group_id: int
    leader: BrokerAddress | None
    term: int
    replicas: list[BrokerAddress]


class TopicSettings(AnswerPart, frozen=True):
    """The settings of a topic; a retention of null has no limit."""

    replication_factor: int | None
    retention_ms: int | None
    retention_bytes: int | None
    created_at: Milliseconds | None


class TopicSummary(TopicSettings, frozen=True):
    """A topic in a list with `detail=1`."""

    topic: str
    number_of_partitions: int


class TopicList(SuccessPage, frozen=True):
    """Names of topics, or with `detail=1` objects."""

    topics: list[str | TopicSummary]


class TopicCreated(Success, frozen=True):
    """A new topic; `leaders_pending` are the partitions that have no leader yet."""

    message: str
    topic: str
    number_of_partitions: int
    partitions: list[PartitionPlace]
    leaders_pending: list[int]


class ReplicaDetail(AnswerPart, frozen=True):
    """A replica; `live` when its broker has just reported it.

    Fields that come from the database are null while it does not answer.
    """

    replica_id: int | None
    broker_id: int
    address: str | None
    broker_state: str | None
    role: str | None
    state: str | None
    fault: str | None
    installing: bool
    log_start_offset: int | None
    high_watermark: int | None
    last_index: int | None
    live: bool


class PartitionDetail(AnswerPart, frozen=True):
    """A partition with its replicas; `condition` is its health in a word.

    Fields that come from the database are null while it does not answer.
    """

    partition: int
    group_id: int
    condition: str | None
    placement_version: int | None
    leader: BrokerAddress | None
    term: int
    replicas: list[ReplicaDetail]
    log_start_offset: int | None
    high_watermark: int | None


class TopicDetail(Success, frozen=True):
    """A topic with its partitions; `leaders_pending` has new partitions without a leader yet."""

    topic: str
    number_of_partitions: int
    settings: TopicSettings
    metadata_version: int
    partitions: list[PartitionDetail]
    leaders_pending: list[int] | UnsetType = UNSET


class TopicDeleted(Success, frozen=True):
    """A topic is deleted; `replicas_pending` replicas are dropped when their brokers report."""

    message: str
    topic: str
    replicas_pending: int


class PartitionPurged(AnswerPart, frozen=True):
    """Where the messages of a partition begin now, and how many went.

    Where it refused there is a `reason`, and nothing went; both numbers are null where that is not
    known.
    """

    partition: int
    log_start_offset: int | None
    removed: int | None
    reason: str | UnsetType = UNSET


class TopicPurged(Success, frozen=True):
    """Messages of a topic are deleted, `removed` in all, as far as that is known."""

    topic: str
    removed: int
    partitions: list[PartitionPurged]


class BrokerSummary(AnswerPart, frozen=True):
    """A broker in a list with `detail=1`."""

    broker_id: int
    address: str
    raft_address: str
    state: str
    draining: bool
    last_heartbeat: Milliseconds | None
    replicas: int
    leaders: int
    disk_free_bytes: int | None
    disk_slow: bool | None
    rack: str | None
    """What it shares a failure with; "" when it does not say."""
    version: str | None = None
    """Of the package that it runs; None while it has not told this manager."""


class BrokerList(SuccessPage, frozen=True):
    """Addresses of brokers, or with `detail=1` objects."""

    brokers: list[str | BrokerSummary]


class PlannedMove(AnswerPart, frozen=True):
    """A replica that should be on another broker."""

    topic: str
    partition: int
    source: int
    """Broker id, as is the target."""
    target: int
    size_bytes: int


class MoveDetail(AnswerPart, frozen=True):
    """A replica that is being moved to another broker."""

    topic: str
    partition: int
    source: int
    """Broker id, as is the target."""
    target: int | None
    """None while there is none any more, such as when it was given up."""
    size_bytes: int
    copied_bytes: int
    """As last reported."""


class RebalanceDetail(Success, frozen=True):
    """What is moved so that brokers hold as many replicas each, and racks some of each partition.

    `repairs` counts the partitions that have to be repaired first, `moves_left` those of the plan,
    of which `plan` names the first; `bytes_left` has what the moves under way still copy, too.
    """

    state: str
    """on, paused or off."""
    bytes_per_second: int
    repairs: int
    running: list[MoveDetail]
    moves_left: int
    bytes_left: int
    seconds_left: float
    """At that speed; small partitions take a few seconds each, however small."""
    plan: list[PlannedMove]


class BrokerAdded(Success, frozen=True):
    """A broker was added."""

    message: str
    broker_id: int
    address: str


class BrokerLeaving(Success, frozen=True):
    """A broker is draining; it is removed once its `replicas` have moved to others."""

    message: str
    broker_id: int
    replicas: int


class BrokerStays(Success, frozen=True):
    """A broker is not draining any more."""

    message: str
    broker_id: int
    draining: bool


class BrokerHandedOver(Success, frozen=True):
    """Leaders on a broker were asked to hand over to others; `agreed` of `asked` did."""

    message: str
    broker_id: int
    agreed: int
    asked: int


class RightsGiven(AnswerPart, frozen=True):
    """Rights to the topics that a pattern names."""

    pattern: str
    rights: list[Literal["produce", "consume", "manage"]]


class TokenFacts(AnswerPart, frozen=True):
    """An API token; of a `dead` one the owner is not active."""

    name: str
    owner: str
    role: Literal["none", "viewer", "operator", "administrator"]
    rights: list[RightsGiven]
    state: Literal["active", "expired", "revoked", "dead"]
    created_at: Milliseconds
    expires_at: Milliseconds | None
    last_used: Milliseconds | None


class TokenList(SuccessPage, frozen=True):
    """API tokens, without their texts."""

    tokens: list[TokenFacts]


class TokenCreated(Success, frozen=True):
    """An API token was made; nobody can ask for its text, `token`, again."""

    message: str
    name: str
    owner: str
    token: str

    @property
    def token_name(self) -> str:
        """Its name, as events are about it."""
        return self.name


class TokenRevoked(Success, frozen=True):
    """An API token is ended for good."""

    message: str
    name: str


class LettersOf(AnswerPart, frozen=True):
    """The dead letters of a group of workers in a topic.

    `left` were not sent back yet; null when not all partitions say.
    """

    group: str
    topic: str
    dead_letter_topic: str
    left: int | None


class DeadLettersList(SuccessPage, frozen=True):
    """Where dead letters are; `silent_brokers` did not answer: what they lead may be missing."""

    dead_letters: list[LettersOf]
    silent_brokers: list[int]


class DeadLetter(Message, frozen=True, kw_only=True):
    """A dead letter, and where its message died; null is what it does not say."""

    died_topic: str | None
    died_partition: int | None
    died_offset: int | None
    died_group: str | None
    deliveries: int | None


class DeadLettersShown(Success, frozen=True):
    """The oldest dead letters that were not sent back; `silent_partitions` did not answer."""

    topic: str
    dead_letter_topic: str
    left: int | None
    letters: list[DeadLetter]
    silent_partitions: list[int]


class Registered(Success, frozen=True):
    """Base of registrations; brokers ask the client for `token`."""

    message: str
    token: str
    topic: str
    number_of_partitions: int
    partitions: list[PartitionPlace]


class ProducerRegistered(Registered, frozen=True):
    """A producer is registered."""

    producer_id: int


class ConsumerRegistered(Registered, frozen=True):
    """A consumer is registered."""

    consumer_id: int


class ClientForgotten(Success, frozen=True):
    """A client is revoked; `partitions_pending` have not dropped its state yet."""

    message: str
    partitions_pending: list[int]


class ClientFacts(AnswerPart, frozen=True):
    """A registered client; `address` is null where this manager did not hear it, but another."""

    topic: str
    state: Literal["alive", "expired", "revoked"]
    last_heartbeat: Milliseconds | None
    address: str | None


class ProducerFacts(ClientFacts, frozen=True):
    """A registered producer."""

    producer_id: int


class ConsumerFacts(ClientFacts, frozen=True):
    """A registered consumer."""

    consumer_id: int


class ProducerList(SuccessPage, frozen=True):
    """Registered producers, in the order of their ids."""

    producers: list[ProducerFacts]


class ConsumerList(SuccessPage, frozen=True):
    """Registered consumers, in the order of their ids."""

    consumers: list[ConsumerFacts]


class TopicRedriven(Success, frozen=True):
    """So many dead letters went back to their topic; with `reason` something ended it.

    `others` died in other topics and were left where they are; `left` are all that are still there,
    null when that is not known.
    """

    topic: str
    dead_letter_topic: str
    redriven: int
    others: int
    left: int | None
    reason: str | UnsetType = UNSET


class GroupLeft(Success, frozen=True):
    """A member has left."""

    group: str


class GroupSummary(AnswerPart, frozen=True):
    """A group in a list with `detail=1`; `members` is their number, 0 of queue workers.

    `lag` are its messages left, and `age_ms` how old the oldest of them is: 0 when nothing is left,
    null when it is not known. `visible`, `in_flight`, `delayed` and `dead` are messages of workers.
    All are of the partitions whose leaders answered, and null when none did.
    """

    group: str
    kind: Literal["consumers", "workers"]
    generation: int
    members: int
    topics: list[str]
    created_at: Milliseconds | None
    lag: int | None
    age_ms: int | None
    visible: int | None
    in_flight: int | None
    delayed: int | None
    dead: int | None


class GroupList(SuccessPage, frozen=True):
    """Names of consumer groups, or with `detail=1` objects.

    `silent_brokers` did not answer: what they lead is missing, groups of workers included.
    """

    groups: list[str | GroupSummary]
    silent_brokers: list[int]


class MemberFacts(AnswerPart, frozen=True):
    """A member of a group; the primary alone knows its `address`, once it heard it."""

    member_id: str
    topics: list[str]
    assignment: dict[str, list[int]]
    last_heartbeat: Milliseconds | None
    session_timeout_ms: int
    address: str | None


class GroupPlace(AnswerPart, frozen=True):
    """Committed offset and lag of a group in a partition; null when no leader answered.

    `age_ms` is of the oldest message left, 0 when nothing is left, null when it is not known;
    `visible`, `in_flight`, `delayed` and `dead` are messages of workers, `unsettled` those that
    are out: in flight, delayed, or due again.
    """

    topic: str
    partition: int
    member_id: str | None
    offset: int | None
    high_watermark: int | None
    lag: int | None
    unsettled: int | None
    dead: int | None
    visible: int | None
    in_flight: int | None
    delayed: int | None
    age_ms: int | None


class GroupDetail(SuccessPage, frozen=True):
    """A consumer group with its members, and its offset and lag in each partition.

    Members come in pages, by id; the first page has the partitions, the others have none.
    """

    group: str
    kind: Literal["consumers", "workers"]
    generation: int
    member_count: int
    members: list[MemberFacts]
    partitions: list[GroupPlace]


class TopicPartitionName(AnswerPart, frozen=True):
    """One partition of one topic."""

    topic: str
    partition: int


class GroupForgotten(Success, frozen=True):
    """A group is deleted; `partitions_pending` were not reached."""

    message: str
    group: str
    partitions_pending: list[TopicPartitionName]


class Produced(Success, frozen=True):
    """Partition and offset of the message, or of the first one; `offsets` of all of `messages`."""

    topic: str
    partition: int
    offset: int
    offsets: list[int] | UnsetType = UNSET


class PoppedList(Success, frozen=True):
    """The next messages, in answer to `max_messages`."""

    topic: str
    messages: list[Message]
    missed: int
    corrupt: int


class SizesAnswer(Success, frozen=True):
    """How many messages are left, and how many in each partition."""

    topic: str
    size: int
    sizes: dict[str, int]


class HeartbeatTaken(Success, frozen=True):
    """A heartbeat was recorded; `token` is a new one for the client that showed its own."""

    type: int
    key: int | str
    token: str | UnsetType = UNSET


class PassedHeartbeatsTaken(Success, frozen=True):
    """Heartbeats were recorded."""

    taken: int


class ManagerState(Success, frozen=True):
    """State of this manager; `primary` is the address of the manager that coordinates groups."""

    read_only: bool
    primary: str | None
    metadata_version: int
    metadata_age_ms: int | None
    open_calls: int


class LossReplica(AnswerPart, frozen=True):
    """A replica of a partition that lost its quorum; numbers are null when it is not reached."""

    replica_id: int
    broker_id: int
    fault: str
    """Why it is out of service, or why it is not reached; empty when it is sound."""
    last_index: int | None
    end_offset: int | None
    """After its last message."""
    kept_offset: int
    """The highest that it ever reported."""


class PartitionLoss(Success, frozen=True):
    """What a partition loses when it goes on with what one replica has."""

    topic: str
    partition: int
    broker_id: int
    """Where that replica is."""
    replica_id: int
    end_offset: int
    """After its last message."""
    known_offset: int
    """After the last message that was ever reported; what was acknowledged since is not known."""
    next_offset: int
    """Where new messages begin."""
    accepted: bool
    """True when it goes on so."""
    replicas: list[LossReplica]


class EventFacts(AnswerPart, frozen=True):
    """Something that happened."""

    id: int
    at: Milliseconds
    kind: str
    action: str
    text: str
    """The same in a sentence."""
    about: list[str]
    """What it happened to, as `topic:orders`."""
    person: str
    """Who wanted it; "" when nobody did, or it is not known who."""
    origin: str
    """The address that the call came from."""
    outcome: str
    """done, refused, failed or unknown; "" for what happened by itself."""
    details: dict[str, Any]


class EventList(SuccessPage, frozen=True):
    """Events, the newest first."""

    events: list[EventFacts]
