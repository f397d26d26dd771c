"""What managers tell about topics, brokers, clients and groups: typed, and dictionaries still.

Each field is an attribute, `described.partitions[0].leader`, and, as in earlier versions, a key,
`described["partitions"][0]["leader"]`. A field that a manager of another version does not tell is
None; one that it tells and is not declared here is a key alone.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Self, get_args, get_type_hints


class Description(dict[str, Any]):
    """Base of these answers."""

    @classmethod
    def of(cls, told: dict[str, Any]) -> Self:
        """Return an answer of a manager, with the parts that it contains."""
        made = cls(told)
        for name, kind in _parts(cls).items():
            value = told.get(name)
            if isinstance(value, list):
                made[name] = [kind.of(one) if isinstance(one, dict) else one for one in value]
            elif isinstance(value, dict):
                made[name] = kind.of(value)
        return made

    if not TYPE_CHECKING:
        # Type checkers look at the declared fields alone.
        def __getattr__(self, name: str) -> Any:
            if name not in _fields(type(self)):
                raise AttributeError(f"{type(self).__name__} has no field {name!r}")
            return self.get(name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *_fields(type(self))]

    def __repr__(self) -> str:
        """Return the name of the type, and what was told."""
        return f"{type(self).__name__}({super().__repr__()})"


@cache
def _fields(kind: type[Description]) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _parts(kind: type[Description]) -> dict[str, type[Description]]:
    """Return the fields that are such answers themselves, or lists of them."""
    found = {}
    for name, hint in _fields(kind).items():
        for one in (hint, *get_args(hint)):
            if isinstance(one, type) and issubclass(one, Description):
                found[name] = one
    return found


class BrokerAddress(Description):
    """A broker and its address, None while it is not known."""

    broker_id: int
    address: str | None


class ReplicaDescription(Description):
    """One copy of a partition; None is what its broker does not tell now."""

    broker_id: int
    address: str | None
    replica_id: int | None
    broker_state: str | None
    role: str | None
    state: str | None
    fault: str | None
    live: bool | None
    high_watermark: int | None


class PartitionDescription(Description):
    """A partition: who leads it, and which messages it has."""

    partition: int
    condition: str | None
    leader: BrokerAddress | None
    term: int
    replicas: list[ReplicaDescription]
    log_start_offset: int | None
    high_watermark: int | None


class TopicSettings(Description):
    """The settings of a topic; None for a retention means without limit."""

    replication_factor: int | None
    retention_ms: int | None
    retention_bytes: int | None
    created_at: int | None


class TopicDescription(Description):
    """A topic, as its brokers report it now."""

    topic: str
    number_of_partitions: int
    settings: TopicSettings
    partitions: list[PartitionDescription]


class CreatedTopic(Description):
    """A topic that was created; `leaders_pending` are partitions that have no leader yet."""

    topic: str
    number_of_partitions: int
    partitions: list[PartitionDescription]
    leaders_pending: list[int]
    message: str


class BrokerDescription(Description):
    """A broker; `state` is alive, suspect or dead."""

    broker_id: int
    address: str
    raft_address: str | None
    state: str
    draining: bool | None
    last_heartbeat: int | None
    replicas: int | None
    leaders: int | None
    disk_free_bytes: int | None
    disk_slow: bool | None
    rack: str | None
    version: str | None


class AddedBroker(Description):
    """A broker that was announced."""

    broker_id: int
    address: str
    message: str


class ClientDescription(Description):
    """A registered producer or consumer; one of the two ids is None.

    `address` is from where it was heard last; None where another manager hears it.
    """

    producer_id: int | None
    consumer_id: int | None
    topic: str
    state: Literal["alive", "expired", "revoked"]
    last_heartbeat: int | None
    address: str | None


class MemberDescription(Description):
    """A member of a group; `assignment` is topic -> partitions that it reads.

    `address` is from where it speaks; None while the primary manager has not heard it.
    """

    member_id: str
    topics: list[str]
    assignment: dict[str, list[int]]
    last_heartbeat: int | None
    session_timeout_ms: int
    address: str | None


class GroupPartition(Description):
    """Where a group is in a partition; None where nobody has it or it does not answer.

    `unsettled`, `visible`, `in_flight`, `delayed` and `dead` count messages of workers.
    """

    topic: str
    partition: int
    member_id: str | None
    offset: int | None
    high_watermark: int | None
    lag: int | None
    age_ms: int | None
    unsettled: int | None
    visible: int | None
    in_flight: int | None
    delayed: int | None
    dead: int | None


class GroupSummary(Description):
    """A group in a list, with how far it is in all; None where no broker told."""

    group: str
    kind: Literal["consumers", "workers"]
    generation: int
    members: int
    topics: list[str]
    created_at: int | None
    lag: int | None
    age_ms: int | None
    visible: int | None
    in_flight: int | None
    delayed: int | None
    dead: int | None


class GroupDescription(Description):
    """A group, of consumers or of workers."""

    group: str
    kind: Literal["consumers", "workers"] | None
    generation: int
    members: list[MemberDescription]
    partitions: list[GroupPartition]


class EventDescription(Description):
    """Something that happened; `person`, `origin` and `outcome` where somebody wanted it."""

    id: int
    at: int
    kind: str
    action: str
    text: str
    about: list[str]
    person: str
    origin: str
    outcome: str
    details: dict[str, Any]


class OffsetMove(Description):
    """What a reset does in a partition; `moved` is None where that is not known."""

    partition: int
    before: int | None
    after: int
    moved: bool | None
    reason: str | None


class GroupReset(Description):
    """Where a group goes on; `members` had the group before."""

    group: str
    topic: str
    dry_run: bool
    members: int
    partitions: list[OffsetMove]


class PurgedPartition(Description):
    """What a purge did in a partition; None is what is not known, and `reason` says why."""

    partition: int
    log_start_offset: int | None
    removed: int | None
    reason: str | None


class TopicPurge(Description):
    """Messages that were deleted from a topic; `removed` counts those that are known of."""

    topic: str
    removed: int
    partitions: list[PurgedPartition]


class BrokerLeaving(Description):
    """A broker that is being emptied; without `replicas` it is removed already."""

    broker_id: int
    replicas: int
    message: str


class BrokerStaying(Description):
    """A broker that is not emptied any more."""

    broker_id: int
    draining: bool
    message: str


class HandOver(Description):
    """Leaderships that went to other brokers: `agreed` of those that were `asked`."""

    broker_id: int
    agreed: int
    asked: int
    message: str


class RunningMove(Description):
    """A replica that is copied to another broker; sizes are as last reported."""

    topic: str
    partition: int
    source: int
    target: int
    size_bytes: int
    copied_bytes: int


class PlannedMove(Description):
    """A replica that will be moved."""

    topic: str
    partition: int
    source: int
    target: int
    size_bytes: int


class RebalanceDescription(Description):
    """What is moved so that brokers hold as many replicas each; `plan` names 100 moves at most."""

    state: Literal["on", "paused", "off"]
    bytes_per_second: int
    repairs: int
    running: list[RunningMove]
    moves_left: int
    bytes_left: int
    seconds_left: float
    plan: list[PlannedMove]


class DeadLettersDescription(Description):
    """Where the dead letters of a group of workers in a topic are.

    `left` were not sent back yet; None when not all partitions say.
    """

    group: str
    topic: str
    dead_letter_topic: str
    left: int | None


class RightsDescription(Description):
    """Rights to the topics that a pattern names: a name, or the beginning of one before a `*`."""

    pattern: str
    rights: list[Literal["produce", "consume", "manage"]]


class TokenDescription(Description):
    """An API token, without its text; times are milliseconds since 1970."""

    name: str
    owner: str
    role: Literal["none", "viewer", "operator", "administrator"]
    rights: list[RightsDescription]
    state: Literal["active", "expired", "revoked", "dead"]
    created_at: int
    expires_at: int | None
    last_used: int | None


class CreatedToken(Description):
    """An API token that was made; nobody can ask for its text, `token`, again."""

    name: str
    owner: str
    token: str
    message: str

    def __repr__(self) -> str:
        """Return what was told, without the token."""
        return f"{type(self).__name__}({ {**self, 'token': '...'} })"
