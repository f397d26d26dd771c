"""Inputs of the calls that only a manager answers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from myqueue.contract.errors import InvalidRequest
from myqueue.contract.group_inputs import FromZero, PartitionIndexes
from myqueue.contract.inputs import (
    DEFAULT_TIMEOUT_MS,
    AfterId,
    HealthType,
    Input,
    Int64,
    Page,
    TimeoutMs,
    Timestamp,
    TopicName,
    bounded,
    stated,
)

NamePart = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,249}$")]
ShownState = Annotated[
    Literal["new", "alive", "suspect", "stopping", "dead", "replaced"], stated(type="string")
]
"""Of a broker, as people see it."""
EventKindName = Literal[
    "election", "broker", "move", "lease", "configuration", "action", "access", "login"
]
EVENT_MS_MAX = 253_402_300_799_000
"""The last second of the year 9999."""
REBALANCE_BYTES_MIN = 1 << 10
"""A second; slower is as good as paused."""
REDRIVE_MAX = 1_000
"""Dead letters that one call sends back."""
REDRIVE_TIMEOUT_MS = 30_000
LETTERS_MAX = 50
"""Dead letters that one look shows."""


class TopicsQuery(Page, frozen=True):
    """GET /topics."""

    after: AfterId = ""
    detail: bool = False
    """True: objects instead of names."""
    prefix: NamePart = ""
    """What the names begin with."""


class BrokersQuery(Page, frozen=True):
    """GET /brokers."""

    after: AfterId = ""
    detail: bool = False
    """True: objects instead of addresses; those of brokers that were replaced as well."""
    state: ShownState | None = None
    rack: Annotated[str, Meta(pattern=r"^[^\x00]{0,64}$")] | None = None


class GroupsQuery(Page, frozen=True):
    """GET /groups."""

    after: NamePart = ""
    detail: bool = False
    """True: objects instead of names."""
    kind: Annotated[Literal["consumers", "workers"], stated(type="string")] | None = None
    topic: NamePart = ""
    """Only those that read it."""
    prefix: NamePart = ""
    """What the names begin with."""


class MembersQuery(Page, frozen=True):
    """GET /groups/{group}; `after` is the id of a member."""

    after: Annotated[str, Meta(pattern=r"^[0-9a-f]{0,32}$")] = ""


class BrokerUpdate(Input, frozen=True):
    """PATCH /brokers/{id}."""

    draining: Annotated[bool, stated(enum=[False])]
    """False: keep the broker. True is said with DELETE, which also removes it in the end."""


class ClientsQuery(Page, frozen=True):
    """GET /producers, GET /consumers."""

    after: AfterId = ""
    topic: TopicName | None = None
    state: Annotated[Literal["alive", "expired"], stated(type="string")] | None = None


class HealthQuery(Input, frozen=True):
    """GET /health: a heartbeat of the consumer (0), producer (1) or broker (2) named `key`.

    Both, or neither for a look at how this manager is.
    """

    type: HealthType | None = None
    key: Int64 | str | None = None


class EventsQuery(Page, frozen=True):
    """GET /events."""

    after: AfterId = ""
    kind: Annotated[EventKindName, stated(type="string")] | None = None
    about: Annotated[str, Meta(pattern=r"^([a-z]{1,16}:[^\n\x00]{1,255})?$")] = ""
    """What it happened to: `topic:orders`, `broker:3`, `group:billing`, `token:ci`, `person:ada`,
    `manager:http://...`."""
    person: Annotated[str, Meta(pattern=r"^[^\x00]{0,150}$")] = ""
    """Part of how the events name who wanted it: `ada`."""
    since: Annotated[int, bounded(0, EVENT_MS_MAX)] | None = None
    """Milliseconds since 1970: not before."""
    until: Annotated[int, bounded(0, EVENT_MS_MAX)] | None = None
    """Milliseconds since 1970: before."""


class Rebalance(Input, frozen=True):
    """POST /rebalance."""

    bytes_per_second: Annotated[int, bounded(REBALANCE_BYTES_MIN)] | None = None
    """Of all moves together; None leaves it."""
    paused: bool = False


class Nothing(Input, frozen=True):
    """A call without input."""


class TopicPurge(Input, frozen=True):
    """POST /topics/{topic}/purge: which messages go; without `timestamp` and `offset` all.

    What is outside of a partition means its nearest end. Without `partitions` all of the topic.
    """

    timestamp: Timestamp | None = None
    """Those that were stored before it."""
    offset: FromZero | None = None
    """Those below it."""
    partitions: PartitionIndexes | None = None
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS

    def __post_init__(self) -> None:
        if self.timestamp is not None and self.offset is not None:
            raise InvalidRequest("give timestamp or offset, not both", field="offset")


class TopicRedrive(Input, frozen=True):
    """POST /topics/{topic}/redrive: dead letters go back to the topic, the oldest first."""

    dead_letter_topic: TopicName | None = None
    """Where they are; the topic's name with `.dead` when left out."""
    max_messages: Annotated[int, bounded(1, REDRIVE_MAX)] = REDRIVE_MAX
    timeout_ms: TimeoutMs = REDRIVE_TIMEOUT_MS


class DeadLettersQuery(Page, frozen=True):
    """GET /dead-letters; `after` is the group and the topic of a row."""

    after: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._/-]{0,512}$")] = ""
    group: NamePart = ""
    """Of workers; empty: of all."""
    topic: NamePart = ""
    """In which they died; empty: in all."""


class LettersQuery(Input, frozen=True):
    """GET /topics/{topic}/dead-letters: the oldest that were not sent back."""

    dead_letter_topic: TopicName | None = None
    """Where they are; the topic's name with `.dead` when left out."""
    max_messages: Annotated[int, bounded(1, LETTERS_MAX)] = 10


class TokensQuery(Page, frozen=True):
    """GET /tokens."""

    after: AfterId = ""


class RightsAsked(Input, frozen=True):
    """Rights of an API token to the topics that a pattern names."""

    pattern: Annotated[str, Meta(pattern=r"^([A-Za-z0-9._-]{1,249}|[A-Za-z0-9._-]{0,248}\*)$")]
    """A topic's name, or the beginning of one before a `*`."""
    rights: Annotated[
        list[Annotated[Literal["produce", "consume", "manage"], stated(type="string")]],
        Meta(min_length=1, max_length=3),
    ]


class TokenCreate(Input, frozen=True):
    """POST /tokens."""

    name: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,64}$")]
    """Tells people what it is for; no other token has it, or had it."""
    owner: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,150}$")]
    """The user who answers for it."""
    role: Annotated[
        Literal["none", "viewer", "operator", "administrator"], stated(type="string")
    ] = "none"
    """What it may do with what is not of one topic: at most what its owner may."""
    rights: Annotated[list[RightsAsked], Meta(max_length=100)] = field(default_factory=list)
    expires_at: Annotated[int, bounded(0, EVENT_MS_MAX)] | None = None
    """Milliseconds since 1970: when it ends by itself; never when left out."""


class LossAccept(Input, frozen=True):
    """POST /topics/{topic}/partitions/{partition}/loss."""

    by: Annotated[str, Meta(min_length=1, max_length=255)]
    """Who accepts it; kept with what was lost."""
