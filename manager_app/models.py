"""What a manager stores (database alias `default`): PostgreSQL, or one SQLite file.

Ids are handed out by the database and never reused, also not after a deletion: sequences on
PostgreSQL, AUTOINCREMENT on SQLite. Order is the order of the ids, so it survives restarts.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from http_base.access import Role
from manager_app.placement.repair_rules import MemberRole

GROUP_ID_MAX = (1 << 23) - 1
"""A broker keeps an entry under `group_id << 40 | index` in 63 bits."""
ID_MAX = (1 << 63) - 1
"""Largest id that a column holds."""
INTEGER_ID_MAX = (1 << 31) - 1
"""Largest id of brokers and replicas."""
PARTITION_INDEX_MAX = 1_023
_MEMBER_ROLES = [(role.value, role.value.capitalize()) for role in MemberRole]


REBALANCE_BYTES_PER_SECOND = 32 << 20
"""Of replicas that are moved for balance, unless somebody says otherwise: a tenth of what a disk
writes, so that clients notice little of it."""


class RebalanceState(models.TextChoices):
    """Whether replicas are moved to brokers that hold fewer."""

    ON = "on"
    PAUSED = "paused"
    """No further move begins."""
    OFF = "off"
    """As paused; moves that were under way were taken back."""


class Cluster(models.Model):
    """The one row about the cluster itself."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    cluster_id = models.CharField(max_length=32)
    """32 random hexadecimal digits; brokers of another cluster are refused."""
    epoch = models.PositiveIntegerField(default=1)
    """Raised by every change of the primary; brokers refuse lower ones than they have seen."""
    metadata_version = models.BigIntegerField(default=1)
    """Raised in the transaction of every change of metadata, which it also serialises."""
    topic_versions = models.BigIntegerField(default=0, db_default=0, editable=False)
    """How many of these changes were of topics that say so: see `whole_version`."""
    primary_address = models.CharField(max_length=255, blank=True, default="")
    """Address of the manager that holds the lease: it coordinates the groups."""
    primary_renewals = models.BigIntegerField(default=0)
    """Raised by the primary while it lives; the others watch it change."""
    secret_fingerprint = models.CharField(max_length=64, blank=True, default="", editable=False)
    """Tells a manager with another cluster's secret; empty until one with this column started."""

    rebalance = models.CharField(
        max_length=6, choices=RebalanceState.choices, default=RebalanceState.ON
    )
    rebalance_bytes_per_second = models.BigIntegerField(default=REBALANCE_BYTES_PER_SECOND)
    """Of all replicas that are moved for balance."""

    class Meta:
        verbose_name_plural = "cluster"
        permissions = (
            ("operate_cluster", "Can move and drain, and move offsets of groups (operator)"),
            ("administer_cluster", "Can create, change and delete whatever (administrator)"),
        )
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(id=1), name="cluster_is_one_row"),
            models.CheckConstraint(condition=Q(epoch__gte=1), name="cluster_epoch_positive"),
        ]

    def __str__(self) -> str:
        """Return its id."""
        return self.cluster_id

    @property
    def whole_version(self) -> int:
        """Another number after every change of the metadata but those that topics tell themselves.

        These are new topics, new partitions and new leaders: `Topic.changed_version` finds them.
        After any other change copies of the metadata are loaded whole, and brokers report in full.
        """
        return self.metadata_version - self.topic_versions


class Topic(models.Model):
    """A named set of partitions."""

    name = models.CharField(max_length=249, unique=True)
    partitions_at_creation = models.PositiveIntegerField()
    """A request id picks its partition by this number, which never changes."""
    replication_factor = models.PositiveSmallIntegerField()
    retention_ms = models.BigIntegerField(null=True, blank=True)
    """Age in milliseconds after which messages may be deleted; null: never."""
    retention_bytes = models.BigIntegerField(null=True, blank=True)
    """Size of a partition above which its oldest messages may be deleted; null: no limit."""
    created_at = models.DateTimeField(auto_now_add=True)
    changed_version = models.BigIntegerField(default=0, db_default=0, db_index=True, editable=False)
    """The version of the metadata that made it, gave it partitions, or gave those leaders, last."""

    class Meta:
        ordering: ClassVar[list[str]] = ["id"]
        permissions = (
            ("produce_messages", "Can publish messages to every topic"),
            ("consume_messages", "Can read the messages of every topic"),
        )
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=~Q(name=""), name="topic_has_a_name"),
            models.CheckConstraint(
                condition=Q(
                    partitions_at_creation__gte=1,
                    partitions_at_creation__lte=PARTITION_INDEX_MAX + 1,
                ),
                name="topic_partitions_in_range",
            ),
            models.CheckConstraint(
                condition=Q(replication_factor__gte=1), name="topic_is_replicated"
            ),
            models.CheckConstraint(
                condition=Q(retention_ms__isnull=True) | Q(retention_ms__gt=0),
                name="topic_retention_ms_positive",
            ),
            models.CheckConstraint(
                condition=Q(retention_bytes__isnull=True) | Q(retention_bytes__gt=0),
                name="topic_retention_bytes_positive",
            ),
        ]

    def __str__(self) -> str:
        """Return its name."""
        return self.name


class BrokerState(models.TextChoices):
    """What the manager believes about a broker."""

    NEW = "new"
    """Announced by a person; its process has not reported yet."""
    ALIVE = "alive"
    STOPPING = "stopping"
    DEAD = "dead"
    REPLACED = "replaced"
    """Another data directory reports from the same address."""


class Broker(models.Model):
    """A broker process with its data directory."""

    broker_id = models.AutoField(primary_key=True)
    incarnation = models.CharField(max_length=32, unique=True, null=True, blank=True)
    """Random at the first start of a data directory; null until the broker reports."""
    address = models.CharField(max_length=255)
    """`http://host:port` where clients reach it."""
    raft_address = models.CharField(max_length=255, blank=True, default="")
    """`host:port` where its peers reach it."""
    state = models.CharField(
        max_length=8, choices=BrokerState.choices, default=BrokerState.NEW, db_index=True
    )
    last_heartbeat = models.DateTimeField(null=True, blank=True)
    draining = models.BooleanField(default=False)
    """Its replicas move to other brokers; it is removed when none is left."""
    disk_free_bytes = models.BigIntegerField(default=0)
    """As last reported; 0 while unknown."""
    disk_slow = models.BooleanField(default=False)
    """As last reported: its disk is slower than those of other brokers, so it is given no
    leadership."""
    rack = models.CharField(max_length=64, blank=True, default="")
    """What it shares a failure with, as last reported."""
    report_number = models.BigIntegerField(default=0, editable=False)
    """Of the last report of all its replicas: the next may carry what changed since."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["broker_id"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["address"],
                condition=Q(incarnation__isnull=True),
                name="broker_announced_once",
            ),
            models.CheckConstraint(condition=~Q(address=""), name="broker_has_an_address"),
            models.CheckConstraint(
                condition=Q(state="new", incarnation__isnull=True)
                | (~Q(state="new") & Q(incarnation__isnull=False)),
                name="broker_is_new_until_it_reports",
            ),
        ]

    def __str__(self) -> str:
        """Return its id and address."""
        return f"broker {self.broker_id} at {self.address}"


class Partition(models.Model):
    """One ordered sequence of messages: a Raft group."""

    group_id = models.AutoField(primary_key=True)
    topic = models.ForeignKey(Topic, on_delete=models.CASCADE, related_name="partitions")
    index = models.PositiveIntegerField()
    """0-based number inside the topic."""
    leader = models.ForeignKey(
        Broker, on_delete=models.SET_NULL, null=True, blank=True, related_name="led_partitions"
    )
    """As last reported; null while unknown."""
    term = models.BigIntegerField(default=0)
    """Term of that report; lower ones are ignored."""
    placement_version = models.PositiveIntegerField(default=1)
    """Raised with every new target: the replicas that are not leaving."""
    membership_term = models.BigIntegerField(default=0)
    """Term of the leader that reported `Replica.membership`; below `term` it is out of date."""
    strangers = models.PositiveSmallIntegerField(default=0)
    """Voters and learners that this leader reported and that have no row."""

    class Meta:
        ordering: ClassVar[list[str]] = ["topic_id", "index"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["topic", "index"], name="partition_once_per_topic"),
            models.CheckConstraint(
                condition=Q(group_id__gte=1, group_id__lte=GROUP_ID_MAX),
                name="partition_group_id_in_range",
            ),
            models.CheckConstraint(
                condition=Q(index__lte=PARTITION_INDEX_MAX), name="partition_index_in_range"
            ),
            models.CheckConstraint(condition=Q(term__gte=0), name="partition_term_not_negative"),
        ]

    def __str__(self) -> str:
        """Return its Raft group id; naming the topic would load it."""
        return f"group {self.group_id}"


class ReplicaState(models.TextChoices):
    """How far a replica got, as its broker reports it."""

    ORDERED = "ordered"
    """Its broker has not reported it yet."""
    RUNNING = "running"
    FAULTY = "faulty"
    """It lost entries that it once stored, or cannot vouch for them."""
    MISSING = "missing"
    """Its broker reported it once and no longer does."""


class Replica(models.Model):
    """One broker's copy of a partition."""

    replica_id = models.AutoField(primary_key=True)
    partition = models.ForeignKey(Partition, on_delete=models.CASCADE, related_name="replicas")
    broker = models.ForeignKey(Broker, on_delete=models.PROTECT, related_name="replicas")
    position = models.PositiveSmallIntegerField()
    """Place in the list of replicas; the first campaigns at once."""
    bootstrap = models.BooleanField()
    """True for a replica of the partition's creation."""
    state = models.CharField(
        max_length=8, choices=ReplicaState.choices, default=ReplicaState.ORDERED, db_index=True
    )
    role = models.CharField(max_length=16, blank=True, default="")
    """As reported: follower, pre-candidate, candidate, leader or learner."""
    log_start_offset = models.BigIntegerField(default=0)
    high_watermark = models.BigIntegerField(default=0)
    """Of the last full report, like all offsets here."""
    last_index = models.BigIntegerField(default=0)
    size_bytes = models.BigIntegerField(default=0)
    """Of its stored batches, as last reported."""
    kept_term = models.BigIntegerField(default=0)
    """Highest term that was ever reported to be durable; never lowered, like the next three."""
    kept_index = models.BigIntegerField(default=0)
    """Highest index that was ever reported to be committed and durable: with less it is faulty."""
    kept_entry_term = models.BigIntegerField(default=0)
    """Of the entry there: a log as long may end in entries that were overwritten since."""
    kept_offset = models.BigIntegerField(default=0)
    """Highest high watermark that was ever reported."""
    fault = models.CharField(max_length=255, blank=True, default="")
    """Why it is faulty."""
    membership = models.CharField(
        max_length=8, choices=_MEMBER_ROLES, default=MemberRole.NONE, db_index=True
    )
    suspicion = models.CharField(max_length=255, blank=True, default="")
    """Why a leader says that it lost entries that it had acknowledged; never taken back."""
    leaving = models.BooleanField(default=False, db_index=True)
    """No longer wanted. The row is deleted once the replica is neither voter nor learner and its
    broker has dropped it; until it is removed from the group it may be kept after all."""
    reported_at = models.DateTimeField(null=True, blank=True)
    """When a report last changed this row."""

    class Meta:
        ordering: ClassVar[list[str]] = ["partition_id", "position"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["partition", "broker"], name="replica_once_per_broker"),
            models.UniqueConstraint(
                fields=["partition", "position"],
                condition=Q(leaving=False),
                name="replica_once_per_position",
            ),
        ]

    def __str__(self) -> str:
        """Return its id and its Raft group id."""
        return f"replica {self.replica_id} of group {self.partition_id}"


class ClientState(models.TextChoices):
    """Whether a client's calls are passed on."""

    ALIVE = "alive"
    EXPIRED = "expired"
    """No heartbeat for longer than the limit; it may register again under its id."""
    REVOKED = "revoked"
    """Deleted or forgotten for good. The row stays until its last token has run out and every
    partition has dropped its state."""


class Client(models.Model):
    """What producers and consumers have in common: a topic, a state and a heartbeat."""

    id = models.BigAutoField(primary_key=True)
    topic = models.ForeignKey(Topic, on_delete=models.SET_NULL, null=True, blank=True)
    """None once it is revoked and every partition has dropped its state."""
    state = models.CharField(
        max_length=8, choices=ClientState.choices, default=ClientState.ALIVE, db_index=True
    )
    last_heartbeat = models.DateTimeField()
    registered_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    """When it was revoked, or when partitions were last ordered to drop its state."""

    class Meta:
        abstract = True
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        """Return its kind and id."""
        return f"{self._meta.verbose_name} {self.pk}"


class Producer(Client):
    """A registered writer of one topic."""

    class Meta(Client.Meta):
        abstract = False
        default_related_name = "producers"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(state="revoked") | Q(topic__isnull=False),
                name="producer_has_a_topic",
            ),
        ]


class Consumer(Client):
    """A registered reader of one topic, with a cursor in each partition."""

    start = models.CharField(max_length=8, default="earliest")
    """Where its cursors were opened: earliest or latest."""

    class Meta(Client.Meta):
        abstract = False
        default_related_name = "consumers"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(state="revoked") | Q(topic__isnull=False),
                name="consumer_has_a_topic",
            ),
            models.CheckConstraint(
                condition=Q(start__in=["earliest", "latest"]), name="consumer_start_known"
            ),
        ]


class DeletedGroup(models.Model):
    """A Raft group whose topic's deletion is final: brokers that report it are told to drop it."""

    group_id = models.IntegerField(primary_key=True)
    topic_name = models.CharField(max_length=249)
    index = models.PositiveIntegerField()
    deleted_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["group_id"]

    def __str__(self) -> str:
        """Return its group id."""
        return f"deleted group {self.group_id}"


class LossAccepted(models.Model):
    """A person let a partition go on with what one replica had; kept for good."""

    group_id = models.IntegerField(db_index=True)
    topic_name = models.CharField(max_length=249)
    index = models.PositiveIntegerField()
    accepted_at = models.DateTimeField(auto_now_add=True)
    accepted_by = models.CharField(max_length=255)
    """Whoever they said they were."""
    broker_id = models.IntegerField()
    """Where that replica was."""
    old_replica_id = models.BigIntegerField()
    new_replica_id = models.BigIntegerField()
    above_term = models.BigIntegerField()
    end_offset = models.BigIntegerField()
    """After its last message: from here on messages may be lost."""
    known_offset = models.BigIntegerField()
    """After the last message that any replica had ever reported: up to here they are."""
    next_offset = models.BigIntegerField()
    """Where new messages began."""
    version = models.PositiveIntegerField()
    """Placement version from then on."""
    done = models.BooleanField(default=False)
    """The broker has done it."""

    class Meta:
        ordering: ClassVar[list[str]] = ["id"]
        verbose_name_plural = "losses accepted"

    def __str__(self) -> str:
        """Return what was lost."""
        return f"{self.topic_name}/{self.index} from {self.end_offset} to {self.known_offset}"


class ConsumerGroup(models.Model):
    """Readers that share the partitions of their topics; brokers store their offsets."""

    name = models.CharField(max_length=249, unique=True)
    generation = models.BigIntegerField(default=0)
    """Raised with every change of members, subscriptions or partitions; never lowered."""
    revision = models.BigIntegerField(default=0)
    """Raised in every transaction that changes the group, which it also serialises."""
    topics = models.JSONField(default=dict, blank=True)
    """Topic -> [partitions, group id of the first]: what the members' targets were made for."""
    topics_used = models.JSONField(default=list, blank=True)
    """Names of all topics that were ever subscribed."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["name"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=~Q(name=""), name="group_has_a_name"),
            models.CheckConstraint(
                condition=Q(generation__gte=0), name="group_generation_not_negative"
            ),
        ]

    def __str__(self) -> str:
        """Return its name."""
        return self.name


class GroupMember(models.Model):
    """A process that reads its share of a consumer group's partitions."""

    id = models.BigAutoField(primary_key=True)
    group = models.ForeignKey(ConsumerGroup, on_delete=models.CASCADE, related_name="members")
    member_id = models.CharField(max_length=32)
    """32 random hexadecimal digits."""
    topics = models.JSONField(default=list)
    """The names of the topics that it subscribed."""
    session_timeout_ms = models.PositiveIntegerField()
    """Silence after which it is removed from the group, in milliseconds."""
    granted = models.JSONField(default=dict, blank=True)
    """Topic -> partitions that it was assigned and has not given up yet."""
    target = models.JSONField(default=dict, blank=True)
    """Topic -> partitions that the present generation assigns to it."""
    revoked_generation = models.BigIntegerField(default=0)
    """The last generation that took a partition from it."""
    last_heartbeat = models.DateTimeField()
    """As of the last change of this row; later heartbeats are in the memory of the primary
    alone."""
    joined_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["id"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["group", "member_id"], name="group_member_once_per_group"
            ),
            models.CheckConstraint(
                condition=Q(session_timeout_ms__gt=0), name="group_member_session_ends"
            ),
        ]

    def __str__(self) -> str:
        """Return its member id."""
        return f"member {self.member_id}"


class EventKind(models.TextChoices):
    """What an event is about; so many of each kind are kept that no other one pushes them out."""

    ELECTION = "election"
    """Leaders changed, as a broker reported it."""
    BROKER = "broker"
    """A broker joined, stopped, was silent or came back, or lost replicas."""
    MOVE = "move"
    """Replicas go to other brokers."""
    LEASE = "lease"
    """Another manager is the primary."""
    CONFIGURATION = "configuration"
    """Topics were created, changed or deleted."""
    ACTION = "action"
    """Somebody had the cluster do something."""
    ACCESS = "access"
    """People, API tokens and their rights were changed."""
    LOGIN = "login"
    """Somebody logged in or out, or tried to."""


class EventOutcome(models.TextChoices):
    """What became of what somebody asked for."""

    DONE = "done"
    REFUSED = "refused"
    """A right was missing."""
    FAILED = "failed"
    """It may have been done in part."""
    UNKNOWN = "unknown"
    """It was begun, and nothing was noted since."""


class Event(models.Model):
    """Something that happened, by itself or because somebody wanted it; `services.events`."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_index=True)
    kind = models.CharField(max_length=16, choices=EventKind.choices, default=EventKind.ACTION)
    action = models.CharField(max_length=64)
    """What was done, as `group offsets`."""
    text = models.CharField(max_length=1_000, blank=True, default="")
    """The same in a sentence, for people."""
    about = models.TextField(blank=True, default="")
    """What it happened to: `type:name` in lines of their own, with a line break before and after.
    `topic:*` stands for more topics than are named."""
    person = models.CharField(max_length=255, blank=True, default="")
    """Who wanted it, as `user 'ada'` or `API token 'ci'`; empty: nobody, or it is not known who."""
    origin = models.CharField(max_length=64, blank=True)
    """The address that the call came from."""
    outcome = models.CharField(max_length=8, choices=EventOutcome.choices, blank=True, default="")
    """Of what somebody wanted; empty for what happened by itself."""
    details = models.JSONField(default=dict, blank=True)
    """What was asked for, stored before anything is changed, and afterwards what changed."""

    class Meta:
        ordering: ClassVar[list[str]] = ["-id"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["kind", "-id"], name="event_by_kind"),
        ]

    def __str__(self) -> str:
        """Return the sentence, or what was done."""
        return self.text or self.action

    @property
    def things(self) -> list[tuple[str, str]]:
        """What it is about: type and name of each."""
        lines = self.about.strip("\n").split("\n") if self.about else []
        return [(kind, name) for kind, _, name in (line.partition(":") for line in lines)]


TokenState = Literal["active", "expired", "revoked", "dead"]


class ApiToken(models.Model):
    """What a program shows to be known; the token itself is shown once and stored nowhere."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=64, unique=True)
    hash = models.CharField(max_length=64, unique=True, editable=False)
    """SHA-256 of the token, hexadecimal."""
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    """Who answers for it; it is dead while this person is not active."""
    role = models.PositiveSmallIntegerField(
        choices=[(role.value, role.name.lower()) for role in Role], default=0
    )
    """What it may do with what is not of one topic."""
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    """When it ends by itself; null: never."""
    last_used = models.DateTimeField(null=True, blank=True, editable=False)
    """At the primary manager, to a minute or so."""
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    """When somebody ended it; null: nobody did."""
    shown_once = ""
    """The token itself, of one that was made just now; not stored."""

    class Meta:
        ordering: ClassVar[list[str]] = ["id"]
        verbose_name = "API token"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=~Q(name=""), name="api_token_has_a_name"),
            models.CheckConstraint(
                condition=Q(role__gte=0, role__lte=3),
                name="api_token_role_in_range",
            ),
        ]

    def __str__(self) -> str:
        """Return its name."""
        return self.name

    @property
    def state(self) -> TokenState:
        """Whether it is taken, in a word; dead: its owner is not active."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= timezone.now():
            return "expired"
        return "active" if self.owner.is_active else "dead"


TOPIC_PATTERN = r"^([A-Za-z0-9._-]{1,249}|[A-Za-z0-9._-]{0,248}\*)\Z"
"""A topic's name, or the beginning of one before a `*`."""


class TokenRight(models.Model):
    """What an API token may do with the topics that a pattern names."""

    id = models.BigAutoField(primary_key=True)
    token = models.ForeignKey(ApiToken, on_delete=models.CASCADE, related_name="rights")
    pattern = models.CharField(
        max_length=249,
        validators=[
            RegexValidator(TOPIC_PATTERN, "a topic's name, or the beginning of one before a *")
        ],
    )
    produce = models.BooleanField(default=False)
    consume = models.BooleanField(default=False)
    manage = models.BooleanField(default=False)
    """Create, change and delete the topic, and move the offsets of groups in it."""

    class Meta:
        ordering: ClassVar[list[str]] = ["id"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["token", "pattern"], name="token_right_once_per_pattern"
            ),
            models.CheckConstraint(
                condition=Q(produce=True) | Q(consume=True) | Q(manage=True),
                name="token_right_is_one",
            ),
        ]

    def __str__(self) -> str:
        """Return the pattern."""
        return self.pattern
